"""Learning curves as a picture."""

from __future__ import annotations

import pandas as pd

from ni_platform.metrics.plots import learning_curve_figure
from ni_platform.reporting.page import Picture


def curves_picture(curves: pd.DataFrame) -> Picture | None:
    """Draw the learning curves of a run; None without."""
    drawing = learning_curve_figure(curves)
    if drawing is None:
        return None
    return Picture.of(drawing, "Learning curves of each stage, by epoch.", "")
