"""Hyper-parameters of a stage."""

from __future__ import annotations

import pytest

from ni_platform.errors import ConfigError
from ni_platform.training.config import TrainingConfig


def test_warmup_rises_and_decay_falls():
    """With a warm-up of a quarter the factor is 0.5 at an eighth, 1 at a quarter, 0 at the end."""
    linear = TrainingConfig(warmup=0.25, decay="linear")
    assert linear.learning_rate_factor(0.125) == pytest.approx(0.5)
    assert linear.learning_rate_factor(0.25) == pytest.approx(1.0)
    assert linear.learning_rate_factor(0.625) == pytest.approx(0.5)
    assert linear.learning_rate_factor(1.0) == pytest.approx(0.0)
    cosine = TrainingConfig(decay="cosine")
    assert cosine.learning_rate_factor(0.5) == pytest.approx(0.5)
    assert cosine.learning_rate_factor(0.25) == pytest.approx(0.853553, rel=1e-5)
    assert TrainingConfig().learning_rate_factor(0.9) == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("stop_after", 0),
        ("stop_after", 11),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("warmup", 1.0),
        ("clip_norm", 0),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    """The message names the setting, the rule and the value."""
    with pytest.raises(ConfigError, match=rf"training\.{name} must be .* is {value!r}"):
        TrainingConfig(**{name: value})
