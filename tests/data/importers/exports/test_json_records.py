"""Rows of JSON documents by paths."""

from typing import Any

import pytest

from ni_platform.data.importers.exports.json_records import JsonRecords, rows_of
from ni_platform.errors import ConfigError

_DOCUMENTS: list[dict[str, Any]] = [
    {"shop": {"id": 1, "names": [{"key": "a", "text": "Hat"}, {"key": "b", "text": "Coat"}]}},
    {
        "sale": {
            "shop": 1,
            "days": [
                {"on": "Mon", "sold": {"a": 3, "b": 4}},
                {"on": "Tue", "sold": {"a": 5}, "seen": {"a": 50}},
            ],
        }
    },
]
_SPEC = JsonRecords(documents=("shop", "sale"), records="sale[].days[].sold{}")


def test_a_row_per_record_with_what_is_above_and_beside_it() -> None:
    """Elements above a record, its key, members by its key, and another document by its id."""
    fields = {
        "shop": ["sale[].shop"],
        "day": ["sale[].days[].on"],
        "item": ["sale[].days[].sold{}.@key"],
        "sold": ["sale[].days[].sold{}"],
        "seen": ["nowhere.x", "sale[].days[].seen{=item}"],
        "text": ["shop[id=shop].names[key=item].text"],
    }
    assert rows_of(_DOCUMENTS, _SPEC, fields) == [
        {"shop": 1, "day": "Mon", "item": "a", "sold": 3, "seen": None, "text": "Hat"},
        {"shop": 1, "day": "Mon", "item": "b", "sold": 4, "seen": None, "text": "Coat"},
        {"shop": 1, "day": "Tue", "item": "a", "sold": 5, "seen": 50, "text": "Hat"},
    ]


def test_no_records_are_no_rows() -> None:
    """A document that holds other things."""
    assert rows_of(_DOCUMENTS[:1], _SPEC, {"shop": ["sale[].shop"]}) == []


@pytest.mark.parametrize("path", ["a..b", "a[b", "a[=x]", ""])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """A profile with such a path is told, not read as something else."""
    with pytest.raises(ConfigError, match="has a step"):
        JsonRecords(documents=("a",), records=path)
