"""`ni train auto`: what is tried and chosen, and that the test part is met once, at the end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pictured import NI, TEXT

from ni_platform.auto.candidates import (
    CANDIDATES,
    FALLBACK,
    candidates_for,
    default_candidates,
    predictions_worth,
)
from ni_platform.auto.search import train_auto
from ni_platform.auto.verdict import Yardstick, concern_of_test, concerns, decision
from ni_platform.cli.auto import budget_seconds
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment import train
from ni_platform.experiment_config import ExperimentConfig, Pretraining, load_experiment
from ni_platform.metrics.choice import Choice
from ni_platform.metrics.intervals import Estimate
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.losses import LossConfig
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.opened import OpenedExperiment, open_experiment
from ni_platform.registry.promotion import promote
from ni_platform.tracking.run_queries import (
    list_runs,
    read_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.store import open_store
from ni_platform.training.config import TrainingConfig
from tests.command import ni
from tests.figures import figures

QUICK = EvaluationConfig(replicates=50)
GLM = ExperimentConfig(name="tests.glm", model=TabularConfig(), evaluation=QUICK)
BLIND = replace(GLM, name="tests.blind", model=TabularConfig(text=None, attributes=None))
RANKER = ExperimentConfig(
    name="tests.ranker",
    model=GaussianProcessConfig(text=TEXT, attributes=OneHotAttributes()),
    evaluation=QUICK,
)
NETWORK = ExperimentConfig(
    name="tests.network",
    model=replace(NI, image=None),
    training=TrainingConfig(epochs=1, batch_size=64),
    evaluation=QUICK,
)
WITHIN = Yardstick(metric="pairwise_within", clusters=100)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        """Return the time, which passes by a tick with each look."""
        self.now += self.tick
        return self.now


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    """Planted contents in 60 A/B tests."""
    folder = tmp_path_factory.mktemp("planted") / "data"
    make_synthetic(folder, tests=60, domains=4, image_size=32)
    return str(folder)


def children(store, run_id: str) -> dict:
    """The candidates' runs by name."""
    experiment = store.client.get_run(run_id).info.experiment_id
    runs = store.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return {run.info.run_name: run for run in runs}


def test_the_run_is_that_of_the_chosen_model(ni_home, data):
    """It holds what `ni train` of that experiment records, and can be promoted."""
    store = open_store()
    found = train_auto(store, data, experiments=[BLIND, GLM, RANKER])
    by_name = {each.name: each for each in found.candidates}
    (chosen,) = (each for each in found.candidates if each.outcome == "chosen")
    assert set(by_name) == {"tests.blind", "tests.glm", "tests.ranker"}
    run = read_run(store, found.run.run_id)
    config = yaml.safe_load(read_artifact(store, run.run_id, "config.yaml"))
    assert config["name"] == chosen.name == run.tags["ni.experiment"]
    alone = train(store, open_experiment(next(c for c in (BLIND, GLM, RANKER)
                                              if c.name == chosen.name), data))  # fmt: skip
    expected = read_run(store, alone.run_id)
    for name in ("ni.config_fingerprint", "ni.splits_fingerprint", "ni.checks", "ni.level"):
        assert run.tags[name] == expected.tags[name]
    for name in ("test/rmse", "validation/rmse", "test/rmse_vs_glm"):
        assert run.metrics[name] == pytest.approx(expected.metrics[name])
    assert chosen.validation.value == run.metrics[f"validation/{found.yardstick.metric}"]
    for path in ("splits.parquet", "predictions/test.parquet", "predictions/validation.parquet"):
        assert len(read_table_artifact(store, run.run_id, path)) == len(
            read_table_artifact(store, alone.run_id, path)
        )
    tried = pd.read_csv(io.BytesIO(read_artifact(store, run.run_id, "auto/candidates.csv")))
    assert set(tried["candidate"]) == set(by_name)
    assert promote(store, run.run_id, "auto").gates
    assert list_runs(store)["run_id"].tolist().count(run.run_id) == 1


def test_the_run_of_a_ranker_says_what_its_fitting_found(ni_home, data):
    """Tags and metrics are those that the same ranker has when it is trained alone."""
    text = replace(TEXT, layers="auto")
    config = replace(RANKER, model=replace(RANKER.model, text=text))
    store = open_store()
    found = train_auto(store, data, experiments=[config])
    run = read_run(store, found.run.run_id)
    alone = read_run(store, train(store, open_experiment(config, data)).run_id)
    assert run.tags["ni.layers.text"] == alone.tags["ni.layers.text"] == "(1,)"
    candidate = children(store, run.run_id)["tests.ranker"].info.run_id
    chosen, same, kept = (figures(store, each) for each in (run.run_id, alone.run_id, candidate))
    assert {name for name in chosen if name.startswith("kernel/")}
    assert set(chosen) == set(same)
    for name, value in same.items():
        if name.startswith("kernel/"):
            assert chosen[name] == kept[name] == pytest.approx(value, rel=1e-3)


