"""The model card and the history of versions: what they tell of planted runs, within the limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ni_platform.registry.descriptions import LONGEST, beside, table
from ni_platform.registry.promotion import promote, rollback
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

Record = Callable[..., str]

MODEL = "planted-headlines"
RIGHT = np.tile([0.1, 0.2, 0.3], 40)
HALF = np.tile([0.1, 0.3, 0.2], 40)
FIGURES = {
    "validation/rmse": 0.02,
    "test/rmse": 0.031,
    "test/rmse_low": 0.027,
    "test/rmse_high": 0.036,
    "test/pairwise_accuracy": 0.75,
    "test/calibration_slope": 0.9,
    "test/calibration_slope_low": 0.7,
    "test/calibration_slope_high": 1.1,
}


def described(version: str) -> str:
    """The description of a version."""
    return open_store().client.get_model_version(MODEL, version).description


def history() -> str:
    """The description of the model."""
    return open_store().client.get_registered_model(MODEL).description


@pytest.fixture
def measured_run(finished_run: Record) -> str:
    """A finished run with figures, and with insights into its texts."""
    run_id = finished_run(RIGHT, checks="allowed_failed", rules=(True, False))
    record = RunRecord.existing(open_store(), run_id)
    record.log_metrics(FIGURES)
    agreed = {"value": 0.41, "low": 0.2, "high": 0.6}
    insights = {
        "text": {
            "method": "kernel_shap",
            "trust": {"score": 37.2},
            "all_pairs": {"kernel_shap": {"correlation": agreed}},
        },
        "image": {
            "method": "grad_cam",
            "trust": {"score": None},
            "all_pairs": {"grad_cam": {"correlation": agreed}},
        },
    }
    record.log_json(insights, "insights/summary.json")
    mismatch = {
        "suite": "ab_tests",
        "rule": "In 90% of the A/B tests ...: the randomisation worked.",
    }
    mismatch |= {"success": True, "observed": "0 of 40 rows"}
    failed = {"suite": "contents", "rule": "rule 1", "success": False}
    checks = {"success": False, "results": [mismatch, failed], "evaluated": 2}
    record.log_json(checks, "checks/summary.json")
    return run_id


def test_the_card_of_a_version(measured_run: str) -> None:
    """Data, figures with intervals, trust, limits, gates and ways to load it stand in the card."""
    promote(open_store(), measured_run, MODEL, force="the season begins")
    text = described("1")
    assert text.startswith("## Model card\n")
    for planted in (
        "- **Contents**: 120, of these in domain 60, train 48, validation 12",
        "- **Test part**: 20 A/B tests, 60,000 impressions",
        "how people were assigned is not recorded",
        "mismatch): passed (0 of 40 rows differ). In 90% of the A/B tests",
        "| RMSE | 0.02 | 0.031 [0.027, 0.036] |",
        "slope 0.9 [0.7, 1.1]",
        "| text | kernel_shap | 0.41 [0.2, 0.6] | 37 of 100 |",
        "| image | grad_cam | 0.41 [0.2, 0.6] | not enough evidence |",
        "No domain was held out",
        "Only 20 A/B tests judge it",
        "Checks of its data: allowed failed.",
        "although a gate refused: the season begins",
        "| data_checks_passed | **failed** | 1 of 2 rules failed (rule 1)",
        "| better_than_champion | passed | there is no champion yet |",
        f"ni predict models:/{MODEL}/1 --data DIR",
        f"mlflow models serve -m models:/{MODEL}/1 ",
    ):
        assert planted in text, planted
    tags = open_store().client.get_model_version(MODEL, "1").tags
    assert tags["ni.headline"] == "pairwise, all pairs: 0.75"
    assert "ni.model_card" not in tags


def test_a_card_that_is_too_long_is_shortened(measured_run: str, finished_run: Record) -> None:
    """A description has 5,000 characters in MLflow's databases; what is left out is in a tag."""
    record = RunRecord.existing(open_store(), measured_run)
    names = {"ni.dataset_name": "n" * 900}
    record.set_tags(names)
    record.log_json(
        {
            f"modality-{number}": {
                "method": "kernel_shap",
                "trust": {"score": 1},
                "all_pairs": {},
            }
            for number in range(60)
        },
        "insights/summary.json",
    )
    promote(open_store(), measured_run, MODEL, force="for the test")
    text = described("1")
    whole = open_store().client.get_model_version(MODEL, "1").tags["ni.model_card"]
    assert len(text) <= LONGEST < len(whole)
    assert "Shortened to fit" in text
    assert "### How to load it" in whole


def test_what_people_wrote_stays(finished_run: Record) -> None:
    """Words above our heading survive every promotion, ours are made anew."""
    client = open_store().client
    client.create_registered_model(MODEL, description="Owned by the newsletter team.")
    promote(open_store(), finished_run(HALF), MODEL)
    client.update_model_version(MODEL, "1", f"Ask Ada first.\n\n{described('1')}")
    refused = finished_run(HALF)
    assert not promote(open_store(), refused, MODEL).promoted
    promote(open_store(), refused, MODEL, force="again")
    assert history().startswith("Owned by the newsletter team.\n\n## Versions\n")
    assert history().count("## Versions") == 1
    assert described("1").startswith("Ask Ada first.\n\n## Model card\n")
    assert described("2").count("## Model card") == 1


def test_the_history_of_a_model(finished_run: Record) -> None:
    """Each version has a row: aliases, run, who judged it, what became of it; newest first."""
    runs = [finished_run(HALF), finished_run(HALF), finished_run(RIGHT)]
    promote(open_store(), runs[0], MODEL)
    assert not promote(open_store(), runs[1], MODEL).promoted
    promote(open_store(), runs[2], MODEL)
    rows = [line.split(" | ") for line in history().splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if "---" not in row]
    assert [row[0] for row in rows] == ["| 3 (champion)", "| 2", "| 1 (previous)"]
    assert [row[1] for row in rows] == runs[::-1]
    assert [row[4].split(" on ")[0] for row in rows] == [
        "promoted",
        "refused",
        "promoted; replaced by 3",
    ]
    rollback(open_store(), MODEL)
    assert "rolled back; gave way to 1 on " in history()
    assert "| 1 (champion) |" in history()


def test_a_description_within_its_limit() -> None:
    """However much people wrote above, the whole fits."""
    text = beside("x" * 9000, "## Ours", lambda room: "y" * room)
    assert len(text) == LONGEST
    assert text.splitlines()[2] == "## Ours"


def test_cells_stay_in_their_column() -> None:
    """Bars and line breaks of a cell are none of the table's."""
    assert table(["a", "b"], [["1 | 2", "3\n4"]]).splitlines()[2] == "| 1 \\| 2 | 3 4 |"
