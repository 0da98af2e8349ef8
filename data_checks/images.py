"""Checks on the pictures: each one exists, decodes and is large enough to show something."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.images import probe
from ni_platform.data.splits import Splits, used

SMALLEST_SIDE = 16
"""Pixels; smaller pictures are placeholders or tracking pixels."""
_THREADS = 8


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Only datasets that declare an image column have pictures."""
    return dataset.image_uri is not None


def table(
    dataset: Dataset,
    splits: Splits | None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """One row per content that names a picture; each distinct picture is decoded once."""
    dataset, _ = used(dataset, splits)
    uris = dataset.image_uri
    if uris is None:
        return pd.DataFrame(columns=["content_id", "image", "width", "height", "problem"])
    named = uris[uris.notna()]
    distinct = list(named.unique())
    # Pillow decodes outside the interpreter lock, so threads use every core.
    with ThreadPoolExecutor(_THREADS) as pool:
        probes = {}
        for uri, found in zip(distinct, pool.map(probe, distinct)):
            probes[uri] = found
            if progress is not None:
                progress(len(probes), len(distinct))
    seen = [probes[uri] for uri in named]
    return pd.DataFrame(
        {
            "content_id": dataset.content_id[named.index].to_numpy(),
            "image": dataset.contents.loc[named.index, dataset.manifest.columns.image].to_numpy(),
            "width": [float(item.width) if item.problem is None else None for item in seen],
            "height": [float(item.height) if item.problem is None else None for item in seen],
            "problem": pd.Series([item.problem for item in seen], dtype=object).to_numpy(),
        }
    )


def suite(dataset: Dataset) -> gx.ExpectationSuite:
    """Rules for pictures."""
    return gx.ExpectationSuite(
        name="images",
        expectations=[
            gxe.ExpectColumnValuesToBeNull(
                column="problem",
                description="Every picture that is named exists, decodes and is of a safe size.",
            ),
            *(
                gxe.ExpectColumnValuesToBeBetween(
                    column=side,
                    min_value=SMALLEST_SIDE,
                    description=f"The {side} of every picture is at least {SMALLEST_SIDE} pixels.",
                )
                for side in ("width", "height")
            ),
        ],
    )
