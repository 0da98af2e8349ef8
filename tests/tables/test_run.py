"""Tables measured for real: rows are runs, and what was trained is not trained again."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ni_platform.cli.main import group
from ni_platform.data.splits import SplitConfig
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import BusyError, ConfigError, WeightsError
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.opened import open_experiment
from ni_platform.tables.paper_table import Column, PaperTable, Row
from ni_platform.tables.report import long_table, order_agreement
from ni_platform.tables.run import run_table
from ni_platform.tracking.run_queries import list_runs, read_artifact, read_run, read_table_artifact
from ni_platform.tracking.store import open_store
from tests.metrics.columns import evaluate


def tabular(estimator: str, **changes) -> ExperimentConfig:
    """An experiment that is fitted in a second."""
    return ExperimentConfig(name="x", model=TabularConfig(estimator=estimator), **changes)


TABLE = PaperTable(
    name="tests.table",
    title="A small table",
    columns=(
        Column(title="rmse", metric="test/rmse"),
        Column(title="change", metric="in_domain/rmse", relative_to="GLM"),
        Column(title="std", metric="test/spearman_std"),
    ),
    rows=(
        Row(label="GLM", config=tabular("glm"), paper={"rmse": 0.3, "change": 0.0}),
        Row(label="trees", config=tabular("xgboost"), paper={"rmse": 0.2, "change": -10.0}),
        Row(label="linear", config=tabular("linear"), paper={"rmse": 0.1}),
    ),
    notes=("A note.",),
    by_domain=("rmse",),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Planted contents in four domains."""
    folder = tmp_path_factory.mktemp("planted") / "data"
    make_synthetic(folder, tests=60, domains=4, image_size=32)
    return str(folder)


@pytest.fixture
def home(ni_home, tmp_path) -> Path:
    """A folder with an empty store."""
    return tmp_path


def test_a_table_is_measured_by_one_process_at_a_time(data, home):
    """A second `ni table` of the same name and data is told which process measures it."""

    def again(event):
        run_table(open_store(), TABLE, data, rows=("linear",), replicates=2)

    with pytest.raises(BusyError, match=rf"Table tests.table is held by process {os.getpid()} of"):
        run_table(open_store(), TABLE, data, rows=("linear",), replicates=2, on_event=again)


def test_figures_rows_and_reuse(data, home):
    """Figures are means over seeds of what each run predicted; nothing is fitted twice."""
    measured = run_table(
        open_store(), TABLE, data, seeds=(0, 1), output=str(home / "out"), replicates=50
    )
    glm, trees, linear = measured.rows
    tables = [
        [read_table_artifact(open_store(), run, "predictions/test.parquet") for run in row.runs]
        for row in (glm, trees)
    ]
    each = [
        [float(np.sqrt(((t.prediction - t.success_rate) ** 2).mean())) for t in own]
        for own in tables
    ]
    assert glm.figures["rmse"].value == pytest.approx(np.mean(each[0]))
    assert trees.figures["rmse"].value == pytest.approx(np.mean(each[1]))
    assert trees.spread["rmse"] == pytest.approx(np.std(each[1], ddof=1))
    assert trees.figures["rmse"].low < trees.figures["rmse"].value < trees.figures["rmse"].high

    inside = [
        np.mean(
            [
                evaluate(t.prediction, t.clicks, t.impressions, replicates=0)["rmse"].value
                for t in (own[own["part"] == "in_domain"] for own in pair)
            ]
        )
        for pair in tables
    ]
    assert trees.figures["change"].value == pytest.approx(100 * (inside[1] / inside[0] - 1))
    assert [column.title for column in measured.columns] == ["rmse", "change"]

    # Each row is a run below the table's, and a table is no run to compare.
    parents = {
        read_run(open_store(), run).tags["mlflow.parentRunId"] for run in (*glm.runs, *linear.runs)
    }
    assert parents == {measured.run_id}
    assert len(list_runs(open_store())) == 6

    files = {path.name for path in (home / "out").iterdir()}
    assert files >= {"table.txt", "table.csv", "table.md", "table.png", "by_domain.csv"}
    stored = pd.read_csv(
        io.BytesIO(read_artifact(open_store(), measured.run_id, "table/table.csv"))
    )
    assert stored["value"].tolist() == pytest.approx(
        long_table(measured)["value"].tolist(), nan_ok=True
    )
    domains = pd.read_csv(home / "out" / "by_domain.csv")
    assert set(domains["model"]) == {"GLM", "trees", "linear"}

    again = run_table(open_store(), TABLE, data, seeds=(1,), rows=("trees",), replicates=0)
    assert [row.row.label for row in again.rows] == ["GLM", "trees"]  # with what it is held against
    assert again.rows[1].runs == (trees.runs[1],)
    assert len(list_runs(open_store())) == 6


