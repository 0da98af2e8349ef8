"""A table of contents as it is written, and the comparison with the dataset that was read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from fuzz import oracle
from fuzz.columns import FLOATS, INTEGERS, KEYS, KINDS, STRINGS, Column, columns, keys
from hypothesis import strategies as st

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target

NAMES = (
    "id", "test", "kind", "title", "price", "pic", "shown", "clicked", "extra", "Ad ID", "Größe",
    "Gro\N{COMBINING DIAERESIS}ße", "a.b", "NA", "0", "index", "level_0", "__index_level_0__",
    "😀", "a;b", 'say "x"', "x,y", "None", "two\nlines", "tab\tbed",
)  # fmt: skip
Fits = Callable[[Any, Any], bool]
MayRefuse = Callable[[Any], bool]


@dataclass(frozen=True)
class Contents:
    """Columns by their role: what is written into a table, and must come back."""

    names: dict[str, str]
    """Name in the table of id, test, kind, title, price, pic, shown, clicked, extra."""
    columns: dict[str, Column]

    @property
    def table(self) -> pa.Table:
        """All columns under their names."""
        return pa.table({self.names[role]: column.array for role, column in self.columns.items()})

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `import_table` that declare the columns."""
        names = self.names
        return {
            "content_id": names["id"],
            "ab_test": names["test"],
            "assignment": "randomised",
            "categorical": [names["kind"]],
            "text": [names["title"]],
            "numeric": [names["price"]],
            "image": names["pic"],
            "impressions": names["shown"],
            "clicks": names["clicked"],
        }

    @property
    def manifest(self) -> Manifest:
        """The `dataset.yaml` that somebody writes by hand for the table."""
        names = self.names
        return Manifest(
            name="by hand",
            images="pictures",
            columns=Columns(
                content_id=names["id"],
                ab_test=names["test"],
                categorical=(names["kind"],),
                text=(names["title"],),
                numeric=(names["price"],),
                image=names["pic"],
            ),
            target=Target(impressions=names["shown"], clicks=names["clicked"]),
            assignment="randomised",
        )

    @property
    def may_be_refused(self) -> bool:
        """Whether an error is as good as the dataset: a value that no table can be trusted with."""
        ids = [repr(oracle.plain(value)) for value in self.columns["id"].values]
        if not ids or len(set(ids)) < len(ids) or repr(None) in ids:
            return True
        if pa.types.is_temporal(self.columns["price"].type):
            return True
        if any(pa.types.is_nested(self.columns[role].type) for role in RULES):
            return True
        return any(
            may_refuse(value)
            for role, (_, may_refuse) in RULES.items()
            for value in self.columns[role].values
        )


RULES: dict[str, tuple[Fits, MayRefuse]] = {
    "id": (oracle.label_fits, oracle.may_refuse_label),
    "test": (oracle.label_fits, oracle.may_refuse_label),
    "kind": (oracle.label_fits, oracle.may_refuse_label),
    "title": (oracle.text_fits, oracle.may_refuse_text),
    "price": (oracle.number_fits, oracle.may_refuse_number),
    "pic": (oracle.text_fits, oracle.may_refuse_text),
    "shown": (oracle.number_fits, oracle.may_refuse_number),
    "clicked": (oracle.number_fits, oracle.may_refuse_number),
}


@st.composite
def contents(draw: Any) -> Contents:
    """Up to eight contents of columns of any type; one picture each."""
    rows = draw(st.sampled_from([0, 1, 2, 3, 3, 4, 8]))
    names = dict(zip([*RULES, "extra"], draw(st.permutations(NAMES))))
    if draw(st.booleans()):
        names = {role: role for role in names}
    numbers = st.sampled_from(
        [pa.int64(), pa.int32(), pa.uint16(), pa.float64(), pa.decimal128(9, 2)]
    )
    pictures = Column(
        draw(st.sampled_from([kind.type for kind in STRINGS])),
        [draw(st.sampled_from([f"p{row}.png"] * 5 + [None])) for row in range(rows)],
    )
    return Contents(
        names,
        {
            "id": draw(keys(rows, draw(st.sampled_from([STRINGS, INTEGERS, KEYS])))),
            "test": draw(columns(rows, KINDS)),
            "kind": draw(columns(rows, KINDS)),
            "title": draw(columns(rows, draw(st.sampled_from([STRINGS, STRINGS, KINDS])))),
            "price": draw(columns(rows, draw(st.sampled_from([INTEGERS, FLOATS, KINDS])))),
            "pic": pictures,
            "shown": Column(draw(numbers), [100 + row for row in range(rows)]),
            "clicked": Column(draw(numbers), list(range(rows))),
            "extra": draw(columns(rows, KINDS)),
        },
    )


@contextmanager
def folder_with_pictures(rows: int) -> Iterator[Path]:
    """A folder for the time of one example, with a picture of its own for each row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        for row in range(rows):
            (folder / "pictures" / f"p{row}.png").write_bytes(picture(row))
        yield folder


def picture(row: int) -> bytes:
    """Bytes that stand for the picture of a row; an import does not decode them."""
    return b"picture %d" % row


def assert_is(dataset: Dataset, written: Contents) -> None:
    """Every declared cell is what was written, row by row, with the picture of its row."""
    rows = len(written.columns["id"].values)
    assert len(dataset) == rows
    for role, (fits, _) in RULES.items():
        read = dataset.contents[written.names[role]].tolist()
        for row, value in enumerate(written.columns[role].values):
            assert fits(value, read[row]), f"{role} {row}: {value!r} was read as {read[row]!r}"
    uris = dataset.image_uri
    assert uris is not None
    for row, (name, uri) in enumerate(zip(written.columns["pic"].values, uris)):
        found = None if uri is None else Path(uri).read_bytes()
        assert found == (None if name is None else picture(row))
