"""Feature ablation: what the prediction loses when one feature is taken away (NI Section 4.2)."""

from __future__ import annotations

import numpy as np

from ni_platform.attribution.features import Features, counts


class FeatureAblation:
    """C(X) - C(X without the feature), all features of all contents in common batches."""

    name = "feature_ablation"

    def explains(self, features: Features) -> bool:
        """As `Attributor.explains`."""
        return True

    def attribute(self, features: Features) -> list[np.ndarray]:
        """As `Attributor.attribute`; one evaluation per feature."""
        sizes = counts(features)
        rows = np.repeat(np.arange(len(sizes)), sizes)
        without = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        present = np.ones((len(rows), int(sizes.max(initial=0))), dtype=bool)
        present[np.arange(len(rows)), without] = False
        lost = features.contents.predictions[rows] - features.rates(rows, present)
        parts = np.split(lost, np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, features.shapes)]
