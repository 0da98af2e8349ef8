"""The tables of the M2FN paper, for `ni table m2fn.table4` and so on.

Each is called with the dataset and a base, an M2FN experiment whose variants the rows are; without
one it is the published network. Figures beside the measured ones are the paper's, on its own data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.m2fn import distribution, regression
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.losses import LossConfig
from ni_platform.models.m2fn.network import M2FNConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.opened import fitted_to
from ni_platform.tables.paper_table import Column, PaperTable, Row

MEANS = (
    Column(title="SPRC", metric="test/spearman"),
    Column(title="LCC", metric="test/pearson"),
)
DEVIATIONS = (
    Column(title="SPRC(std)", metric="test/spearman_std"),
    Column(title="LCC(std)", metric="test/pearson_std"),
)
OFF: dict[str, Any] = {"low_level": (False,) * 5, "attention": None, "high_level": False}
NO_AUX: dict[str, Any] = OFF | {"text": None, "domain": None, "attributes": None}
AVERAGE: dict[str, Any] = {"pooling": "average", "head": ()}
THRESHOLDS = {"500+": 500, "100+": 100}
"""Impressions from which a content counts (Section 6.3.2)."""

Figures = tuple[float, ...]


def table4(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """M2FN Table 4: NIMA and M2FN on success rates, as distributions and as rates."""
    base = base or regression()
    printed: dict[tuple[str, str], Figures] = {
        ("100+", "dist. NIMA"): (0.110, 0.121, 0.146, 0.142),
        ("100+", "dist. NIMA*"): (0.289, 0.290, 0.139, 0.143),
        ("100+", "dist. M2FN"): (0.344, 0.367, 0.172, 0.175),
        ("100+", "regr. NIMA"): (0.325, 0.343),
        ("100+", "regr. M2FN"): (0.384, 0.381),
        ("500+", "dist. NIMA"): (0.308, 0.249, 0.165, 0.166),
        ("500+", "dist. NIMA*"): (0.453, 0.448, 0.190, 0.190),
        ("500+", "dist. M2FN"): (0.484, 0.478, 0.216, 0.190),
        ("500+", "regr. NIMA"): (0.501, 0.451),
        ("500+", "regr. M2FN"): (0.561, 0.530),
    }
    nima = _nima(base)
    models = {
        "dist. NIMA": _as_distribution(nima, "earth_movers_distance"),
        "dist. NIMA*": _as_distribution(nima, "kl_divergence"),
        "dist. M2FN": _as_distribution(base, "kl_divergence"),
        "regr. NIMA": nima,
        "regr. M2FN": base,
    }
    rows = [
        _row(label, _shown(models[label], group), figures, group)
        for (group, label), figures in printed.items()
    ]
    return _table(
        "table4",
        "performance on success rates",
        _m2fn(base),
        rows,
        (*MEANS, *DEVIATIONS),
        "* trained by KLD, without it by EMD.",
    )


def table5(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """M2FN Table 5: other networks, concatenation, and where low-level fusion happens."""
    base = base or distribution()
    with_low_level = OFF | AVERAGE | _fusion("10000")
    networks: dict[str, tuple[str, dict[str, Any], Figures]] = {
        "NIMA(Inception)": ("inception_v3", NO_AUX | AVERAGE, (0.612, 0.636, 0.218, 0.233)),
        "NIMA(VGG16)": ("vgg16", NO_AUX, (0.592, 0.610, 0.202, 0.205)),
        "InceptionV4": ("inception_v4", NO_AUX | AVERAGE, (0.606, 0.619, 0.183, 0.198)),
        "InceptionV4-cat": ("inception_v4", OFF | AVERAGE, (0.576, 0.581, 0.160, 0.155)),
        "ResNet101": ("resnet101", NO_AUX | AVERAGE, (0.496, 0.470)),
        "ResNet101-cat": ("resnet101", OFF | AVERAGE, (0.549, 0.560, 0.192, 0.189)),
        "ResNet101-LLF": ("resnet101", with_low_level, (0.558, 0.561, 0.233, 0.230)),
        "ResNet50-LLF": ("resnet50", with_low_level, (0.544, 0.552, 0.225, 0.223)),
        "VGG19": ("vgg19", NO_AUX, (0.617, 0.622)),
        "M1FN(VGG19-cat)": ("vgg19", OFF, (0.572, 0.581, 0.198, 0.197)),
    }
    positions: dict[str, Figures] = {
        "11111": (0.552, 0.553, 0.183, 0.176),
        "00001": (0.572, 0.579, 0.200, 0.198),
        "00111": (0.575, 0.573, 0.203, 0.196),
        "00100": (0.590, 0.601, 0.230, 0.229),
        "11100": (0.612, 0.613, 0.253, 0.266),
        "10000": (0.630, 0.640, 0.310, 0.322),
    }
    rows = []
    for label, (network, modules, figures) in networks.items():
        config = _with_network(_changed(base, modules), network)
        if label.startswith("NIMA") and _m2fn(base).output == "distribution":
            config = _as_distribution(config, "earth_movers_distance")
        rows.append(_row(label, config, figures))
    for flags, figures in positions.items():
        label = f"M2FN {{{','.join(flags)}}}"
        rows.append(_row(label, _changed(base, _fusion(flags)), figures))
    return _table(
        "table5",
        "networks, and blocks with low-level fusion",
        _m2fn(base),
        rows,
        (*MEANS, *DEVIATIONS),
        "NIMA(Inception) is timm's inception_v3; the inceptions need the package timm.",
    )


def table6(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """M2FN Table 6: the four modules switched on one by one (distributions)."""
    base = base or distribution()
    printed: dict[str, Figures] = {
        "××××": (0.584, 0.592, 0.214, 0.231),
        "O×××": (0.572, 0.567, 0.194, 0.194),
        "OO××": (0.618, 0.586, 0.266, 0.293),
        "O×O×": (0.565, 0.561, 0.197, 0.201),
        "O××O": (0.573, 0.557, 0.217, 0.200),
        "OOO×": (0.608, 0.601, 0.230, 0.296),
        "OO×O": (0.601, 0.611, 0.251, 0.285),
        "OOOO": (0.630, 0.640, 0.310, 0.322),
    }
    rows = [_row(f, _changed(base, _modules(base, f)), figures) for f, figures in printed.items()]
    nima, columns = _nima(base), list(MEANS)
    if _m2fn(base).output == "distribution":
        nima = _as_distribution(nima, "earth_movers_distance")
        columns += list(DEVIATIONS)
    rows.append(_row("NIMA", nima, (0.612, 0.636, 0.218, 0.233)))
    return _table("table6", "modules aux, low, att, high", _m2fn(base), rows, columns)


def table7(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """M2FN Table 7: attributes alone, and the four modules switched on one by one (rates)."""
    base = base or regression()
    printed: dict[str, Figures] = {
        "linear regression": (0.239, 0.195, 0.166, 0.156),
        "SVM (RBF)": (0.102, 0.160, 0.183, 0.126),
        "SVM (poly)": (0.242, 0.177, 0.201, 0.197),
        "MLP": (0.241, 0.193, 0.240, 0.217),
        "M2FN without image": (0.306, 0.295, 0.244, 0.230),
        "××××": (0.456, 0.435, 0.315, 0.342),
        "O×××": (0.437, 0.412, 0.297, 0.320),
        "OO××": (0.496, 0.498, 0.367, 0.371),
        "O×O×": (0.450, 0.463, 0.341, 0.325),
        "O××O": (0.475, 0.467, 0.321, 0.293),
        "OOO×": (0.506, 0.480, 0.356, 0.334),
        "OO×O": (0.554, 0.528, 0.361, 0.333),
        "OOOO": (0.561, 0.530, 0.384, 0.381),
    }
    model, fitted = _m2fn(base), _m2fn(fitted_to(base, dataset))
    mlp = NeuralInsightsConfig(
        text=fitted.text,
        domain=None if fitted.domain is None else DomainEncoderConfig(),
        attributes=None if fitted.attributes is None else AttributesEncoderConfig(),
        regression=MLPConfig(hidden=(512, 512)),
    )
    models = {
        "linear regression": ExperimentConfig(name="", model=TabularConfig(estimator="linear")),
        "SVM (RBF)": ExperimentConfig(name="", model=TabularConfig(estimator="svr_rbf")),
        "SVM (poly)": ExperimentConfig(name="", model=TabularConfig(estimator="svr_poly")),
        "MLP": replace(base, model=mlp),
        "M2FN without image": _changed(base, {"image": replace(model.image, blank=True)}),
    }
    rows = []
    for place, group in enumerate(THRESHOLDS):
        for label, figures in printed.items():
            config = models.get(label) or _changed(base, _modules(base, label))
            rows.append(
                _row(label, _shown(config, group), figures[2 * place : 2 * place + 2], group)
            )
    return _table(
        "table7",
        "attributes alone, and modules aux, low, att, high",
        model,
        rows,
        MEANS,
        "Linear regression and SVMs read the texts' lengths, marks and words, not embeddings.",
    )


def table8(dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """M2FN Table 8: without one auxiliary attribute after the other."""
    base = base or regression()
    printed: dict[str, Figures] = {
        "none": (0.456, 0.435),
        "all": (0.561, 0.530),
        "- weekday": (0.454, 0.413),
        "- description": (0.467, 0.453),
        "- dominant_colour": (0.503, 0.470),
        "- ocr": (0.515, 0.491),
        "- position": (0.516, 0.487),
        "- hour": (0.531, 0.501),
        "- gender": (0.532, 0.470),
        "- age": (0.535, 0.486),
        "texts alone": (0.422, 0.369),
    }
    columns = dataset.manifest.columns
    auxiliary = [name for name in columns.inputs if name != columns.image]
    texts = [name for name in auxiliary if name in columns.text]
    others = [name for name in auxiliary if name not in columns.text]
    models = {"none": _changed(base, NO_AUX), "all": base}
    if len(auxiliary) > 1:
        models |= {f"- {name}": replace(base, leave_out=(name,)) for name in auxiliary}
    if texts and others:
        models["texts alone"] = replace(base, leave_out=tuple(others))
        models["all but texts"] = replace(base, leave_out=tuple(texts))
    rows = [_row(label, config, printed.get(label, ())) for label, config in models.items()]
    return _table(
        "table8",
        "without one auxiliary attribute after the other",
        _m2fn(base),
        rows,
        MEANS,
        "The paper's figures stand beside attributes of the same name.",
    )


def _m2fn(base: ExperimentConfig) -> M2FNConfig:
    if not isinstance(base.model, M2FNConfig):
        raise ConfigError(
            f"M2FN's tables vary an M2FN, but {base.name} is none: choose another --base, such as "
            "m2fn.small"
        )
    return base.model


def _table(
    name: str,
    title: str,
    model: M2FNConfig,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *notes: str,
) -> PaperTable:
    image = model.image
    return PaperTable(
        name=f"m2fn.{name}",
        title=f"M2FN, Table {name.removeprefix('table')}: {title}",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            f"Pictures of {image.input.size} pixels; M2FN on {image.architecture}, weights "
            f"{image.weights or 'random at the start'}.",
            *notes,
        ),
    )


def _row(label: str, config: ExperimentConfig, figures: Figures, group: str = "") -> Row:
    titles = [column.title for column in (*MEANS, *DEVIATIONS)]
    return Row(label=label, config=config, group=group, paper=dict(zip(titles, figures)))


def _changed(base: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    """The base with other modules; frozen encoders that are gone are frozen no more."""
    model = replace(_m2fn(base), **changes)
    frozen = tuple(name for name in base.training.frozen if name in ("image", *model.auxiliary))
    return replace(base, model=model, training=replace(base.training, frozen=frozen))


def _shown(config: ExperimentConfig, group: str) -> ExperimentConfig:
    return replace(config, min_impressions=THRESHOLDS[group])


def _fusion(flags: str) -> dict[str, Any]:
    return {"low_level": tuple(flag == "1" for flag in flags)}


def _modules(base: ExperimentConfig, flags: str) -> dict[str, Any]:
    """What differs from the base, whose modules are all on, for flags such as O×O×."""
    aux, low, attention, high = (flag == "O" for flag in flags)
    if not aux:
        return NO_AUX
    full = _m2fn(base)
    return {
        "low_level": full.low_level if low else OFF["low_level"],
        "attention": full.attention if attention else None,
        "high_level": high,
    }


def _with_network(config: ExperimentConfig, network: Any) -> ExperimentConfig:
    """The same on another image network, from random weights unless it is the base's own."""
    model = _m2fn(config)
    weights = model.image.weights if model.image.architecture == network else None
    image = replace(model.image, architecture=network, weights=weights)
    return replace(config, model=replace(model, image=image))


def _nima(base: ExperimentConfig) -> ExperimentConfig:
    """NIMA (Talebi and Milanfar 2018): the picture alone, on VGG-16 where the base has a VGG."""
    config = _changed(base, NO_AUX)
    vgg = _m2fn(base).image.architecture.startswith("vgg")
    return _with_network(config, "vgg16") if vgg else config


def _as_distribution(config: ExperimentConfig, loss: str) -> ExperimentConfig:
    return replace(
        config,
        model=replace(_m2fn(config), output="distribution"),
        training=replace(config.training, loss=LossConfig(**{"mse": 0.0, loss: 1.0})),
    )
