"""Functions that users define in a folder of their project: experiments, tables, search spaces.

A folder such as `experiments/` in the user's current folder adds to the installed one: both are
parts of one namespace package.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ni_platform.errors import ConfigError


def list_functions(folder: str) -> list[tuple[str, str, str]]:
    """Return file, name and first line of the docstring of every public function of `folder`."""
    return [
        (module.__name__.removeprefix(f"{folder}."), name, _first_line(function))
        for module in _modules(folder)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


def load_function(folder: str, name: str) -> Callable[..., Any]:
    """Return the function `FILE.FUNCTION` of `folder`, which is there."""
    file, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"{folder}.{file}"), function)


def require_known(name: str, known: list[str], kind: str) -> None:
    """Raise ConfigError, naming the nearest, where `name` is not among those `known`."""
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or known
        raise ConfigError(f"there is no {kind} {name!r}; did you mean {' or '.join(near)}?")


def _modules(folder: str) -> list[ModuleType]:
    """Import every file of the folders of that name: the user's own, and this package's."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
        importlib.invalidate_caches()
    package = importlib.import_module(folder)
    return [
        importlib.import_module(f"{folder}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]


def _first_line(function: object) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
