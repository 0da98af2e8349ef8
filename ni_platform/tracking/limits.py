"""What MLflow takes: names and texts of parameters and tags, cut to its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

_Item = TypeVar("_Item")


def flatten_parameters(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted names and text values: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`."""
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten_parameters(value, f"{name}.")
        elif isinstance(value, str):
            flat[name] = value
        else:
            flat[name] = json.dumps(value, default=str, ensure_ascii=False)
    return flat


def parameter_texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the flattened parameters; of a value longer than 6,000 characters, its beginning."""
    return {
        name: value
        if len(value) <= MAX_PARAM_VAL_LENGTH
        else f"{value[: MAX_PARAM_VAL_LENGTH - 1]}…"
        for name, value in flatten_parameters(parameters).items()
    }


def tag_texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags as text, cut at 8,000 characters; None is left out."""
    return {
        name: str(value)[:MAX_TAG_VAL_LENGTH] for name, value in tags.items() if value is not None
    }


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield the items in their order, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
