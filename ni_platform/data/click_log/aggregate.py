"""A click log of any number of files to a dataset folder, with a report of what was left out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import ray

from ni_platform.data import storage
from ni_platform.data.click_log.contents import contents_table
from ni_platform.data.click_log.counts import CLICKS, IMPRESSIONS, Counts
from ni_platform.data.click_log.events import read_events
from ni_platform.data.click_log.files import log_files
from ni_platform.data.click_log.rejects import Rejects, RejectsOfFile
from ni_platform.data.click_log.report import REJECTS_FILE, REPORT_FILE, Aggregation
from ni_platform.data.click_log.spec import LogSpec
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import check_free
from ni_platform.data.importers.creatives import UNMATCHED_FILE, Joined, join_creatives
from ni_platform.data.importers.table import import_table
from ni_platform.data.reading.csv_file import Say
from ni_platform.data.storage import OnFile
from ni_platform.errors import DatasetError
from ni_platform.ray_cluster import start_ray

_FILES_PER_CPU = 2
_SMALL_LOG_BYTES = 64 << 20
"""Counted in the time that it takes to start Ray."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One file, counted."""

    counts: pa.Table | None
    rows: int
    dropped: Counter[str]
    rejected: int
    first_reject: str | None
    rejects: bytes
    notes: list[str]
    """What was found out about the file."""


def aggregate(
    logs: Sequence[str],
    out: str,
    spec: LogSpec,
    *,
    folder: str | Path = ".",
    on_file: OnFile = lambda done, total: None,
    say: Say = lambda note: None,
) -> tuple[Dataset, Aggregation]:
    """Count a log per combination and write the dataset folder `out` (M2FN Section 6.2).

    Args:
        logs: CSV or Parquet files, packed or not, folders of them, or `s3://` prefixes.
        out: Dataset folder to write; also gets `aggregation.json`, `rejects.csv` and, where
            contents or creatives have no partner, `unmatched.csv`.
        spec: What the columns mean and what to keep.
        folder: What the paths of `spec.creatives` are relative to.
        on_file: Told of progress.
        say: Told once what was found out about how files are written.

    Files are counted as Ray tasks, so a cluster shares them out, unless all of them are small;
    memory follows the number of combinations. Nothing is written where more than
    `spec.max_rejected` of the rows are bad, but for `OUT.rejects.csv`.
    """
    check_free(out)
    files, passed_over = log_files(logs)
    report = Aggregation(
        files=len(files),
        passed_over=passed_over,
        keys=list(spec.keys),
        max_rejected=spec.max_rejected,
        min_level_impressions=spec.min_level_impressions,
        min_impressions=spec.min_impressions,
    )
    with tempfile.TemporaryDirectory() as scratch:
        rejects = Rejects(Path(scratch) / "rejects")
        counts = _counted(files, spec, report, rejects, out, on_file, say)
        table = contents_table(counts, spec, report)
        joined = None
        # Beside the dataset, so that what was fetched is still there when this is repeated.
        fetched = Path(scratch if storage.is_remote(out) else f"{out.rstrip('/')}.pictures")
        if spec.creatives is not None:
            joined = join_creatives(
                table, spec.content, spec.creatives, fetched, content_id=spec.content_id,
                impressions=IMPRESSIONS, folder=folder, max_missing=0, say=say,
            )  # fmt: skip
            table = joined.contents
            report.without_creative = len(joined.without_creative)
            report.impressions_without_creative = int(joined.without_creative[IMPRESSIONS].sum())
        dataset = _write(table, out, spec, joined, report, rejects, Path(scratch), say)
        shutil.rmtree(fetched, ignore_errors=True)
        return dataset, report


def _counted(
    files: Sequence[str],
    spec: LogSpec,
    report: Aggregation,
    rejects: Rejects,
    out: str,
    on_file: OnFile,
    say: Say,
) -> pa.Table:
    """Count all files; raises DatasetError where too many rows are bad or none is left."""
    counts, dropped, first_rejects = Counts(spec.keys), Counter[str](), {}
    found: dict[int, list[str]] = {}
    for done, (number, part) in enumerate(_parts(files, spec), start=1):
        if part.counts is not None:
            counts.add(part.counts)
        report.rows += part.rows
        report.rejected += part.rejected
        dropped += part.dropped
        rejects.add(number, part.rejects)
        if part.first_reject is not None:
            first_rejects[number] = part.first_reject
        found[number] = part.notes
        on_file(done, len(files))
    report.found_out = _once(found, files)
    for note in report.found_out:
        say(note)
    report.dropped = {rule.name: dropped[rule.name] for rule in spec.drop}
    if report.rejected > spec.max_rejected * report.rows:
        place = f"{out.rstrip('/')}.{REJECTS_FILE}"
        rejects.write(place)
        raise DatasetError(
            f"At most {spec.max_rejected:.2%} of the rows may be bad, but {report.rejected:,} of "
            f"{report.rows:,} are, such as {first_rejects[min(first_rejects)]}. All are listed in "
            f"{place}; correct them, or raise max_rejected."
        )
    total = counts.table()
    if total is None or not len(total):
        raise DatasetError(
            f"There is no event left to count in {report.rows:,} rows of {', '.join(files[:3])}: "
            f"{report.rejected:,} are bad, {sum(report.dropped.values()):,} are left out by drop "
            "rules."
        )
    return total


