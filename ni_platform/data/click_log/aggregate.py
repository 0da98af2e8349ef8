"""A click log of any number of files to a dataset folder, with a report of what was left out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import ray

from ni_platform.data import storage
from ni_platform.data.click_log.counts import CLICKS, IMPRESSIONS, Counts
from ni_platform.data.click_log.events import read_events
from ni_platform.data.click_log.levels import Merge, merge_rare_levels
from ni_platform.data.click_log.spec import LogSpec
from ni_platform.data.dataset import Dataset, check_free
from ni_platform.data.importers.table import import_table, read_table
from ni_platform.errors import DatasetError
from ni_platform.ray_cluster import start_ray

CONTENT_ID = "content_id"
REPORT_FILE, REJECTS_FILE = "aggregation.json", "rejects.csv"
_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst", ".parquet", ".pq")
_FILES_UNDER_WAY = 64

OnFile = Callable[[int, int], None]
"""Told how many files are done, and of how many."""


@dataclass(kw_only=True)
class Aggregation:
    """What became of a log's rows."""

    files: int = 0
    rows: int = 0
    rejected: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Events left out by each drop rule."""
    merges: list[Merge] = field(default_factory=list)
    """Rare levels that went into others, in their order."""
    combinations: int = 0
    below_min_impressions: int = 0
    """Combinations left out because they were shown too rarely."""
    impressions_below_min: int = 0
    without_creative: int = 0
    """Combinations left out because no row of the creatives table is theirs."""
    contents: int = 0
    impressions: int = 0
    clicks: int = 0


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One file, counted."""

    counts: pa.Table | None
    rows: int
    dropped: Counter[str]
    rejects: list[tuple[str, int, str]]


def aggregate(
    logs: Sequence[str],
    out: str,
    spec: LogSpec,
    *,
    folder: str | Path = ".",
    on_file: OnFile = lambda done, total: None,
) -> tuple[Dataset, Aggregation]:
    """Count a log per combination and write the dataset folder `out` (M2FN Section 6.2).

    Args:
        logs: CSV or Parquet files, folders of them, or `s3://` prefixes.
        out: Dataset folder to write; also gets `aggregation.json` and `rejects.csv`.
        spec: What the columns mean and what to keep.
        folder: What the paths of `spec.creatives` are relative to.
        on_file: Told of progress.

    Files are counted as Ray tasks, so a cluster shares them out; memory follows the number of
    combinations. Nothing is written where more than `spec.max_rejected` of the rows are bad, but
    for `OUT.rejects.csv`.
    """
    check_free(out)
    files = log_files(logs)
    report, counts, rejects = Aggregation(files=len(files)), Counts(spec.keys), []
    for done, part in enumerate(_parts(files, spec), start=1):
        if part.counts is not None:
            counts.add(part.counts)
        report.rows += part.rows
        report.dropped = dict(Counter(report.dropped) + part.dropped)
        rejects += part.rejects
        on_file(done, len(files))
    report.rejected = len(rejects)
    if report.rejected > spec.max_rejected * report.rows:
        raise DatasetError(_too_many_rejects(report, rejects, spec, out))
    total = counts.table()
    if total is None or not len(total):
        raise DatasetError(f"There is no event left to count in {report.rows:,} rows of {logs}.")
    table = _kept(total, spec, report)
    dataset = _write(table, out, spec, Path(folder), report)
    storage.write_bytes(
        storage.join(out, REPORT_FILE), json.dumps(asdict(report), indent=1).encode()
    )
    storage.write_bytes(storage.join(out, REJECTS_FILE), _as_csv(rejects))
    return dataset, report


def log_files(logs: Sequence[str]) -> list[str]:
    """Return the files that paths, folders and prefixes name; raises DatasetError if none do."""
    files: list[str] = []
    for source in logs:
        if source.lower().endswith(_SUFFIXES):
            files.append(source)
            continue
        found = [name for name in storage.list_files(source) if name.lower().endswith(_SUFFIXES)]
        if not found:
            raise DatasetError(f"{source} holds no log: files must end in {', '.join(_SUFFIXES)}.")
        files += [storage.join(source, name) for name in found]
    return files


def _parts(files: Sequence[str], spec: LogSpec) -> Iterator[_Part]:
    """Count every file; side by side where there are several."""
    if len(files) == 1:
        yield _count_file(files[0], spec)
        return
    start_ray()
    task = ray.remote(_count_file)
    waiting = iter(files)
    under_way = [task.remote(file, spec) for file, _ in zip(waiting, range(_FILES_UNDER_WAY))]
    while under_way:
        (ready, *_), under_way = ray.wait(under_way, num_returns=1)
        try:
            part = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, DatasetError) else error from None
        under_way += [task.remote(file, spec) for file, _ in zip(waiting, range(1))]
        yield part


