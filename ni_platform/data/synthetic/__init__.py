"""Planted data: marketing contents whose success rates follow known additive effects."""

from ni_platform.data.synthetic.effects import Effects
from ni_platform.data.synthetic.generate import make_synthetic
from ni_platform.data.synthetic.truth import Truth, read_truth

__all__ = ["Effects", "Truth", "make_synthetic", "read_truth"]
