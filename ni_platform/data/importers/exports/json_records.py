"""Records of JSON documents: a list of rows, each looked up by paths.

A path is a list of steps joined by points. `name` is a member. `name[]` goes over the elements of a
list and `name{}` over the members of an object: `records` says in which, and a path that begins
alike means the same element. `name[0]` is one element. `name[id=field]` is the element whose `id`
is the value of that field of the row, `name{=field}` the member that it names. `@key` is the name
of the member that the last `{}` before it stands at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from ni_platform.errors import ConfigError

_STEP = re.compile(r"([\w@$-]*)(?:\[(\d*|[\w$-]+=\w+)\]|\{(=\w+)?\})?")
KEY = "@key"
DOCUMENT = "document"
"""The list of all documents, for paths within one of them."""


@dataclass(frozen=True, kw_only=True)
class JsonRecords:
    """Where the rows of JSON documents stand."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    documents: tuple[str, ...]
    """Members at the top of a document, by which it is recognised: each has one of them."""
    records: str
    """Path of the rows. It begins with one of these members, of which all documents' are one list
    (`result[].metrics[].variations[]`), or with `document[]`."""

    def __post_init__(self) -> None:
        steps(self.records)


def steps(path: str) -> list[str]:
    """Split a path. Raises ConfigError where a step is none."""
    found = path.split(".")
    for step in found:
        if not step or not _STEP.fullmatch(step):
            raise ConfigError(f"The path {path!r} has a step {step!r}, which is none.")
    return found


def rows_of(
    documents: Sequence[Mapping[str, Any]], spec: JsonRecords, fields: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return a row per record: each field's value, None where the document does not have it.

    Args:
        documents: Objects of one or more files.
        spec: Where the rows stand.
        fields: Paths of each field, the first that leads somewhere is taken. Fields that others
            look up by come first.
    """
    whole: dict[str, list[Any]] = {DOCUMENT: list(documents)}
    for document in documents:
        for name, value in document.items():
            whole.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    found = []
    for place in _places(whole, steps(spec.records), {}, ""):
        row: dict[str, Any] = {}
        for name, paths in fields.items():
            values = (_value(whole, steps(path), place, row) for path in paths)
            row[name] = next((value for value in values if value is not None), None)
        found.append(row)
    return found


def owners(documents: Sequence[Mapping[str, Any]], spec: JsonRecords) -> list[int]:
    """Return which of the documents each row of `rows_of` stands in."""
    path = steps(spec.records)
    name = _name(path[0])
    whole, holders = list[Any](), list[int]()
    for number, document in enumerate(documents):
        value = document if name == DOCUMENT else document.get(name, [])
        items = value if isinstance(value, list) else [value]
        whole += items
        holders += [number] * len(items)
    first = f".{path[0]}"
    return [holders[place[first]] for place in _places({name: whole}, path, {}, "")]


def _places(
    value: Any, path: Sequence[str], place: dict[str, Any], prefix: str
) -> Iterator[dict[str, Any]]:
    """Every way along the path: which element each of its `[]` and `{}` stands at."""
    if not path:
        yield place
        return
    step, here = path[0], f"{prefix}.{path[0]}"
    inner = _member(value, _name(step))
    if step.endswith("[]") and isinstance(inner, list):
        for number, item in enumerate(inner):
            yield from _places(item, path[1:], place | {here: number}, here)
    elif step.endswith("{}") and isinstance(inner, Mapping):
        for key, item in inner.items():
            yield from _places(item, path[1:], place | {here: key}, here)
    elif not step.endswith(("[]", "{}")) and inner is not None:
        yield from _places(inner, path[1:], place, here)


def _value(
    value: Any, path: Sequence[str], place: Mapping[str, Any], row: Mapping[str, Any]
) -> Any:
    """What a path leads to from one place; None where it leads nowhere."""
    here, last_key = "", None
    for step in path:
        here = f"{here}.{step}"
        if step == KEY:
            return last_key
        value = _member(value, _name(step))
        inside, named = _inside(step)
        if step.endswith(("[]", "{}")):
            last_key = place.get(here)
            value = _at(value, last_key)
        elif named:
            last_key = row.get(named[1:])
            value = _at(value, None if last_key is None else str(last_key))
        elif inside and inside.isdecimal():
            value = _at(value, int(inside))
        elif inside:
            key, wanted = inside.split("=")
            value = _the_one(value, key, row.get(wanted))
        if value is None:
            return None
    return value


def _inside(step: str) -> tuple[str | None, str | None]:
    """What stands in a step's square brackets, and in its braces."""
    match = _STEP.fullmatch(step)
    return (match[2], match[3]) if match else (None, None)


def _name(step: str) -> str:
    return re.split(r"[\[{]", step)[0]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _at(value: Any, place: Any) -> Any:
    try:
        return value[place]
    except (LookupError, TypeError):
        return None


def _the_one(value: Any, key: str, wanted: Any) -> Any:
    if not isinstance(value, list) or wanted is None:
        return None
    return next((item for item in value if str(_member(item, key)) == str(wanted)), None)
