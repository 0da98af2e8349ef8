"""Texts and pictures of contents from another table, or from a folder of pictures by id."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict

from ni_platform.data import storage
from ni_platform.data.importers.download import DownloadLimits
from ni_platform.data.importers.pictures import (
    OnPicture,
    Pictures,
    Problem,
    collect_pictures,
    pictures_by_id,
)
from ni_platform.data.importers.table import check_columns
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.table import Role, read_source, typed
from ni_platform.errors import ConfigError, DatasetError

UNMATCHED_FILE = "unmatched.csv"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Creatives:
    """Where creatives are: a table with a row for each, a folder of pictures by id, or both."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    table: str | None = None
    """CSV or Parquet, local or `s3://`."""
    key: str | None = None
    """Column of the table that holds what the contents' key column holds."""
    image: str | None = None
    """Column with a path below `images`, an id there, an http(s) URL or an `s3://` URI."""
    images: str | None = None
    """Folder of the pictures, local or `s3://`; without `image` their names are `KEY.jpg`, .jpeg,
    .png, .webp or .gif."""
    text: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    csv: CsvFormat = field(default_factory=CsvFormat)
    """How the table is written, where it is a CSV that does not tell."""

    def __post_init__(self) -> None:
        if (self.table is None) != (self.key is None):
            raise ConfigError(
                f"A table of creatives has a key, but table is {self.table!r} and key is "
                f"{self.key!r}: name both or neither."
            )
        if self.table is None and (self.images is None or set(self.columns) != {"image"}):
            raise ConfigError(
                "Creatives are in a table, or in a folder of pictures by id, but there is neither, "
                f"or no table for the columns {list(self.columns)}: name table and key, or images "
                "alone."
            )
        names = [*self.columns, *([self.key] if self.key else [])]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(
                f"A column of the creatives has one role, but {repeated} have several: name each "
                "once."
            )

    @property
    def picture(self) -> str | None:
        """Column of the dataset that names the picture; None where there are no pictures."""
        return self.image or (None if self.images is None else "image")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that contents get."""
        named = (self.picture, *self.text, *self.categorical, *self.numeric)
        return tuple(name for name in named if name is not None)

    @property
    def roles(self) -> dict[str, Role]:
        """What each column of the table holds, for reading it."""
        texts = [name for name in (self.image, *self.text) if name is not None]
        labels = [name for name in (self.key, *self.categorical) if name is not None]
        roles: dict[str, Role] = dict.fromkeys(texts, "text")
        return roles | dict.fromkeys(labels, "label") | dict.fromkeys(self.numeric, "number")


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Contents with their creatives, and all that found no partner."""

    contents: pd.DataFrame
    """The rows that are kept, in their order, with `Creatives.columns`."""
    images: str | None
    """What `Manifest.images` is: a folder of the dataset, the `s3://` prefix of the pictures, or
    None where there are none."""
    pictures: dict[str, Path]
    """Name in the dataset -> local file, as `write_dataset` takes them."""
    without_creative: pd.DataFrame
    """Contents without a row in the table (without a table: without a picture): id, impressions."""
    without_picture: list[Problem]
    """Contents with a creative whose picture is not there."""
    unused: list[str]
    """Keys of the table and pictures of a folder by id that no content has."""

    def unmatched(self) -> pd.DataFrame:
        """List all that found no partner: what it is, its id, impressions (null unless content)."""
        lacking = self.without_creative.set_axis(["id", "impressions"], axis=1)
        problems = [
            (item.content_id, f"{item.place}: {item.reason}") for item in self.without_picture
        ]
        return pd.concat(
            [
                lacking.assign(what="content without a creative"),
                pd.DataFrame(problems, columns=["id", "reason"]).assign(
                    what="content without its picture"
                ),
                pd.DataFrame({"id": self.unused}).assign(what="creative without a content"),
            ]
        ).reindex(columns=["what", "id", "impressions", "reason"])


