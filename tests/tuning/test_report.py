"""The report of a sweep, from logs whose content is known."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from PIL import Image

from ni_platform.cli.sweep.report import command
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.tracking.run_queries import read_artifact, read_run
from ni_platform.tracking.store import open_store
from ni_platform.tuning.config import SweepFolder
from ni_platform.tuning.files.trial_log import read_study, read_trials
from ni_platform.tuning.results.plots import completed, importances
from ni_platform.tuning.results.report import record_report, report_sweep
from ni_platform.tuning.results.summary import summarize
from tests.tuning.sweeps import append, trial_events, write_sweep

EXPERIMENT = ExperimentConfig(name="planted.tabular", model=TabularConfig())
DISTRIBUTIONS = {
    "rate": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(["wide", "narrow"]),
    "noise": FloatDistribution(1, 2),
    "on": CategoricalDistribution([True, False]),
    "width": IntDistribution(1, 64),
}
PLOTS = {"history.png", "curves.png", "parallel.png", "slices.png"}


class Page(HTMLParser):
    """What a browser would load, and what it would show."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.texts: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Pictures and what describes them; scripts and style sheets there are not."""
        found = dict(attrs)
        assert tag not in ("script", "link")
        if tag == "img":
            self.sources.append(found["src"])
            self.alts.append(found["alt"])

    def handle_data(self, data):
        """Text between tags."""
        self.texts.append(data)