def test_a_run_of_ni_train_is_reused(data, home):
    """The same config, trained under another name and judged with a GLM beside, is enough."""
    config = tabular("linear")
    run = train(open_store(), open_experiment(config, data)).run_id
    measured = run_table(open_store(), TABLE, data, rows=("linear",), replicates=0)
    assert measured.rows[-1].runs == (run,)


def test_an_interrupted_table_goes_on(data, home):
    """Ctrl-C in the second row leaves the first; the same call goes on in the same run."""
    seen: list[str] = []

    def interrupt(event) -> None:
        seen.append(str(event))
        if "trees" in seen[-1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_table(open_store(), TABLE, data, replicates=0, on_event=interrupt)
    (first,) = list_runs(open_store())["run_id"]
    table_run = read_run(open_store(), first).tags["mlflow.parentRunId"]
    assert read_run(open_store(), table_run).status == "KILLED"

    measured = run_table(open_store(), TABLE, data, replicates=0)
    assert measured.run_id == table_run
    assert read_run(open_store(), table_run).status == "FINISHED"
    assert measured.rows[0].runs == (first,)
    assert len(list_runs(open_store())) == 3


def test_order_against_the_paper(data, home):
    """Kendall's tau of three rows, worked out from their own order; references do not count."""
    measured = run_table(open_store(), TABLE, data, replicates=0)
    (tau, rows) = order_agreement(measured)["rmse"]
    values = [row.figures["rmse"].value for row in measured.rows]
    pairs = [(0, 1), (0, 2), (1, 2)]  # the paper's figures fall from row to row
    assert tau == pytest.approx(np.mean([1 if values[a] > values[b] else -1 for a, b in pairs]))
    assert rows == 3
    assert "change" not in order_agreement(measured)


def test_few_impressions_are_left_out(data, home):
    """Contents below min_impressions are neither trained on nor evaluated."""
    shown = pd.read_parquet(Path(data) / "contents.parquet")["impressions"]
    least = int(shown.median())
    row = Row(label="GLM", config=tabular("glm", min_impressions=least))
    table = PaperTable(name="tests.few", title="t", columns=TABLE.columns[:1], rows=(row,))
    run = run_table(open_store(), table, data, replicates=0).rows[0].runs[0]
    judged = read_table_artifact(open_store(), run, "predictions/test.parquet")
    assert judged["impressions"].min() >= least
    membership = read_table_artifact(open_store(), run, "splits.parquet")
    assert (membership["part"] == "left_out").sum() == (shown < least).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ("forest",)}, "no row of tests.table contains forest; it has GLM; trees"),
        ({"budget": 0.0}, "budget must be in"),
        ({"seeds": (1, 1)}, "seeds different"),
    ],
)
def test_wrong_options(data, home, options, message):
    """Each is refused before anything is fitted."""
    with pytest.raises(ConfigError, match=message):
        run_table(open_store(), TABLE, data, **options)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (tabular("linear", min_impressions=500), "another split or min_impressions"),
        (tabular("linear", splits=SplitConfig(seed=1)), "another split or min_impressions"),
        (None, "no such row in its group"),
    ],
)
def test_a_change_against_other_contents_is_refused(data, home, other, words):
    """Paired row by row, predictions of different contents would give a figure all the same."""
    rows = [Row(label="GLM", config=tabular("glm"), group="" if other else "elsewhere")]
    rows.append(Row(label="linear", config=other or tabular("linear")))
    columns = (Column(title="change", metric="test/rmse", relative_to="GLM"),)
    table = PaperTable(name="tests.pairs", title="t", columns=columns, rows=tuple(rows))
    with pytest.raises(ConfigError, match=words):
        run_table(open_store(), table, data)
    assert list_runs(open_store()).empty


def test_weights_are_looked_for_before_anything_is_trained(data, home):
    """A row without its pretrained weights stops the table at once."""
    network = load_experiment("neural_insights.text")
    lost = replace(network.model.text, weights="/nowhere/bert")
    row = Row(label="text", config=replace(network, model=replace(network.model, text=lost)))
    table = PaperTable(
        name="tests.lost", title="t", columns=TABLE.columns[:1], rows=(*TABLE.rows[:1], row)
    )
    with pytest.raises(WeightsError, match="/nowhere/bert"):
        run_table(open_store(), table, data)
    assert list_runs(open_store()).empty


def test_the_command(data, home):
    """`ni table` prints the paper's figures beside the measured ones, and lists the tables."""
    runner = CliRunner()
    listed = runner.invoke(group, ["table"])
    assert "m2fn.table7" in listed.output
    arguments = ["table", "m2fn.table7", "--data", data, "--base", "m2fn.small", "--json"]
    result = runner.invoke(group, [*arguments, "--rows", "linear", "--rows", "RBF"])
    assert result.exit_code == 0, result.output
    assert "500+ linear regression" in result.output
    assert "0.239" in result.output
    assert '"row": "SVM (RBF)"' in result.output.splitlines()[-1]
