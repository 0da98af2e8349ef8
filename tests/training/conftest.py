"""A small dataset with known effects, and a small regressor for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import build_scorer

WORDS = ("free", "new", "last", "chance", "sale", "home", "today", "only", "best", "win")
# Tensors here are tiny: a second thread would only wait for the first, long on a busy machine.
torch.set_num_threads(1)

TINY_MODEL = NeuralInsightsConfig(
    text=TextEncoderConfig(
        architecture="scratch",
        weights=None,
        max_tokens=12,
        dropout=0.1,
        scratch=ScratchTransformerConfig(vocabulary=60, layers=1, width=16, heads=2),
    ),
    domain=DomainEncoderConfig(buckets=16, mlp=MLPConfig(hidden=(8,))),
    attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(8,))),
    regression=MLPConfig(hidden=(16,)),
)


def make_table(tests: int = 40, seed: int = 0) -> pd.DataFrame:
    """Contents of A/B tests whose rate depends on the word `free` and on the price."""
    rng = np.random.default_rng(seed)
    rows = []
    for test in range(tests):
        silent = test % 10 == 3
        for arm in range(int(rng.integers(2, 5))):
            words = rng.choice(WORDS, size=4, replace=False)
            price = float(rng.normal())
            logit = -2.0 + 1.0 * ("free" in words) - 0.5 * price
            clicks = rng.binomial(2000, 1 / (1 + np.exp(-logit)))
            rows.append(
                {
                    "content_id": f"c{test}-{arm}",
                    "test": f"t{test}",
                    "text": None if silent or rng.random() < 0.15 else " ".join(words),
                    "domain": None if rng.random() < 0.15 else f"site{rng.integers(3)}/top",
                    "price": price,
                    "day": str(rng.choice(["mon", "tue"])),
                    "impressions": 2000,
                    "clicks": int(clicks),
                }
            )
    return pd.DataFrame(rows)


MANIFEST = Manifest(
    name="tiny",
    columns=Columns(
        content_id="content_id",
        ab_test="test",
        domain="domain",
        text=("text",),
        categorical=("day",),
        numeric=("price",),
    ),
    target=Target(impressions="impressions", clicks="clicks"),
    assignment="randomised",
)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """About 120 contents, some without text or domain."""
    return write_dataset(tmp_path_factory.mktemp("tiny") / "dataset", MANIFEST, make_table())


@pytest.fixture(scope="session")
def scorer_folder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained regressor of text, domain and attributes."""
    folder = tmp_path_factory.mktemp("scorer") / "initial"
    build_scorer(TINY_MODEL, dataset, np.arange(80), seed=1).save(folder)
    return folder
