"""The learning curve: whole tests in nested shares, a slope, and what it foretells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pictured import TEXT

from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, list_tables
from ni_platform.metrics.intervals import Draws, Estimate
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.opened import experiment_splits, open_experiment
from ni_platform.tables.curve import gains_in_words, needed_in_words, slope
from ni_platform.tables.paper_table import load_table
from ni_platform.tables.run import run_table
from ni_platform.tracking.run_queries import read_run, read_table_artifact
from ni_platform.tracking.store import open_store
from tests.command import ni

GLM = ExperimentConfig(
    name="tests.glm", model=TabularConfig(), evaluation=EvaluationConfig(replicates=10)
)
SHARES = (0.125, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Planted contents in 80 A/B tests."""
    folder = tmp_path_factory.mktemp("planted") / "data"
    make_synthetic(folder, tests=80, domains=4, image_size=32)
    return str(folder)


def test_shares_hold_whole_tests_and_lie_within_each_other(data):
    """The other parts stay as they are; what is not trained on belongs to none."""
    dataset = Dataset.open(data)
    every = experiment_splits(GLM, dataset)
    before: set[str] = set()
    for share in SHARES:
        splits = experiment_splits(replace(GLM, train_share=share), dataset)
        for part in ("validation", "in_domain", "out_of_domain"):
            assert np.array_equal(splits.rows(part), every.rows(part))
        tests = set(dataset.ab_test.iloc[splits.rows("train")])
        rows = np.flatnonzero(dataset.ab_test.isin(tests))
        assert np.array_equal(rows, splits.rows("train"))
        assert before < tests
        largest = np.bincount(every.group[every.rows("train")]).max()
        assert len(rows) == pytest.approx(share * len(every.rows("train")), abs=largest / 2)
        before = tests
    assert splits.fingerprint() == every.fingerprint()
    one = experiment_splits(replace(GLM, train_share=1e-9), dataset).rows("train")
    assert len(set(every.group[one])) == 1
    with pytest.raises(ConfigError, match=r"train_share must be in \(0, 1\], but is 0"):
        replace(GLM, train_share=0.0)


def test_the_slope_of_a_line():
    """Figures that rise by 0.02 per doubling; half of the replicates by 0.01, half by 0.03."""
    x = np.array([-3.0, -2.0, -1.0, 0.0])
    per_replicate = np.array([0.02, *[0.01] * 50, *[0.03] * 50])
    draws = [Draws(0.6 + per_replicate * at, clusters=1000) for at in x]
    found = slope(x, draws)
    assert (found.value, found.low, found.high) == pytest.approx((0.02, 0.01, 0.03))
    # Least squares by hand: x - mean is -1.5, -0.5, 0.5, 1.5, its squares add up to 5.
    uneven = [Draws(np.array([value]), clusters=1000) for value in (0.5, 0.5, 0.6, 0.6)]
    assert slope(x, uneven).value == pytest.approx((0.05 + 0.15) / 5)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        ((0.01, 0.005, 0.02), "about 2,000 A/B tests to train on, in place of 1,000 (by the "
                              "interval 1,400 to 4,000)."),
        ((0.01, -0.01, 0.02), "(by the interval 1,400 at least, and it may be that more do not "
                              "help)."),
        ((-0.01, -0.02, 0.01), "no gain seen: more A/B tests are not shown to help."),
        ((float("nan"),) * 3, "no gain seen"),
        ((0.0005, 0.0001, 0.02), "about 1,024,000 and more A/B tests"),
        ((0.01, float("nan"), float("nan")), "how sure that is cannot be told."),
    ],
)  # fmt: skip
def test_what_a_point_more_takes(gain, words):
    """0.01 per doubling: twice the tests; at 0.02 the root of two, at 0.005 four times."""
    assert words in needed_in_words(Estimate(*gain), 1000, "A/B tests")


def test_the_table(data, ni_home, tmp_path):
    """Each point is a run; a model of `ni train` is its last one; the gain stands in the report."""
    store, dataset = open_store(), Dataset.open(data)
    base = replace(GLM, name="tests.ranker", model=GaussianProcessConfig(text=TEXT, seed=1))
    table = load_table("learning_curve", dataset, base)
    alone = train(store, open_experiment(base, data))
    options = {"seeds": (1,), "budget": 0.5, "replicates": 20}  # neither is for a process to refuse
    measured = run_table(store, table, data, output=str(tmp_path / "out"), **options)
    labels = ("1/8", "1/4", "1/2", "all")
    assert [(row.row.group, row.row.label) for row in measured.rows] == [
        (model, label) for model in ("GLM", "tests.ranker") for label in labels
    ]
    assert measured.rows[-1].runs == (alone.run_id,)
    for row in measured.rows:
        (run,) = row.runs
        parts = read_table_artifact(store, run, "splits.parquet")
        assert (parts["part"] == "train").sum() > 0
        own = dataset.ab_test.to_numpy()[(parts["part"] == "train").to_numpy()]
        assert len(set(own)) == table.curve.sizes[row.row.config.train_share]
        assert set(row.figures) == {"pairs in the right order", "noise ceiling"}
    prints = {read_run(store, row.runs[0]).tags["ni.splits_fingerprint"] for row in measured.rows}
    assert len(prints) == 4
    figures = [row.figures["pairs in the right order"].value for row in measured.rows[:4]]
    (glm, _) = measured.gains
    assert glm.per_doubling.value == pytest.approx(np.polyfit([-3, -2, -1, 0], figures, 1)[0])
    (words, _) = gains_in_words(measured)
    assert words.startswith("GLM: ")
    assert words in (tmp_path / "out" / "table.txt").read_text()
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000


def test_the_command(data, ni_home):
    """It is found by one word, and listed by it."""
    assert "learning_curve" in [name for name, _ in list_tables()]
    ended = ni("table", "learning_curve", "--data", data, "--base", "baselines.linear",
               "--rows", "GLM", "--json")  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert "per doubling of the A/B tests trained on; " in ended.stdout
    assert len(ended.json["rows"]) == 8
