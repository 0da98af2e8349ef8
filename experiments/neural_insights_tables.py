"""The tables of the Neural Insights paper, for `ni table neural_insights.table1` and so on.

Each is called with the dataset and a base, an experiment that the rows are made from; without one
it is the published network. Figures beside the measured ones are the paper's, on its own data.
"""

from dataclasses import replace
from typing import Any

from experiments.neural_insights import full
from ni_platform.attribution.config import METHODS
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig, Pretraining
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.narrowing import of_kind
from ni_platform.opened import fitted_to
from ni_platform.tables.paper_table import CONTROL_BEST, INSIGHT, Column, PaperTable, Row

_LABELS = ("GradCAM", "Integrated Gradients", "Kernel SHAP", "Feature Ablation", "PCA")
_TABLE_2 = {
    "text": dict(zip(METHODS, (0.0, 288.0, 109.0, -14.0, 493.0), strict=True)),
    "image": dict(zip(METHODS, (0.0, 55.0, -18.0, 0.5, 145.0), strict=True)),
}
"""Change of rho in percent; the paper prints no name above the third method, Kernel SHAP's."""
_TABLE_1 = {
    "GLM": (0, 0, 0, 0),
    "MLP, attributes": (-42, -31, -44, -35),
    "MLP, domain": (-54, -33, -50, -29),
    "XGBoost, attributes": (-38, -9, -41, -24),
    "image network": (-25, 19, -38, -12),
    "text network": (-59, -64, -59, -66),
    "all modalities": (-68, -65, -66, -75),
}
"""The paper's changes of RMSE and MAE in percent against the GLM."""


def table1(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """NI Table 1: a GLM, industrial and single-modality models, and all modalities."""
    base = base or full()
    if not isinstance(base.model, NeuralInsightsConfig):
        raise ConfigError(
            f"NI's Table 1 has single modalities of its network as rows, but {base.name} is "
            "another: choose a --base such as neural_insights.full_small"
        )
    titles = {"rmse": "RMSE", "mae": "MAE"}
    columns = [
        Column(title=f"{title}, {part}", metric=f"{part}/{metric}", relative_to="GLM")
        for part in ("in_domain", "out_of_domain", "test")
        for metric, title in titles.items()
    ]
    columns += [
        Column(title="pairwise, all", metric="test/pairwise_accuracy"),
        Column(title="pairwise, within tests", metric="test/pairwise_within"),
        Column(title="pairwise, significant", metric="test/pairwise_significant"),
    ]
    models = {"GLM": ExperimentConfig(name="", model=TabularConfig())}
    has = set(fitted_to(base, dataset).model.modalities)
    if "attributes" in has:
        models["MLP, attributes"] = _alone(base, "attributes")
        only = TabularConfig(estimator="xgboost", text=None, domain=None)
        models["XGBoost, attributes"] = ExperimentConfig(name="", model=only)
    for modality, label in (
        ("domain", "MLP, domain"),
        ("image", "image network"),
        ("text", "text network"),
    ):
        if modality in has:
            models[label] = _alone(base, modality)
    models["all modalities"] = base
    notes = [
        "RMSE and MAE: change in percent against the GLM; less is better.",
        "The GLM reads all attributes, the domain and the texts' words; the paper's read features "
        "that it does not name.",
    ]
    if absent := set(_TABLE_1) - set(models):
        notes.append(f"The data have nothing to read for: {', '.join(sorted(absent))}.")
    return PaperTable(
        name="neural_insights.table1",
        title="Neural Insights, Table 1: success rate prediction of different models",
        columns=tuple(columns),
        rows=tuple(
            Row(
                label=label,
                config=models[label],
                paper={c.title: float(v) for c, v in zip(columns, _TABLE_1[label])},
            )
            for label in _TABLE_1
            if label in models
        ),
        notes=tuple(notes),
    )


def table2(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """NI Table 2: the insight correlation of each attribution method, against GradCAM's."""
    base = base or full()
    if isinstance(base.model, TabularConfig):
        raise ConfigError(f"{base.name} is no network, and only networks can be explained")
    insights = base.insights or InsightsConfig()
    every_method = replace(insights.attribution, methods=METHODS)
    base = replace(base, insights=replace(insights, attribution=every_method))
    columns: list[Column] = []
    printed = {}
    for modality in fitted_to(base, dataset).model.modalities:
        if modality not in _TABLE_2:
            continue
        for end, title in (("", "all pairs"), (CONTROL_BEST, "control against best")):
            if end and dataset.arm is None:
                continue
            metric = f"{INSIGHT}{modality}{end}"
            columns += [
                Column(title=f"ρ {modality}, {title}", metric=metric),
                Column(title=f"Δρ {modality}, {title}", metric=metric, relative_to=_LABELS[0]),
            ]
        # The paper compares controls with best treatments only; without controls all pairs do.
        printed[columns[-1].title] = _TABLE_2[modality]
    return PaperTable(
        name="neural_insights.table2",
        title="Neural Insights, Table 2: results of insights evaluation",
        columns=tuple(columns),
        rows_are="method",
        rows=tuple(
            Row(
                label=label,
                config=base,
                method=method,
                paper={title: changes[method] for title, changes in printed.items()},
            )
            for method, label in zip(METHODS, _LABELS, strict=True)
        ),
        notes=(
            "ρ: Pearson's correlation of attribution and success rate differences (Eq. 7); Δρ: its "
            "change in percent of the size of GradCAM's, which says little where GradCAM's "
            "interval contains 0.",
        ),
    )


def figure8(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """NI Figure 8: RMSE and MAE of the GLM and of all modalities on each domain."""
    columns = (
        Column(title="RMSE", metric="test/rmse"),
        Column(title="MAE", metric="test/mae"),
    )
    return PaperTable(
        name="neural_insights.figure8",
        title="Neural Insights, Figure 8: errors by domain",
        columns=columns,
        rows=(
            Row(label="GLM", config=ExperimentConfig(name="", model=TabularConfig())),
            Row(label="all modalities", config=base or full()),
        ),
        notes=(
            ("The bars by domain are by_domain.csv and by_domain.png.",)
            if dataset.domain is not None
            else ("The data have no domains, so there are no bars by domain.",)
        ),
        by_domain=("rmse", "mae"),
    )


def _alone(base: ExperimentConfig, modality: str) -> ExperimentConfig:
    """One modality's encoder with an output layer, trained as in the base's pretraining."""
    model = of_kind(base.model, NeuralInsightsConfig)
    others: dict[str, Any] = {name: None for name in model.parts if name != modality}
    training = getattr(base.pretraining, modality) or base.training
    frozen = tuple(name for name in training.frozen if name == modality)
    return replace(
        base,
        model=replace(model, **others, regression=None),
        pretraining=Pretraining(),
        training=replace(training, frozen=frozen),
    )
