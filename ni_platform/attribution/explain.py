"""Attributions of a trained network's predictions, for whole datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from ni_platform.attribution.attribution import Attribution, Attributor
from ni_platform.attribution.cells import Cells, feature_maps
from ni_platform.attribution.columns import Named
from ni_platform.attribution.config import PCA, AttributionConfig
from ni_platform.attribution.consensus import PrincipalComponent, resized
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.ensemble import EnsembleContents, EnsembleFeatures
from ni_platform.attribution.feature_ablation import FeatureAblation
from ni_platform.attribution.features import Features, without_anything
from ni_platform.attribution.grad_cam import GradCam
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.attribution.kernel_shap import KernelShap
from ni_platform.attribution.words import Word, Words
from ni_platform.errors import ConfigError
from ni_platform.models.ensemble import Explainable
from ni_platform.models.modalities.image import ImageReader
from ni_platform.models.modalities.text import TextReader
from ni_platform.models.scorer import Scorer

_CONTENTS_AT_ONCE = 64
_PIXELS_AT_ONCE = 16_000_000
"""Pixels of pictures of native size that are held together, beyond a first picture; a map of
contributions in pixels takes 8 bytes for each."""


@dataclass
class ModalityExplained:
    """Attributions of one modality of N contents."""

    by_method: dict[str, list[Attribution]] = field(default_factory=dict)
    words: list[list[Word]] = field(default_factory=list)
    """Of texts, the features of each content."""
    maps: list[Tensor | None] = field(default_factory=list)
    """Of pictures, the image network's last map [C, H', W'] of each content, where it was asked
    for."""
    names: list[list[str]] = field(default_factory=list)
    """Of vectors, the features of each content."""
    elements: list[list[Any]] = field(default_factory=list)
    """Of all but pictures, the features of each content, equal where two contents have the same."""
    component: PrincipalComponent | None = None
    """What PCA makes of the methods."""
    evaluations: int = 0
    """How often the network was asked."""


@dataclass
class Explanations:
    """Attributions of N contents, by modality."""

    predictions: np.ndarray
    """Success rates, float64 [N]."""
    modalities: dict[str, ModalityExplained]


def explain(
    scorer: Explainable,
    frame: pd.DataFrame,
    config: AttributionConfig,
    *,
    modalities: tuple[str, ...] | None = None,
    components: Mapping[str, PrincipalComponent] | None = None,
    with_maps: bool = False,
    progress: Callable[[int], None] = lambda contents: None,
) -> Explanations:
    """Explain what a network, or an ensemble of them, predicts for the rows of `frame`.

    Contents pass through in small groups, so memory holds the attributions and one group's
    tensors. Contents of one A/B test that stand together share the work on equal texts.

    Args:
        scorer: the trained model.
        frame: as `InputEncoder.encode` takes it.
        config: how.
        modalities: what is explained; all that the network reads if None.
        components: of modalities, what PCA made of other contents; found in these contents if None.
        with_maps: keep feature maps, which tell what distinguishes two pictures.
        progress: called with the number of contents of each group when it is done.

    Raises:
        ConfigError: the network does not read one of `modalities`, or a method does not fit it.
    """
    chosen = scorer.modalities if modalities is None else modalities
    for name in chosen:
        if name not in scorer.modalities:
            raise ConfigError(
                f"the model does not read {name}, so it cannot be explained; it reads "
                f"{', '.join(scorer.modalities)}"
            )
    found = {name: ModalityExplained() for name in chosen}
    predictions = [np.empty(0)]
    for group in _groups(scorer, frame):
        contents = contents_of(scorer, group)
        predictions.append(contents.predictions)
        for name, explained in found.items():
            _explain(features_of(contents, name, config), config, explained, with_maps)
        progress(len(contents))
    if PCA in config.methods:
        for name, explained in found.items():
            if len(explained.by_method) > 1:
                known = (components or {}).get(name)
                explained.component = known or PrincipalComponent.of(explained.by_method)
                explained.by_method[PCA] = explained.component.combine(explained.by_method)
    return Explanations(np.concatenate(predictions), found)


def _groups(scorer: Explainable, frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Parts of `frame` that are explained together: few contents, and few pixels."""
    start, pixels = 0, 0
    for end, size in enumerate(scorer.inputs.native_pixels(frame)):
        if end > start and (end - start == _CONTENTS_AT_ONCE or pixels + size > _PIXELS_AT_ONCE):
            yield frame.iloc[start:end]
            start, pixels = end, 0
        pixels += size
    if start < len(frame):
        yield frame.iloc[start:]


