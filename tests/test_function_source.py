"""The source of a function gives the same function in another process."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial

import pytest

from ni_platform.errors import ConfigError
from ni_platform.function_source import function_of, source_of, standalone_source

BASE = 2
SETTINGS = {"low": [1, 2.5], "high": None}


def helper(number: float) -> float:
    """Calls a module and reads a value."""
    return math.sqrt(number) * BASE


def reads(number: float) -> list[float]:
    """Reads all kinds of things, also within another function."""

    def inner() -> float:
        return helper(number)

    return [inner(), SETTINGS["low"][1], math.pi]


def even(number: int) -> bool:
    """Two functions may call each other."""
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    """See `even`."""
    return number != 0 and even(number - 1)


UNREADABLE = object()


def reads_an_object() -> object:
    """No text stands for it."""
    return UNREADABLE


def test_what_a_function_reads_goes_along():
    """Modules and values as they are, functions of a module by an import."""
    source = standalone_source(reads, "space")
    assert "import math as math" in source
    assert f"from {__name__} import helper as helper" in source
    assert function_of(source, "reads")(9.0) == [6.0, 2.5, math.pi]


def test_a_function_of_a_cell_stands_alone(monkeypatch):
    """What is defined in `__main__` cannot be imported, so it goes along as text."""
    for function in (helper, reads, even, odd):
        monkeypatch.setattr(function, "__module__", "__main__")
    source = standalone_source(reads, "space")
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{source}\nprint(reads(9.0))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[6.0, 2.5, 3.141592653589793]"
    assert function_of(standalone_source(even, "space"), "even")(4)


def test_a_closure_takes_its_values_along():
    """As of a function that another one made."""

    def made(top: int) -> object:
        def inner() -> int:
            return top + 1

        return inner

    assert function_of(standalone_source(made(4), "space"), "inner")() == 5


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda trial: {}, "is recorded by its source, which <lambda> does not have"),
        (partial(helper, 1.0), "does not have: define it as a function, by def"),
        (print, "does not have"),
    ],
)
def test_what_has_no_source_is_one_message(function, words):
    """With what to do."""
    with pytest.raises(ConfigError, match=words):
        source_of(function, "space")


def test_a_function_that_was_never_written_down_is_told():
    """As by `exec`."""
    namespace: dict = {}
    exec("def made(trial):\n    return {}", namespace)
    with pytest.raises(ConfigError, match=r"the space made .* which Python does not find"):
        source_of(namespace["made"], "space")


def test_an_object_that_no_text_stands_for_is_told():
    """By the name under which it is read."""
    with pytest.raises(ConfigError, match="reads UNREADABLE, of type object,"):
        standalone_source(reads_an_object, "space")


def test_source_that_lacks_something_is_told():
    """When it is run."""
    with pytest.raises(ConfigError, match="space does not stand alone: NameError"):
        function_of("def space(trial, top=MISSING):\n    return {}", "space")
