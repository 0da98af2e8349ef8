"""What several benchmarks train on: planted data and the quickstart model on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits, split_dataset
from ni_platform.data.synthetic import make_synthetic
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.training.stages import StageTask
from ni_platform.training.worker import FUSED


def planted(
    folder: Path, tests: int, **training: object
) -> tuple[ExperimentConfig, Dataset, Splits, Scorer]:
    """Draw a dataset, and build the quickstart model for it."""
    config = load_experiment("neural_insights.quickstart")
    config = replace(config, training=replace(config.training, **training))
    dataset = make_synthetic(folder / "data", tests=tests, image_size=96)
    splits = split_dataset(dataset, config.splits)
    scorer = build_scorer(config.model, dataset, splits.rows("train"), 0)
    scorer.save(folder / "initial")
    return config, dataset, splits, scorer


def fused_task(
    folder: Path, config: ExperimentConfig, dataset: Dataset, splits: Splits
) -> StageTask:
    """The stage that trains the whole model, without validation."""
    return StageTask(
        name=FUSED,
        training=config.training,
        dataset=dataset.root,
        scorer=str(folder / "initial"),
        train_rows=splits.rows("train"),
        validation_rows=splits.rows("validation")[:0],
    )
