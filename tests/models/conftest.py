"""A tiny dataset with every modality, some cells missing, and pictures of two sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target

WORDS = ("free", "shoes", "today", "new", "summer", "sale", "you", "best", "secret", "why")


def make_dataset(root: Path, contents: int = 24, seed: int = 0) -> Dataset:
    """Contents in tests of three; every fifth lacks its picture, every seventh its title."""
    rng = np.random.default_rng(seed)
    pictures = root.parent / f"{root.name}-pictures"
    pictures.mkdir()
    images: dict[str, Path] = {}
    rows = []
    for index in range(contents):
        name = None if index % 5 == 4 else f"{index}.png"
        if name is not None:
            size = (40, 48) if index % 2 else (64, 36)
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / name)
            images[name] = pictures / name
        impressions = int(rng.integers(100, 1000))
        rows.append(
            {
                "content_id": f"c{index}",
                "ab_test": f"t{index // 3}",
                "image": name,
                "title": None if index % 7 == 6 else " ".join(rng.choice(WORDS, 4)),
                "description": " ".join(rng.choice(WORDS, 3)) if index % 2 else None,
                "location": rng.choice(["DE/homepage/top", "FR/homepage/top", "FR/checkout"]),
                "weekday": rng.choice(["mon", "tue", "sun"]),
                "price": float(rng.normal(20, 5)),
                "impressions": impressions,
                "clicks": int(rng.binomial(impressions, 0.1)),
            }
        )
    manifest = Manifest(
        name="tiny",
        images="images",
        columns=Columns(
            content_id="content_id",
            ab_test="ab_test",
            domain="location",
            image="image",
            text=("title", "description"),
            categorical=("weekday",),
            numeric=("price",),
        ),
        target=Target(impressions="impressions", clicks="clicks"),
        assignment="randomised",
        shares="unknown",
    )
    return write_dataset(root, manifest, pd.DataFrame(rows), images)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Twenty-four contents with every modality."""
    return make_dataset(tmp_path / "tiny")