def test_no_candidate_meets_the_test_part(ni_home, data, tmp_path):
    """Other outcomes of the test part change neither what candidates show nor which is chosen."""
    store, dataset = open_store(), Dataset.open(data)
    splits = open_experiment(GLM, data).splits
    contents, test = dataset.contents.copy(), splits.rows("test")
    clicks = dataset.manifest.target.clicks
    contents.loc[test, clicks] = dataset.impressions[test] - dataset.clicks[test]
    pictures = {name: Path(data) / "images" / name for name in contents["image"].dropna()}
    manifest = replace(dataset.manifest, images="images")
    other = write_dataset(tmp_path / "other", manifest, contents, pictures)
    found = [
        train_auto(store, root, experiments=[GLM, RANKER], allow_failed_checks=True)
        for root in (data, other.root)
    ]
    for one, two in zip(*(each.candidates for each in found)):
        assert (one.name, one.outcome) == (two.name, two.outcome)
        assert one.validation.value == pytest.approx(two.validation.value)
    assert found[0].run.metrics["test"]["rmse"] != found[1].run.metrics["test"]["rmse"]
    for run in children(store, found[0].run.run_id).values():
        assert run.info.status == "FINISHED"
        if run.info.run_name != "glm":  # the reference beside the chosen model
            known = set(run.data.metrics) | set(figures(store, run.info.run_id))
            assert {name.partition("/")[0] for name in known} <= {"validation", "seconds", "kernel"}
            stored = {file.path for file in store.client.list_artifacts(run.info.run_id)}
            assert stored <= {"metrics.parquet", "metrics.json"}


@pytest.mark.slow
def test_a_network_meets_the_test_part_by_its_saved_model(ni_home, data, two_cpus):
    """Its predictions are those that training gives, though no worker was told of these rows."""
    store = open_store()
    found = train_auto(store, data, experiments=[NETWORK])
    assert found.decision == "tests.network was the only one tried."
    alone = train(store, open_experiment(NETWORK, data))
    mine, expected = (
        read_table_artifact(store, run, "predictions/test.parquet").set_index("content_id")
        for run in (found.run.run_id, alone.run_id)
    )
    assert mine["prediction"].to_numpy() == pytest.approx(
        expected.loc[mine.index, "prediction"].to_numpy(), rel=1e-2
    )
    assert read_run(store, found.run.run_id).tags["ni.device"]


def test_when_the_time_is_up(ni_home, data):
    """What has begun ends, what has not is left out and named; the first is tried in any case."""
    clock = Clock()

    def on_event(event) -> None:
        clock.now += 1000 * str(event).startswith("candidate 2")

    found = train_auto(
        open_store(), data, budget=500, experiments=[BLIND, GLM, RANKER], clock=clock,
        on_event=on_event,
    )  # fmt: skip
    assert {each.name: each.outcome for each in found.candidates}["tests.ranker"] == (
        "left out: the time was up"
    )
    assert {each.name: each.seconds for each in found.candidates}["tests.glm"] == 0
    assert len([each for each in found.candidates if each.validation is not None]) == 2


def test_what_would_clearly_not_fit_is_not_begun(ni_home, data):
    """A thousand epochs, measured by a few predictions of a second each."""
    long = replace(NETWORK, training=replace(NETWORK.training, epochs=1000))
    found = train_auto(
        open_store(), data, budget=60, experiments=[GLM, long], clock=Clock(tick=1.0)
    )
    outcome = {each.name: each.outcome for each in found.candidates}["tests.network"]
    assert outcome.startswith("left out: it needs about ")
    assert " s were left" in outcome


def test_how_much_work_a_candidate_is(data):
    """A step is three predictions; encoders that rest are one; a ranker reads each content once."""
    opened = {
        config.name: OpenedExperiment(
            config=config, dataset=Dataset.open(data), splits=open_experiment(GLM, data).splits
        )
        for config in (
            RANKER,
            NETWORK,
            load_experiment("neural_insights.full_small"),
        )
    }
    rows = {
        part: len(opened["tests.network"].splits.rows(part)) for part in ("train", "validation")
    }
    worth = {name: predictions_worth(each) for name, each in opened.items()}
    assert worth["tests.ranker"] == len(opened["tests.ranker"].dataset)
    assert worth["tests.network"] == 3 * rows["train"] + rows["validation"]
    # The text for two epochs, then four on what both encoders give.
    assert worth["neural_insights.full_small"] == (
        (3 * 2 + 4) * rows["train"] + 6 * rows["validation"]
    )


