"""CSV of any writer, separator, encoding and packing: read exactly, or one error."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from fuzz.columns import TEXTS, Column, texts
from fuzz.contents import NAMES, RULES, Contents, assert_is, folder_with_pictures
from fuzz.csv_writers import written_by
from fuzz.examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from ni_platform.data.importers.table import import_table
from ni_platform.errors import NiError

_western = st.sampled_from(
    [text for text in TEXTS if text.isascii()] + ["Straße", "Äpfel", "é", "5 €"]
)


@st.composite
def contents_of_texts(draw: Any) -> Contents:
    """Up to eight contents, every cell of them a text or null."""
    rows = draw(st.sampled_from([0, 1, 2, 3, 3, 4, 8]))
    names = dict(zip([*RULES, "extra"], draw(st.permutations(NAMES))))
    if draw(st.booleans()):
        names = {role: role for role in names}
    cells = draw(st.sampled_from([texts, _western]))
    prices = st.sampled_from(["1", "2.5", "-0.125", "1000000", "9007199254740993", "1e3", None])

    def column(cells: Any, *, unique: bool = False) -> Column:
        drawn = st.lists(cells, min_size=rows, max_size=rows, unique_by=repr if unique else None)
        return Column(pa.string(), draw(drawn))

    columns = {
        "id": column(cells, unique=True),
        "test": column(cells | st.none()),
        "kind": column(cells | st.none()),
        "title": column(cells | st.none()),
        "price": column(prices),
        "pic": Column(pa.string(), [f"p{row}.png" for row in range(rows)]),
        "shown": Column(pa.string(), [str(100 + row) for row in range(rows)]),
        "clicked": Column(pa.string(), [str(row) for row in range(rows)]),
        "extra": column(cells | st.none()),
    }
    order = draw(st.permutations(list(columns)))
    return Contents(names, {role: columns[role] for role in order})


@examples(20, 2500)
@given(st.data())
def test_every_cell_of_a_csv_is_what_was_written(data: Any) -> None:
    """Whatever is found out about the file or said of it: rows keep their cells and pictures."""
    contents = data.draw(contents_of_texts())
    written = data.draw(written_by(contents.table))
    assume(len(written.data) < 1 << 20)
    with folder_with_pictures(len(contents.columns["id"].values)) as folder:
        path = folder / f"contents{written.suffix}"
        path.write_bytes(written.data)
        try:
            dataset = import_table(
                path,
                folder / "out",
                images=folder / "pictures",
                form=written.form,
                **contents.options,
            )
        except NiError as error:
            if written.sure and not contents.may_be_refused and not _is_doubtful(contents):
                pytest.fail(f"refused: {error}")
            return
        # An empty cell of a CSV says that there is nothing.
        empty = {
            role: Column(column.type, [value or None for value in column.values])
            for role, column in contents.columns.items()
        }
        assert_is(dataset, Contents(contents.names, empty))


def _is_doubtful(contents: Contents) -> bool:
    """Whether a cell may be rows that a quote swallowed, or a name is not told from its blanks."""
    cells = [cell or "" for column in contents.columns.values() for cell in column.values]
    return any("\n" in cell or "\r" in cell or "\0" in cell for cell in cells)
