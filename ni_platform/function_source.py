"""Functions that a user defines in a notebook's cell, as text that is recorded and run elsewhere.

What such a function reads of its notebook (modules, plain values, other functions) goes along, so
that the text alone gives the same function in another process, and next year.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ni_platform.errors import ConfigError

_FIRST = "from __future__ import annotations\n"
"""Types of arguments may then name what the text does not import."""


def source_of(function: Callable[..., Any], kind: str) -> str:
    """Return a function's source as it was written; `kind` says in words what it is.

    Raises:
        ConfigError: Python does not know it, as of a lambda, a built-in or a partial function.
    """
    name = getattr(function, "__name__", repr(function))
    if not isinstance(function, FunctionType) or name == "<lambda>":
        raise ConfigError(
            f"the {kind} is recorded by its source, which {name} does not have: define it as a "
            "function, by def, in a cell or a file"
        )
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ConfigError(
            f"the {kind} {name} is recorded by its source, which Python does not find: define it "
            "in a cell or a file"
        ) from error


def standalone_source(function: Callable[..., Any], kind: str) -> str:
    """Return source that gives the function anywhere: with what it reads of its notebook.

    Raises:
        ConfigError: As `source_of`; or it reads an object that no text can stand for.
    """
    parts: dict[str, str] = {}
    _collect(function, kind, parts)
    return _FIRST + "\n".join(parts.values())


def function_of(source: str, name: str) -> Callable[..., Any]:
    """Return the function `name` that `standalone_source` gave the text of.

    Raises:
        ConfigError: The text ends in an error.
    """
    namespace: dict[str, Any] = {"__name__": name}
    try:
        exec(compile(source, f"<source of {name}>", "exec"), namespace)  # noqa: S102  the user's own
    except Exception as error:
        raise ConfigError(
            f"{name} does not stand alone: {type(error).__name__}: {error}; define within it what "
            "it needs"
        ) from error
    found: Callable[..., Any] = namespace[name]
    return found


def _collect(function: Callable[..., Any], kind: str, parts: dict[str, str]) -> None:
    """Add the text of a function behind that of all it reads."""
    text = source_of(function, kind)
    parts[function.__name__] = ""  # functions may call each other
    for name, value in _read(function):
        if name in parts or value is function:
            continue
        if isinstance(value, ModuleType):
            parts[name] = f"import {value.__name__} as {name}"
        elif _is_imported(value):
            parts[name] = f"from {value.__module__} import {value.__name__} as {name}"
        elif isinstance(value, FunctionType):
            _collect(value, kind, parts)
        elif _is_plain(value):
            parts[name] = f"{name} = {value!r}"
        else:
            raise ConfigError(
                f"the {kind} {function.__name__} reads {name}, of type {type(value).__name__}, "
                "which its source cannot hold: define it within the function"
            )
    del parts[function.__name__]
    parts[function.__name__] = text


def _read(written: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Names of its module or of an enclosing function that a function may read, with values."""
    function = inspect.unwrap(written)
    if not isinstance(function, FunctionType):
        return
    nonlocals = inspect.getclosurevars(function).nonlocals
    around = {**function.__globals__, **nonlocals}
    for name in dict.fromkeys([*nonlocals, *_names(function.__code__)]):
        if name in around:
            yield name, around[name]


def _names(code: CodeType) -> Iterator[str]:
    """Global names and attributes of a function and of those within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_imported(value: Any) -> bool:
    """Whether it is a function or class of a module that another process can import."""
    module = inspect.getmodule(value) if callable(value) else None
    name = getattr(value, "__name__", None)
    if module is None or name is None or module.__name__ == "__main__":
        return False
    return getattr(module, name, None) is value


def _is_plain(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError):
        return False
