"""Functions that users define in a folder of their project: experiments, tables, spaces, checks.

A folder such as `experiments/` in the user's current folder adds to the installed one: both are
parts of one namespace package. Whatever such code raises, when it is imported or called, becomes
one ConfigError that names file and line.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ni_platform.errors import ConfigError, NiError

_INSTALLED = Path(__file__).resolve().parents[1]
"""The folder that holds the installed `experiments/`, `tune_spaces/` and `data_checks/`."""
_HANDLERS = ("ni_platform", "ray")
"""Packages whose signal handlers raise SystemExit: then it is not the user's code that exits."""

_LONGEST_WORDS = 1000
_REPR = reprlib.Repr()
_REPR.maxother = _REPR.maxstring = 200


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A function of a user's folder, called so that whatever goes wrong in it is one message."""

    kind: str
    """In words, such as `space`."""
    name: str
    folder: str
    function: Callable[..., Any]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function.

        Raises:
            ConfigError: It takes other arguments, or raised something; names its file and line.

        """
        try:
            inspect.signature(self.function).bind(*arguments, **named)
        except TypeError as error:
            raise self.refused(
                f"is called with {len(arguments) + len(named)} arguments, but its own do not fit: "
                f"{error}; change them, or begin its name with _ if it is no {self.kind}"
            ) from error
        with _explained(f"the {self.kind} {self.name}", self.folder):
            return self.function(*arguments, **named)

    @property
    def place(self) -> str:
        """File and line where the function begins."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return _place(code.co_filename, code.co_firstlineno) if code else f"in {self.folder}"

    def refused(self, rule: str) -> ConfigError:
        """Return the error that what the function is or returned breaks a rule."""
        return ConfigError(f"the {self.kind} {self.name} {rule} ({self.place})")


def list_functions(folder: str) -> list[tuple[str, str, str]]:
    """Return file, name and first line of the docstring of every public function of `folder`.

    Raises:
        ConfigError: A file of the folder cannot be imported; names file and line.

    """
    return [
        (file, name, _first_line(function))
        for file, module in load_modules(folder).items()
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


def load_function(folder: str, path: str, *, kind: str, name: str) -> Definition:
    """Return the function `FILE.FUNCTION` of `folder`, which is there, under the user's words."""
    file, _, function = path.rpartition(".")
    found = getattr(importlib.import_module(f"{folder}.{file}"), function)
    return Definition(kind=kind, name=name, folder=folder, function=found)


def require_known(name: str, known: list[str], kind: str) -> None:
    """Raise ConfigError, naming the nearest, where `name` is not among those `known`."""
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3) or known
        raise ConfigError(f"there is no {kind} {name!r}; did you mean {' or '.join(near)}?")


def load_modules(folder: str) -> dict[str, ModuleType]:
    """Import every file of the folders of that name: the user's own, and this package's.

    Raises:
        ConfigError: A file cannot be imported; names file and line.

    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    places = _places(folder)
    return {
        file.name: _imported(folder, file.name)
        for file in sorted(pkgutil.iter_modules(places), key=lambda file: file.name)
    }


def _imported(folder: str, name: str) -> ModuleType:
    with _explained(f"importing {folder}/{name}.py", folder):
        return importlib.import_module(f"{folder}.{name}")


def _places(folder: str) -> list[str]:
    """Where the files of a folder lie: the user's own and the installed ones."""
    with _explained(f"importing {folder}", folder):
        package = importlib.import_module(folder)
    if not hasattr(package, "__path__"):
        raise ConfigError(
            f"{folder} is a folder of definitions, but {package.__file__} has its name; rename it"
        )
    return list(package.__path__)


@contextmanager
def _explained(what: str, folder: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one ConfigError; Ctrl-C stays an interrupt."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        last = frames[-1][0].f_globals.get("__name__", "").partition(".")[0]
        if isinstance(error, SystemExit) and last in _HANDLERS:
            raise
        place = _own_place(error, folder)
        if isinstance(error, NiError):
            if place is None or place[0].is_relative_to(_INSTALLED / folder):
                raise
            raise ConfigError(f"{what}: {error} ({_place(*place)})") from error
        where = "" if place is None else f" at {_place(*place)}"
        raise ConfigError(
            f"{what} must not end in an error, but it raised {_in_words(error)}{where}; mend it"
        ) from error


def _own_place(error: BaseException, folder: str) -> tuple[Path, int] | None:
    """Return file and line that the user has to look at: the last that ran in the folder."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return Path(error.filename).resolve(), error.lineno or 1
    package = sys.modules.get(folder)
    folders = [Path(place).resolve() for place in getattr(package, "__path__", [])]
    own = [
        (file, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if any(
            (file := Path(frame.f_code.co_filename).resolve()).is_relative_to(f) for f in folders
        )
    ]
    return own[-1] if own else None


def _place(file: str | Path, line: int) -> str:
    """Return `FILE:LINE`, relative to the current folder where the file lies below it."""
    path, here = Path(file).resolve(), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def _in_words(error: BaseException) -> str:
    """Return kind and text of an error in one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    words = " ".join("".join(traceback.format_exception_only(error)).split())
    return words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 1]}…"


def shown(value: object) -> str:
    """Return what a user's code gave in one line, cut where it is long; some have no `repr`."""
    return _REPR.repr(value).replace("\n", " ")


def _first_line(function: object) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
