"""What `ni train auto` tries on a dataset, from cheap to dear, and how long each would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import TEST_PARTS
from ni_platform.errors import ConfigError, WeightsError, clause
from ni_platform.experiment_config import ExperimentConfig, load_experiment
from ni_platform.fitting import reach_weights
from ni_platform.metrics.intervals import Estimate
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.scorer import chosen_device
from ni_platform.opened import OpenedExperiment, experiment_splits, fitted_to

CANDIDATES = (
    "baselines.glm",
    "baselines.xgboost",
    "ranker.text_small",
    "ranker.full_small",
    "neural_insights.text_small",
    "neural_insights.full_small",
    "neural_insights.quickstart",
)
"""The simplest first."""
FALLBACK = "neural_insights.quickstart"
"""Tried only where no other network can be: it needs no pretrained weights."""
_PROBE = 64
"""Rows that are predicted to measure how long one takes."""
_REPEATS = 3
"""Measurements, of which the quickest counts: other work on the machine slows down all others."""
_BACKWARD = 3
"""Forward passes that a step of training takes as long as."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One experiment that was thought of, and what became of it."""

    name: str
    outcome: str
    """`chosen`, `tried`, or why it was not."""
    seconds: float | None = None
    """What training and judging it took."""
    validation: Estimate | None = None
    """The metric that the choice was made by."""


def default_candidates() -> list[ExperimentConfig]:
    """Return the experiments of `CANDIDATES`."""
    return [load_experiment(name) for name in CANDIDATES]


def candidates_for(
    dataset: Dataset, configs: Sequence[ExperimentConfig]
) -> tuple[list[OpenedExperiment], list[Candidate]]:
    """Open what can be tried on a dataset, in the order of `configs`; and say what cannot and why.

    All have the same parts.

    Raises:
        ConfigError: Nothing can be tried.
        DatasetError: A part has no content that was shown.

    """
    possible, left_out = fitting(dataset, configs)
    splits = experiment_splits(possible[0], dataset, chosen_by_validation=True)
    return [OpenedExperiment(config=c, dataset=dataset, splits=splits) for c in possible], left_out


def fitting(
    dataset: Dataset, configs: Sequence[ExperimentConfig]
) -> tuple[list[ExperimentConfig], list[Candidate]]:
    """Return what can be tried on a dataset, in the order of `configs`, and what cannot and why.

    Of experiments of one kind that read the same modalities only the first is tried.

    Raises:
        ConfigError: Nothing can be tried.

    """
    possible: list[ExperimentConfig] = []
    left_out: list[Candidate] = []
    seen = set()
    for config in configs:
        if config.name == FALLBACK and any(_is_network(other) for other in possible):
            continue
        try:
            config = fitted_to(config, dataset)
            reach_weights([config])
        except (ConfigError, WeightsError) as error:
            left_out.append(Candidate(name=config.name, outcome=f"left out: {clause(error)}"))
            continue
        if config.training.loss.needs_whole_tests and not dataset.ab_test.notna().any():
            outcome = "left out: it learns from pairs of arms of one A/B test, and there are none"
            left_out.append(Candidate(name=config.name, outcome=outcome))
            continue
        estimator = getattr(config.model, "estimator", None)
        same = (config.model.kind, estimator, *config.model.modalities)
        if same not in seen:
            seen.add(same)
            possible.append(config)
    if not possible:
        raise ConfigError(
            f"something must be tried on {dataset.root}, but "
            + "; ".join(f"{each.name} is {each.outcome}" for each in left_out)
        )
    return possible, left_out


def without_test(experiment: OpenedExperiment) -> OpenedExperiment:
    """Return an experiment that has no test part, so that nothing can look at it."""
    splits = experiment.splits
    return replace(experiment, splits=splits.without(np.isin(splits.part, TEST_PARTS)))


def estimated_seconds(experiment: OpenedExperiment, clock: Callable[[], float]) -> float:
    """Return about how long training would take on this machine, within a factor of two or so.

    A few rows are predicted by the untrained network, and a training step taken for three
    predictions. 0 for a model that is fitted to a table of features: that is not known before.
    """
    if isinstance(experiment.config.model, TabularConfig):
        return 0.0
    scorer = experiment.sketched().build_scorer()
    scorer.model.to(chosen_device())
    rows = experiment.splits.rows("train")[:_PROBE]
    frame = experiment.readable.inputs(rows)
    scorer.predict(frame)  # the first time, caches are cold
    seconds = []
    for _ in range(_REPEATS):
        began = clock()
        scorer.predict(frame)
        seconds.append(clock() - began)
    return min(seconds) / len(rows) * predictions_worth(experiment)


def predictions_worth(experiment: OpenedExperiment) -> int:
    """Return how many rows are predicted in the time that training takes.

    Encoders of a Gaussian process read each content once. Stages before the last one train the
    encoders that a prediction runs together, so that their epochs count once and not by modality.
    """
    config, splits = experiment.config, experiment.splits
    if isinstance(config.model, GaussianProcessConfig):
        return len(experiment.dataset)
    heavy = {name for name, part in config.network.parts.items() if part.heavy}
    stages = config.pretraining.stages
    before = max((stage.epochs for name, stage in stages.items() if name in heavy), default=0)
    last = config.training.epochs
    frozen = bool(heavy) and heavy <= set(config.training.frozen)
    steps = _BACKWARD * before + (last if frozen else _BACKWARD * last)
    judged = (before + last) * len(splits.rows("validation"))
    return steps * len(splits.rows("train")) + judged


def _is_network(config: ExperimentConfig) -> bool:
    return not isinstance(config.model, TabularConfig | GaussianProcessConfig)
