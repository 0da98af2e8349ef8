"""The file behind each cell that names a picture: a path, an id, a URL or an `s3://` object."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.images import MAX_BYTES
from ni_platform.data.importers.download import DownloadLimits, dataset_name, download_pictures
from ni_platform.data.reading.csv_file import Say
from ni_platform.errors import DatasetError

FileOf = Callable[[str], str | None]
"""What finds the file of a name below a folder, relative to it."""
OnPicture = Callable[[int, int], None]
"""Told how many pictures are done, and of how many."""

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BETWEEN_URLS = re.compile(r"[\s,;|]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_BETWEEN_IDS = re.compile(r"\s*[,;|]\s*")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A content whose picture cannot be had."""

    content_id: str
    place: str
    """Path, id or URL."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of N contents."""

    names: pd.Series
    """object [N]: name in the dataset, None where there is none."""
    files: dict[str, Path] = field(default_factory=dict)
    """Name in the dataset -> local file; none for pictures that stay below an `s3://` prefix."""
    problems: list[Problem] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Pictures of a folder by id that no content has."""


def path_finder(folder: Path) -> FileOf:
    """Return what finds the file that a cell means, below a folder.

    That is the file of just this name, with or without the folder's own name before it, else the
    only one whose name differs in case or in how its accents are encoded: archives and systems
    change both on the way. It raises `DatasetError` where a path leaves the folder, or where
    several files may be meant.
    """
    alike: FileOf | None = None

    def exact_or_alike(name: str) -> str | None:
        nonlocal alike
        if (folder / name).is_file():
            return name
        if alike is None:
            alike = _among({file: [file] for file in storage.list_files(folder)}, folder)
        return alike(name)

    def file_of(name: str) -> str | None:
        # `images/x.jpg` with --images images means images/x.jpg, as most tables are written.
        found = exact_or_alike(name) or exact_or_alike(name.removeprefix(f"{folder.name}/"))
        if found is not None and (".." in PurePosixPath(found).parts or os.path.isabs(found)):
            raise DatasetError(
                f"Paths in the image column must stay inside {folder}, but got {found!r}: make "
                "them relative to that folder."
            )
        return found

    return file_of


def _among(files: Mapping[str, list[str]], folder: str | Path) -> FileOf:
    """Return what finds the one file of a name, exactly or in another spelling."""
    alike: dict[str, list[str]] = {}
    for name, of in files.items():
        alike.setdefault(_spelling(name), []).extend(of)

    def file_of(name: str) -> str | None:
        same = files.get(name) or alike.get(_spelling(name), [])
        if len(same) > 1:
            raise DatasetError(
                f"The picture {name!r} may be one of {same[:_SHOWN]} in {folder}, which differ in "
                "upper and lower case, accents or ending: write the name as the file has it, or "
                "keep one."
            )
        return same[0] if same else None

    return file_of


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _by_id(folder: str | Path) -> dict[str, list[str]]:
    """Pictures of a folder by their name without its ending."""
    found: dict[str, list[str]] = {}
    for file in storage.list_files(folder):
        stem, ending = os.path.splitext(file)
        if ending.lower() in _ENDINGS:
            found.setdefault(stem, []).append(file)
    return found


def check_sizes(files: Mapping[str, Path], folder: str | Path) -> None:
    """Raise `DatasetError` where a file is larger than pictures are."""
    large = [name for name, path in files.items() if path.stat().st_size > MAX_BYTES]
    if large:
        raise DatasetError(
            f"A picture may have {MAX_BYTES:,} bytes, but {large[:_SHOWN]} in {folder} have more: "
            "scale them down."
        )


def filled(cells: pd.Series) -> pd.Series:
    """Return image cells as object [N], None where they are null or blank."""
    cells = cells.astype(object)
    return cells.where(cells.notna() & (cells.astype(str).str.strip() != ""), None)


def portable(cell: str) -> str:
    """Return a path as all systems write it."""
    return cell.replace("\\", "/").removeprefix("./")


def objects(cells: Iterable[str | None]) -> pd.Series:
    """Return cells as object [N]: None stays None."""
    return pd.Series(list(cells), dtype=object)


def pictures_by_id(keys: pd.Series, folder: str | Path, content_ids: pd.Series) -> Pictures:
    """Find `FOLDER/KEY.jpg`, .jpeg, .png, .webp or .gif of each key [N], in any spelling.

    Keys without one are the problems of `content_ids` [N]. Below an `s3://` prefix pictures stay.
    Raises `DatasetError` where a key has several, or one is too large.
    """
    by_id = _by_id(folder)
    file_of = _among(by_id, folder)
    found = {key: file_of(key) for key in keys.dropna().unique()}
    used = {name for name in found.values() if name is not None}
    files: dict[str, Path] = {}
    if not storage.is_remote(folder):
        files = {name: Path(folder) / name for name in sorted(used)}
    check_sizes(files, folder)
    reason = f"{folder} has no picture of this name: add the file."
    return Pictures(
        names=objects(found.get(key) for key in keys),
        files=files,
        problems=[
            Problem(content_id=str(content), place=str(key), reason=reason)
            for content, key in zip(content_ids, keys)
            if found.get(key) is None
        ],
        unused=sorted({file for same in by_id.values() for file in same} - used),
    )


def collect_pictures(
    cells: pd.Series,
    content_ids: pd.Series,
    folder: str | Path | None,
    cache: str | Path,
    *,
    max_missing: float = 0.01,
    limits: DownloadLimits | None = None,
    on_picture: OnPicture = lambda done, total: None,
    say: Say = lambda note: None,
) -> Pictures:
    """Find or fetch the picture of each cell.

    Args:
        cells: Texts [N]: a path below `folder`, the id of a picture in it, an http(s) URL or an
            `s3://` URI; null or blank where a content has no picture. Of several in a cell the
            first is taken, and `say` is told.
        content_ids: Ids [N], for the problems.
        folder: Where paths begin, local or an `s3://` prefix; below that, pictures stay.
        cache: Local folder that keeps what was fetched, for when the import is repeated.
        max_missing: Largest share of the pictures' contents whose picture may be missing.
        limits: Of downloads.
        on_picture: Told how many are fetched.
        say: Told of cells with several pictures.

    Raises:
        DatasetError: More, or all, are missing, a path leaves the folder, may mean several files or
            a file is too large.

    """
    if not 0 <= max_missing <= 1:
        raise DatasetError(f"max_missing must be a share in [0, 1], but is {max_missing}.")
    cells = filled(cells)
    asked = [str(cell) for cell in cells.dropna().unique()]
    if folder is not None and storage.is_remote(folder):
        return Pictures(names=_staying(cells, asked, folder))
    file_of = _local_finder(folder)
    listed = {cell: _listed(cell.strip(), file_of) for cell in asked}
    several = int(cells.isin([cell for cell, places in listed.items() if len(places) > 1]).sum())
    if several:
        say(f"{several:,} cells of the image column hold several pictures: the first is taken")
    first = {cell: places[0] for cell, places in listed.items() if places}
    fetched = [place for place in first.values() if _SCHEME.match(place)]
    downloads = download_pictures(fetched, cache, limits=limits, on_picture=on_picture)
    found = {url: (dataset_name(file), file) for url, file in downloads.files.items()}
    failed = dict(downloads.failed)
    for place in sorted(set(first.values()).difference(found, failed)):
        name = file_of(place)
        if name is None:
            failed[place] = f"It is not in {folder}: add the file, or empty the cell."
        else:
            found[place] = (name, Path(str(folder)) / name)
    problems = [
        Problem(content_id=str(content), place=first[cell], reason=failed[first[cell]])
        for content, cell in zip(content_ids, cells)
        if first.get(cell) in failed
    ]
    _check_share(problems, int(cells.isin(list(first)).sum()), max_missing)
    files = dict(sorted(found.values()))
    check_sizes(files, str(folder))
    of_cell = {cell: found[place][0] for cell, place in first.items() if place in found}
    return Pictures(
        names=objects(of_cell.get(cell) for cell in cells), files=files, problems=problems
    )


def _staying(cells: pd.Series, asked: Sequence[str], folder: str | Path) -> pd.Series:
    """Names of pictures that stay below an `s3://` prefix."""
    elsewhere = [cell for cell in asked if _SCHEME.match(cell.strip())]
    if elsewhere:
        raise DatasetError(
            f"Pictures below {folder} stay there, so image cells must be paths below it, but "
            f"{elsewhere[0]!r} is none: name a local folder, or no folder."
        )
    return objects(None if cell is None else portable(str(cell)) for cell in cells)


def _local_finder(folder: str | Path | None) -> FileOf:
    """Return what finds the file of a path or an id."""
    if folder is None:
        return lambda place: None
    by_path, by_id = path_finder(Path(folder)), _among(_by_id(folder), folder)
    return lambda place: by_path(portable(place)) or by_id(place)


def _listed(cell: str, file_of: FileOf) -> list[str]:
    """The pictures that a cell names, in its order."""
    if cell.startswith("[") and cell.endswith("]"):
        try:
            # Numbers are ids, and stay as they are written.
            return [str(item) for item in json.loads(cell, parse_int=str, parse_float=str)]
        except ValueError:
            return [name for part in cell[1:-1].split(",") if (name := part.strip(" '"))]
    if _SCHEME.match(cell):
        return _BETWEEN_URLS.split(cell)
    parts = _BETWEEN_IDS.split(cell)
    # A file's name may hold commas.
    return parts if file_of(cell) is None and file_of(parts[0]) is not None else [cell]


def _check_share(problems: Sequence[Problem], pictures: int, max_missing: float) -> None:
    if not problems or (len(problems) <= max_missing * pictures and len(problems) < pictures):
        return
    sample = "; ".join(f"{of.content_id} ({of.place}): {of.reason}" for of in problems[:_SHOWN])
    raise DatasetError(
        f"At most {max_missing:.2%} of the pictures may be missing, but {len(problems):,} of "
        f"{pictures:,} are, such as {sample} Mend these; what was fetched is not fetched again."
    )
