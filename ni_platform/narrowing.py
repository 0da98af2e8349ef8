"""What a type checker cannot know, checked: a value that is there, an object of a kind."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def given(value: T | None) -> T:
    """Return a value that is there by what was checked before.

    Raises:
        TypeError: It is None, which is a defect of this package.
    """
    if value is None:
        raise TypeError("a value that must be there is None")
    return value


def of_kind(value: object, kind: type[T]) -> T:
    """Return an object that has a type by what was checked before.

    Raises:
        TypeError: It has another one, which is a defect of this package.
    """
    if not isinstance(value, kind):
        raise TypeError(f"an object must be a {kind.__name__}, but is a {type(value).__name__}")
    return value
