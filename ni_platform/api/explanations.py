"""Why a model predicts what it does for some contents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.api.display import Part, cell
from ni_platform.api.frames import as_pandas
from ni_platform.api.notebook import show
from ni_platform.api.progress import ScoringProgress
from ni_platform.attribution.config import RATE_CHANGES, AttributionConfig
from ni_platform.attribution.explain import Explanations as Attributions
from ni_platform.attribution.explain import explain
from ni_platform.data.images import decode
from ni_platform.errors import ConfigError
from ni_platform.insights.explained_content import explained_content
from ni_platform.insights.record import attribution_table
from ni_platform.models.ensemble import Explainable
from ni_platform.overrides import merged

_SHOWN = 4
"""Attributes of a content that are named, those that contribute most."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanations:
    """What each word, picture region and attribute contributes to N predictions."""

    attributions: Attributions
    contents: pd.DataFrame
    """What was explained, in order."""
    image: str | None
    """Its column of pictures, if the model reads them."""

    @property
    def frame(self) -> pd.DataFrame:
        """A row per content, modality and method.

        Columns: content_id (the index of what was explained), modality, method, prediction,
        baseline (the prediction without any feature), gap (what the contributions leave
        unexplained), shape, features, contributions (changes of the success rate; those of GradCAM
        and PCA have units of their own).
        """
        return attribution_table(self.attributions, self._names)

    @property
    def methods(self) -> tuple[str, ...]:
        """The attribution methods that explain any of it."""
        explained = self.attributions.modalities.values()
        return tuple(dict.fromkeys(method for each in explained for method in each.by_method))

    def show(self, method: str | None = None) -> None:
        """Show pictures under their map of contributions and texts with coloured words.

        Blue and + raise the prediction, orange and − lower it. `method` is the first of `methods`
        whose contributions are changes of the rate, if None.
        """
        show(_Saliency(html=self._html(method), text=repr(self)))

    @property
    def _names(self) -> list[str]:
        return [str(label) for label in self.contents.index]

    def _html(self, method: str | None) -> str:
        if method is not None and method not in self.methods:
            raise ConfigError(f"{method!r} was not computed, but {', '.join(self.methods)} were")
        chosen = {
            name: method if method in explained.by_method else _first(explained.by_method)
            for name, explained in self.attributions.modalities.items()
        }
        shown = [
            explained_content(
                name, self.attributions, place, chosen, self._picture, self._facts(place, chosen)
            )
            for place, name in enumerate(self._names)
        ]
        used = ", ".join(dict.fromkeys(chosen.values())).replace("_", " ")
        note = f"Blue and + raise the prediction, orange and − lower it ({used})."
        return cell("", Part(contents=shown, note=note))

    def _picture(self, place: int) -> Image.Image:
        return decode(self.contents[str(self.image)].iloc[place])

    def _facts(self, place: int, chosen: dict[str, str]) -> list[str]:
        facts = [f"predicted {100 * self.attributions.predictions[place]:.2f} %"]
        for modality, method in chosen.items():
            explained = self.attributions.modalities[modality]
            if not explained.names:
                continue
            parts = explained.by_method[method][place].raw
            names = explained.names[place]
            unit = " points" if method in RATE_CHANGES else ""
            scale = 100 if method in RATE_CHANGES else 1
            for position in np.argsort(-np.abs(parts), kind="stable")[:_SHOWN]:
                facts.append(f"{names[position]} {scale * parts[position]:+.2g}{unit}")
        return facts

    def __len__(self) -> int:
        return len(self.contents)

    def __repr__(self) -> str:
        read = ", ".join(self.attributions.modalities)
        return f"Explanations of {len(self)} contents: {read}; by {', '.join(self.methods)}"

    def _repr_html_(self) -> str:
        return self._html(None)


@dataclass(frozen=True, kw_only=True, repr=False)
class _Saliency:
    """The HTML of one method's contributions."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def explain_frame(model: Explainable, frame: Any, settings: dict[str, Any]) -> Explanations:
    """Explain what a model predicts for the contents of a table; see `Model.explain`."""
    config = merged(AttributionConfig(methods=("kernel_shap",)), settings)
    contents = as_pandas(frame)
    with ScoringProgress() as progress:
        found = explain(
            model,
            contents.reset_index(drop=True),
            config,
            progress=partial(progress, total=len(contents)),
        )
    roles = model.inputs.roles
    image = next((name for name, role in roles.items() if role == "image"), None)
    return Explanations(attributions=found, contents=contents, image=image)


def _first(by_method: dict[str, Any]) -> str:
    return next((name for name in by_method if name in RATE_CHANGES), next(iter(by_method)))