def test_what_takes_time_is_what_encoders_say_of_themselves(data, monkeypatch):
    """Not what a modality is called: epochs of a light encoder's stage count once it is heavy."""
    stage = TrainingConfig(epochs=5)
    config = replace(NETWORK, pretraining=Pretraining(domain=stage))
    opened = open_experiment(config, data)
    light = predictions_worth(opened)
    monkeypatch.setattr(DomainEncoderConfig, "heavy", True)
    train_rows, judged = (len(opened.splits.rows(part)) for part in ("train", "validation"))
    assert predictions_worth(opened) - light == 3 * 5 * train_rows + 5 * judged


def test_a_candidate_that_fails_stops_no_other(ni_home, data):
    """Its reason stands among the candidates, and its run has failed."""
    broken = replace(RANKER, name="tests.broken")

    def on_event(event) -> None:
        if str(event).startswith("finding how far"):
            raise ConfigError("planted.")

    store = open_store()
    found = train_auto(store, data, experiments=[GLM, broken], on_event=on_event)
    outcome = {each.name: each.outcome for each in found.candidates}
    assert outcome == {"tests.glm": "chosen", "tests.broken": "failed: planted"}
    assert children(store, found.run.run_id)["tests.broken"].info.status == "FAILED"
    with pytest.raises(ConfigError, match="planted"):
        train_auto(store, data, experiments=[broken], on_event=on_event)


def test_only_the_first_is_begun_whatever_the_time(ni_home, data):
    """Also where it failed after the time was up."""
    clock, begun = Clock(), []

    def on_event(event) -> None:
        begun.extend([event] * str(event).startswith("candidate"))
        if str(event).startswith("finding how far"):
            clock.now += 1000
            raise ConfigError("planted.")

    with pytest.raises(ConfigError, match="planted"):
        train_auto(
            open_store(), data, budget=500, experiments=[RANKER, GLM], clock=clock,
            on_event=on_event,
        )  # fmt: skip
    assert begun == ["candidate 1 of 2: tests.ranker"]


def with_validation_shown(data: str, folder: Path, rows: int) -> str:
    """Write a dataset of which only so many contents of the validation part were shown."""
    dataset = Dataset.open(data)
    contents, target = dataset.contents.copy(), dataset.manifest.target
    unseen = open_experiment(GLM, data).splits.rows("validation")[rows:]
    contents.loc[unseen, [target.clicks, target.impressions]] = 0
    pictures = {name: Path(data) / "images" / name for name in contents["image"].dropna()}
    # Arms that nobody saw did not get the planned shares.
    manifest = replace(dataset.manifest, images="images", shares="unknown")
    return write_dataset(folder, manifest, contents, pictures).root


def test_where_no_candidate_can_be_judged_the_simplest_is_chosen(ni_home, data, tmp_path):
    """One validation content has no order: that is said, and nothing is lost."""
    other = with_validation_shown(data, tmp_path / "other", 1)
    found = train_auto(open_store(), other, experiments=[BLIND, GLM], allow_failed_checks=True)
    assert [each.outcome for each in found.candidates] == ["chosen", "tried"]
    assert found.decision == (
        "tests.blind is chosen: it is the simplest, and no figure on validation is defined."
    )
    assert any("No model can be judged on validation" in text for text in found.concerns)


def test_without_validation_nothing_is_begun(ni_home, data):
    """It is told before the first training."""
    config = replace(GLM, splits=replace(GLM.splits, train=0.6, validation=0.0))
    with pytest.raises(DatasetError, match="needs a validation part"):
        train_auto(open_store(), data, experiments=[config], on_event=pytest.fail)


def test_ctrl_c_leaves_what_was_recorded(ni_home, data):
    """The candidate that was done keeps its run; the search's run is killed, without a config."""

    def on_event(event) -> None:
        if str(event).startswith("candidate 2"):
            raise KeyboardInterrupt

    store = open_store()
    with pytest.raises(KeyboardInterrupt):
        train_auto(store, data, experiments=[BLIND, GLM], on_event=on_event)
    (run_id,) = list_runs(store)["run_id"]
    assert read_run(store, run_id).status == "KILLED"
    assert "ni.config_fingerprint" not in read_run(store, run_id).tags
    (done,) = children(store, run_id).values()
    assert done.info.status == "FINISHED"
    assert "validation/rmse" in done.data.metrics


