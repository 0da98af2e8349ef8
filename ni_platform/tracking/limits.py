"""What MLflow takes: names and texts of parameters and tags, cut to its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from mlflow.utils.validation import (
    MAX_ENTITY_KEY_LENGTH,
    MAX_PARAM_VAL_LENGTH,
    MAX_TAG_VAL_LENGTH,
    path_not_unique,
    validate_param_and_metric_name,
)

from ni_platform.errors import TrackingError

LONGEST_RUN = 250
"""Characters of a run's name: the width of its column in MLflow's databases."""

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


@lru_cache(maxsize=10_000)
def check_name(name: str) -> None:
    """Refuse what would be refused by MLflow, before it stands in the way of what comes after.

    Raises:
        TrackingError: MLflow takes no parameter, metric or tag of that name.

    """
    fits = len(name) <= MAX_ENTITY_KEY_LENGTH and validate_param_and_metric_name(name)
    # Its expression ends in `$`, which lets a last line break pass.
    if not fits or path_not_unique(name) or name.endswith("\n"):
        raise TrackingError(
            f"MLflow takes names of at most {MAX_ENTITY_KEY_LENGTH} letters, digits, spaces and"
            f" _-.:/ (not as in a//b or ../a), but got {name!r}. Rename the parameter, metric or"
            " tag."
        )


def check_run_name(name: str | None) -> None:
    """Refuse what databases of MLflow refuse, or what cannot be read in a list of runs.

    Raises:
        TrackingError: The name is none for a run. None lets MLflow choose one.

    """
    if name is not None and (not name.strip() or not name.isprintable() or len(name) > LONGEST_RUN):
        raise TrackingError(
            f"A run's name is one line of 1 to {LONGEST_RUN} characters, but got {name!r}. Choose"
            " another name."
        )


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield the items in their order, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
