"""Promotion gates on planted predictions, the registry's tags, and the way back."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ni_platform.data.dataset import Dataset
from ni_platform.errors import PromotionRefusedError, TrackingError
from ni_platform.models.scorer import Scorer
from ni_platform.registry.promotion import PromotionReport, promote, rollback
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

Record = Callable[..., str]

MODEL = "planted-headlines"
RIGHT = np.tile([0.1, 0.2, 0.3], 40)
"""Orders every A/B test as it came out."""
WRONG = RIGHT[::-1]
HALF = np.tile([0.1, 0.3, 0.2], 40)
"""Orders two of the three pairs of each A/B test."""


def gates(report: PromotionReport) -> dict[str, bool]:
    """Which gates let the model through."""
    return {gate.name: gate.passed for gate in report.gates}


def aliases() -> dict[str, str]:
    """The version behind each alias."""
    named = open_store().client.get_registered_model(MODEL).aliases
    return {alias: str(version) for alias, version in named.items()}


def tags(version: str) -> dict[str, str]:
    """The tags of a version."""
    return dict(open_store().client.get_model_version(MODEL, version).tags)


def test_first_model_is_champion(finished_run: Record) -> None:
    """The first version passes: there is no champion to beat, and the tags say so."""
    run_id = finished_run(RIGHT)
    report = promote(open_store(), run_id, MODEL)
    assert report.promoted
    assert gates(report) == {
        "data_checks_passed": True,
        "evaluated_on_unseen_test": True,
        "better_than_champion": True,
    }
    assert report.gates[1].figures["contents"] == 60
    assert report.gates[1].figures["ab_tests"] == 20
    assert aliases() == {"champion": "1"}
    written = tags("1")
    assert written["ni.promotion"] == "promoted"
    assert written["ni.run_id"] == run_id
    assert written["ni.gate.better_than_champion"] == "passed: there is no champion yet"
    assert json.loads(written["ni.gates"]) == [gate.to_json() for gate in report.gates]
    assert json.loads(json.dumps(report.to_json()))["model_uri"] == f"models:/{MODEL}/1"


def test_better_model_replaces_the_champion(finished_run: Record) -> None:
    """All pairs right against two in three: difference 1/3 with an interval without width."""
    promote(open_store(), finished_run(HALF), MODEL)
    report = promote(open_store(), finished_run(RIGHT), MODEL)
    assert report.promoted
    assert report.previous_champion == "1"
    figures = report.gates[2].figures
    assert figures["metric"] == "pairwise_within"
    assert figures["challenger"] == pytest.approx(1.0)
    assert figures["champion"] == pytest.approx(2 / 3)
    assert figures["difference"] == pytest.approx(1 / 3)
    assert figures["low"] == pytest.approx(1 / 3)
    assert (figures["contents"], figures["left_out"]) == (60, 0)
    assert aliases() == {"champion": "2", "previous": "1"}
    assert tags("2")["ni.previous_champion"] == "1"
    assert tags("1")["ni.replaced_by"] == "2"


def test_what_a_platform_delivered_passes_no_gate_within_tests(finished_run: Record) -> None:
    """Without randomised A/B tests all pairs are compared, and the gates say what that proves."""
    delivered = ["platform"] * 120
    promote(open_store(), finished_run(HALF, evidence=delivered), MODEL)
    report = promote(open_store(), finished_run(RIGHT, evidence=delivered), MODEL)
    unseen, better = report.gates[1:]
    assert unseen.figures["ab_tests"] == 0
    for gate in (unseen, better):
        assert "no randomised A/B test is among them" in gate.explanation
        assert "what was delivered together with success, not what works" in gate.explanation
    assert better.figures["metric"] == "pairwise_accuracy"
    text = open_store().client.get_model_version(MODEL, "1").description
    assert "60 platform" in text
    assert "No randomised A/B test judges it. What does is platform delivery" in text


def test_only_randomised_tests_that_hold_are_compared(finished_run: Record) -> None:
    """Of 20 A/B tests of three contents the platform's 5 count as contents, the mismatched 3 not.

    The challenger is right in the randomised ones and wrong in all others, and wins.
    """
    test = np.arange(120) // 3
    kinds = np.select([test < 32, test < 37], ["randomised", "platform"], "mismatched").tolist()
    prediction = np.where(test < 32, RIGHT, WRONG)
    promote(open_store(), finished_run(HALF, evidence=kinds), MODEL)
    report = promote(open_store(), finished_run(prediction, evidence=kinds), MODEL)
    figures = report.gates[2].figures
    assert report.promoted, report.gates[2].explanation
    assert (figures["contents"], figures["ab_tests"], figures["left_out"]) == (51, 12, 0)
    assert (figures["metric"], figures["challenger"]) == ("pairwise_within", 1.0)


def test_contents_left_out_need_no_prediction(finished_run: Record) -> None:
    """A run of contents with many impressions is judged on those of its test part: 60 less 3."""
    report = promote(
        open_store(), finished_run(RIGHT, left_out=("c3", "c60", "c61", "c119")), MODEL
    )
    gate = report.gates[1]
    assert report.promoted, gate.explanation
    assert (gate.figures["contents"], gate.figures["not_predicted"]) == (57, 0)


@pytest.mark.parametrize("prediction", [HALF, WRONG], ids=["equal", "worse"])
def test_model_that_is_not_better_stays_challenger(
    finished_run: Record, prediction: np.ndarray
) -> None:
    """Equal or worse is refused with the figures, and the champion stays."""
    promote(open_store(), finished_run(HALF), MODEL)
    report = promote(open_store(), finished_run(prediction), MODEL)
    assert gates(report)["better_than_champion"] is False
    assert not report.promoted
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert tags("2")["ni.promotion"] == "refused"
    assert tags("2")["ni.gate.better_than_champion"].startswith("failed: pairwise_within")
    with pytest.raises(PromotionRefusedError, match=r"better_than_champion.*--force REASON"):
        report.require()


def test_force_is_recorded(finished_run: Record) -> None:
    """A forced promotion makes the champion and writes the reason beside the failed gate."""
    promote(open_store(), finished_run(RIGHT), MODEL)
    report = promote(open_store(), finished_run(WRONG), MODEL, force="legal wants the other one")
    assert report.promoted
    assert report.forced_reason == "legal wants the other one"
    assert aliases() == {"champion": "2", "previous": "1"}
    assert tags("2")["ni.promotion"] == "forced"
    assert tags("2")["ni.forced_reason"] == "legal wants the other one"
    assert tags("2")["ni.gate.better_than_champion"].startswith("failed:")
    with pytest.raises(TrackingError, match="reason in words"):
        promote(open_store(), report.run_id, MODEL, force=" ")


def test_force_that_was_not_needed_is_no_force(finished_run: Record) -> None:
    """When every gate passes, the reason is not recorded as if one had failed."""
    report = promote(open_store(), finished_run(RIGHT), MODEL, force="just in case")
    assert (report.promoted, report.forced_reason) == (True, None)
    assert tags("1")["ni.promotion"] == "promoted"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"checks": "allowed_failed", "rules": (True, False)}, r"1 of 2 rules failed .*--allow-f"),
        ({"checks": "failed", "rules": (False, False)}, "2 of 2 rules failed"),
        ({"rules": ()}, "no rule was evaluated"),
        ({"skip": ("checks/summary.json",)}, "no record of data checks.*checks/summary.json"),
    ],
)
def test_data_checks_gate(finished_run: Record, how: dict, message: str) -> None:
    """Failed, empty or missing data checks bar promotion, allowed or not."""
    report = promote(open_store(), finished_run(RIGHT, **how), MODEL)
    assert gates(report) == {
        "data_checks_passed": False,
        "evaluated_on_unseen_test": True,
        "better_than_champion": True,
    }
    assert not report.promoted
    with pytest.raises(PromotionRefusedError, match=message):
        report.require()
    assert aliases() == {"challenger": "1"}


def test_twin_of_a_training_content_is_seen(finished_run: Record) -> None:
    """A test content with the same inputs as a training content fails the gate, whatever its id."""
    twin = {"c60": "key-c0", "c61": "key-c1"}
    run_id = finished_run(RIGHT, key=lambda content_id: twin.get(content_id, f"key-{content_id}"))
    report = promote(open_store(), run_id, MODEL)
    assert gates(report)["evaluated_on_unseen_test"] is False
    assert report.gates[1].figures["seen_in_training"] == 2


def test_inputs_that_tell_no_contents_apart(finished_run: Record) -> None:
    """Where a few attributes are all there is, equal inputs do not make a test content seen."""
    run_id = finished_run(RIGHT, key=lambda content_id: f"key-{int(content_id[1:]) % 3}")
    assert promote(open_store(), run_id, MODEL).promoted


@pytest.mark.parametrize("path", ["predictions/test.parquet", "splits.parquet"])
def test_missing_evaluation_is_a_failed_gate(finished_run: Record, path: str) -> None:
    """A run without the record of its evaluation cannot pass; the gate names what is missing."""
    report = promote(open_store(), finished_run(RIGHT, skip=(path,)), MODEL)
    assert gates(report)["evaluated_on_unseen_test"] is False
    assert path in report.gates[1].explanation


def test_predictions_that_are_not_finite(finished_run: Record) -> None:
    """A model whose predictions are not numbers cannot pass."""
    broken = RIGHT.copy()
    broken[70] = math.nan
    report = promote(open_store(), finished_run(broken), MODEL)
    assert "1 predictions are not finite" in report.gates[1].explanation


def test_champion_that_learned_from_the_test(finished_run: Record) -> None:
    """A champion trained on every test content cannot be compared; the gate says what to do."""
    promote(open_store(), finished_run(HALF), MODEL)
    # A/B tests 0-9 were learned from by the champion and are all the challenger is tested on.
    report = promote(open_store(), finished_run(RIGHT, learned=lambda test: test >= 10), MODEL)
    gate = report.gates[2]
    assert not gate.passed
    assert gate.figures["left_out"] == 30
    assert "learned from 30 of the 30 test contents" in gate.explanation
    assert "same split seed" in gate.explanation


def test_only_what_the_champion_has_not_seen_counts(finished_run: Record) -> None:
    """Comparison is on A/B tests that neither model learned from."""
    # The champion learned from A/B tests 0-19 and was tested on 20-39.
    promote(open_store(), finished_run(HALF), MODEL)
    # The challenger learned from 10-19 and 30-39: common are 20-29.
    run_id = finished_run(RIGHT, learned=lambda test: 10 <= test < 20 or test >= 30)
    figures = promote(open_store(), run_id, MODEL).gates[2].figures
    assert (figures["contents"], figures["ab_tests"], figures["left_out"]) == (30, 10, 30)
    assert figures["champion"] == pytest.approx(2 / 3)


def test_champion_without_predictions_scores_the_dataset(
    finished_run: Record, dataset: Dataset, scorer: Scorer
) -> None:
    """Contents that the champion's record does not cover are scored with its model."""
    # Another dataset: no content of the challenger's test part is in the champion's record.
    promote(
        open_store(),
        finished_run(HALF, fingerprint="earlier", key=lambda content_id: f"earlier-{content_id}"),
        MODEL,
    )
    report = promote(open_store(), finished_run(RIGHT), MODEL)
    rates = scorer.predict(dataset.inputs(np.arange(60, 120))).reshape(20, 3)
    right = [rates[:, a] < rates[:, b] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert report.gates[2].figures["champion"] == pytest.approx(np.mean(right))
    assert report.gates[2].figures["challenger"] == pytest.approx(1.0)


def test_dataset_that_is_gone(finished_run: Record, dataset: Dataset, tmp_path: Path) -> None:
    """If the champion must be scored on a dataset that is gone or changed, the gate says so."""
    promote(open_store(), finished_run(HALF, fingerprint="earlier", key=str.upper), MODEL)
    moved = tmp_path / "moved"
    shutil.copytree(dataset.root, moved)
    run_id = finished_run(RIGHT)
    client = open_store().client
    client.set_tag(run_id, "ni.dataset", str(moved))
    client.set_tag(run_id, "ni.dataset_fingerprint", "changed since")
    explanation = promote(open_store(), run_id, MODEL).gates[2].explanation
    assert "has changed since the challenger was trained" in explanation
    shutil.rmtree(moved)
    explanation = promote(open_store(), run_id, MODEL).gates[2].explanation
    assert f"Put it back at {moved}" in explanation


def test_champion_whose_run_is_incomplete(finished_run: Record) -> None:
    """A champion that was forced in without a record can only be replaced by force."""
    promote(open_store(), finished_run(HALF, skip=("splits.parquet",)), MODEL, force="first")
    run_id = finished_run(RIGHT)
    report = promote(open_store(), run_id, MODEL)
    assert "cannot be compared with champion version 1" in report.gates[2].explanation
    assert "splits.parquet" in report.gates[2].explanation
    assert promote(open_store(), run_id, MODEL, force="the old one has no record").promoted


def test_promoting_twice_is_promoting_once(finished_run: Record) -> None:
    """The same run has one version, and promoting the champion again changes nothing."""
    run_id = finished_run(RIGHT)
    promote(open_store(), run_id, MODEL)
    before = tags("1")
    again = promote(open_store(), run_id, MODEL)
    assert (again.version, again.promoted, again.already_champion) == ("1", True, True)
    assert tags("1") == before
    assert len(open_store().client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_refused_run_can_be_promoted_later(finished_run: Record) -> None:
    """A challenger keeps its version when it is judged again, and its old reasons are replaced."""
    promote(open_store(), finished_run(RIGHT), MODEL)
    run_id = finished_run(HALF)
    assert not promote(open_store(), run_id, MODEL).promoted
    assert promote(open_store(), run_id, MODEL, force="campaign is over").version == "2"
    assert tags("2")["ni.promotion"] == "forced"
    assert aliases() == {"champion": "2", "previous": "1"}


def test_two_promotions_at_once(finished_run: Record) -> None:
    """Promoted at the same time, the better of two runs ends as champion and each has a version."""
    promote(open_store(), finished_run(WRONG), MODEL)
    runs = [finished_run(HALF), finished_run(RIGHT)]
    reports: list[PromotionReport] = []
    threads = [
        threading.Thread(
            target=lambda run_id=run_id: reports.append(promote(open_store(), run_id, MODEL))
        )
        for run_id in [*runs, runs[1]]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 3
    versions = {report.run_id: report.version for report in reports}
    assert sorted(versions.values()) == ["2", "3"]
    assert len(open_store().client.search_model_versions(f"name = '{MODEL}'")) == 3
    assert aliases()["champion"] == versions[runs[1]]


def test_rollback_goes_back_step_by_step(finished_run: Record) -> None:
    """Each rollback brings the champion before back, until there is none, and tags tell it."""
    for prediction in (WRONG, HALF, RIGHT):
        promote(open_store(), finished_run(prediction), MODEL)
    assert aliases() == {"champion": "3", "previous": "2"}
    report = rollback(open_store(), MODEL)
    assert (report.version, report.replaced) == ("2", "3")
    assert aliases() == {"champion": "2", "previous": "1"}
    assert tags("3")["ni.promotion"] == "rolled_back"
    assert tags("3")["ni.replaced_by"] == "2"
    assert "ni.replaced_by" not in tags("2")
    assert tags("2")["ni.restored_after"] == "3"
    assert rollback(open_store(), MODEL).version == "1"
    with pytest.raises(TrackingError, match="Version 1 is the first champion"):
        rollback(open_store(), MODEL)
    assert aliases() == {"champion": "1"}


def test_rollback_after_a_comeback(finished_run: Record) -> None:
    """A version that is champion a second time does not make rollback go in circles."""
    first, second = finished_run(WRONG), finished_run(HALF)
    promote(open_store(), first, MODEL)
    promote(open_store(), second, MODEL)
    promote(open_store(), first, MODEL, force="comeback")
    assert [rollback(open_store(), MODEL).version, rollback(open_store(), MODEL).version] == [
        "2",
        "1",
    ]
    with pytest.raises(TrackingError, match="first champion"):
        rollback(open_store(), MODEL)


def test_rollback_skips_a_deleted_version(finished_run: Record) -> None:
    """A former champion that was deleted is passed over."""
    for prediction in (WRONG, HALF, RIGHT):
        promote(open_store(), finished_run(prediction), MODEL)
    open_store().client.delete_model_version(MODEL, "2")
    assert rollback(open_store(), MODEL).version == "1"
    assert aliases() == {"champion": "1"}


def test_rollback_goes_where_previous_was_moved_to(finished_run: Record) -> None:
    """Who moves the alias `previous` in MLflow says where a rollback goes, and on from there."""
    for prediction in (WRONG, HALF, RIGHT):
        promote(open_store(), finished_run(prediction), MODEL)
    open_store().client.set_registered_model_alias(MODEL, "previous", "1")
    assert rollback(open_store(), MODEL).version == "1"
    assert aliases() == {"champion": "1"}
    with pytest.raises(TrackingError, match="Version 1 is the first champion"):
        rollback(open_store(), MODEL)


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_promotion_that_is_cut_off(
    finished_run: Record, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Cut off between any two moves of aliases and repeated, it ends as if it had not been."""
    promote(open_store(), finished_run(WRONG), MODEL)
    better = finished_run(RIGHT)
    with monkeypatch.context() as patch:
        cut_off(patch, cut)
        with pytest.raises(TrackingError, match="pulled the plug"):
            promote(open_store(), better, MODEL)
    assert promote(open_store(), better, MODEL).promoted
    assert aliases()["champion"] == "2"
    assert rollback(open_store(), MODEL).version == "1"
    assert aliases()["champion"] == "1"


def cut_off(patch: pytest.MonkeyPatch, call: int) -> None:
    """Let the call of this number fail that moves an alias."""
    calls = []
    move = MlflowClient.set_registered_model_alias

    def moving(self: MlflowClient, *how: object) -> None:
        calls.append(how)
        if len(calls) == call:
            raise MlflowException("pulled the plug")
        move(self, *how)

    patch.setattr(MlflowClient, "set_registered_model_alias", moving)


def test_champion_that_was_set_by_hand(finished_run: Record) -> None:
    """An alias moved in the MLflow UI is respected: rollback returns to it."""
    promote(open_store(), finished_run(WRONG), MODEL)
    assert not promote(open_store(), finished_run(WRONG), MODEL).promoted
    open_store().client.set_registered_model_alias(MODEL, "champion", "2")
    assert promote(open_store(), finished_run(RIGHT), MODEL).previous_champion == "2"
    assert [rollback(open_store(), MODEL).version, rollback(open_store(), MODEL).version] == [
        "2",
        "1",
    ]


def test_nothing_to_roll_back() -> None:
    """Rolling back a model that does not exist is one clear error."""
    with pytest.raises(TrackingError, match="no champion of 'absent'"):
        rollback(open_store(), "absent")


def test_run_that_cannot_be_promoted(finished_run: Record) -> None:
    """Unknown, unfinished and modelless runs, and impossible names, are errors, not gates."""
    with pytest.raises(TrackingError, match="There is no run"):
        promote(open_store(), "0" * 32, MODEL)
    with (
        RunRecord.start(open_store(), "planted") as run,
        pytest.raises(TrackingError, match="is RUNNING; only a FINISHED run"),
    ):
        promote(open_store(), run.run_id, MODEL)
    with pytest.raises(TrackingError, match="logged no model"):
        promote(open_store(), run.run_id, MODEL)
    with pytest.raises(TrackingError, match="cannot name a model"):
        promote(open_store(), finished_run(RIGHT), "a/b'c")


def test_champion_answers_under_its_alias(
    finished_run: Record, dataset: Dataset, scorer: Scorer
) -> None:
    """The promoted model is loaded by its alias and predicts what the Scorer predicts."""
    promote(open_store(), finished_run(RIGHT), MODEL)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    frame = dataset.inputs([0, 50, 100])
    np.testing.assert_allclose(model.predict(frame), scorer.predict(frame), rtol=1e-6)
