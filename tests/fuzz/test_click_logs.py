"""Click logs of files of different types: each key counts under its one name, or is set aside."""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz.csv_writers import PACKINGS
from fuzz.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from ni_platform.data.click_log import LogSpec, aggregate
from ni_platform.errors import DatasetError

SPEC = LogSpec(
    name="log",
    content="ad",
    clicked="clicked",
    categorical=("kind",),
    min_impressions=0,
    min_level_impressions=0,
    max_rejected=1.0,
)
_NUMBERS = (0, 3, -7, 672345678901, 2**53 - 1, 2**53 + 1, 2**63 - 1)
_TEXTS = {
    "Zoë": ("Zoë", "Zoe\N{COMBINING DIAERESIS}", " Zoë"),
    "true": ("true", "True", "TRUE"),
    "NA": ("NA",),
    "007": ("007",),
    "1.10": ("1.10",),
    "a;b,c": ("a;b,c",),
    'say "x"': ('say "x"',),
}
"""Names, and how files spell them."""
_STRINGS = (
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.binary(),
)
_WHOLE = (
    pa.int64(),
    pa.float64(),
    pa.dictionary(pa.int8(), pa.int64()),
    pa.decimal128(20, 1),
    pa.float32(),
)


@st.composite
def keys(
    draw: Any, rows: int, numbers: Sequence[pa.DataType]
) -> tuple[pa.Array, list[str | None], list[bool]]:
    """A column of keys of one type; the name of each, and whether it can be told."""
    if draw(st.booleans()):
        kind = draw(st.sampled_from(numbers))
        drawn = draw(st.lists(st.sampled_from([*_NUMBERS, None]), min_size=rows, max_size=rows))
        bits = {pa.float64(): 53, pa.float32(): 24}.get(kind, 64)
        make = {pa.decimal128(20, 1): Decimal}.get(kind, float if bits < 64 else int)
        cells = [None if number is None else make(number) for number in drawn]
        names = [None if number is None else str(number) for number in drawn]
        return pa.array(cells, kind), names, [abs(number or 0) < 2**bits for number in drawn]
    kind = draw(st.sampled_from(_STRINGS))
    names = draw(
        st.lists(
            st.sampled_from([*_TEXTS, *map(str, _NUMBERS), None]), min_size=rows, max_size=rows
        )
    )
    cells = [
        None if name is None else draw(st.sampled_from(_TEXTS.get(name, (name,)))) for name in names
    ]
    if pa.types.is_binary(kind):
        cells = [None if cell is None else cell.encode() for cell in cells]
    return pa.array(cells, kind), names, [True] * rows


@st.composite
def clicks(draw: Any, rows: int) -> tuple[pa.Array, list[int]]:
    """A column that says which exposures were clicked."""
    clicked = draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows))
    kind = draw(st.sampled_from([pa.int64(), pa.uint8(), pa.bool_(), pa.float64(), pa.string()]))
    words = draw(
        st.sampled_from([("0", "1"), ("false", "true"), ("False", "True"), ("0.0", "1.0")])
    )
    make = {pa.bool_(): bool, pa.float64(): float, pa.string(): words.__getitem__}.get(kind, int)
    return pa.array([make(click) for click in clicked], kind), clicked


Event = tuple[str | None, str | None, int, bool]


@st.composite
def files(draw: Any) -> tuple[str, bytes, list[Event]]:
    """A file of the log: the ending of its name, its bytes, its events."""
    rows = draw(st.integers(1, 12))
    write = draw(st.sampled_from([_parquet, _parquet, _csv]))
    # As texts, decimals look like floats, and a float of four bytes like one of eight.
    numbers = _WHOLE[:3] if write is _csv else _WHOLE
    ads, ad_names, ads_known = draw(keys(rows, numbers))
    kinds, kind_names, kinds_known = draw(keys(rows, numbers))
    clicked, counted = draw(clicks(rows))
    known = [a and k and name is not None for a, k, name in zip(ads_known, kinds_known, ad_names)]
    events = list(zip(ad_names, kind_names, counted, known))
    table = pa.table({"ad": ads, "kind": kinds, "clicked": clicked})
    suffix, data = write(draw, table)
    return suffix, data, events


def _parquet(draw: Any, table: pa.Table) -> tuple[str, bytes]:
    out = io.BytesIO()
    if draw(st.booleans()):
        pq.write_table(table, out, row_group_size=draw(st.sampled_from([1, 5, 100])))
        return ".parquet", out.getvalue()
    try:
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        frame.index = pd.Index(draw(st.permutations(range(len(table)))))
        frame.to_parquet(out)
    except NotImplementedError:  # pandas knows no string_view
        out = io.BytesIO()
        pq.write_table(table, out)
    return ".parquet", out.getvalue()


def _csv(draw: Any, table: pa.Table) -> tuple[str, bytes]:
    """As a program of today writes it: numbers of floating point with their last digit."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=draw(st.sampled_from(",;\t|")))
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table)):
        writer.writerow(
            ["" if c is None else c.decode() if isinstance(c, bytes) else c for c in row]
        )
    data = out.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    packing = draw(st.sampled_from(["none", "none", "gzip", "zstd", "xz", "zip"]))
    suffix, pack = PACKINGS.get(packing, (".csv", lambda data: data))
    return suffix, pack(data)


@examples(8, 500)
@given(st.lists(files(), min_size=1, max_size=4))
def test_every_event_counts_for_its_key(log: list[tuple[str, bytes, list[Event]]]) -> None:
    """Impressions and clicks per key are those of a count by hand, whatever type a file has."""
    events = [event for _, _, some in log for event in some]
    impressions = Counter((ad, kind) for ad, kind, _, known in events if known)
    clicked = Counter((ad, kind) for ad, kind, click, known in events if known and click)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "log"
        folder.mkdir()
        for number, (suffix, data, _) in enumerate(log):
            (folder / f"{number}{suffix}").write_bytes(data)
        try:
            dataset, report = aggregate([str(folder)], f"{name}/out", SPEC)
        except DatasetError as error:
            if impressions:
                pytest.fail(f"refused: {error}")
            return
        table = dataset.contents
        found = {
            (ad, None if pd.isna(kind) else kind): (shown, clicks)
            for ad, kind, shown, clicks in zip(
                table["ad"], table["kind"], table["impressions"], table["clicks"]
            )
        }
    counted = {key: (shown, clicked[key]) for key, shown in impressions.items()}
    assert found == counted, f"{found.items() ^ counted.items()}"
    assert report.rejected == sum(not known for *_, known in events), report