def join_creatives(
    contents: pd.DataFrame,
    key: str,
    creatives: Creatives,
    cache: str | Path,
    *,
    content_id: str,
    impressions: str,
    folder: str | Path = ".",
    keep_unmatched: bool = False,
    max_missing: float = 0.01,
    limits: DownloadLimits | None = None,
    on_picture: OnPicture = lambda done, total: None,
    say: Say = lambda note: None,
) -> Joined:
    """Add to each content what is known of its creative.

    Args:
        contents: A row per content; its columns are none of `creatives.columns`.
        key: Its column with the creative's key, labels as `read_table` gives them, or null.
        creatives: Where texts and pictures are.
        cache: Local folder that keeps pictures that were fetched, for when this is repeated.
        content_id: Column of `contents` with ids, for lists.
        impressions: Column of `contents`, for lists.
        folder: What paths of `creatives` are relative to, local or `s3://`.
        keep_unmatched: Whether contents without a creative stay, with nulls, or are left out.
        max_missing: Largest share of pictures that may be missing, of those that cells name.
        limits: Of downloads.
        on_picture: Told how many pictures are fetched.
        say: Told what was found out about the table and its pictures.

    Raises:
        DatasetError: A table or folder that cannot be read or lacks a column, a key that repeats,
            no partner for any content, or more missing pictures.

    """
    taken = sorted(set(creatives.columns) & set(contents.columns))
    if taken:
        raise DatasetError(
            f"Columns of the creatives must be new, but the contents have {taken} already: rename "
            "them in one of the two files."
        )
    listed, unused = contents.iloc[:0], list[str]()
    if creatives.table is not None:
        about = _about(creatives, storage.join(folder, creatives.table), say)
        known = contents[key].isin(about[creatives.key])
        _check_any(known, contents[key], f"row of {creatives.table}")
        listed = contents[~known]
        unused = about[creatives.key][~about[creatives.key].isin(contents[key])].tolist()
        kept = contents if keep_unmatched else contents[known]
        about = about.rename(columns={creatives.key: key})
        contents = kept.merge(about, how="left", on=key, validate="m:1")
    place = None if creatives.images is None else storage.join(folder, creatives.images)
    found = Pictures(names=contents[key])
    if creatives.image is not None:
        found = collect_pictures(
            contents[creatives.image], contents[content_id], place or _beside(creatives, folder),
            cache, max_missing=max_missing, limits=limits, on_picture=on_picture, say=say,
        )  # fmt: skip
    elif place is not None:
        found = pictures_by_id(contents[key], place, contents[content_id])
    if creatives.picture is not None:
        contents = contents.reset_index(drop=True).assign(**{creatives.picture: found.names})
    if creatives.table is None:
        known = found.names.notna()
        _check_any(known, contents[key], f"picture in {place}")
        listed = contents[~known]
        contents = contents if keep_unmatched else contents[known].reset_index(drop=True)
    images = place if place is not None and storage.is_remote(place) else "images"
    return Joined(
        contents=contents.reset_index(drop=True),
        images=None if creatives.picture is None else images,
        pictures=found.files,
        without_creative=listed[[content_id, impressions]].reset_index(drop=True),
        without_picture=[] if creatives.table is None else found.problems,
        unused=unused + found.unused,
    )


def _about(creatives: Creatives, source: str, say: Say) -> pd.DataFrame:
    """The table of creatives: its key, unique, and the columns that contents get."""
    rows = read_source(source, creatives.roles, form=creatives.csv, say=say)
    about = typed(rows, creatives.roles)
    check_columns(about, {name: name for name in creatives.roles}, source)
    about = about[list(creatives.roles)]
    keys = about[str(creatives.key)]
    if keys.isna().any():
        say(f"{source}: {keys.isna().sum()} rows have no {creatives.key!r}, and are left out")
        about = about[keys.notna()]
    repeated = about[about[str(creatives.key)].duplicated(keep=False)]
    if len(repeated):
        first = repeated[str(creatives.key)].iloc[0]
        same = repeated.index[repeated[str(creatives.key)] == first]
        places = ", ".join(rows.place(int(row)) for row in same[:_SHOWN])
        raise DatasetError(
            f"{source} must have one row per creative, but {creatives.key} {first!r} has "
            f"{len(same):,} ({places}): keep one."
        )
    return about


def _beside(creatives: Creatives, folder: str | Path) -> str | None:
    """The folder of the table, where paths of pictures begin unless a folder is named."""
    place = storage.join(folder, str(creatives.table))
    return None if storage.is_remote(place) else str(Path(place).parent)


def _check_any(known: pd.Series, keys: pd.Series, partner: str) -> None:
    if not known.any():
        shown = next(iter(keys.dropna()), None)
        raise DatasetError(
            f"A creative's key is what contents have in {keys.name!r}, such as {shown!r}, but no "
            f"content has a {partner}: check both columns."
        )
