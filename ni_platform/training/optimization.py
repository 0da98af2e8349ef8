"""Which parameters are trained, and by what optimizer at what learning rate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from ni_platform.errors import ConfigError
from ni_platform.training.config import TrainingConfig


def parameter_groups(
    module: nn.Module, config: TrainingConfig, pretrained: Collection[str]
) -> list[dict[str, Any]]:
    """Freeze what the config freezes and group the rest by learning rate and weight decay.

    Encoders are found as `module.encoders[modality]`; those of `pretrained` modalities have
    `encoder_learning_rate`. Weights of one dimension (biases, normalization) are not decayed.

    Raises ConfigError for a frozen modality that the module does not have, or if nothing is left.
    """
    encoders: dict[str, nn.Module] = dict(getattr(module, "encoders", nn.ModuleDict()).items())
    for name in config.frozen:
        if name not in encoders:
            raise ConfigError(
                f"training.frozen names {name!r}, but this stage has "
                f"{', '.join(encoders) or 'no encoders'}; leave it out"
            )
        encoders[name].requires_grad_(False)
    slow = {
        id(parameter)
        for name in pretrained
        if name in encoders
        for parameter in encoders[name].parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        rate = config.learning_rate
        if id(parameter) in slow and config.encoder_learning_rate is not None:
            rate = config.encoder_learning_rate
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ConfigError(f"training.frozen={config.frozen} leaves nothing to train")
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def adam(groups: list[dict[str, Any]], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimizer of the config, in one fused kernel."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, betas=config.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its own base."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
