"""M2FN: the published network and training, and a variant for a laptop."""

from dataclasses import replace

from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.encoders.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.inputs import ImageInput
from ni_platform.models.losses import LossConfig
from ni_platform.models.m2fn.network import HashedDomain, M2FNConfig, OneHotAttributes, VGGConfig
from ni_platform.training.config import TrainingConfig

PUBLISHED = M2FNConfig(
    image=VGGConfig(input=ImageInput(size=224)),
    text=TextEncoderConfig(weights="bert-base-uncased", pooling="cls"),
    domain=HashedDomain(),
    attributes=OneHotAttributes(),
)


def regression() -> ExperimentConfig:
    """M2FN on success rates (Sections 5 and 7.1): VGG-19 at 224 pixels, frozen BERT embeddings."""
    return ExperimentConfig(
        name="m2fn.regression",
        model=PUBLISHED,
        training=TrainingConfig(
            epochs=100,
            batch_size=128,
            learning_rate=1e-4,
            frozen=("text",),
            loss=LossConfig(mse=0.0, weighted_mse=1.0),
        ),
    )


def small() -> ExperimentConfig:
    """M2FN at 64 pixels with narrow layers, all from scratch: needs no pretrained weights."""
    return ExperimentConfig(
        name="m2fn.small",
        model=replace(
            PUBLISHED,
            image=VGGConfig(input=ImageInput(size=64)),
            text=TextEncoderConfig(
                architecture="scratch",
                max_tokens=32,
                scratch=ScratchTransformerConfig(width=64, layers=1),
            ),
            low_level_width=64,
            attention_width=128,
            high_level_width=128,
            head=(256, 256),
            dropout=0.2,
        ),
        training=TrainingConfig(
            epochs=6,
            batch_size=32,
            learning_rate=3e-4,
            warmup=0.1,
            decay="cosine",
            clip_norm=1.0,
            monitor="pairwise_accuracy",
            loss=LossConfig(mse=0.0, binomial=1.0),
        ),
    )
