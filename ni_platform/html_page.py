"""An HTML page that loads nothing from elsewhere: its frame, tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
body { font-family: system-ui, "Segoe UI", Arial, sans-serif; color: #1f2933; margin: 0 auto;
       max-width: 1100px; padding: 1.5rem; line-height: 1.45; background: #fff; }
h1 { font-size: 1.6rem; margin-bottom: .1rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
table { border-collapse: collapse; margin: .4rem 0 .6rem; font-size: .86rem; }
th, td { border-bottom: 1px solid #d9dee4; padding: .3rem .5rem; text-align: left;
         vertical-align: top; }
th { background: #f2f5f8; } td.number, th.number { text-align: right;
     font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; } .note, figcaption { color: #52606d; font-size: .86rem; }
figure { margin: .4rem 0; } img { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem;
     margin: 1rem 0; }
dl div { border: 1px solid #d9dee4; border-radius: 6px; padding: .5rem .8rem; }
dt { color: #52606d; font-size: .8rem; } dd { margin: 0; font-size: 1.2rem; font-weight: 600; }
@media print { body { max-width: none; padding: 0; } figure, tr, dl div { break-inside: avoid; }
               .wide { overflow: visible; } table { font-size: .7rem; } }
"""


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """Return the page of `parts`, which are HTML; `style` is added to the common one."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def picture(png: bytes, alt: str, caption: str = "") -> str:
    """Return a picture that lies in the page itself."""
    data = base64.b64encode(png).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}{below}</figure>"


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], text: Callable[[Any], str] = str
) -> str:
    """Return a table whose columns without words are aligned as numbers; `text` writes a cell."""
    numeric = [
        all(not isinstance(row[column], str | bool) for row in rows) for column in range(len(heads))
    ]
    kind = ['<{0} class="number">' if n else "<{0}>" for n in numeric]
    top = "".join(k.format("th") + _breakable(head) + "</th>" for k, head in zip(kind, heads))
    lines = (
        "<tr>"
        + "".join(k.format("td") + escape(text(cell)) + "</td>" for k, cell in zip(kind, row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _breakable(name: str) -> str:
    """A name that may go on in the next line after a dot or an underscore."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")
