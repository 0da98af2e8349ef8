"""Pages of Data Docs that open from disk: no server, no network, nothing loaded from elsewhere.

Great Expectations' pages take style and scripts from public servers, and its index is drawn by
such a script. Here they get a small style of their own, and the index is plain HTML.
"""

from __future__ import annotations

import json
import os
import re
from html import escape
from pathlib import Path
from typing import Any

from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from ni_platform.data.disk import explained_disk_errors
from ni_platform.reporting.page import render

SUMMARY_FILE = "summary.json"

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


def page(found: Any) -> str:
    """Data Docs page of one suite's results, in which texts of the data stay texts."""
    for item in found.results:
        item.result = _escaped(item.result)
    renderer = ValidationResultsPageRenderer(run_info_at_end=True)
    return _offline(DefaultJinjaPageView().render(renderer.render(found)))


def write(folder: Path, dataset_name: str, summary: dict[str, Any], pages: dict[str, str]) -> None:
    """Write the pages, by suite, and `index.html`: every suite and rule, with rows that break it.

    `summary.json` is written last: whoever finds it finds all the pages.
    """
    files = {f"{name}.html": text for name, text in pages.items()}
    files["index.html"] = render("checks.html", dataset=dataset_name, summary=summary)
    files[SUMMARY_FILE] = json.dumps(summary, indent=2) + "\n"
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            partial = folder / f".{name}.partial"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, folder / name)


def _offline(page: str) -> str:
    """A Great Expectations page without scripts, remote style, tracking picture and newsletter."""
    for pattern in (_SCRIPT, _OTHER_STYLE, _LINK, _FOOTER, _ACTIONS):
        page = pattern.sub("", page)
    page = _IMAGE.sub("All suites", page)
    page = _OTHER_FOLDER.sub(r'href="\1"', page)
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def _escaped(value: Any) -> Any:
    """The value with every text in it escaped, as Great Expectations shows texts as HTML."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