def test_what_is_tried_fits_the_data(data, tmp_path):
    """Each kind once per set of modalities, and with a reason what needs what is not there."""
    dataset = Dataset.open(data)
    lost = replace(NETWORK, model=replace(NI, image=None, text=replace(TEXT, weights="/nowhere",
                                          architecture="hub")))  # fmt: skip
    pairs = replace(
        NETWORK, name="tests.pairs",
        training=replace(NETWORK.training, loss=LossConfig(pairwise=1.0)),
    )  # fmt: skip
    twin = replace(GLM, name="tests.twin")
    opened, left_out = candidates_for(dataset, [GLM, twin, RANKER, lost])
    assert [each.config.name for each in opened] == ["tests.glm", "tests.ranker"]
    assert left_out[0].outcome.startswith("left out: ")
    assert "/nowhere" in left_out[0].outcome

    columns = replace(dataset.manifest.columns, ab_test=None, text=(), image=None, domain=None)
    manifest = replace(dataset.manifest, columns=columns, images=None, assignment=None)
    bare = Dataset(dataset.root, manifest, dataset.contents)
    text = replace(RANKER, name="tests.text", model=GaussianProcessConfig(text=TEXT))
    opened, left_out = candidates_for(bare, [GLM, text, pairs])
    assert [each.config.name for each in opened] == ["tests.glm"]
    reasons = {each.name: each.outcome for each in left_out}
    assert "tests.text reads text, but" in reasons["tests.text"]
    assert "pairs of arms" in reasons["tests.pairs"]
    with pytest.raises(ConfigError, match="something must be tried on"):
        candidates_for(bare, [text])


def test_the_fallback_is_for_where_no_other_network_can_be(data):
    """It comes last and is dropped where another is there; all names are experiments."""
    dataset, fallback = Dataset.open(data), replace(NETWORK, name=FALLBACK)
    tried = {
        len(others): [each.config.name for each in candidates_for(dataset, [*others, fallback])[0]]
        for others in ([GLM, NETWORK], [GLM])
    }
    assert tried == {2: ["tests.glm", "tests.network"], 1: ["tests.glm", FALLBACK]}
    names = [config.name for config in default_candidates()]
    assert names == list(CANDIDATES)
    assert names[-1] == "neural_insights.quickstart"


def outcomes(tests: int, arms: int, alone: int) -> pd.DataFrame:
    """A table of outcomes; `alone` contents are of no A/B test."""
    size = tests * arms + alone
    labels = [f"t{row // arms}" for row in range(tests * arms)] + [None] * alone
    return pd.DataFrame(
        {
            "ab_test": labels, "group": np.arange(size),
            "content_key": [str(row) for row in range(size)],
            "clicks": np.arange(size) % 7, "impressions": 100.0,
            "success_rate": np.arange(size) % 7 / 100,
        }
    )  # fmt: skip


def test_what_candidates_are_compared_by():
    """Pairs within tests where most contents have one; twins to a model are left out."""
    table = outcomes(tests=30, arms=2, alone=10)
    assert Yardstick.of(table) == Yardstick(metric=WITHIN.metric, clusters=30)
    table.loc[1, "content_key"] = "0"
    assert Yardstick.of(table).metric == "pairwise_within_distinct"
    assert Yardstick.of(outcomes(3, 2, 50)) == Yardstick(metric="spearman", clusters=53)


def test_what_is_said_of_the_choice():
    """Which rule decided, with its figures."""
    names, figures = ["glm", "net"], [Estimate(0.55), Estimate(0.56)]

    def choice(chosen: int, behind: float, error: float) -> Choice:
        return Choice(
            metric=WITHIN.metric, chosen=chosen, best=1, behind=(behind, 0.0),
            standard_errors=(error, 0.0),
        )  # fmt: skip

    assert decision(choice(0, 0.01, 0.02), names, figures) == (
        "glm is chosen: net looks better on validation by 0.010, but that is within the luck of "
        "the draw (one standard error of the difference is 0.020), and the simpler one is kept."
    )
    assert decision(choice(1, 0.01, 0.002), names, figures) == (
        "net is chosen: it is the best on validation (0.560), and what is simpler is behind by "
        "more than luck: glm by 0.010 (standard error 0.002)."
    )
    assert decision(choice(0, 0.01, np.nan), names, figures) == (
        "glm is chosen: net looks better on validation by 0.010, but whether that is luck cannot "
        "be told from this validation part, and the simpler one is kept."
    )
    assert decision(choice(1, np.nan, np.nan), names, figures) == (
        "net is chosen: it is the best on validation (0.560), and no figure is defined for glm."
    )


