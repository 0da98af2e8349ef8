"""Reports in sections, such as Mailchimp's of an A/B test: `"Total Recipients:","1,751"`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence

from ni_platform.data.importers.exports.profile import Sections
from ni_platform.data.reading.csv_file import quote_error
from ni_platform.errors import DatasetError

_WITH_SHARE = re.compile(r"\s*([\d.,'’\s]*\d)\s*\([\d.,]+\s*%\)\s*")
"""A count with its percentage in one cell: `141 (8.1%)`."""
ARM = "arm"
"""Label of the section's own name."""


def section_rows(
    text: str, spec: Sections, name: str, counted: Collection[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the labels with their values of each arm's section.

    What stands above the first arm is true of all, such as the title, but for what is counted:
    counts there are of all arms together. Labels lose their colon, counts the percentage beside
    them, and a label without a value is left out.

    Args:
        text: Of the report.
        spec: What an arm's section is called.
        name: Of the file, for messages.
        counted: Labels of counts.

    Raises:
        DatasetError: A line of an arm has several values, or a quote is not closed.
    """
    shared: dict[str, str] = {}
    found: list[tuple[int, dict[str, str]]] = []
    current: dict[str, str] | None = shared
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            label = cells[0].strip().rstrip(":") if cells else ""
            values = [cell for cell in cells[1:] if cell.strip()]
            if label and not values and not cells[0].strip().endswith(":"):
                title = re.fullmatch(spec.arm, label)
                if title is not None:
                    current = {key: shared[key] for key in shared if key not in counted}
                    current[ARM] = title[1]
                    found.append((reader.line_num, current))
                elif found:
                    current = None  # a section of something else, such as the links
            elif label and values and current is not None:
                if found:
                    _check_line(cells, values, f"{name} line {reader.line_num}")
                value = values[0].strip()
                current[label] = _count_alone(value) if label in counted else value
    except csv.Error as error:
        place = f"{name} line {reader.line_num}"
        raise quote_error(place, error, escaped='\\"' in text) from error
    return found


def has_sections(text: str, spec: Sections) -> bool:
    """Whether a text has a section of an arm, where a table has a header."""
    lines = (line.strip().rstrip(",").strip('"') for line in text.splitlines())
    return any(re.fullmatch(spec.arm, line) for line in lines)


def labels(rows: Sequence[tuple[int, dict[str, str]]]) -> list[str]:
    """All labels, in their order."""
    return list(dict.fromkeys(label for _, row in rows for label in row))


def _check_line(cells: Sequence[str], values: Sequence[str], place: str) -> None:
    """Raise DatasetError where a line is more than a label and its value."""
    if len(values) > 1:
        raise DatasetError(
            f"{place}: a label has one value, but {cells[0]!r} has {len(values)}, {values}: put a "
            "value that holds commas in quotes."
        )
    if "\n" in values[0] or "\r" in values[0]:
        raise DatasetError(
            f"{place}: the value of {cells[0]!r} goes over several lines, {values[0]!r:.80}: a "
            "quote is not closed. Close it, or export the report again."
        )


def _count_alone(cell: str) -> str:
    match = _WITH_SHARE.fullmatch(cell)
    return match[1] if match else cell
