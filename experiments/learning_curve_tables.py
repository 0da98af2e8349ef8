"""How accuracy grows with the number of A/B tests, for `ni table learning_curve`."""

from __future__ import annotations

from dataclasses import replace

from experiments.baselines import glm
from ni_platform.auto.candidates import default_candidates, fitting
from ni_platform.auto.verdict import Yardstick
from ni_platform.data.dataset import Dataset
from ni_platform.evaluation import outcome_table, split_table
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.opened import experiment_splits
from ni_platform.tables.paper_table import Column, Curve, PaperTable, Row

SHARES = {"1/8": 0.125, "1/4": 0.25, "1/2": 0.5, "all": 1.0}


def learning_curve(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """Accuracy at 1/8, 1/4, 1/2 and all of the training tests: how many more would help."""
    models = _models(dataset, base)
    shared = replace(next(iter(models.values())), train_share=1.0)
    splits = experiment_splits(shared, dataset)
    test = splits.rows("test")
    outcomes = outcome_table(dataset, split_table(dataset, splits).iloc[test], test)
    yardstick = Yardstick.of(outcomes)
    columns = [Column(title=yardstick.label, metric=f"test/{yardstick.metric}")]
    if yardstick.within:
        title = "noise ceiling"
        columns.append(Column(title=title, metric=f"test/{yardstick.ceiling_name}"))
    trained = {
        share: splits.with_train_share(share, shared.splits.seed).rows("train")
        for share in SHARES.values()
    }
    return PaperTable(
        name="learning_curve",
        title="Learning curve",
        columns=tuple(columns),
        rows=tuple(
            Row(label=label, group=model, config=replace(config, train_share=share))
            for model, config in models.items()
            for label, share in SHARES.items()
        ),
        rows_are="model, share of the training tests",
        notes=(
            "A smaller share lies within a larger one, drawn once: what another draw would give is "
            "in no interval. Towards the ceiling curves flatten, so a gain takes the named number "
            "at least.",
        ),
        curve=Curve(
            column=yardstick.label,
            ceiling="noise ceiling" if yardstick.within else None,
            sizes={
                share: dataset.ab_test.iloc[rows].nunique() if yardstick.within else len(rows)
                for share, rows in trained.items()
            },
            unit="A/B tests" if yardstick.within else "contents",
        ),
    )


def _models(dataset: Dataset, base: ExperimentConfig | None) -> dict[str, ExperimentConfig]:
    """A GLM, and the ranker and the network that read most of the data; or the base beside it."""
    if base is not None:
        same = replace(glm(), splits=base.splits, min_impressions=base.min_impressions)
        return {"GLM": same, base.name: base}
    models = {}
    for config in fitting(dataset, default_candidates())[0]:
        if isinstance(config.model, TabularConfig):
            if config.model.estimator == "glm":
                models["GLM"] = config
        else:
            ranks = isinstance(config.model, GaussianProcessConfig)
            models["ranker" if ranks else "network"] = config
    return models
