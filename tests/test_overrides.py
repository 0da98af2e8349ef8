"""Configs to dictionaries and back, and overrides by path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from ni_platform.errors import ConfigError
from ni_platform.overrides import from_dict, set_values, to_dict


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A nested config."""

    learning_rate: float = 0.1
    epochs: int = 3
    betas: tuple[float, float] = (0.9, 0.999)
    decay: Literal["constant", "cosine"] = "constant"


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A config with a nested and an optional one."""

    name: str = "outer"
    training: Inner = field(default_factory=Inner)
    pretraining: Inner | None = None

    def __post_init__(self) -> None:
        if self.pretraining and self.pretraining.epochs > self.training.epochs:
            raise ConfigError("pretraining.epochs must be at most training.epochs")


def test_a_config_survives_the_way_through_json():
    """from_dict undoes to_dict, tuples and nested configs included."""
    config = Outer(training=Inner(betas=(0.5, 0.6), epochs=8), pretraining=Inner(epochs=7))

    assert from_dict(Outer, to_dict(config)) == config


def test_values_are_set_by_path():
    """Scientific notation, words, lists and whole sub-configs are read as what they look like."""
    config = set_values(
        Outer(),
        [
            "training.learning_rate=3e-4",
            "training.decay=cosine",
            "training.betas=[0.8, 0.9]",
            'pretraining={"epochs": 2}',
            "pretraining.learning_rate=1",
        ],
    )

    assert config.training == Inner(learning_rate=3e-4, decay="cosine", betas=(0.8, 0.9))
    assert config.pretraining == Inner(epochs=2, learning_rate=1.0)


def test_only_the_result_of_all_overrides_must_be_valid():
    """What one override breaks, a later one may mend; else its own message is given."""
    config = set_values(Outer(), ["pretraining={}", "pretraining.epochs=9", "training.epochs=9"])

    assert (config.pretraining.epochs, config.training.epochs) == (9, 9)
    with pytest.raises(ConfigError, match="at most training"):
        set_values(Outer(), ["pretraining={}", "pretraining.epochs=9", "training.decay=cosine"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.learnig_rate=1", "did you mean training.learning_rate"),
        ("learning_rate=1", "did you mean training.learning_rate"),
        ("training.epochs=many", "training.epochs does not fit"),
        ("training.epochs=2.5", "training.epochs does not fit"),
        ("training.epochs=true", "training.epochs does not fit"),
        ("training.decay=exponential", "'constant' or 'cosine'"),
        ("pretraining.epochs=2", "switched off"),
        ("training.epochs", "path=value"),
        ('pretraining={"epoch": 2}', "did you mean"),
    ],
)
def test_a_wrong_override_names_the_remedy(assignment, message):
    """Unknown paths, wrong types and switched-off parts each get one clear message."""
    with pytest.raises(ConfigError, match=message):
        set_values(Outer(), [assignment])
