"""Whether a contents table has what its manifest declares."""

from datetime import date

import pandas as pd

from ni_platform.data import vectors
from ni_platform.data.assignment import check_shares, kinds_of
from ni_platform.data.manifest import Manifest, nearest
from ni_platform.errors import DatasetError


def check_table(contents: pd.DataFrame, manifest: Manifest, root: str) -> None:
    """Raise `DatasetError` where a table does not have what its manifest declares."""
    known = [str(name) for name in contents.columns]
    repeated = contents.columns[contents.columns.duplicated()].unique().tolist()
    if repeated:
        raise DatasetError(f"Column names must be unique, but {root} repeats {repeated}.")
    outcomes = manifest.target.declared
    for key, name in (manifest.columns.declared | outcomes).items():
        if name not in known:
            raise DatasetError(
                f"{key} names the column {name!r}, which the contents table of {root} does not "
                f"have{nearest(name, known)}; it has {known}."
            )
        must_be_number = key in outcomes or key.startswith(("columns.numeric", "columns.share"))
        if must_be_number and not pd.api.types.is_numeric_dtype(contents[name]):
            raise DatasetError(
                f"{key} must name a column of numbers, but {name!r} in {root} holds "
                f"{contents[name].dtype}: convert it, or declare it under another key."
            )
    if contents.empty:
        raise DatasetError(f"The contents table of {root} has no rows: give it some.")
    if manifest.columns.image is not None:
        _check_image_names(contents[manifest.columns.image], root)
    for name in manifest.columns.vector:
        vectors.stacked(contents[name])
    _check_assignment(contents, manifest, root)
    if manifest.columns.day is not None:
        _check_days(contents[manifest.columns.day], root)


def _check_assignment(contents: pd.DataFrame, manifest: Manifest, root: str) -> None:
    columns = manifest.columns
    if columns.ab_test is None:
        return
    if columns.assignment is not None:
        told = contents[columns.assignment]
        kinds_of(contents[columns.ab_test], None, told, source=root)
    if columns.share is not None:
        check_shares(contents[columns.ab_test], contents[columns.share], source=root)


def _check_days(days: pd.Series, root: str) -> None:
    for day in days.dropna().astype(str).unique():
        if not _is_day(day):
            raise DatasetError(
                f"columns.day holds days such as 2026-05-31, but {day!r} stands in {root}: correct "
                "it, or import the table anew with --day, which reads other forms."
            )


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_image_names(names: pd.Series, root: str) -> None:
    # A table from elsewhere must not reach files outside of its own pictures.
    text = names.dropna().astype(str)
    outside = text.str.match(r"(?:[/\\]|\w+:)") | text.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
    if outside.any():
        raise DatasetError(
            f"Paths in the image column must be relative to images and stay inside it, but {root} "
            f"has {text[outside].head(3).tolist()}: make them relative."
        )
