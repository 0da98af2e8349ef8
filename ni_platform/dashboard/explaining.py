"""Why a content is predicted as it is, one modality at a time, as the page shows it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.attribution.config import PCA, RATE_CHANGES, AttributionConfig
from ni_platform.attribution.consensus import PrincipalComponent
from ni_platform.attribution.explain import explain
from ni_platform.attribution.words import Word
from ni_platform.dashboard.pictures import GRID, Cell, grid_of, overlays, strongest
from ni_platform.insights.record import StoredInsights
from ni_platform.models.ensemble import Explainable

_DEFAULT = {"image": "feature_ablation"}
"""Where no insights say which method agrees best with outcomes; else Kernel SHAP."""
_KEPT = 256
_STRENGTHS = 4
_LONGEST_LEVEL = 40
_FAINTEST = 0.08
"""Share of the largest contribution below which a word is not marked."""
_SAID = {
    "kernel_shap": "Kernel SHAP",
    "feature_ablation": "feature ablation",
    "integrated_gradients": "integrated gradients",
    "grad_cam": "GradCAM",
    PCA: "PCA of all methods",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a text: a word with its contribution, or what stands between words."""

    text: str
    contribution: float | None = None
    strength: int = 0
    """0 (not marked) to 4."""

    @property
    def sign(self) -> str:
        """`positive`, `negative`, or empty where the word is not marked."""
        if self.contribution is None or not self.strength:
            return ""
        return "positive" if self.contribution > 0 else "negative"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Contributions of the features of one modality of one content."""

    modality: str
    method: str
    """In words."""
    in_points: bool
    """Whether contributions are changes of the success rate; else they have the method's unit."""
    prediction: float
    baseline: float
    """Success rate without the modality."""
    texts: dict[str, list[Part]] = field(default_factory=dict)
    """Of texts, by column."""
    features: list[tuple[str, float]] = field(default_factory=list)
    """Words, domain tokens, or attributes and features of the wording with their level; with their
    contribution, the largest first."""
    positive: str | None = None
    """Of a picture: what raises the prediction, as a transparent picture (data URI)."""
    negative: str | None = None
    regions: tuple[int, int] = (0, 0)
    """Rows and columns of regions that a picture is cut into."""
    best: list[Cell] = field(default_factory=list)
    worst: list[Cell] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether the content lacks the modality."""
        return not self.features and self.positive is None


class Explainer:
    """Explains contents with a network of its own; keeps what it found.

    Not for several threads at once: hooks of one explanation must not see another's network.
    """

    def __init__(self, scorer: Explainable, insights: StoredInsights | None) -> None:
        """Take the network, and the insights whose methods and settings are followed."""
        self._scorer = scorer
        self._config = AttributionConfig(grid=GRID)
        self._preferred: dict[str, str] = {}
        self._components: dict[str, PrincipalComponent] = {}
        if insights is not None:
            self._config = insights.config.attribution
            for name, found in insights.modalities.items():
                self._preferred[name] = found.method
                if found.component is not None:
                    self._components[name] = found.component
        self._kept: OrderedDict[tuple[str, str], Explained] = OrderedDict()

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads."""
        return self._scorer.modalities

    def explain(
        self, modality: str, key: str, frame: pd.DataFrame, picture: Image.Image | None
    ) -> Explained:
        """Explain the one row of `frame`.

        Args:
            modality: one that the network reads.
            key: what the content is known by.
            frame: as `InputEncoder.encode` takes it.
            picture: as the page shows it.

        Raises:
            ConfigError: the network does not read the modality.
        """
        if (modality, key) not in self._kept:
            self._kept[modality, key] = self._explained(modality, frame, picture)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end((modality, key))
        return self._kept[modality, key]

    def _explained(
        self, modality: str, frame: pd.DataFrame, picture: Image.Image | None
    ) -> Explained:
        method = self._preferred.get(modality, _DEFAULT.get(modality, "kernel_shap"))
        config = self._config
        if method != PCA:
            config = replace(config, methods=(method,))
        found = explain(
            self._scorer, frame, config, modalities=(modality,), components=self._components
        ).modalities[modality]
        attribution = found.by_method[method][0]
        explained = Explained(
            modality=modality,
            method=_SAID[method],
            in_points=method in RATE_CHANGES,
            prediction=attribution.prediction,
            baseline=attribution.baseline,
        )
        values = attribution.raw
        if not values.size:
            return explained
        if modality == "text":
            texts = _marked(found.words[0], values, frame)
            words = [word.text for word in found.words[0]]
            return replace(explained, texts=texts, features=_ordered(words, values))
        if modality != "image":
            names = [_label(element) for element in found.elements[0]]
            return replace(explained, features=_ordered(names, values))
        if picture is None:
            return explained
        positive, negative = overlays(values, picture.size)
        best, worst = strongest(values, picture)
        return replace(
            explained,
            positive=positive,
            negative=negative,
            regions=grid_of(picture.size),
            best=best,
            worst=worst,
        )


def _label(element: Any) -> str:
    """A feature with its level, if it has one; that of a vector is long, and cut off."""
    if isinstance(element, str):
        return element
    name, level = element
    return f"{name} = {level if len(level) <= _LONGEST_LEVEL else level[:_LONGEST_LEVEL] + '…'}"


def _ordered(names: list[str], values: np.ndarray) -> list[tuple[str, float]]:
    """The largest first."""
    order = np.argsort(-np.abs(values), kind="stable")
    return [(names[position], float(values[position])) for position in order]


def _marked(words: list[Word], values: np.ndarray, frame: pd.DataFrame) -> dict[str, list[Part]]:
    """Each text, cut into its words and what stands between them."""
    largest = float(np.abs(values).max()) or 1.0
    texts: dict[str, list[Part]] = {}
    ends: dict[str, int] = {}
    cells = {word.column: str(frame[word.column].iloc[0]).strip() for word in words}
    for word, value in zip(words, values):
        parts, end = texts.setdefault(word.column, []), ends.get(word.column, 0)
        if word.start > end:
            parts.append(Part(text=cells[word.column][end : word.start]))
        share = abs(float(value)) / largest
        strength = int(np.ceil(share * _STRENGTHS)) if share >= _FAINTEST else 0
        text = cells[word.column][word.start : word.end]
        parts.append(Part(text=text, contribution=float(value), strength=strength))
        ends[word.column] = word.end
    for column, end in ends.items():
        # What the encoder does not read any more stands behind the last word.
        if end < len(cells[column]):
            texts[column].append(Part(text=cells[column][end:]))
    return texts
