"""What came of predictions, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.display import Part, cell, interval
from ni_platform.api.progress import say
from ni_platform.data.reading.csv_file import CsvFormat
from ni_platform.data.reading.days import DayOrder
from ni_platform.hindsight.judging import Outcomes as Found
from ni_platform.hindsight.judging import judge_outcomes, label
from ni_platform.hindsight.record import outcomes_figure, record_outcomes
from ni_platform.reporting.page import Picture, Table
from ni_platform.tracking.store import open_store


@dataclass(frozen=True, kw_only=True, repr=False)
class Outcomes:
    """What came of predictions; recorded in the run `run_id`."""

    run_id: str
    found: Found = field(repr=False)

    @property
    def figures(self) -> pd.DataFrame:
        """A row per model and figure, on what came after and when the model was tested.

        Columns: model_run, model, shadow, metric, value, low, high (95 %), contents, then,
        then_low, then_high (of the test part of the model's run; nan where it has none),
        difference, difference_low, difference_high (nan of fewer than five A/B tests).
        """
        return self.found.figures

    @property
    def plans(self) -> pd.DataFrame:
        """A row per plan that a randomised A/B test followed.

        Columns: request (the plan's run), model, ab_test, shown (drafts), first (draft with the
        highest prediction), best (draft with the highest observed rate), agreed, chance (that a
        blind choice agrees), gain (clicks per 1,000 impressions of the first against all alike).
        """
        return self.found.plans

    @property
    def shadows(self) -> pd.DataFrame:
        """A row per model in use and shadow: the shadow's figure less the other's.

        Columns: used, shadow, metric, difference, low, high (95 %), contents.
        """
        return self.found.shadows

    @property
    def sentences(self) -> list[str]:
        """What came out, in plain words."""
        return self.found.sentences()

    def __repr__(self) -> str:
        return " ".join(self.sentences)

    def _repr_html_(self) -> str:
        rows = [
            (
                row["model"],
                label(row["metric"]),
                f"{row['value']:.3f}",
                interval(row["low"], row["high"]),
                "–" if row["then"] != row["then"] else f"{row['then']:.3f}",
            )
            for row in self.figures.to_dict("records")
        ]
        heads = ("model", "figure", "on what came after", "95 %", "when it was tested")
        parts = [Part(note=sentence) for sentence in self.sentences]
        drawn = outcomes_figure(self.found)
        if drawn is not None:
            words = "Shares on what came after beside those of the test part, a row per model"
            parts.append(Part(picture=Picture.of(drawn, words, "")))
        parts.append(Part(table=Table.of(heads, rows)))
        return cell("What came of predictions", *parts, Part(note=".figures, .plans, .shadows"))


def outcomes(
    results: str | Path | Sequence[str | Path],
    data: Dataset | str | Path,
    *,
    log: str | Path | Sequence[str | Path] = (),
    images: str | Path | None = None,
    dates: DayOrder | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Outcomes:
    """Add results to a dataset, and say what came of predictions that were made before them.

    Args:
        results: Exports of the kind that the dataset was imported from, or tables with its columns;
            none (`()`) compares contents with a day that the dataset has already.
        data: A dataset, or its local folder, which is replaced by its new version.
        log: Folders or `s3://` prefixes that served models have logged predictions to; recorded
            plans count in any case.
        images: Folder of the new contents' pictures; each table's own if None.
        dates: What 3/4/2026 means, "day-first" or "month-first".
        delimiter: Separator of a CSV; found out if None.
        encoding: Of a CSV; found out if None.

    Raises:
        DatasetError: Results do not fit, or a log cannot be read. Nothing is added then.
        TrackingError: The store does not answer.
    """
    store = open_store()
    files = [results] if isinstance(results, str | os.PathLike) else list(results)
    logs = [log] if isinstance(log, str | os.PathLike) else list(log)
    form = CsvFormat(delimiter=delimiter, encoding=encoding)
    folder = open_dataset(data).folder
    found = judge_outcomes(
        store, folder, files, logs=logs, images=images, dates=dates, form=form, say=say
    )
    return Outcomes(run_id=record_outcomes(store, found, files), found=found)