def _count_file(file: str, spec: LogSpec) -> _Part:
    counts, rows, dropped, rejects = Counts(spec.keys), 0, Counter[str](), []
    with storage.local_copy(file) as path:
        for piece in read_events(path, spec, file):
            counts.add_events(piece.events)
            rows += piece.rows
            dropped.update(piece.dropped)
            rejects += [(file, line, reason) for line, reason in piece.rejects]
    return _Part(counts=counts.table(), rows=rows, dropped=dropped, rejects=rejects)


def _too_many_rejects(
    report: Aggregation, rejects: list[tuple[str, int, str]], spec: LogSpec, out: str
) -> str:
    place = f"{out.rstrip('/')}.{REJECTS_FILE}"
    storage.write_bytes(place, _as_csv(rejects))
    file, line, reason = rejects[0]
    return (
        f"At most {spec.max_rejected:.2%} of the rows may be bad, but {report.rejected:,} of "
        f"{report.rows:,} are, such as line {line} of {file}: {reason}. All are listed in {place}; "
        "correct them, or raise max_rejected."
    )


def _as_csv(rejects: list[tuple[str, int, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("file", "line", "reason"))
    writer.writerows(rejects)
    return text.getvalue().encode()


def _kept(counts: pa.Table, spec: LogSpec, report: Aggregation) -> pd.DataFrame:
    """Merge rare levels, then leave out combinations that were shown too rarely."""
    table = counts.to_pandas()
    for attribute in spec.attributes:
        table[attribute], merges = merge_rare_levels(
            table, attribute, spec.min_level_impressions, spec.ordered.get(attribute)
        )
        report.merges += merges
    table = table.groupby(list(spec.keys), dropna=False, sort=True, as_index=False)[
        [IMPRESSIONS, CLICKS]
    ].sum()
    report.combinations = len(table)
    rare = table[IMPRESSIONS] < spec.min_impressions
    report.below_min_impressions = int(rare.sum())
    report.impressions_below_min = int(table.loc[rare, IMPRESSIONS].sum())
    if rare.all():
        raise DatasetError(
            f"No combination was shown {spec.min_impressions} times, the most is "
            f"{int(table[IMPRESSIONS].max())}: lower min_impressions, or name fewer attributes."
        )
    return table[~rare].reset_index(drop=True)


def _write(
    table: pd.DataFrame, out: str, spec: LogSpec, folder: Path, report: Aggregation
) -> Dataset:
    creatives = spec.creatives
    images: str | None = None
    if creatives is not None:
        table = _joined(table, spec, folder, report)
        if creatives.images is not None:
            images = storage.join(folder, creatives.images)
    table.insert(0, CONTENT_ID, _content_ids(table[list(spec.keys)]))
    report.contents = len(table)
    report.impressions, report.clicks = int(table[IMPRESSIONS].sum()), int(table[CLICKS].sum())
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "contents.parquet"
        table.to_parquet(path, index=False)
        return import_table(
            path,
            out,
            name=spec.name,
            content_id=CONTENT_ID,
            domain=spec.domain,
            ab_test=spec.ab_test,
            image=creatives.image if creatives else None,
            images=images,
            text=creatives.text if creatives else (),
            categorical=(*spec.attributes, *(creatives.categorical if creatives else ())),
            numeric=creatives.numeric if creatives else (),
            impressions=IMPRESSIONS,
            clicks=CLICKS,
        )


def _joined(table: pd.DataFrame, spec: LogSpec, folder: Path, report: Aggregation) -> pd.DataFrame:
    creatives = spec.creatives
    assert creatives is not None  # noqa: S101  # asked by the caller
    source = folder / creatives.table
    about = read_table(source, as_text={creatives.key})
    named = (creatives.key, creatives.image, *creatives.text, *creatives.categorical)
    columns = [name for name in (*named, *creatives.numeric) if name is not None]
    absent = [name for name in columns if name not in about.columns]
    if absent:
        raise DatasetError(f"{source} has no column {absent[0]!r}; it has {list(about.columns)}.")
    about = about[columns].rename(columns={creatives.key: spec.content})
    about[spec.content] = about[spec.content].astype(str)
    repeated = about[spec.content][about[spec.content].duplicated()]
    if len(repeated):
        raise DatasetError(
            f"{source} must have one row per creative, but {creatives.key} {repeated.iloc[0]!r} "
            "has several: keep one."
        )
    known = table[spec.content].isin(about[spec.content])
    report.without_creative = int((~known).sum())
    if not known.any():
        raise DatasetError(
            f"No content of the log is in {source}: does {creatives.key!r} hold what the log's "
            f"{spec.content!r} holds, such as {table[spec.content].iloc[0]!r}?"
        )
    return table[known].merge(about, on=spec.content, how="left").reset_index(drop=True)


def _content_ids(keys: pd.DataFrame) -> list[str]:
    """Name each combination by its creative and a hash of the rest."""
    rows = keys.astype(object).where(keys.notna(), None).itertuples(index=False, name=None)
    return [
        f"{row[0]}-{hashlib.sha256(json.dumps(row[1:]).encode()).hexdigest()[:12]}" for row in rows
    ]
