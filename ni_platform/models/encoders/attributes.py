"""The attributes encoder: one-hot and standardised attributes into NI Table 3's MLP2."""

from __future__ import annotations

from dataclasses import dataclass, field

from ni_platform.models.encoders.mlp import MLPConfig


@dataclass(frozen=True, kw_only=True)
class AttributesEncoderConfig:
    """How categorical and numeric attributes are encoded."""

    mlp: MLPConfig = field(default_factory=MLPConfig)