@pytest.mark.parametrize(
    ("figures", "clusters", "ceiling", "words"),
    [
        ({"glm": (0.55, 0.52), "net": (0.7, 0.65)}, 100, 0.8, []),
        ({"glm": (0.55, 0.52), "net": (0.7, 0.65)}, 19, 0.8, ["Validation holds 19 A/B tests"]),
        ({"glm": (0.55, 0.52), "net": (0.7, 0.65)}, 100, 0.54, ["only 0.54 of the pairs"]),
        ({"glm": (0.52, 0.5), "net": (0.53, 0.49)}, 100, 0.8, ["No model is shown to be better"]),
    ],
)
def test_when_data_do_not_suffice(figures, clusters, ceiling, words):
    """Each rule by its own words, and nothing where data do suffice."""
    estimates = {name: Estimate(value, low, 1.0) for name, (value, low) in figures.items()}
    yardstick = replace(WITHIN, clusters=clusters)
    found = concerns(yardstick, estimates, "net", ceiling, [])
    assert len(found) == len(words)
    for expected, text in zip(words, found):
        assert expected in text


def test_when_nothing_beats_the_simplest_or_chance_on_test():
    """Both are said, the second of the test part alone."""
    figures = {"glm": Estimate(0.56, 0.53, 0.6), "net": Estimate(0.55, 0.52, 0.6)}
    (text,) = concerns(WITHIN, figures, "glm", 0.8, ["ranker"])
    assert "No model beat glm" in text
    assert text.endswith("Not tried: ranker.")
    low, high = Estimate(0.51, 0.48, 0.54), Estimate(0.55, 0.52, 0.58)
    assert (
        "do not act on its predictions"
        in concern_of_test(WITHIN, {"test": {WITHIN.metric: low}})[0]
    )
    assert concern_of_test(WITHIN, {"test": {WITHIN.metric: high}}) == []
    assert "nan" not in concern_of_test(WITHIN, {"test": {WITHIN.metric: Estimate(0.51)}})[0]


def test_the_command(ni_home, data, monkeypatch):
    """It ends with what was tried and why, says what does not suffice, and exits with 0."""
    monkeypatch.setattr("ni_platform.auto.search.default_candidates", lambda: [BLIND, GLM])
    ended = ni("train", "auto", "--data", data, "--budget", "90s", "--json")
    assert ended.code == 0, ended.stderr
    assert "is chosen" in ended.stdout
    assert "The data do not suffice: Validation holds" in ended.stdout
    assert [each["name"] for each in ended.json["auto"]["candidates"]] == [
        "tests.blind", "tests.glm",
    ]  # fmt: skip
    tags = read_run(open_store(), ended.json["run_id"]).tags
    assert tags["ni.auto"] == ended.json["auto"]["decision"]
    assert tags["ni.auto.concerns"].splitlines() == ended.json["auto"]["concerns"]
    assert tags["mlflow.note.content"].startswith(tags["ni.auto"])


def test_a_glm_is_not_compared_with_itself(ni_home, data):
    """Of another model the table of changes is printed."""
    shown = {
        name: "Against a GLM" in ni("train", name, "--data", data).stdout
        for name in ("baselines.glm", "baselines.linear")
    }
    assert shown == {"baselines.glm": False, "baselines.linear": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["auto"], "a dataset is needed"),
        (["auto", "--data", "d", "--budget", "20"], "write 90s, 20m or 1h"),
        (["auto", "--data", "d", "--budget", "0m"], "above 0"),
        (["auto", "--data", "d", "--set", "model.seed=1"], "auto takes experiments as they are"),
        (["auto", "--data", "d", "--print-config"], "auto takes experiments as they are"),
        (["auto", "--from-run", "r"], "name an EXPERIMENT, or a run"),
        (["baselines.glm", "--data", "d", "--budget", "20m"], "--budget is the time that auto"),
    ],
)
def test_wrong_options(ni_home, words, message):
    """Each is one usage error."""
    ended = ni("train", *words)
    assert ended.code == 2
    assert message in ended.stderr


def test_budgets():
    """Seconds, minutes, hours."""
    assert [budget_seconds(text) for text in ("90s", "20m", "1.5h")] == [90, 1200, 5400]
