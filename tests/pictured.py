"""A small dataset with every modality, and small regressors of each kind for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import ImageInput
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.m2fn.image_network import ImageNetworkConfig
from ni_platform.models.m2fn.network import M2FNConfig, OneHotAttributes
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig

WORDS = ("free", "new", "last", "chance", "sale", "home", "today", "only", "best", "win")

TEXT = TextEncoderConfig(
    architecture="scratch",
    weights=None,
    max_tokens=24,
    scratch=ScratchTransformerConfig(vocabulary=300, layers=1, width=16, heads=2),
)
NI = NeuralInsightsConfig(
    image=ImageEncoderConfig(input=ImageInput(size=None)),
    text=TEXT,
    domain=DomainEncoderConfig(buckets=16, mlp=MLPConfig(hidden=(8,))),
    attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(8,))),
    regression=MLPConfig(hidden=(16,), dropout=0.3),
)
M2FN = M2FNConfig(
    image=ImageNetworkConfig(architecture="table3", input=ImageInput(size=32)),
    text=TextEncoderConfig(
        architecture="scratch",
        weights=None,
        max_tokens=24,
        columns="separate",
        scratch=TEXT.scratch,
    ),
    attributes=OneHotAttributes(),
    low_level_width=8,
    attention_width=8,
    high_level_width=8,
    head=(8,),
    dropout=0.3,
)

MANIFEST = Manifest(
    name="pictured",
    images="images",
    columns=Columns(
        content_id="content_id",
        ab_test="test",
        domain="domain",
        image="image",
        text=("title", "subtitle"),
        categorical=("day",),
        numeric=("price",),
    ),
    target=Target(impressions="impressions", clicks="clicks"),
    assignment="randomised",
)


def write_pictured(root: Path, price: float = 0.0) -> Dataset:
    """70 contents, each modality missing in some; titles of 2 to 14 words, pictures of two sizes.

    The success rate depends on the price, to which `price` is added. No token is in every domain:
    batch normalization would leave its weights a gradient of rounding errors alone, which Adam
    scales up, so that no two ways of computing the same would stay together.
    """
    rng = np.random.default_rng(1)
    root.mkdir(parents=True)
    rows, pictures = [], {}
    for row in range(70):
        name = None if row % 6 == 4 else f"{row}.png"
        pixels = rng.integers(0, 256, (*((32, 40) if row % 2 else (48, 32)), 3), dtype=np.uint8)
        if name is not None:
            Image.fromarray(pixels).save(root / name)
            pictures[name] = root / name
        cost = float(rng.normal())
        title = " ".join(rng.choice(WORDS, 2 * int(rng.integers(1, 8))))
        rows.append(
            {
                "content_id": f"c{row}",
                "test": f"t{row // 3}",
                "image": name,
                "title": None if row % 7 == 3 else title,
                "subtitle": "new" if row % 3 == 1 else None,
                "domain": None if row % 8 == 2 else f"site{rng.integers(3)}",
                "price": cost + price,
                "day": str(rng.choice(["mon", "tue"])),
                "impressions": 2000,
                "clicks": int(rng.binomial(2000, 1 / (1 + np.exp(2 + 0.5 * cost)))),
            }
        )
    return write_dataset(root / "dataset", MANIFEST, pd.DataFrame(rows), pictures)
