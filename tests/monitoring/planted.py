"""Planted A/B tests with days: "Free" doubles the rate, in mails and on the web."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.data.importers.table import import_table
from ni_platform.data.splits import SplitConfig
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from tests.export_files import WORDS
from tests.pictured import TEXT

_TEXT = replace(TEXT, scratch=replace(TEXT.scratch, width=64, heads=4))
TRAINED = ExperimentConfig(
    name="tests.monitored",
    model=GaussianProcessConfig(text=_TEXT, domain=HashedDomain(), attributes=OneHotAttributes()),
    splits=SplitConfig(near_duplicate_similarity=1.0, out_of_domain=0.0),
    evaluation=EvaluationConfig(replicates=20, glm=False),
)
FIRST = np.datetime64("2026-01-05")
TRAINING = 100
"""A/B tests that the model has, on as many days."""
OTHER_WORDS = [
    "qué",
    "niño",
    "señor",
    "mañana",
    "corazón",
    "año",
    "jamón",
    "también",
    "sueño",
    "café",
]


def arms(tests: int, first: int, **changes: Any) -> pd.DataFrame:
    """Two arms per A/B test, a test a day from the day `first` on, which is also its number.

    `changes` of the planted world: `words` of the texts, `place` where all are shown, `turned`
    whether "Plain" succeeds more often, `device` of all.
    """
    rows = []
    for test in range(first, first + tests):
        rng = np.random.default_rng(test)
        place = changes.get("place") or ("mail", "web")[test % 2]
        for word in ("Free", "Plain"):
            better = (word == "Free") != changes.get("turned", False)
            others = rng.choice(changes.get("words", WORDS), 4, replace=False)
            shown = 3_000
            rows.append(
                {
                    "id": f"{test}{word}",
                    "test": f"T{test}",
                    "subject": " ".join(str(part) for part in (word, *others)),
                    "place": place,
                    "device": changes.get("device") or ("phone", "desk")[test // 2 % 2],
                    "day": str(FIRST + test),
                    "shown": shown,
                    "clicked": int(rng.binomial(shown, 0.2 if better else 0.1)),
                }
            )
    return pd.DataFrame(rows)


def imported(folder: Path, *parts: pd.DataFrame, day: str | None = "day") -> Path:
    """A dataset of arms."""
    table = folder.with_suffix(".parquet")
    pd.concat(parts).to_parquet(table)
    import_table(
        table,
        folder,
        content_id="id",
        ab_test="test",
        assignment="randomised",
        text=["subject"],
        domain="place",
        categorical=["device"],
        day=day,
        impressions="shown",
        clicks="clicked",
    )
    return folder
