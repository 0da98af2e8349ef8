"""Where and how widely M2FN fuses, and how it is trained (M2FN Sections 5 and 7.1)."""

from __future__ import annotations

from typing import Any

import optuna

BLOCKS = 5


def full(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """All of M2FN's fusion settings: five flags, attention's reading, three widths, training."""
    flags = [trial.suggest_categorical(f"low_level_{n}", [False, True]) for n in range(BLOCKS)]
    overrides: dict[str, Any] = {"model.low_level": flags}
    if any(flags):
        overrides["model.low_level_width"] = _width(trial, "low_level_width")
    reading = trial.suggest_categorical("attention", ["none", "flattened", "per_location"])
    overrides["model.attention"] = None if reading == "none" else reading
    if reading != "none":
        overrides["model.attention_width"] = _width(trial, "attention_width")
    return overrides | head(trial)


def head(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """What follows the image network: high-level fusion, fully connected layers, training."""
    overrides: dict[str, Any] = {}
    high_level = trial.suggest_categorical("high_level", [False, True])
    overrides["model.high_level"] = high_level
    if high_level:
        overrides["model.high_level_width"] = _width(trial, "high_level_width")
    depth = trial.suggest_int("head_depth", 1, 2)
    widths = [trial.suggest_int(f"head_{n}", 128, 4096, log=True) for n in range(1, depth + 1)]
    return overrides | {
        "model.head": widths,
        "model.dropout": trial.suggest_float("dropout", 0.0, 0.6),
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "training.weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "training.loss.overdispersion": trial.suggest_float("overdispersion", 1e-5, 1e-1, log=True),
    }


def _width(trial: optuna.trial.BaseTrial, name: str) -> int:
    return trial.suggest_int(name, 32, 1024, log=True)
