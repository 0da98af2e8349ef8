"""What a processor decides for a sweep is decided once, and said."""

from __future__ import annotations

import pytest
import torch

from ni_platform.overrides import with_values
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tuning.engine.preparation import in_one_precision
from tests.tuning.toy import toy_config


@pytest.mark.parametrize(
    ("asked", "first", "second", "chosen"),
    [
        ("auto", True, False, "bfloat16"),
        ("auto", False, True, "float32"),
        ("float32", True, True, "float32"),
        ("bfloat16", False, False, "bfloat16"),
    ],
)
def test_a_sweep_keeps_the_precision_that_it_began_with(
    asked, first, second, chosen, ni_home, monkeypatch
):
    """It began on one processor, with AMX or not, and goes on on another: its trials compare."""
    config = toy_config(3)
    experiment = with_values(config.experiment, [("training.precision", asked)])
    config = toy_config(3, experiment=experiment)
    with RunRecord.start(open_store(), "sweeps") as record:
        for amx in (first, second):
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=amx: {"amx_bf16": amx})
            told: list[str] = []
            decided = in_one_precision(config, record, told.append)
            assert decided.experiment.training.precision == chosen
            assert told == [f"trials are trained in {chosen}"]
    assert read_run(open_store(), record.run_id).tags["ni.precision"] == chosen
