"""Numbers as people write them: read as the number that was meant, or refused; never another."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
from fuzz.examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from ni_platform.data.reading.labels import CellError
from ni_platform.data.reading.numbers import numbers_of

_NONE = ("", "NA", "n/a", "-", "null")
_MARKS = (
    "{}", "{}", "{}", "{}", "{} %", "{}%", "€ {}", "{} €", "${}", "£{}", "{} EUR", "USD {}",
    "CHF {}", "{} kr", "R$ {}", "{} zł", "({})", "{}-", "{} k", "{}M", "{} TSD", "{} MIO", "{} MRD",
    "{} PCT", "{} BPS",
    "{}e3", "{} ‰", "{} m²", "~{}", ">{}", "{}+", "{} x", "+{}", "#{}", "№ {}", "{}:1", "{}/2",
)  # fmt: skip
"""Only some of them may be read: another one says a unit that changes the number."""
_CHANGED = {
    "{} %": Decimal("0.01"), "{}%": Decimal("0.01"), "({})": Decimal(-1), "{}-": Decimal(-1),
    "{} k": Decimal(1000), "{}M": Decimal(10) ** 6, "{} TSD": Decimal(1000),
    "{} MIO": Decimal(10) ** 6,
    "{} MRD": Decimal(10) ** 9, "{} PCT": Decimal("0.01"), "{} BPS": Decimal("0.0001"),
    "{}e3": Decimal(1000), "{} ‰": Decimal("0.001"), "{}/2": Decimal("0.5"),
}  # fmt: skip


@st.composite
def columns(draw: Any) -> tuple[list[Decimal | None], list[str], dict[str, Any]]:
    """Numbers, how somebody with one way of writing wrote them, and what the reader is told."""
    decimals = draw(st.sampled_from([0, 0, 1, 2, 3]))
    point = draw(st.sampled_from([".", ","]))
    group = draw(
        st.sampled_from(["", "", ",", ".", "'", "’", " ", "\xa0", "\N{NARROW NO-BREAK SPACE}"])
    )
    assume(group != point)
    mark = draw(st.sampled_from(_MARKS))
    assume(mark != "{}e3" or (point == "." and not group))  # only programs write exponents
    whole = st.integers(0, 999) | st.integers(0, 10**7) | st.integers(0, 10**17)
    drawn = draw(st.lists(st.tuples(st.booleans(), whole, st.booleans()), min_size=1, max_size=5))
    negative = draw(st.booleans())
    numbers: list[Decimal | None] = []
    cells = []
    for minus, number, is_none in drawn:
        if is_none and len(drawn) > 1:
            numbers.append(None)
            cells.append(draw(st.sampled_from(_NONE)))
            continue
        value = Decimal(number).scaleb(-decimals)
        text = f"{value:,.{decimals}f}".replace(",", "G").replace(".", point).replace("G", group)
        sign = draw(st.sampled_from(["-", "\N{MINUS SIGN}"])) if negative and minus else ""
        cells.append(draw(st.sampled_from([mark.format(sign + text), sign + mark.format(text)])))
        numbers.append((-value if sign else value) * _CHANGED.get(mark, 1))
    told = draw(st.sampled_from([None, None, point]))
    count = decimals == 0 and draw(st.booleans())
    # A file of semicolons comes from a country of decimal commas, and a decimal comma from there.
    return numbers, cells, {"whole": count, "decimal": told, "comma_country": point == ","}


@examples(15, 1500)
@given(columns())
def test_a_number_is_read_as_it_was_meant(
    drawn: tuple[list[Decimal | None], list[str], dict[str, Any]],
) -> None:
    """Grouped digits, decimal commas, percent signs, currencies: their number or an error."""
    numbers, cells, told = drawn
    try:
        read = numbers_of(pa.chunked_array([pa.array(cells, pa.string())]), **told).tolist()
    except CellError:
        return
    for cell, number, found in zip(cells, numbers, read):
        if number is None:
            assert pd.isna(found), (cell, found)
        elif isinstance(found, int):
            assert found == number, (cell, found)
        else:
            assert abs(found - float(number)) <= 1e-12 * abs(float(number)), (cell, found)
