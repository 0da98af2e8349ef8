"""Pages of Data Docs that open from disk: no server, no network, nothing loaded from elsewhere.

Great Expectations' pages take style and scripts from public servers, and its index is drawn by
such a script. Here they get a small style of their own, and the index is plain HTML.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

_STYLE = """
body { font-family: system-ui, "Segoe UI", Arial, sans-serif; color: #1f2933; margin: 0 auto;
       max-width: 1100px; padding: 1.5rem; line-height: 1.45; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1.2rem; }
th, td { border: 1px solid #d9dee4; padding: .35rem .6rem; text-align: left;
         vertical-align: top; }
th { background: #f2f5f8; }
h1 { font-size: 1.5rem; } h2, h5 { font-size: 1.1rem; margin-bottom: .2rem; }
a { color: #0b61a4; } pre, code { white-space: pre-wrap; font-size: .85em; }
.passed { color: #1a7f37; } .failed { color: #b42318; }
.alert-heading { font-weight: 600; } ol.breadcrumb { list-style: none; padding: 0; }
ol.breadcrumb li { display: inline; margin-right: 1rem; }
i.text-success::before { content: "\\2714"; color: #1a7f37; }
i.text-danger::before { content: "\\2718"; color: #b42318; }
strong.text-danger { color: #b42318; }
.card, .breadcrumb { display: none; } .found { white-space: nowrap; }
"""

_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_OTHER_STYLE = re.compile(r"<style\b.*?</style>", re.DOTALL | re.IGNORECASE)
_LINK = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_FOOTER = re.compile(r"<footer\b.*?</footer>", re.DOTALL | re.IGNORECASE)
_ACTIONS = re.compile(
    r'<div class="mb-2">\s*<p class="card-text[^>]*>\s*Validation Filter:'
    r".*?</div>\s*</div>\s*</div>",
    re.DOTALL,
)
_OTHER_FOLDER = re.compile(r'href="(?:\.\./)+(?:expectations/)?([^"]+)"')


def offline(page: str) -> str:
    """A Great Expectations page without scripts, remote style, tracking picture and newsletter."""
    for pattern in (_SCRIPT, _OTHER_STYLE, _LINK, _FOOTER, _ACTIONS):
        page = pattern.sub("", page)
    page = _IMAGE.sub("All suites", page)
    page = _OTHER_FOLDER.sub(r'href="\1"', page)
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def escaped(value: Any) -> Any:
    """The value with every text in it escaped, as Great Expectations shows texts as HTML."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


def index(dataset_name: str, summary: dict[str, Any]) -> str:
    """The first page: every suite and rule, with the rows that break it."""
    verdict = "passed" if summary["success"] else "failed"
    title = f"Data checks of {escape(dataset_name)}"
    parts = [
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{title}: "
        f"<span class='{verdict}'>{verdict}</span></h1>"
        f"<p>{summary['evaluated']} rules evaluated, {summary['failed']} failed. "
        f"<a href='summary.json'>summary.json</a></p>"
    ]
    for suite in summary["suites"]:
        rules = [result for result in summary["results"] if result["suite"] == suite]
        parts.append(f"<h2><a href='{escape(suite)}.html'>{escape(suite)}</a></h2>")
        parts.append("<table><tr><th></th><th>Rule</th><th>Found</th><th>Rows</th></tr>")
        parts += [_rule(result) for result in rules]
        parts.append("</table>")
    return "".join([*parts, "</body></html>\n"])


def _rule(result: dict[str, Any]) -> str:
    verdict = "passed" if result["success"] else "failed"
    rows = "<br>".join(
        escape(", ".join(f"{name} = {value!r}" for name, value in row.items()))
        for row in result["sample_rows"]
    )
    count = result["failed_rows"]
    found = result["observed"] + (" break it" if count is not None else "")
    return (
        f"<tr><td class='{verdict}'>{verdict}</td><td>{escape(result['rule'])}</td>"
        f"<td class='found'>{escape(found)}</td><td>{rows}</td></tr>"
    )
