"""The documentation site: `make docs` builds it, with warnings as errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # the package, and what draws and lists for this site

from command_reference import add_commands  # noqa: E402
from python_reference import add_python  # noqa: E402

project = "ni_platform"
author = "the authors of ni_platform"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ni_platform"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
smartquotes = False  # two hyphens begin an option

default_role = "literal"  # what of a docstring's code goes over two lines
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]


_OUTSIDE = re.compile(r"\]\(((?:\.\./)+(?:infra|tests|experiments)/[^)#]*)(?:#[^)]*)?\)")


def _outside_links(app: object, page: str, source: list[str]) -> None:
    """Files of the repository that are no pages can be downloaded from the site."""
    source[0] = _OUTSIDE.sub(r"](path:\1)", source[0])


def _literals(*found: Any) -> None:
    """Docstrings write code in single backticks, as Markdown does; before napoleon reads them."""
    lines = found[-1]
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def setup(app: Any) -> None:
    """Fill the pages of reference from what they are about."""
    app.connect("source-read", add_commands)
    app.connect("source-read", add_python)
    app.connect("source-read", _outside_links)
    app.connect("autodoc-process-docstring", _literals, priority=400)
