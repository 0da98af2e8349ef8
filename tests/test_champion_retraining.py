"""A champion trained again on its dataset with later results, and through the gates."""

import shutil
from pathlib import Path

import pytest

import ni_platform as ni
from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.errors import ConfigError
from ni_platform.retraining import RETRAINED, retrain
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.store import open_store
from tests import export_files
from tests.command import ni as command


@pytest.mark.usefixtures("ranker")
def test_new_results_make_a_new_version(ranker_project: Path, tmp_path: Path) -> None:
    """On equal data nothing is trained; on more, the same experiment, compared with the champion.

    Once more on the same data: the run that has been trained goes through the gates again.
    """
    run = (ranker_project / "run").read_text()
    store = open_store()
    ni.open_run(run).promote("retrained")
    shutil.copytree(ranker_project / "data", tmp_path / "data")
    same = retrain(store, "retrained", tmp_path / "data")
    assert same.run is None
    assert same.run_id == run
    assert same.promotion.already_champion
    (tmp_path / "more").mkdir()
    import_export(export_files.klaviyo(tmp_path / "more", tests=75), tmp_path / "data")
    found = retrain(store, "models:/retrained@champion", tmp_path / "data", force="planned")
    assert found.run is not None
    assert found.champion.run_id == run
    tags = read_run(store, found.run_id).tags
    assert tags[RETRAINED] == run
    assert tags["ni.dataset_fingerprint"] == Dataset.open(tmp_path / "data").fingerprint()
    compared = {gate.name: gate for gate in found.promotion.gates}["better_than_champion"]
    assert compared.figures["champion_version"] == "1"
    assert compared.figures["contents"] > 0
    assert found.promotion.model_uri == "models:/retrained/2"
    assert found.promotion.promoted
    ended = command("retrain", "retrained", f"--data={tmp_path / 'data'}", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.json["run_id"] == found.run_id
    assert ended.json["trained"] is False
    assert ni.retrain("retrained", tmp_path / "data").uri == "models:/retrained/2"


@pytest.mark.usefixtures("ranker")
def test_a_model_without_a_champion_cannot_be_retrained() -> None:
    """The remedy names the command."""
    with pytest.raises(ConfigError, match="nobody has no champion that a run has made: `ni promo"):
        retrain(open_store(), "nobody")
