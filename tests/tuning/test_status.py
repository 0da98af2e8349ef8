"""How far sweeps are, from logs whose content is known."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from ni_platform.cli.sweep.status import command
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.tuning.config import SweepFolder
from tests.tuning.sweeps import trial_events, write_sweep

EXPERIMENT = ExperimentConfig(name="planted.tabular", model=TabularConfig())


def test_a_sweep_of_an_older_version_hides_no_other(tmp_path, ni_home):
    """It is listed with the reason and the remedy, and alone it is one error."""
    events = [*trial_events(0, [0.5]), *trial_events(1, [0.4], status="pruned")]
    folder = write_sweep(EXPERIMENT, "data", events, storage=tmp_path)
    old = SweepFolder.named("old", tmp_path)
    old.path.mkdir()
    content = json.loads(folder.definition.read_text())
    del content["format"]
    old.definition.write_text(json.dumps(content))
    (old.path / "journal.jsonl").write_text("")

    result = CliRunner().invoke(command, ["--storage", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    states = {s["name"]: s for s in json.loads(result.output.splitlines()[-1])["sweeps"]}
    assert states["planted"]["state"] == "finished"
    assert (states["planted"]["complete"], states["planted"]["pruned"]) == (1, 1)
    assert states["old"]["state"] == "unreadable"
    assert "use the version of ni_platform that made the sweep" in states["old"]["note"]
    with pytest.raises(ConfigError, match="format 1"):
        old.read()
