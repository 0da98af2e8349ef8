"""The dominant colour of a picture (M2FN Table 1, Section 6.3.2)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from PIL import Image
from scipy.special import chdtri

from ni_platform.data.attributes.colour_names import cielab, colour_name
from ni_platform.data.attributes.extractor import Unreadable, Value, of_each_picture
from ni_platform.errors import ConfigError

MULTIPLE = "multiple"

_SIDE = 64
"""Pixels of a picture that are looked at are a grid of this side."""
_FITTED = 500
"""Pixels that a robust centre is found from; with more scikit-learn takes ten times as long."""
_LEAST_FITTED = 20
_JITTER = 0.5
"""CIELAB units: a fourth of what is just noticeable, so that flat areas have a covariance."""
_INSIDE = float(chdtri(3, 1 - 0.975))
"""Squared robust distance within which 97.5 % of a normal cluster lie (Rousseeuw & Van Driessen,
"A fast algorithm for the minimum covariance determinant estimator", 1999)."""


@dataclass(frozen=True, kw_only=True)
class DominantColour:
    """One of `colour_names.NAMES`, or `multiple` where none covers enough of the picture.

    The paper uses "K-means clustering with a minimum covariance determinant (MCD) distance" to
    extract an intermediate colour that is mapped to the ten. It is read so: K-means parts the
    pixels in CIELAB; the MCD gives each cluster a centre and a distance that outliers (noise,
    antialiased edges, JPEG halos) do not move; pixels beyond the distance are left out; the
    cluster has the name of its robust centre; clusters of one name add up.
    """

    clusters: int = 5
    least_share: float = 0.4
    """Of the pixels that are not left out; below it the colour is `multiple`."""

    def __post_init__(self) -> None:
        if self.clusters < 2 or not 0 < self.least_share < 1:
            raise ConfigError(
                "clusters >= 2 and 0 < least_share < 1 must hold, but got "
                f"{self.clusters} and {self.least_share}."
            )

    @property
    def name(self) -> str:
        """What is extracted."""
        return "dominant_colour"

    @property
    def version(self) -> str:
        """Of the method above, of scikit-learn, and the settings."""
        return f"1, scikit-learn {version('scikit-learn')}, {self}"

    def extract(self, items: Sequence[bytes]) -> list[Value | Unreadable]:
        """Name of each picture's dominant colour; transparent pixels count as white."""
        return of_each_picture(items, self._named)

    def _named(self, picture: Image.Image) -> str:
        shares = self.shares(picture)
        name = max(shares, key=lambda name: (shares[name], name))
        return name if shares[name] >= self.least_share else MULTIPLE

    def shares(self, picture: Image.Image) -> dict[str, float]:
        """Share of the picture that each colour covers, for those that it has; they sum to 1."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        lab_P3 = _pixels(picture)
        with threadpool_limits(1):  # pictures are read side by side
            cluster_P = KMeans(self.clusters, n_init=1, random_state=0).fit_predict(lab_P3)
            found: dict[str, float] = {}
            for cluster in range(self.clusters):
                members_M3 = lab_P3[cluster_P == cluster]
                if len(members_M3):
                    centre, inside = robust_centre(members_M3)
                    name = colour_name(centre)
                    found[name] = found.get(name, 0) + inside
        total = sum(found.values())
        return {name: count / total for name, count in found.items()}


def robust_centre(lab_M3: np.ndarray) -> tuple[np.ndarray, int]:
    """MCD centre [3] of a cluster's CIELAB colours, and how many of them are not outliers."""
    from sklearn.covariance import MinCovDet

    if len(lab_M3) < _LEAST_FITTED:  # too few for a covariance, and too few to decide anything
        return np.median(lab_M3, axis=0), len(lab_M3)
    step = -(-len(lab_M3) // _FITTED)
    with warnings.catch_warnings():
        # Greys and gradients lie on a line or plane: a flat covariance serves as well.
        warnings.simplefilter("ignore")
        fitted = MinCovDet(random_state=0).fit(lab_M3[::step])
    return fitted.location_, int((fitted.mahalanobis(lab_M3) <= _INSIDE).sum())


def _pixels(picture: Image.Image) -> np.ndarray:
    """CIELAB of a grid of pixels, [P, 3]; taken, not averaged, so that no colour is invented."""
    width, height = picture.size
    if max(width, height) > _SIDE:
        size = (min(width, _SIDE), min(height, _SIDE))
        picture = picture.resize(size, Image.Resampling.NEAREST)
    lab_P3 = cielab(np.asarray(picture, dtype=np.float64).reshape(-1, 3) / 255)
    if len(lab_P3) < _SIDE:  # a picture of a few pixels: enough of them for clusters
        lab_P3 = np.repeat(lab_P3, _SIDE, axis=0)
    return lab_P3 + np.random.default_rng(0).normal(0, _JITTER, lab_P3.shape)
