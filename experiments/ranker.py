"""Gaussian processes on frozen encoders: for hundreds or a few thousand A/B tests, without epochs.

Middle layers of an encoder keep how a text is written, which makes people click; the last one was
trained to forget it.
"""

from __future__ import annotations

from dataclasses import replace

from ni_platform.data.images import ImageInput
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.text import TextEncoderConfig

MINILM = TextEncoderConfig(weights="minilm-l6", pooling="mean", max_tokens=64, layers=(2, 3, 4))
MPNET = TextEncoderConfig(
    weights="sentence-transformers/all-mpnet-base-v2",
    pooling="mean",
    max_tokens=64,
    layers=(4, 6, 8),
)
FULL = GaussianProcessConfig(
    image=ImageEncoderConfig(
        architecture="efficientnet_lite0",
        weights="efficientnet-lite0",
        input=ImageInput(size=224),
    ),
    text=MINILM,
    domain=HashedDomain(),
    attributes=OneHotAttributes(),
)


def text_small() -> ExperimentConfig:
    """Texts alone, by MiniLM's layers 2 to 4; minutes on a laptop."""
    return ExperimentConfig(name="ranker.text_small", model=GaussianProcessConfig(text=MINILM))


def text() -> ExperimentConfig:
    """Texts alone, by layers 4, 6 and 8 of all-mpnet-base-v2."""
    return ExperimentConfig(name="ranker.text", model=GaussianProcessConfig(text=MPNET))


def full_small() -> ExperimentConfig:
    """All modalities, pictures by EfficientNet-Lite0 and texts by MiniLM's layers 2 to 4."""
    return ExperimentConfig(name="ranker.full_small", model=FULL)


def full() -> ExperimentConfig:
    """All modalities, pictures by EfficientNet-Lite0 and texts by all-mpnet-base-v2."""
    return ExperimentConfig(name="ranker.full", model=replace(FULL, text=MPNET))
