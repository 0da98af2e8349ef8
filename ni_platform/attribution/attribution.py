"""What an attributor says of one content: how much each feature contributes to the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ni_platform.attribution.features import Features


@dataclass(frozen=True, eq=False)
class Attribution:
    """Contributions of the features of one modality of one content."""

    raw: np.ndarray
    """As the method gives them, float64: [words], [columns], or a map over the picture."""
    prediction: float
    """Success rate of the content, C(X)."""
    baseline: float
    """Success rate without any of the features."""

    @property
    def gap(self) -> float:
        """What the raw contributions leave unexplained: C(X) - baseline - their sum.

        Zero for Shapley values (efficiency) and, up to the path's discretisation and where the
        path starts, for integrated gradients (completeness).
        """
        return self.prediction - self.baseline - float(self.raw.sum())

    @property
    def values(self) -> np.ndarray:
        """Contributions that sum to the prediction (NI Definition 2).

        What the raw ones lack is divided evenly among all features, so that differences between
        features, and their order, stay as the method found them. The other reading of
        "rescaled", a common factor, turns signs around where the raw sum is negative and has no
        bound where it is near zero, as contributions of both signs often make it.
        """
        if not self.raw.size:
            return self.raw
        return self.raw + (self.prediction - self.raw.sum()) / self.raw.size


class Attributor(Protocol):
    """A method: raw contributions of the features of each content."""

    @property
    def name(self) -> str:
        """Under which metrics and artifacts know it."""
        ...

    def explains(self, features: Features) -> bool:
        """Whether it can explain features of this kind."""
        ...

    def attribute(self, features: Features) -> list[np.ndarray]:
        """Raw contributions, float64, of the features of each content.

        Of a picture the map may be of any size; a content without features gets none.
        """
        ...