def contents_of(scorer: Explainable, frame: pd.DataFrame) -> Contents | EnsembleContents:
    """The rows of `frame` as a model reads them."""
    if isinstance(scorer, Scorer):
        return Contents(scorer, frame)
    return EnsembleContents(scorer, frame)


def features_of(
    contents: Contents | EnsembleContents, modality: str, config: AttributionConfig
) -> Features:
    """The features of one modality."""
    if isinstance(contents, Contents):
        return _of_network(contents, modality, config.grid)
    found = [
        _of_network(each, modality, config.grid) if modality in each.modalities else None
        for each in contents.members
    ]
    return EnsembleFeatures(contents, modality, _on_one_grid(found))


def _on_one_grid(members: list[Features | None]) -> list[Features | None]:
    """The features of an ensemble's networks, of pictures with the cells that all can have."""
    cells = [each for each in members if isinstance(each, Cells)]
    grids = [tuple(np.min(shapes, axis=0).tolist()) for shapes in zip(*(c.shapes for c in cells))]
    return [
        Cells(each.contents, each.modality, grid=grids)
        if isinstance(each, Cells) and each.shapes != grids
        else each
        for each in members
    ]


def _of_network(contents: Contents, modality: str, grid: int) -> Features:
    reader = contents.scorer.inputs.readers[modality]
    if isinstance(reader, TextReader):
        return Words(contents, modality)
    if isinstance(reader, ImageReader):
        return Cells(contents, modality, grid=grid)
    return Named(contents, modality)


def _explain(
    features: Features, config: AttributionConfig, explained: ModalityExplained, with_maps: bool
) -> None:
    baselines = without_anything(features)
    if isinstance(features, Words | EnsembleFeatures):
        explained.words += features.words
    if isinstance(features, Named | EnsembleFeatures):
        explained.names += features.names
    if isinstance(features, Words | Named | EnsembleFeatures):
        explained.elements += features.elements
    # Maps only compare pictures: those of the network that weighs most do.
    read = features.members[0] if isinstance(features, EnsembleFeatures) else features
    if isinstance(read, Cells) and with_maps:
        explained.maps += feature_maps(read, config.map_side)
    for method in attributors(config):
        if not method.explains(features):
            continue
        explained.by_method.setdefault(method.name, []).extend(
            Attribution(_bounded(raw, config.map_side), float(prediction), float(baseline))
            for raw, prediction, baseline in zip(
                method.attribute(features), features.contents.predictions, baselines
            )
        )
    explained.evaluations += features.evaluations


def _bounded(raw: np.ndarray, side: int) -> np.ndarray:
    """A map of at most `side` x `side`; others as they are."""
    if raw.ndim < 2 or max(raw.shape, default=0) <= side:
        return raw
    scale = side / max(raw.shape)
    return resized(raw, tuple(max(1, round(length * scale)) for length in raw.shape))


def attributors(config: AttributionConfig) -> list[Attributor]:
    """The methods that read a network, in the order of `METHODS`; not the consensus of them."""
    known: tuple[Attributor, ...] = (
        GradCam(layer=config.grad_cam_layer),
        IntegratedGradients(steps=config.steps),
        KernelShap(samples=config.samples, seed=config.seed),
        FeatureAblation(),
    )
    return [method for method in known if method.name in config.methods]