@pytest.fixture(scope="module", autouse=True)
def home(empty_database, tmp_path_factory) -> Iterator[None]:
    """An empty store for all of these tests."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(empty_database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NI_HOME", str(folder))
        yield


def planted_events(trials: int) -> list:
    """Trials whose objective follows the learning rate alone; every tenth fails, some are stopped.

    The best is the one with the rate nearest to 0.01. `width` is there for kind `wide` only.
    """
    rng = np.random.default_rng(0)
    events = []
    for number in range(trials):
        rate = float(10 ** rng.uniform(-4, 0))
        kind = str(rng.choice(["wide", "narrow"]))
        drawn = {"rate": rate, "kind": kind, "noise": float(rng.uniform(1, 2)), "on": True}
        if kind == "wide":
            drawn["width"] = int(rng.integers(1, 64))
        planted = {"parameters": drawn, "distributions": DISTRIBUTIONS}
        value = 0.1 + 0.1 * (np.log10(rate) + 2) ** 2
        if number % 10 == 3:
            reason = f"loss became nan in epoch {number}" if number % 20 == 3 else "out of memory"
            events += trial_events(number, [], **planted, status="failed", reason=reason)
        else:
            stopped = number % 4 == 0
            values = [value + 0.1, value] + ([] if stopped else [value - 0.01, value + 0.02])
            status = "pruned" if stopped else "complete"
            events += trial_events(number, values, **planted, status=status)
    return events


def test_everything_that_was_planted_stands_in_the_report(tmp_path):
    """Counts, best trials, reasons, table and plots; in the folder, the output and MLflow."""
    folder = write_sweep(EXPERIMENT, "data", planted_events(200), storage=tmp_path)
    report = report_sweep("planted", storage=tmp_path, output=tmp_path / "out")
    record_report(open_store(), report)

    assert report.summary.counts == {"complete": 130, "pruned": 50, "failed": 20, "running": 0}
    assert [(f.trials, f.first) for f in report.summary.failures] == [(10, 3), (10, 13)]
    assert report.summary.seconds == 2000.0  # ten seconds each, one after the other
    assert report.summary.trials_per_hour == pytest.approx(360.0)
    assert next(iter(report.importances)) == "rate"
    assert report.importances["rate"] > 0.7
    assert sum(report.importances.values()) == pytest.approx(1.0)

    table = pd.read_csv(report.folder / "trials.csv")
    assert len(table) == 200
    ended = table[table["status"] != "failed"]
    rates = ended["parameter.rate"]
    shift = np.where(ended["status"] == "complete", 0.09, 0.1)
    assert ended["objective"].to_numpy() == pytest.approx(shift + 0.1 * (np.log10(rates) + 2) ** 2)
    best = table.loc[table["rank"].idxmin()]
    assert best["objective"] == ended["objective"].min()
    assert (best["best_epoch"], best["epochs"], best["seconds"]) == (3, 4, 10.0)
    assert table.loc[table["parameter.kind"] == "narrow", "parameter.width"].isna().all()
    assert table.loc[3, "reason"] == "loss became nan in epoch 3"

    names = {path.name for path in report.folder.iterdir()}
    assert names == PLOTS | {"importances.png", "index.html", "trials.csv"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in names:
        stored = read_artifact(open_store(), folder.read()[1], f"report/{name}")
        assert stored == (report.folder / name).read_bytes()
    assert read_run(open_store(), folder.read()[1]).status == "FINISHED"

    page = Page(report.folder / "index.html")
    assert len(page.sources) == 5
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert all(len(alt) > 20 for alt in page.alts)
    assert f"{best['objective']:.4g}" in page.texts
    assert "loss became nan in epoch 3" in page.texts
    for name in PLOTS:
        with Image.open(report.folder / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn


@pytest.mark.parametrize(
    ("events", "plots", "said"),
    [
        ([], set(), "No trial ended with a result."),
        (
            trial_events(0, [], status="failed", reason="<b>diverged</b>"),
            set(),
            "<b>diverged</b>",
        ),
        (trial_events(0, [0.5, 0.25], parameters={"rate": 0.1, "on": None}), PLOTS, "0.25"),
        (trial_events(0, [0.5, 0.25]), PLOTS - {"parallel.png", "slices.png"}, "0.25"),
        (trial_events(0, [float("nan")], parameters={"rate": 0.1}), set(), "–"),
    ],
    ids=["none", "failed only", "one", "no parameters", "not a number"],
)
def test_small_sweeps_have_a_report(tmp_path, events, plots, said):
    """One trial, none, failures only: the page says what there is."""
    write_sweep(EXPERIMENT, "data", events, storage=tmp_path)
    report = report_sweep("planted", storage=tmp_path)
    assert report.importances is None
    assert {path.name for path in report.folder.glob("*.png")} == plots
    assert said in Page(report.folder / "index.html").texts


def test_a_promotion_stands_in_the_report(tmp_path):
    """What the winner promised and what it kept, once `promotion.json` lies in the folder."""
    folder = write_sweep(EXPERIMENT, "data", trial_events(0, [0.5]), storage=tmp_path)
    content = {
        "trial": 0,
        "rank": 1,
        "trials": 1,
        "run_id": "abc",
        "metric": "rmse",
        "validation": 0.125,
        "test": {"value": 0.25, "low": 0.2, "high": 0.3},
        "in_domain": None,
        "shortfall": 0.125,
        "optimism": {
            "value": 0.0625,
            "trials": 30,
            "corrected": {"value": 0.1875, "low": 0.15, "high": 0.22},
        },
        "promotion": {"promoted": True, "version": "3", "model": "ours"},
    }
    (folder.path / "promotion.json").write_text(json.dumps(content))
    texts = Page(report_sweep("planted", storage=tmp_path).folder / "index.html").texts
    for expected in ("0.125", "0.25", "0.2 to 0.3", "0.0625", "0.15 to 0.22"):
        assert expected in texts
    assert any("run abc. Version 3 of ours is champion." in text for text in texts)


def test_pauses_do_not_count_as_time(tmp_path):
    """From 0 to 10 and from 8 to 16, then one of ten seconds an hour later: 26 seconds."""
    folder = write_sweep(
        EXPERIMENT,
        "data",
        [
            *trial_events(0, [1.0], seconds=10),
            *trial_events(1, [1.0], seconds=8),
            *trial_events(2, [1.0], begun=3600),
        ],
        storage=tmp_path,
    )
    summary = summarize(folder.read()[0], read_trials(folder.log))
    assert summary.seconds == pytest.approx(26)


def study_of(tmp_path: Path, drawn: list[dict], values: list[float], lower_is_better=True) -> Study:
    """Completed trials with these parameters, as the report reads them."""
    events = []
    for number, (parameters, value) in enumerate(zip(drawn, values)):
        planted = {"parameters": parameters, "distributions": DISTRIBUTIONS}
        events += trial_events(number, [value], **planted)
    folder = SweepFolder(path=tmp_path)
    append(folder, events, lower_is_better)
    return read_study(folder.log)


@pytest.mark.parametrize("lower_is_better", [True, False])
@pytest.mark.parametrize("trials", [49, 50])
def test_importances_need_completed_trials(tmp_path, lower_is_better, trials):
    """49 are too few; with 50 the parameter that decides has the largest share."""
    rng = np.random.default_rng(1)
    drawn = [
        {"rate": float(10 ** rng.uniform(-4, 0)), "noise": float(rng.uniform(1, 2))}
        for _ in range(trials)
    ]
    study = study_of(tmp_path, drawn, [p["noise"] for p in drawn], lower_is_better)
    found = importances(study)
    if trials < 50:
        assert found is None
    else:
        assert found["noise"] > 0.7


def test_figures_leave_out_the_worst_of_many(tmp_path):
    """One of forty that diverged; at most so many trials, in their order."""
    values = [float(number) for number in range(39)] + [1e9]
    study = study_of(tmp_path, [{}] * 40, values)
    shown = [t.value for t in completed(study, 100, without_worst=True).trials]
    assert shown == values[:38]
    assert [t.value for t in completed(study, 100).trials] == values
    some = [t.value for t in completed(study, 10).trials]
    assert len(some) == 10
    assert some == sorted(some)


def test_the_command(tmp_path):
    """`ni sweep report` prints the best trials, the failures and where the page is."""
    folder = write_sweep(EXPERIMENT, "data", planted_events(30), storage=tmp_path)
    result = CliRunner().invoke(command, ["planted", "--storage", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert "30 of 30 trials (19 complete, 8 pruned, 3 failed)" in result.output
    assert "out of memory" in result.output
    content = json.loads(result.output.splitlines()[-1])
    assert Path(content["page"]) == folder.path / "report" / "index.html"
    best = re.search(r"^\s*1\s+(\d+)\s", result.output, re.MULTILINE)
    assert best is not None
    assert int(best[1]) == content["best_trial"]
