"""What a notebook shows of these objects: HTML that loads nothing and escapes all texts."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ni_platform.reporting.page import Picture, Table, render


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of what is shown, one thing or several below each other."""

    heading: str = ""
    table: Table | None = None
    picture: Picture | None = None
    contents: Sequence[Any] = ()
    """Contents with what contributes to their predictions, as `content_shown` gives them."""
    note: str = ""


def cell(title: str, *parts: Part) -> str:
    """Return the HTML below a cell."""
    return render("cell.html", title=title, parts=parts)


def figure(value: Any) -> str:
    """Return a table's cell as text: four digits, a dash for what is not there."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def interval(low: float, high: float) -> str:
    """Return a 95 % interval as text."""
    return f"{low:.4g} – {high:.4g}" if math.isfinite(low) and math.isfinite(high) else ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Page:
    """A whole HTML page: a notebook shows it in a frame, `save` writes it."""

    html: str
    height: int = 600
    """Of the frame, in pixels."""

    def save(self, path: str | Path) -> None:
        """Write the page, which loads nothing from elsewhere, to a file."""
        Path(path).write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        return f"Page of {len(self.html):,} characters; save(PATH) writes it"

    def _repr_html_(self) -> str:
        # Without scripts and apart from the notebook, whatever the texts in it are.
        return (
            f'<iframe sandbox srcdoc="{html.escape(self.html)}" width="100%" '
            f'height="{self.height}" style="border:1px solid rgba(128,128,128,.35)"></iframe>'
        )
