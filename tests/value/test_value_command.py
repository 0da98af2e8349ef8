"""`ni value` and `run.value()` on planted tables: what is replayed, recorded and said."""

import numpy as np
import pandas as pd
import pytest

import ni_platform as ni_python
from ni_platform.data.importers.table import import_table
from ni_platform.tracking.run_queries import (
    has_artifact,
    read_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.store import open_store
from tests.command import in_project, ni
from tests.value.planted import world

TESTS = 240


def planted(folder, *, seed=0, assignment="randomised"):
    """Import A/B tests whose arms have a number that tells a part of their rate."""
    arms = world(seed, TESTS, arms=(3, 3), noise=0.2, impressions=(3000, 3300))
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": [f"{seed}-{row}" for row in range(len(arms.test))],
            "test": arms.test,
            "hint": arms.logit,
            "shown": arms.impressions,
            "clicked": arms.clicks,
        }
    )
    # Shares are equal but for chance.
    frame["shown"] = rng.binomial(6200, 0.5, len(frame))
    frame["clicked"] = rng.binomial(frame["shown"], arms.rate)
    frame.to_parquet(folder.with_suffix(".parquet"))
    return import_table(
        folder.with_suffix(".parquet"),
        folder,
        content_id="id",
        ab_test="test",
        assignment=assignment,
        numeric=["hint"],
        impressions="shown",
        clicks="clicked",
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_database):
    """A run of a GLM on planted data in the current folder: the folder and the run's id."""
    folder = tmp_path_factory.mktemp("worth")
    with in_project(folder, empty_database):
        planted(folder / "ads")
        words = ("--data=ads", "--json", "--set=evaluation.replicates=20")
        yield folder, ni("train", "baselines.glm", *words).json["run_id"]


@pytest.fixture(scope="module")
def valued(project):
    """What the command said of the model on its own data."""
    ended = ni("value", project[1], "--data=ads", "--replicates=10", "--json")
    return ended, ended.json


def row(found, policy, traffic):
    """A figure of the command's JSON."""
    rows = found["by_traffic"]
    return next(r for r in rows if (r["policy"], r["traffic"]) == (policy, traffic))


def test_held_out_tests_are_replayed_and_recorded_in_the_models_run(project, valued):
    """Every test of the test part, none of the others; the figures stand in the run."""
    _, found = valued
    assert found["run_id"] == project[1]
    test = read_table_artifact(open_store(), project[1], "predictions/test.parquet")
    model = row(found, "model", 0)
    assert model["tests"] == test["ab_test"].nunique() > 50
    # Of three arms the model's first, by the run's own table.
    rate = test["clicks"] / test["impressions"]
    first = test.groupby("ab_test")["prediction"].idxmax()
    by_hand = rate[first].mean() - rate.groupby(test["ab_test"]).mean().mean()
    assert model["value"] == pytest.approx(1000 * by_hand)
    run = read_run(open_store(), project[1])
    assert has_artifact(open_store(), project[1], "plots/value.png")
    page = read_artifact(open_store(), project[1], "value/report.html").decode()
    assert "without a test, got" in page
    assert "Clicks per 1,000 impressions by traffic of the test" in page
    assert run.metrics["value/model"] == pytest.approx(1000 * by_hand)
    table = read_table_artifact(open_store(), project[1], "value/by_traffic.parquet")
    assert len(table) == len(found["by_traffic"])
    metrics = ni_python.open_run(project[1]).metrics
    combined = metrics[(metrics["slice"] == "value") & (metrics["metric"] == "combined_2000")]
    assert combined["value"].item() == pytest.approx(row(found, "combined", 2000)["value"])


def test_a_prior_that_knows_helps(valued):
    """By validation tests it was learned how far to trust the model, and it was right to."""
    _, found = valued
    assert row(found, "model", 0)["low"] > 0
    assert row(found, "combined_less_winner", 1000)["low"] > 0
    saved = {entry["traffic"]: entry for entry in found["saved"]}
    assert saved[1000]["low"] > 0


def test_it_is_said_in_words_everywhere(project, valued):
    """On the terminal, in the run's description and on the card of its version."""
    ended, found = valued
    tests = row(found, "model", 0)["tests"]
    assert found["sentences"][0].startswith(f"On {tests} held-out A/B tests the model's first")
    assert "clicks per 1,000 impressions" in found["sentences"][0]
    plain = " ".join(ended.stdout.split())
    for text in (*found["sentences"], "uniform test with the model's prior", "hold the winner"):
        assert text in plain
    note = read_run(open_store(), project[1]).tags["mlflow.note.content"]
    assert f"Worth: {found['sentences'][0]}" in note
    assert ni("promote", project[1], "--model=worthy", "--force=for a test").code == 0
    card = open_store().client.get_model_version("worthy", "1").description
    assert f"### Worth on tests that happened\n{found['sentences'][0]}" in card


def test_another_dataset_has_a_run_of_its_own(project, valued):
    """The prior is that of the validation tests which the model's run recorded."""
    planted(project[0] / "more", seed=5)
    found = ni_python.open_run(project[1]).value("more", replicates=5)
    assert found.run_id != project[1]
    assert read_run(open_store(), found.run_id).tags["ni.valued_run"] == project[1]
    at_once = found.by_traffic.set_index(["traffic", "policy"]).loc[(0, "model")]
    assert at_once["tests"] == TESTS
    assert found.valued.prior.tests == 24
    assert "On 240 held-out A/B tests" in repr(found)
    assert "data:image/png" in found._repr_html_()
    assert {"k", "share", "lost"} <= set(found.top)
    assert {"needed", "saved", "most"} <= set(found.saved)


def test_tests_that_prove_nothing_are_refused(project):
    """With a remedy, and without a run that failed."""
    planted(project[0] / "delivered", seed=6, assignment="platform")
    ended = ni("value", project[1], "--data=delivered")
    assert ended.code == 1
    assert "judged by randomised A/B tests" in ended.stderr
    assert "ni data check" in ended.stderr


def test_a_model_that_learned_from_validation_has_no_prior(project):
    """Nothing shows how far to trust it; what needs no prior is told all the same."""
    words = ("--data=ads", "--json", "--set=evaluation.replicates=20")
    run_id = ni("train", "baselines.glm", *words, "--set=train_on_validation=true").json["run_id"]
    found = ni("value", run_id, "--data=ads", "--replicates=2", "--json").json
    assert row(found, "model", 0)["low"] > 0
    assert row(found, "winner", 1000)["low"] > 0
    assert row(found, "combined", 1000)["value"] is None
    assert found["saved"] == []
    assert "fewer than 5 validation A/B tests" in found["sentences"][-1]


def test_what_the_viewers_of_a_test_got_stands_below_its_policy(project, valued):
    """Both rows are called the same, so that only the place tells them apart."""
    lines = [line for line in valued[0].stdout.splitlines() if "Thompson" in line or "own" in line]
    names = [line.split("  ")[1].strip() or line.split("  ")[2].strip() for line in lines[:4]]
    assert names == [
        "Thompson sampling",
        "its own viewers, during the test",
        "Thompson sampling with the model's prior",
        "its own viewers, during the test",
    ]