def _parts(files: Sequence[str], spec: LogSpec) -> Iterator[tuple[int, _Part]]:
    """Count every file, side by side where it pays; with its number."""
    if len(files) == 1 or (not ray.is_initialized() and _is_small(files)):
        for number, file in enumerate(files):
            yield number, _count_file(file, spec)
        return
    start_ray()
    task = ray.remote(_count_file)
    # Results that nobody has taken yet stay in memory, so there must not be many of them.
    most = _FILES_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = iter(enumerate(files))

    def begin(count: int) -> dict[ray.ObjectRef, int]:
        # Ray's processes may have been started in another folder.
        return {
            task.remote(file, spec, _absolute(file)): number
            for number, file in islice(waiting, count)
        }

    under_way = begin(most)
    while under_way:
        (ready, *_), _ = ray.wait(list(under_way), num_returns=1)
        number = under_way.pop(ready)
        try:
            part = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise DatasetError(
                f"The process that counted {files[number]} died, of too little memory perhaps: "
                "split the file, or count on a larger machine."
            ) from error
        del ready
        under_way |= begin(1)
        yield number, part


def _once(notes: dict[int, list[str]], files: Sequence[str]) -> list[str]:
    """What was found out, once for all files that it is true of, in the order of the files."""
    alike: dict[str, list[str]] = {}
    for number in sorted(notes):
        for note in notes[number]:
            alike.setdefault(note.removeprefix(files[number]), []).append(files[number])
    return [
        f"{of[0]}{note}" + (f" (so are {len(of) - 1:,} other files)" if len(of) > 1 else "")
        for note, of in alike.items()
    ]


def _is_small(files: Sequence[str]) -> bool:
    sizes = accumulate(storage.size(file) for file in files)
    return all(size <= _SMALL_LOG_BYTES for size in sizes)


def _absolute(file: str) -> str:
    return file if storage.is_remote(file) else os.path.abspath(file)


def _count_file(file: str, spec: LogSpec, place: str | None = None) -> _Part:
    """Count a file that is called `file` and lies at `place`, if that is not its name."""
    counts, rows, dropped = Counts(spec.keys), 0, Counter[str]()
    notes: list[str] = []
    with storage.local_copy(place or file) as path, RejectsOfFile(file) as rejects:
        for piece in read_events(path, spec, file, notes.append):
            counts.add(piece.events)
            rows += piece.rows
            dropped.update(piece.dropped)
            rejects.add(piece.rejects)
        return _Part(
            counts=counts.table(),
            rows=rows,
            dropped=dropped,
            rejected=rejects.count,
            first_reject=rejects.first,
            rejects=rejects.compressed(),
            notes=notes,
        )


def _write(
    table: pd.DataFrame,
    out: str,
    spec: LogSpec,
    joined: Joined | None,
    report: Aggregation,
    rejects: Rejects,
    scratch: Path,
    say: Say,
) -> Dataset:
    creatives = spec.creatives
    report.contents = len(table)
    report.impressions, report.clicks = int(table[IMPRESSIONS].sum()), int(table[CLICKS].sum())
    shares = spec.shares
    if spec.ab_test is not None and shares is None and not _rows_are_arms(table, spec):
        shares = "unknown"
        report.found_out.append(
            "creatives have several combinations in an A/B test, so that the shares of its arms "
            "are not checked (shares: unknown)"
        )
        say(report.found_out[-1])
    said = scratch / REPORT_FILE
    said.write_text(report.to_json(), encoding="utf-8")
    files = {REPORT_FILE: said, REJECTS_FILE: rejects.joined()}
    if joined is not None and len(unmatched := joined.unmatched()):
        files[UNMATCHED_FILE] = scratch / UNMATCHED_FILE
        unmatched.to_csv(files[UNMATCHED_FILE], index=False)
    path = scratch / "contents.parquet"
    table.to_parquet(path, index=False)
    return import_table(
        path,
        out,
        name=spec.name,
        content_id=spec.content_id,
        domain=spec.domain,
        ab_test=spec.ab_test,
        assignment=spec.assignment,
        assignment_reason=spec.assignment_reason,
        shares=shares,
        image=creatives.picture if creatives else None,
        images=joined.images if joined else None,
        pictures=joined.pictures if joined else None,
        text=creatives.text if creatives else (),
        categorical=(*spec.attributes, *(creatives.categorical if creatives else ())),
        numeric=creatives.numeric if creatives else (),
        impressions=IMPRESSIONS,
        clicks=CLICKS,
        counted=True,
        files=files,
    )


def _rows_are_arms(table: pd.DataFrame, spec: LogSpec) -> bool:
    """Whether each creative has one row in each of its A/B tests."""
    in_test = table[table[spec.ab_test].notna()]
    return not in_test.duplicated([spec.ab_test, spec.content]).any()
