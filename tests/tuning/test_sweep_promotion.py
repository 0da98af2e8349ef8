"""The winner of a sweep: trained again on train and validation, judged once, its luck stated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ni_platform.cli.sweep.promote import command
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import BusyError, ConfigError
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment_config import ExperimentConfig, Pretraining
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.tracking.run_queries import (
    find_runs,
    list_runs,
    read_json_artifact,
    read_run,
    read_table_artifact,
)
from ni_platform.tracking.store import open_store
from ni_platform.training.config import TrainingConfig
from ni_platform.training.events import EpochDone, StageStarted
from ni_platform.tuning.files.validation_predictions import ValidationPredictions, validated_rows
from ni_platform.tuning.results.winner_promotion import promote_winner
from tests.metrics.columns import best_of_many
from tests.tuning.sweeps import trial_events, write_sweep

TABULAR = ExperimentConfig(
    name="planted.tabular",
    model=TabularConfig(estimator="glm"),
    evaluation=EvaluationConfig(replicates=50, glm=False),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Planted contents in four domains."""
    folder = tmp_path_factory.mktemp("planted") / "data"
    make_synthetic(folder, tests=240, domains=4, image_size=32)
    return Dataset.open(folder)


@pytest.fixture(autouse=True)
def home(ni_home, tmp_path) -> Path:
    """A folder with an empty store."""
    return tmp_path


def test_the_best_trial_is_judged_once(dataset):
    """The winner learns from both parts; a second promotion finds its run; its luck is known."""
    folder = write_sweep(
        TABULAR,
        dataset.root,
        [
            *trial_events(0, [0.30], overrides={"model.estimator": "glm"}),
            *trial_events(1, [0.05], status="failed", reason="out of memory"),
            *trial_events(2, [0.20], overrides={"model.estimator": "linear"}),
            *trial_events(3, [0.25], status="pruned"),
        ],
    )
    rows = validated_rows(TABULAR, dataset)
    stored = ValidationPredictions(path=folder.predictions)
    guesses = np.random.default_rng(0).uniform(0, 0.2, (20, len(rows))).astype(np.float32)
    for trial, guess in enumerate(guesses):
        stored.append(trial, guess)

    promotion = promote_winner(open_store(), "planted", "model")

    assert (promotion.winner.trial.number, promotion.winner.trials) == (2, 3)
    assert promotion.gates.promoted
    splits = split_dataset(dataset, TABULAR.splits)
    both = np.sort(np.concatenate([splits.rows("train"), splits.rows("validation")]))
    fitted = TabularRegressor.fit(TabularConfig(estimator="linear"), dataset, both)
    test = splits.rows("test")
    expected = np.sqrt(
        np.mean((fitted.predict(dataset.inputs(test)) - dataset.success_rate[test]) ** 2)
    )
    assert promotion.test.value == pytest.approx(expected)
    assert promotion.test.low < promotion.test.value < promotion.test.high
    assert promotion.shortfall == pytest.approx(expected - 0.20)
    luck = best_of_many(
        "rmse",
        guesses,
        dataset.clicks[rows],
        dataset.impressions[rows],
        ab_test=dataset.ab_test.to_numpy()[rows],
        group=splits.group[rows],
    )
    run = read_run(open_store(), promotion.run_id)
    assert run.metrics["sweep/optimism"] == pytest.approx(luck.optimism)
    assert run.metrics["sweep/validation"] == 0.20
    assert run.tags["ni.sweep"] == "planted"
    assert run.tags["mlflow.parentRunId"] == folder.read()[1]
    assert read_run(open_store(), folder.read()[1]).status == "FINISHED"
    content = read_json_artifact(open_store(), run.run_id, "promotion.json")
    assert content == json.loads((folder.path / "promotion.json").read_text())
    assert (content["trial"], content["optimism"]["trials"]) == (2, 20)

    again = CliRunner().invoke(command, ["planted", "--model", "model", "--json"])
    assert again.exit_code == 0, again.output
    assert "optimism of the best of 20 complete trials" in again.output
    told = json.loads(again.output.splitlines()[-1])
    assert (told["run_id"], told["reused"]) == (run.run_id, True)
    assert told["promotion"]["already_champion"]
    other = promote_winner(open_store(), "planted", "model", trial=3)
    assert (other.winner.rank, other.run_id == run.run_id) == (2, False)
    assert len(list_runs(open_store())) == 2


