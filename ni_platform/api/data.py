"""Datasets: made of tables, opened, looked at and checked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ni_platform.api.display import Part, cell, figure
from ni_platform.api.frames import as_arrow
from ni_platform.api.progress import CheckProgress, DrawingProgress, say
from ni_platform.data import storage
from ni_platform.data import synthetic as planted
from ni_platform.data.assignment import Assignment, Shares
from ni_platform.data.dataset import Dataset as StoredDataset
from ni_platform.data.importers.table import import_table as write_table
from ni_platform.data.manifest import FILE_NAME
from ni_platform.data.reading.csv_file import CsvFormat
from ni_platform.data.reading.days import DayOrder
from ni_platform.data.splits import SplitConfig, split_dataset
from ni_platform.errors import ChecksFailedError, DatasetError
from ni_platform.reporting.page import Table

if TYPE_CHECKING:
    from ni_platform.data.checks import CheckReport


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """A dataset folder, opened: one row per content, with its A/B test, counts and inputs."""

    stored: StoredDataset

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        return self.stored.manifest.name

    @property
    def folder(self) -> str:
        """Where it lies: an absolute folder or an `s3://` prefix."""
        return self.stored.root

    @property
    def frame(self) -> pd.DataFrame:
        """Its N contents, indexed by content id: all columns; pictures as paths or URIs."""
        manifest = self.stored.manifest
        frame = self.stored.contents.copy()
        if manifest.columns.image is not None:
            frame[manifest.columns.image] = self.stored.image_uri
        return frame.set_index(manifest.columns.content_id)

    def __len__(self) -> int:
        return len(self.stored)

    def sample(self, contents: int, *, seed: int = 0) -> pd.DataFrame:
        """Return `contents` rows of `frame` drawn at random, to predict or explain.

        Raises:
            DatasetError: There are fewer.
        """
        if not 1 <= contents <= len(self):
            raise DatasetError(
                f"{self.name} has {len(self):,} contents, but {contents:,} were asked for: draw 1 "
                f"to {len(self):,}"
            )
        return self.frame.sample(contents, random_state=seed)

    def check(self, *, docs: str | Path | None = None) -> Checks:
        """Check the data by the suites of `data_checks`; a failed check raises nothing here.

        Args:
            docs: Folder that gets the verdict as web pages (Great Expectations' Data Docs).

        Raises:
            DatasetError: The data cannot be split into parts.
        """
        # Great Expectations takes seconds to import.
        from ni_platform.data.checks import check_dataset

        with CheckProgress() as progress:
            splits = split_dataset(self.stored, SplitConfig())
            report = check_dataset(self.stored, splits, docs_folder=docs, progress=progress)
        return Checks(report=report, notes=splits.notes, folder=self.folder)

    def facts(self) -> list[tuple[str, Any]]:
        """Return what it holds, as words and figures."""
        stored, columns = self.stored, self.stored.manifest.columns
        return [
            ("contents", len(stored)),
            ("A/B tests", int(stored.ab_test.dropna().nunique())),
            ("impressions", int(stored.impressions.sum())),
            ("mean success rate", float(stored.success_rate.mean())),
            ("text", ", ".join(columns.text) or "–"),
            ("image", columns.image or "–"),
            ("domain", columns.domain or "–"),
            ("attributes", ", ".join(columns.categorical + columns.numeric) or "–"),
            ("vectors", ", ".join(columns.vector) or "–"),
        ]

    def __repr__(self) -> str:
        return f"Dataset {self.name}: {len(self):,} contents in {self.folder}"

    def _repr_html_(self) -> str:
        rows = [(name, figure(value)) for name, value in self.facts()]
        return cell(f"Dataset {self.name}", Part(table=Table.of(("", self.folder), rows)))


@dataclass(frozen=True, kw_only=True, repr=False)
class Checks:
    """What the data checks found."""

    report: CheckReport
    notes: tuple[str, ...]
    """What the split says of the data."""
    folder: str

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return self.report.success

    @property
    def frame(self) -> pd.DataFrame:
        """A row per rule, failures first: suite, rule, passed, observed, failed_rows, sample_rows.

        failed_rows counts rows that break the rule (null for rules on a whole table); sample_rows
        are the first of them, as dictionaries.
        """
        results = self.report.to_json()["results"]
        return pd.DataFrame(results).rename(columns={"success": "passed"})

    def require(self) -> None:
        """Raise ChecksFailedError unless every rule holds."""
        if not self.passed:
            raise ChecksFailedError(
                f"{len(self.report.failures)} of {self.report.evaluated} checks failed on "
                f"{self.folder}; mend these rows, or train with --allow-failed-checks (in Python "
                "allow_failed_checks=True)"
            )

    def __repr__(self) -> str:
        failed = len(self.report.failures)
        verdict = "all passed" if self.passed else f"{failed} FAILED"
        return f"Checks of {self.folder}: {self.report.evaluated} rules, {verdict}"

    def _repr_html_(self) -> str:
        rows = [
            (
                "pass" if row["passed"] else "FAIL",
                row["suite"],
                row["rule"],
                row["observed"],
                "; ".join(map(str, row["sample_rows"][:2])),
            )
            for row in self.frame.to_dict("records")
        ]
        heads = ("", "suite", "rule", "observed", "for example")
        marks = ["failed" if row[0] == "FAIL" else "passed" for row in rows]
        table = Table.of(heads, rows, marks=marks)
        return cell(repr(self), Part(table=table, note=" ".join(self.notes)))


def open_dataset(folder: str | Path | Dataset) -> Dataset:
    """Open a dataset folder, local or `s3://`; a dataset that is open stays as it is.

    Raises:
        DatasetError: It holds no `dataset.yaml`, or the table does not fit it.
    """
    return folder if isinstance(folder, Dataset) else Dataset(stored=StoredDataset.open(folder))


def import_table(
    table: Any,
    folder: str | Path,
    *,
    content_id: str | Sequence[str],
    ab_test: str | None = None,
    assignment: Assignment | None = None,
    assignment_reason: str | None = None,
    assignment_column: str | None = None,
    share: str | None = None,
    shares: Shares | None = None,
    day: str | None = None,
    dates: DayOrder | None = None,
    arm: str | None = None,
    domain: str | None = None,
    image: str | None = None,
    images: str | Path | None = None,
    text: str | Sequence[str] = (),
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    vector: str | Sequence[str] = (),
    impressions: str | None = None,
    clicks: str | None = None,
    ratings: Sequence[str] | None = None,
    split: str | None = None,
    name: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
) -> Dataset:
    """Write a dataset folder from a table, and open it; arguments name the table's columns.

    Where the folder holds the very same dataset already, as when a cell is run again, it is opened.

    Args:
        table: Path of a CSV or Parquet file (local or `s3://`), or a table in memory: of pandas,
            Polars, PyArrow, Hugging Face `datasets` or MLflow.
        folder: New folder, local or `s3://`.
        content_id: Names each content; unique. Several columns make one id together.
        ab_test: The A/B test of a content; null where it was in none.
        assignment: How the arms of all A/B tests were assigned: "randomised" by chance, "platform"
            by a platform's optimiser, "observational" by neither. Needed with `ab_test`.
        assignment_reason: Why that is known, in a sentence.
        assignment_column: Such a word per A/B test, where they differ; in place of `assignment`.
        share: Planned share of each arm within its A/B test, in any unit; equal if None.
        shares: "unknown" where shares were not planned or changed, so that nobody can check them.
        day: First day of each content.
        dates: What 3/4/2026 means, "day-first" or "month-first".
        arm: control or treatment.
        domain: Where the content is shown.
        image: Path of each picture, relative to `images`.
        images: Folder or `s3://` prefix of the pictures; the table's own folder if None.
        text: Text columns, any number.
        categorical: Categorical attributes.
        numeric: Numeric attributes.
        vector: Columns of lists of numbers.
        impressions: How often a content was shown; with `clicks`, or else `ratings`.
        clicks: How often it succeeded.
        ratings: Columns of rating counts, lowest first.
        split: train, validation or test of each row, where you decide.
        name: Of the dataset; the folder's if None.
        delimiter: Of a CSV; found out if None.
        encoding: Of a CSV; found out if None.
        decimal: Sign of a CSV's decimals, where the numbers leave it open.

    Raises:
        DatasetError: The table cannot be read exactly, names a column that is not there, has ids
            that repeat, clicks above impressions or a row of totals, lacks pictures; or the folder
            holds something else. Nothing is written then.
    """
    columns: dict[str, Any] = {
        role: (given,) if isinstance(given, str) else tuple(given)
        for role, given in (
            ("text", text),
            ("categorical", categorical),
            ("numeric", numeric),
            ("vector", vector),
        )
    }
    columns |= {
        "content_id": content_id, "ab_test": ab_test, "assignment": assignment,
        "assignment_reason": assignment_reason, "assignment_column": assignment_column,
        "share": share, "shares": shares, "day": day, "dates": dates, "arm": arm,
        "domain": domain, "image": image, "images": images, "impressions": impressions,
        "clicks": clicks, "ratings": ratings, "split": split, "say": say,
        "form": CsvFormat(delimiter=delimiter, encoding=encoding, decimal=decimal),
    }  # fmt: skip
    source = table if isinstance(table, str | os.PathLike) else as_arrow(table)
    named = name or Path(str(folder).rstrip("/")).name

    def write(place: str | Path) -> StoredDataset:
        return write_table(source, place, name=named, **columns)

    return Dataset(stored=_written_once(folder, write))


def _written_once(
    folder: str | Path, write: Callable[[str | Path], StoredDataset]
) -> StoredDataset:
    """Write a dataset, or open it where the very same lies there already."""
    if storage.is_remote(folder) or not Path(folder, FILE_NAME).exists():
        return write(folder)
    there = StoredDataset.open(folder)
    with tempfile.TemporaryDirectory(dir=Path(folder).absolute().parent) as scratch:
        same = write(Path(scratch) / "again").fingerprint() == there.fingerprint()
    if not same:
        raise DatasetError(
            f"{folder} holds another dataset: choose another folder, or delete it first"
        )
    return there


def synthesize(
    folder: str | Path,
    *,
    tests: int = 200,
    domains: int = 6,
    image_size: int = 96,
    seed: int = 0,
) -> Dataset:
    """Draw planted A/B tests whose effects are known into a folder, and open it.

    The truth lies beside the table, in `truth.json` and `truth.parquet`. Where the folder holds the
    same draw already, it is opened.

    Args:
        folder: New folder, local or `s3://`.
        tests: Number of A/B tests, of two to five contents each.
        domains: Number of domains.
        image_size: Side of a picture in pixels.
        seed: The same seed gives the same dataset.

    Raises:
        DatasetError: A number is out of range, or the folder holds something else.
    """
    asked: dict[str, Any] = {"tests": tests, "domains": domains}
    asked |= {"image_size": image_size, "seed": seed}
    if storage.exists(storage.join(str(folder), FILE_NAME)):
        drawn = planted.read_truth(folder).parameters
        if {name: drawn.get(name) for name in asked} != asked:
            raise DatasetError(
                f"{folder} holds another dataset: choose another folder, or delete it first"
            )
        return open_dataset(folder)
    with DrawingProgress() as progress:
        return Dataset(stored=planted.make_synthetic(folder, **asked, progress=progress))
