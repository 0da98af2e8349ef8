"""Days as tables write them; a column is read as a whole, and nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal

from ni_platform.data.reading.labels import CellError

DayOrder = Literal["day-first", "month-first"]

_CLOCK = re.compile(
    r"(?:T|,?\s+)\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[ap]\.?m\.?)?\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", re.IGNORECASE)
_FORMATS: tuple[tuple[DayOrder | None, str], ...] = (
    (None, "%Y-%m-%d"),
    (None, "%Y/%m/%d"),
    (None, "%Y%m%d"),
    (None, "%d.%m.%Y"),
    (None, "%b %d, %Y"),
    (None, "%B %d, %Y"),
    (None, "%d %b %Y"),
    (None, "%d %B %Y"),
    ("day-first", "%d/%m/%Y"),
    ("month-first", "%m/%d/%Y"),
    ("day-first", "%d-%m-%Y"),
    ("month-first", "%m-%d-%Y"),
    ("day-first", "%d/%m/%y"),
    ("month-first", "%m/%d/%y"),
)


class DayError(CellError):
    """A cell that is no day, or may be two; `position` is its place in the column."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def days_of(cells: Sequence[str | None], order: DayOrder | None) -> list[date | None]:
    """Return the day of each cell, without the time of day beside it; None where it is empty.

    Args:
        cells: A column.
        order: What `03/04/2026` means, if it is known.

    Raises:
        DayError: A cell is no day, the cells are not all written in one way, or they may be read as
            different days.
    """
    present = {place: _bare(cell) for place, cell in enumerate(cells) if cell and cell.strip()}
    if not present:
        return [None] * len(cells)
    found: dict[str, list[date]] = {}
    failed_at = -1
    for means, form in _FORMATS:
        if means is not None and order is not None and means != order:
            continue
        read: list[date] = []
        for place, cell in present.items():
            try:
                read.append(datetime.strptime(cell, form).date())
            except ValueError:
                failed_at = max(failed_at, place if read else -1)
                break
        else:
            found[form] = read
    if not found:
        place = failed_at if failed_at >= 0 else next(iter(present))
        raise DayError(place, "is no day, or written otherwise than the others: write 2026-05-31")
    readings = list(found.values())
    for place, *choices in zip(present, *readings):
        if len(set(choices)) > 1:
            raise DayError(
                place,
                f"may be {choices[0]} or {choices[1]}: say --dates day-first or month-first",
            )
    days: list[date | None] = [None] * len(cells)
    for place, day in zip(present, readings[0]):
        days[place] = day
    return days


def _bare(cell: str) -> str:
    return _WEEKDAY.sub("", _CLOCK.sub("", cell.strip())).strip()