def test_a_winner_is_promoted_by_one_process_at_a_time(dataset):
    """A second promotion of the same sweep is told which process does it."""
    write_sweep(TABULAR, dataset.root, trial_events(0, [0.1]))

    def again(event):
        promote_winner(open_store(), "planted", "shop")

    with pytest.raises(BusyError, match=r"winner of sweep planted is held by process \d+ of"):
        promote_winner(open_store(), "planted", "shop", on_event=again)


def test_without_stored_predictions_luck_is_not_estimated(dataset):
    """The promotion goes on and says so; a loss is compared by the RMSE beside it."""
    events = trial_events(0, [0.4], objective="loss")
    events[1]["reached"][0]["rmse"] = 0.125
    write_sweep(TABULAR, dataset.root, events, objective="loss")
    promotion = promote_winner(open_store(), "planted", "model")
    assert promotion.optimism == "not estimated: 0 trials left their validation predictions"
    assert (promotion.winner.metric, promotion.winner.validation) == ("rmse", 0.125)
    assert "sweep/optimism" not in read_run(open_store(), promotion.run_id).metrics


def test_only_trials_with_a_result_are_promoted(dataset):
    """The message names the trial's state and those that could be promoted instead."""
    write_sweep(
        TABULAR,
        dataset.root,
        [
            *trial_events(0, [0.3]),
            *trial_events(1, [], status="failed", reason="diverged"),
        ],
    )
    with pytest.raises(ConfigError, match="trial 1 of sweep planted is failed; the best are 0"):
        promote_winner(open_store(), "planted", "model", trial=1)
    with pytest.raises(ConfigError, match="trial 7 of sweep planted is not there"):
        promote_winner(open_store(), "planted", "model", trial=7)
    with pytest.raises(ConfigError, match="there is no sweep 'other'"):
        promote_winner(open_store(), "other", "model")
    assert list_runs(open_store()).empty


def test_a_network_stops_at_its_best_epochs(two_cpus, dataset, tmp_path):
    """Encoder and fusion end at the epochs that validation chose, on all rows but the test's."""
    course = TrainingConfig(
        epochs=4, batch_size=64, decay="linear", early_stopping=1, precision="float32"
    )
    network = ExperimentConfig(
        name="planted.network",
        model=NeuralInsightsConfig(
            domain=DomainEncoderConfig(buckets=16, mlp=MLPConfig(hidden=(8,))),
            attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(8,))),
            regression=MLPConfig(hidden=(8,)),
        ),
        pretraining=Pretraining(domain=replace(course, epochs=2), attributes=course),
        training=course,
        evaluation=TABULAR.evaluation,
    )
    overrides = {"training.learning_rate": 0.005, "model.regression.hidden": [4]}
    folder = write_sweep(
        network, dataset.root, trial_events(0, [0.3, 0.2, 0.25], overrides=overrides)
    )
    encoder = folder.encoders / "stages" / "attributes"
    encoder.mkdir(parents=True)
    history = [{"epoch": float(epoch), "loss": 1.0} for epoch in (1, 2, 3, 4)]
    (encoder / "result.json").write_text(
        json.dumps(
            {
                "name": "attributes",
                "history": history,
                "best_epoch": 3,
                "samples_per_second": 1.0,
            }
        )
    )
    told = []

    promotion = promote_winner(open_store(), "planted", "model", on_event=told.append)

    trained: dict[str, int] = {}
    for event in told:
        if isinstance(event, EpochDone):
            trained[event.stage] = event.epoch
    assert trained == {"domain": 2, "attributes": 3, "fused": 2}
    splits = split_dataset(dataset, network.splits)
    learned = np.isin(splits.part, ["train", "validation"]) & (dataset.impressions > 0)
    contents = {event.contents for event in told if isinstance(event, StageStarted)}
    assert contents == {int(learned.sum())}
    run = read_run(open_store(), promotion.run_id)
    assert run.parameters["training.learning_rate"] == "0.005"
    assert run.parameters["training.epochs"] == "4"
    assert run.parameters["model.regression.hidden"] == "[4]"
    membership = read_table_artifact(open_store(), run.run_id, "splits.parquet")
    assert "validation" not in set(membership["part"])
    assert {gate.name: gate.passed for gate in promotion.gates.gates}["evaluated_on_unseen_test"]
    (child,) = (
        r
        for r in find_runs(open_store(), {"mlflow.parentRunId": run.run_id})
        if r.run_name == "fused"
    )
    assert child.parameters["stop_after"] == "2"
