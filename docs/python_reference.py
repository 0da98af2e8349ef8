"""The public Python interface, from its docstrings: every name of `ni_platform.__all__`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import ni_platform as ni

PLACE = "<!-- python -->"
"""Where in a page the interface stands."""
_GENERATED = "set_fit_request, set_predict_request, set_score_request"
"""What scikit-learn adds to an estimator, documented there."""


def add_python(app: object, page: str, source: list[str]) -> None:
    """Put the interface into the page that has a place for it; what Sphinx calls."""
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, "\n\n".join(_sections()))


def _sections() -> Iterator[str]:
    names = [name for name in ni.__all__ if not name.startswith("__")]
    things = {name: getattr(ni, name) for name in names}
    errors = {n: t for n, t in things.items() if inspect.isclass(t) and issubclass(t, Exception)}
    classes = {n: t for n, t in things.items() if inspect.isclass(t) and n not in errors}
    functions = {n: t for n, t in things.items() if inspect.isfunction(t)}
    listed = [n for n in things if n not in errors | classes | functions]
    yield "## Functions"
    for name in functions:
        yield _documented(name, f".. autofunction:: ni_platform.{name}")
    yield "## Objects"
    for name in classes:
        options = f"   :members:\n   :exclude-members: {_GENERATED}"
        yield _documented(name, f".. autoclass:: ni_platform.{name}\n{options}")
    yield "## Names of definitions"
    yield "`ni." + "` and `ni.".join(listed) + "`: " + " ".join(_doc(things[n]) for n in listed[:1])
    yield "## Errors"
    for name in errors:
        yield _documented(name, f".. autoexception:: ni_platform.{name}")


def _documented(name: str, directive: str) -> str:
    return f"### ni.{name}\n\n```{{eval-rst}}\n{directive}\n```"


def _doc(thing: object) -> str:
    return inspect.cleandoc(type(thing).__doc__ or "")
