"""Neural Insights (Kong et al., KDD 2023): the paper's models, and variants for a laptop.

Each function is an experiment: `ni train neural_insights.NAME --data DIR`. A variant calls the
one it comes from and replaces what differs.
"""

from dataclasses import replace

from ni_platform.attribution.config import AttributionConfig
from ni_platform.data.images import ImageInput
from ni_platform.experiment_config import ExperimentConfig, Pretraining
from ni_platform.insights.config import InsightsConfig
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.losses import LossConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.training.config import TrainingConfig

IMAGE_STAGE = TrainingConfig(epochs=50, batch_size=32, learning_rate=1e-3, image_crop=512)
TEXT_STAGE = TrainingConfig(epochs=50, batch_size=8, learning_rate=1e-3)
"""NI Section 6.1. BERT as published, at 1e-3; `encoder_learning_rate` gives it a gentler one."""
MINILM = TextEncoderConfig(weights="minilm-l6", pooling="mean", max_tokens=64)

FULL = NeuralInsightsConfig(
    image=ImageEncoderConfig(architecture="table3", input=ImageInput(size=None)),
    text=TextEncoderConfig(weights="bert-base-uncased", pooling="cls"),
    domain=DomainEncoderConfig(),
    attributes=AttributesEncoderConfig(),
    regression=MLPConfig(hidden=(512, 1024, 1024)),
)
"""All modalities as published (Table 3)."""


def full() -> ExperimentConfig:
    """All modalities as published: Table 3's networks, Section 6.1's stages and settings."""
    return ExperimentConfig(
        name="neural_insights.full",
        model=FULL,
        pretraining=Pretraining(
            image=IMAGE_STAGE,
            text=TEXT_STAGE,
            domain=TrainingConfig(epochs=50, batch_size=512, learning_rate=5e-4),
            attributes=TrainingConfig(epochs=50, batch_size=512, learning_rate=5e-4),
        ),
        training=TrainingConfig(epochs=50, batch_size=32, learning_rate=1e-3, frozen=("image",)),
    )


def text() -> ExperimentConfig:
    """BERT with a regression head on the text alone (Table 1, row BERT)."""
    base = full()
    return replace(
        base,
        name="neural_insights.text",
        model=replace(FULL, image=None, domain=None, attributes=None, regression=None),
        pretraining=Pretraining(),
        training=TEXT_STAGE,
    )


def image() -> ExperimentConfig:
    """Table 3's residual network on the picture alone (Table 1, row ResNet-18)."""
    base = full()
    return replace(
        base,
        name="neural_insights.image",
        model=replace(FULL, text=None, domain=None, attributes=None, regression=None),
        pretraining=Pretraining(),
        training=IMAGE_STAGE,
    )


def text_small() -> ExperimentConfig:
    """A MiniLM fine-tuned to rank the arms of each A/B test; minutes on two cores."""
    return ExperimentConfig(
        name="neural_insights.text_small",
        model=NeuralInsightsConfig(text=MINILM),
        training=TrainingConfig(
            epochs=2,
            batch_size=64,
            learning_rate=5e-4,
            encoder_learning_rate=5e-5,
            optimizer="adamw",
            weight_decay=0.01,
            warmup=0.1,
            decay="linear",
            clip_norm=1.0,
            monitor="pairwise_within",
            loss=LossConfig(mse=0.0, binomial=1.0, pairwise=1.0),
        ),
    )


def full_small() -> ExperimentConfig:
    """All modalities, with a fine-tuned MiniLM and ImageNet's EfficientNet-Lite0, for a laptop."""
    base = text_small()
    # Contents outside A/B tests differ in exposure by orders of magnitude.
    fine_tuning = replace(
        base.training,
        batch_size=32,
        monitor="pairwise_accuracy",
        loss=LossConfig(mse=0.0, binomial=1.0, overdispersion=1e-3),
    )
    from_scratch = TrainingConfig(
        epochs=10,
        batch_size=512,
        learning_rate=5e-4,
        monitor="pairwise_accuracy",
        loss=fine_tuning.loss,
    )
    return replace(
        base,
        name="neural_insights.full_small",
        model=replace(
            FULL,
            image=ImageEncoderConfig(
                architecture="efficientnet_lite0", weights="efficientnet-lite0"
            ),
            text=MINILM,
        ),
        # The image network stays ImageNet's: an epoch of fine-tuning takes minutes on two cores.
        pretraining=Pretraining(text=fine_tuning, domain=from_scratch, attributes=from_scratch),
        training=replace(
            fine_tuning, epochs=4, batch_size=64, learning_rate=1e-3, frozen=("image", "text")
        ),
    )


def quickstart() -> ExperimentConfig:
    """All modalities, small and from scratch: needs no pretrained weights and runs in minutes."""
    stage = TrainingConfig(
        epochs=6,
        batch_size=32,
        learning_rate=1e-3,
        warmup=0.1,
        decay="cosine",
        clip_norm=1.0,
        monitor="pairwise_accuracy",
        loss=LossConfig(mse=0.0, binomial=1.0),
    )
    return ExperimentConfig(
        name="neural_insights.quickstart",
        model=replace(
            FULL,
            image=ImageEncoderConfig(architecture="table3", input=ImageInput(size=96)),
            text=TextEncoderConfig(architecture="scratch", max_tokens=32),
        ),
        pretraining=Pretraining(
            image=stage,
            text=stage,
            domain=replace(stage, epochs=3, batch_size=128),
            attributes=replace(stage, epochs=3, batch_size=128),
        ),
        training=stage,
    )


def demo() -> ExperimentConfig:
    """The quickstart, ended with insights: its predictions explained, tested and made advice."""
    return replace(
        quickstart(),
        name="neural_insights.demo",
        insights=InsightsConfig(
            contents=120, attribution=AttributionConfig(samples=48, steps=8, grid=5), shuffles=1
        ),
    )
