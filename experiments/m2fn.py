"""M2FN: the published network, for rates and for distributions, and one for a laptop."""

from dataclasses import replace

from ni_platform.data.images import ImageInput
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.losses import LossConfig
from ni_platform.models.m2fn.image_network import ImageNetworkConfig
from ni_platform.models.m2fn.network import HashedDomain, M2FNConfig, OneHotAttributes
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.training.config import TrainingConfig

PUBLISHED = M2FNConfig(
    image=ImageNetworkConfig(architecture="vgg19", input=ImageInput(size=224)),
    text=TextEncoderConfig(weights="bert-base-uncased", pooling="cls", columns="separate"),
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


def distribution() -> ExperimentConfig:
    """M2FN on distributions over levels of ratings, or ten buckets of success rates, by KLD."""
    base = regression()
    return replace(
        base,
        name="m2fn.distribution",
        # Section 7.1: AVA has few attributes, so 64, 512 and 512.
        model=replace(PUBLISHED, output="distribution", low_level_width=64),
        training=replace(base.training, loss=LossConfig(mse=0.0, kl_divergence=1.0)),
    )


def small() -> ExperimentConfig:
    """M2FN on the image network of NI Table 3 at 64 pixels: all from scratch, in minutes."""
    return ExperimentConfig(
        name="m2fn.small",
        model=replace(
            PUBLISHED,
            image=ImageNetworkConfig(architecture="table3", input=ImageInput(size=64)),
            text=TextEncoderConfig(
                architecture="scratch",
                columns="separate",
                max_tokens=32,
                scratch=ScratchTransformerConfig(width=64, layers=1),
            ),
            low_level_width=64,
            attention_width=128,
            high_level_width=128,
            head=(256,),
            dropout=0.2,
        ),
        training=TrainingConfig(
            epochs=12,
            batch_size=32,
            learning_rate=1e-3,
            warmup=0.1,
            decay="cosine",
            clip_norm=1.0,
            monitor="pairwise_accuracy",
            loss=LossConfig(mse=0.0, binomial=1.0),
        ),
    )
