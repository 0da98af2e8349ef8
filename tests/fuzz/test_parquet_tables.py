"""Parquet of any type and writer: read exactly, or one error."""

from __future__ import annotations

from typing import Any

import pytest
from fuzz.contents import assert_is, contents, folder_with_pictures
from fuzz.examples import examples
from fuzz.parquet_writers import written_by
from hypothesis import assume, given
from hypothesis import strategies as st

from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.table import import_table
from ni_platform.errors import NiError


@examples(20, 2500)
@given(st.data())
def test_every_cell_of_a_parquet_table_is_what_was_written(data: Any) -> None:
    """Imported, or as a folder written by hand: each row keeps its cells and its picture."""
    drawn = data.draw(contents())
    try:
        written, write = data.draw(written_by(drawn))
    except (NotImplementedError, TypeError):  # pandas knows no string_view, and no index of dicts
        assume(False)
    by_hand = data.draw(st.booleans())
    with folder_with_pictures(len(written.columns["id"].values)) as folder:
        path = folder / "contents.parquet"
        try:
            write(path)
        except Exception:  # noqa: BLE001 the writer does not know a type
            assume(False)
        try:
            if by_hand:
                written.manifest.save(folder / "dataset.yaml")
                dataset = Dataset.open(folder)
            else:
                dataset = import_table(
                    path, folder / "out", images=folder / "pictures", **written.options
                )
        except NiError as error:
            if not written.may_be_refused:
                pytest.fail(f"refused: {error}")
            return
        assert_is(dataset, written)
