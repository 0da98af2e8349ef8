"""MLflow's pages as its users meet them, in a real browser on a real server.

Pictures of every page lie in `$CI_ARTIFACTS` (else `.ni/test-artifacts`), folder `mlflow`.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from ni_platform.comparison import compare_runs, page_of
from ni_platform.experiment_config import load_experiment
from ni_platform.registry.promotion import promote
from ni_platform.tracking.address import page, ui_command
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.store import open_store
from ni_platform.tracking.trial_records import TrialMetric, TrialRecords, TrialUpdate
from ni_platform.tracking.views import experiment_page
from ni_platform.tuning.results.report import record_report, report_sweep
from tests.browser import CHROMIUM, Browser, wait_for
from tests.command import ni
from tests.tuning.sweeps import trial_events, write_sweep

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ROOT = Path(__file__).parents[1]
PICTURES = Path(os.environ.get("CI_ARTIFACTS", ROOT / ".ni" / "test-artifacts")) / "mlflow"
SECONDS = 300
"""A page of MLflow's is slow to begin with, and the more so beside other tests."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Three models of one dataset, the first of them champion, and a sweep of 20 trials."""
    home = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NI_HOME", str(home / ".ni"))
        patch.chdir(home)
        ni("data", "synthesize", "ads", "--tests=60", "--image-size=32")
        found = {}
        for estimator in ("glm", "linear", "xgboost"):
            trained = ni("train", f"baselines.{estimator}", "--data=ads", "--json")
            found[estimator] = trained.json["run_id"]
        promote(open_store(), found["glm"], "ads")
        found["sweep"] = sweep(home)
        yield found


def sweep(home: Path) -> str:
    """Write a sweep's log and trials as its driver does, and its report."""
    experiment = load_experiment("neural_insights.quickstart")
    rates = {number: 0.5 - 0.01 * number for number in range(20)}
    events = [
        event
        for number, rate in rates.items()
        for event in trial_events(number, [rate], parameters={"rate": rate})
    ]
    run_id = write_sweep(experiment, str(home / "ads"), events).read()[1]
    TrialRecords.of(open_store(), run_id).write(
        [
            TrialUpdate(
                number=number,
                started=1e9 + number,
                ended=1e9 + number + 1,
                status="FINISHED",
                parameters={"rate": rate},
                tags={"ni.status": "complete"},
                metrics=[TrialMetric(name="objective", value=rate, step=0, time=1e9)],
            )
            for number, rate in rates.items()
        ]
    )
    record_report(open_store(), report_sweep("planted"))
    return run_id


@pytest.fixture(scope="module")
def browser(runs, tmp_path_factory) -> Iterator[Browser]:
    """A browser on the server that `ni ui` starts, at the port that printed links name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [*shlex.split(ui_command()), "--host", "127.0.0.1", "--port", str(port)]
    log = (tmp_path_factory.mktemp("server") / "log").open("w")
    server = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    opened = Browser(tmp_path_factory.mktemp("profile"), width=1900, height=1300)
    opened.root = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(opened.root), SECONDS, "MLflow's server")
        yield opened
    finally:
        opened.close()
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def answers(address: str) -> bool:
    """Whether a server is there."""
    try:
        with urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def shown(browser: Browser, address: str, *words: str) -> str:
    """Open a page that `address` names, wait until it shows the words, and return its text."""
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=browser.root + address[address.index("/#/") :])
    text = "(document.body ? document.body.innerText : '')"
    for word in words:
        browser.wait(f"{text}.includes({json.dumps(word)})", SECONDS)
    return browser.evaluate(text)


def test_the_list_of_runs_compares_models(browser, runs):
    """The saved view shows the dataset and the metrics that people compare; no GenAI menu."""
    experiment = read_run(open_store(), runs["glm"]).experiment_id
    text = shown(browser, experiment_page(experiment), "baselines.xgboost", "Compare models")
    browser.screenshot(PICTURES / "runs.png")
    assert "test/pairwise_within" in text
    assert "synthetic/train" in text
    assert "Model registry" in text
    assert "Prompts" not in text


def test_charts_of_three_runs_can_be_read(browser, runs):
    """A run has few metrics, and their charts stand in groups by slice."""
    experiment = read_run(open_store(), runs["glm"]).experiment_id
    for name in ("glm", "linear", "xgboost"):
        assert 10 < len(read_run(open_store(), runs[name]).metrics) <= 40
    address = experiment_page(experiment).replace("viewStateShareKey=ni", "compareRunsMode=CHART")
    shown(browser, address, "test/pairwise_within", "Add chart")
    browser.screenshot(PICTURES / "charts.png")


def test_a_run_is_described(browser, runs):
    """What was trained on what, how good it is, and what to do next."""
    run = read_run(open_store(), runs["glm"])
    address = page(f"experiments/{run.experiment_id}/runs/{run.run_id}")
    text = shown(browser, address, "trained on", "noise ceiling", f"ni promote {run.run_id}")
    browser.screenshot(PICTURES / "run.png")
    assert "A/B tests" in text


def test_the_models_tab_compares_versions(browser, runs):
    """A model has the metrics of its run, by the dataset that they were measured on."""
    run = read_run(open_store(), runs["linear"])
    address = page(f"experiments/{run.experiment_id}/models")
    shown(browser, address, "baselines.linear", "Ready")
    browser.screenshot(PICTURES / "models.png")
    model = open_store().client.get_logged_model(run.model_uri.removeprefix("models:/"))
    linked = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics}
    assert linked["test/rmse"] == (run.metrics["test/rmse"], "synthetic/test")
    assert linked["validation/rmse"][1] == "synthetic/validation"


def test_runs_are_compared_by_the_printed_link(browser, runs):
    """`ni compare` names MLflow's page of just these runs."""
    chosen = compare_runs(open_store(), [runs["glm"], runs["xgboost"]])
    text = shown(browser, page_of(open_store(), chosen), "Comparing 2 Runs", "baselines.glm")
    browser.screenshot(PICTURES / "compare.png")
    assert "baselines.linear" not in text


def test_a_sweep_tells_its_best(browser, runs):
    """The parent says which trial is best and what matters; its trials are nested below it."""
    run = read_run(open_store(), runs["sweep"])
    address = page(f"experiments/{run.experiment_id}/runs/{run.run_id}")
    words = ("Best is trial 19", "share of importance", "ni sweep promote planted")
    text = shown(browser, address, *words)
    browser.screenshot(PICTURES / "sweep.png")
    assert "20 of 20 trials" in text


def test_a_version_has_a_model_card(browser, runs):
    """Its page says what it is for, what it was judged on, and how it is loaded."""
    text = shown(browser, page("models/ads/versions/1"), "champion", "Model card")
    browser.screenshot(PICTURES / "version.png")
    assert "Intended use" in text
    assert "noise ceiling" in text
