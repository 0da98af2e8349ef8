"""HTML pages that load nothing from elsewhere: Jinja templates on one frame, `templates/`."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as the macro of that name draws it."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    """Of each column, whether it is aligned as numbers."""
    marks: Sequence[str] = ()
    """Of each row `passed`, `failed` or nothing, if any is marked."""

    @classmethod
    def of(
        cls,
        heads: Sequence[str],
        rows: Sequence[Sequence[Any]],
        text: Callable[[Any], str] = str,
        marks: Sequence[str] = (),
    ) -> Table:
        """Align columns without words as numbers; `text` writes a cell."""
        return cls(
            heads=heads,
            rows=[[text(cell) for cell in row] for row in rows],
            numeric=[
                all(not isinstance(row[column], str | bool) for row in rows)
                for column in range(len(heads))
            ],
            marks=marks,
        )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that lies in the page itself, as the macro of that name draws it."""

    png: bytes
    alt: str
    """What it shows, for who does not see it."""
    caption: str = ""

    @classmethod
    def of(cls, figure: Figure, alt: str, caption: str) -> Picture:
        """Draw a matplotlib figure."""
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=130)
        return cls(png=out.getvalue(), alt=alt, caption=caption)

    @property
    def source(self) -> str:
        """The picture as a URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def render(template: str, **values: Any) -> str:
    """Return the page of a template; every text among the values is escaped."""
    return _environment().get_template(template).render(values)


def templates_of(package: str) -> Environment:
    """Return the templates of a package; whatever goes into one is escaped."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _environment() -> Environment:
    environment = templates_of("ni_platform.reporting")
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after a dot or an underscore."""
    place = Markup("<wbr>")
    return escape(name).replace(".", "." + place).replace("_", "_" + place)
