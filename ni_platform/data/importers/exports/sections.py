"""Reports in sections, such as Mailchimp's of an A/B test: `"Total Recipients:","1,751"`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from ni_platform.data.importers.exports.profile import Sections

_WITH_SHARE = re.compile(r"\s*(\S+)\s*\([\d.,]+\s*%\)\s*")
"""A count with its percentage in one cell: `141 (8.1%)`."""
ARM = "arm"
"""Label of the section's own name."""


def section_rows(text: str, spec: Sections) -> list[tuple[int, dict[str, str]]]:
    """Return the line and the labels with their values of each arm's section.

    What stands above the first arm is true of all, such as the title. Labels lose their colon, and
    counts the percentage beside them.
    """
    shared: dict[str, str] = {}
    found: list[tuple[int, dict[str, str]]] = []
    current: dict[str, str] | None = shared
    reader = csv.reader(io.StringIO(text, newline=""))
    for cells in reader:
        label = cells[0].strip().rstrip(":") if cells else ""
        if len([cell for cell in cells if cell.strip()]) == 1 and not cells[0].strip().endswith(
            ":"
        ):
            title = re.fullmatch(spec.arm, label)
            if title is not None:
                current = {**shared, ARM: title[1]}
                found.append((reader.line_num, current))
            elif found:
                current = None  # a section of something else, such as the links
        elif label and current is not None and len(cells) > 1:
            current[label] = _count_alone(cells[1].strip())
    return found


def has_sections(text: str, spec: Sections) -> bool:
    """Whether a text has a section of an arm, where a table has a header."""
    lines = (line.strip().strip('"') for line in text.splitlines())
    return any(re.fullmatch(spec.arm, line) for line in lines)


def labels(rows: Sequence[tuple[int, dict[str, str]]]) -> list[str]:
    """All labels, in their order."""
    return list(dict.fromkeys(label for _, row in rows for label in row))


def _count_alone(cell: str) -> str:
    match = _WITH_SHARE.fullmatch(cell)
    return match[1] if match else cell
