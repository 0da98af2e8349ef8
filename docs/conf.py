"""The documentation site: `make docs` builds it, with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # the package, and what draws and lists for this site

from command_reference import add_commands  # noqa: E402

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
templates_path: list[str] = []

# Docstrings write code in single backticks, as Markdown does.
default_role = "literal"
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


def setup(app: object) -> None:
    """Fill the page of commands from the commands themselves."""
    app.connect("source-read", add_commands)  # type: ignore[attr-defined]
