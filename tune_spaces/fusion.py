"""How Neural Insights fuses its modalities, and how the fused stage is trained."""

from __future__ import annotations

from typing import Any

import optuna


def neural_insights(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Regression MLP, losses and optimizer of the fused stage; those of the encoders stay."""
    depth = trial.suggest_int("depth", 1, 4)
    widths = [trial.suggest_int(f"width_{n}", 64, 1024, step=64) for n in range(1, depth + 1)]
    overrides: dict[str, Any] = {
        "model.regression.hidden": widths,
        "model.regression.dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "training.learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "training.batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
        "training.warmup": trial.suggest_float("warmup", 0.0, 0.3),
        "training.decay": trial.suggest_categorical("decay", ["constant", "linear", "cosine"]),
    }
    optimizer = trial.suggest_categorical("optimizer", ["adam", "adamw"])
    overrides["training.optimizer"] = optimizer
    if optimizer == "adamw":
        decay = trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True)
        overrides["training.weight_decay"] = decay
    return overrides | _loss(trial)


def _loss(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """The likelihood of clicks, and beside it the order of a test's arms with any weight."""
    pairwise = 0.0
    if trial.suggest_categorical("rank_arms", [False, True]):
        pairwise = trial.suggest_float("pairwise", 0.1, 10.0, log=True)
    return {
        "training.loss.mse": 0.0,
        "training.loss.binomial": 1.0,
        "training.loss.pairwise": pairwise,
        "training.loss.overdispersion": trial.suggest_float("overdispersion", 1e-5, 1e-1, log=True),
    }
