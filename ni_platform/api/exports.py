"""Exports of marketing tools as datasets, and which are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ni_platform.api.data import Dataset
from ni_platform.api.progress import CountingProgress, say
from ni_platform.data.assignment import Assignment
from ni_platform.data.importers.creatives import Creatives
from ni_platform.data.importers.exports.creatives import CreativeSource
from ni_platform.data.importers.exports.importing import import_export as write_export
from ni_platform.data.importers.exports.profile import profiles
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.data.reading.csv_file import CsvFormat


def export_profiles() -> pd.DataFrame:
    """Return what exports are recognised: a row per profile, indexed by name.

    Columns: title, row (what a row is), success (what may be counted), assignment (null: to say).
    """
    rows = [
        {
            "name": profile.name,
            "title": profile.title,
            "row": profile.row,
            "success": list(profile.success),
            "assignment": profile.assignment,
        }
        for profile in profiles().values()
    ]
    return pd.DataFrame(rows).set_index("name")


def import_export(
    files: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    profile: str | None = None,
    success: str | None = None,
    metric: str | None = None,
    by: str | Sequence[str] = (),
    content_id: str | Sequence[str] = (),
    ab_test: str | Sequence[str] = (),
    dates: Literal["day-first", "month-first"] | None = None,
    assignment: Assignment | None = None,
    assignment_reason: str | None = None,
    creatives: str | Path | None = None,
    creative_key: str | None = None,
    creative_field: str | None = None,
    text: str | Sequence[str] = (),
    categorical: str | Sequence[str] = (),
    numeric: str | Sequence[str] = (),
    image: str | None = None,
    images: str | Path | None = None,
    fetch: bool = True,
    name: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
) -> Dataset:
    """Write files of one export as a dataset folder, or add what is new in them; open it.

    Args:
        files: Of one export, in one account; those that were imported before add nothing.
        folder: Dataset folder.
        profile: Which export it is, see `export_profiles`; found out if None.
        success: What counts as a success, where the export has several.
        metric: Which metric is the success, where rows are of several.
        by: Audience fields by which contents are told apart, such as age.
        content_id: Fields that name a content, in place of the profile's.
        ab_test: Fields that name the A/B test, in place of the profile's.
        dates: What 3/4/2026 means, where days leave it open.
        assignment: How arms were assigned, in place of what the profile says.
        assignment_reason: Why, in a sentence.
        creatives: Table with texts and pictures.
        creative_key: Its column with the id of the creative.
        creative_field: The export's field with the same id; the profile's if None.
        text: Its text columns.
        categorical: Its categorical attributes.
        numeric: Its numeric attributes.
        image: Its column with paths, ids or URLs of pictures.
        images: Folder of pictures, which without `image` are called by id.
        fetch: Whether pictures at URLs of the export itself are fetched.
        name: Of the dataset; the folder's if None.
        delimiter: Of text tables; found out if None.
        encoding: Of text tables; found out if None.
        decimal: Decimal sign, where numbers leave it open.

    Raises:
        DatasetError: No profile fits, a cell is not what it should be, something would be counted
            twice, or the folder holds something else. Nothing is written then.
        ConfigError: The export leaves a choice that must be said.
    """
    form = CsvFormat(delimiter=delimiter, encoding=encoding, decimal=decimal)
    about: dict[str, Any] = {
        "table": None if creatives is None else str(creatives),
        "key": creative_key,
        "image": image,
        "images": None if images is None else str(images),
        "text": _several(text),
        "categorical": _several(categorical),
        "numeric": _several(numeric),
    }
    given = Creatives(**about, csv=form) if any(about.values()) else None
    wishes = Wishes(
        success=success, metric=metric, by=_several(by), content_id=_several(content_id),
        ab_test=_several(ab_test), creative_field=creative_field, dates=dates,
    )  # fmt: skip
    with CountingProgress() as progress:
        result = write_export(
            [files] if isinstance(files, str | Path) else files,
            folder,
            profile=profile,
            wishes=wishes,
            assignment=assignment,
            assignment_reason=assignment_reason,
            creatives=CreativeSource(creatives=given, fetch=fetch),
            name=name,
            form=form,
            on_picture=progress,
            say=say,
        )
    for line in result.lines():
        say(line)
    return Dataset(stored=result.dataset)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
