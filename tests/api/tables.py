"""A table of A/B tests of headlines, small enough to be trained on in a second."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd

import ni_platform as ni


def headlines(tests: int) -> pd.DataFrame:
    """Two headlines per test; those with `free` have three times the clicks."""
    draw = random.Random(0)
    rows = []
    for test in range(tests):
        words = " ".join(draw.choice(["red", "blue", "old", "new", "tall"]) for _ in range(3))
        for arm, (word, rate) in enumerate((("free", 0.15), ("paid", 0.05))):
            rows.append(
                {
                    "ad_id": f"{test}-{arm}",
                    "test_id": f"test {test}",
                    "headline": f"{word} {words} number {test}",
                    "device": draw.choice(["phone", "desk"]),
                    "shown": 1000 + test,
                    "clicked": sum(draw.random() < rate for _ in range(1000)),
                }
            )
    return pd.DataFrame(rows)


HEADLINES = headlines(60)


def import_headlines(table: Any, folder: str | Path, **more: Any) -> ni.Dataset:
    """Import a table with the columns of `headlines`."""
    return ni.import_table(
        table,
        folder,
        content_id="ad_id",
        ab_test="test_id",
        assignment="randomised",
        text="headline",
        impressions="shown",
        clicks="clicked",
        **more,
    )
