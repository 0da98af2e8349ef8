"""What a Gaussian process reads, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ni_platform.errors import ConfigError
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.models.modalities.embedding import Vectors
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import ModelConfig
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.modalities.wording import NamedWording
from ni_platform.seeds import check_seed


@dataclass(frozen=True, kw_only=True)
class GaussianProcessConfig(ModelConfig):
    """A level per A/B test plus a function of the content, with one kernel per modality.

    Encoders are frozen. A modality whose config is None is not read.
    """

    kind: Literal["gaussian_process"] = "gaussian_process"
    image: ImageEncoderConfig | None = None
    text: TextEncoderConfig | None = None
    wording: NamedWording | None = None
    domain: HashedDomain | None = None
    embedding: Vectors | None = None
    attributes: OneHotAttributes | None = None
    kernel: Literal["rbf", "linear"] = "rbf"
    points: int = 4000
    """Distinct contents that the function is spanned by; with no more than that it is exact."""
    output: Literal["rate"] = "rate"
    seed: int = 0
    """Of what is drawn where there are more contents than `points`."""

    def __post_init__(self) -> None:
        check_seed("model.seed", self.seed)
        if not self.parts:
            raise ConfigError("A model reads at least one modality, but all are null: set one.")
        if self.points < 1:
            raise ConfigError(f"model.points must be at least 1, but is {self.points}.")
