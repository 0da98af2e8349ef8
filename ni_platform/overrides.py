"""Configs as plain dictionaries, and changes to them by path.

A config is a tree of frozen dataclasses. `set_values(config, ["training.learning_rate=3e-4"])`
returns a changed copy; a path that does not exist or a value of the wrong type is a `ConfigError`
that names the nearest valid one. The same functions serve `--set`, `--from-run` and sweeps.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pydantic
import yaml

from ni_platform.errors import ConfigError

Config = TypeVar("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as nested dictionaries and lists that JSON can hold."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    """Rebuild a config from `to_dict`'s output.

    Raises:
        ConfigError: for an unknown key, a value of the wrong type or a number that is not finite,
            naming its path.

    """
    adapter: pydantic.TypeAdapter[Config] = _adapter(config_type)  # type: ignore[arg-type]
    try:
        config = adapter.validate_json(json.dumps(values), strict=True)
    except pydantic.ValidationError as error:
        raise ConfigError(_first_problem(error, values)) from error
    unknown = sorted(set(_keys(values)) - set(_keys(to_dict(config))))
    if unknown:
        raise ConfigError(_unknown_path(unknown[0], to_dict(config)))
    for path, value in _leaves(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"config value {path} must be a finite number, but is {value}")
    return config


@functools.cache
def _adapter(config_type: Any) -> pydantic.TypeAdapter:
    """Making one takes longer than a sweep's whole bookkeeping of a trial."""
    return pydantic.TypeAdapter(config_type)


def set_values(config: Config, assignments: Iterable[str]) -> Config:
    """Return a copy of `config` with every `path=value` of `assignments` applied in order.

    Only the result of all of them has to be valid: two that belong together may come in any order.
    Values are JSON (`3e-4`, `true`, `null`, `[1, 2]`, `{"epochs": 3}`), else YAML, so that plain
    words need no quotes.

    Raises:
        ConfigError: for a missing `=`, an unknown path or a value that does not fit its field.

    """
    return with_values(config, [_split(assignment) for assignment in assignments])


def with_values(config: Config, changes: Iterable[tuple[str, Any]]) -> Config:
    """Return a copy of `config` with each (path, value) applied in order; errors as `set_values`.

    Only the result of all of them has to be valid.
    """
    values = to_dict(config)
    problem: ConfigError | None = None
    for path, value in changes:
        _assign(values, path, value)
        try:
            config = from_dict(type(config), values)
        except ConfigError as error:
            problem = error
        else:
            values, problem = to_dict(config), None
    if problem is not None:
        raise problem
    return config


def merged(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a copy of `config` with nested changes: `{"training": {"epochs": 3}}`.

    A mapping changes what it names and leaves the rest; a config or any other value takes the
    place of what was there. Errors as `set_values`.
    """
    return with_values(config, list(_paths(changes, to_dict(config))))


def _paths(changes: Mapping[str, Any], values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, change in changes.items():
        inside = values.get(name) if isinstance(values, Mapping) else None
        if dataclasses.is_dataclass(change) and not isinstance(change, type):
            yield f"{above}{name}", to_dict(change)
        elif isinstance(change, Mapping) and isinstance(inside, Mapping):
            yield from _paths(change, inside, f"{above}{name}.")
        else:
            yield f"{above}{name}", change


def _split(assignment: str) -> tuple[str, Any]:
    path, separator, text = assignment.partition("=")
    if not separator or not path:
        raise ConfigError(
            f"an override must have the form path=value, but got {assignment!r}; "
            "for example training.learning_rate=3e-4"
        )
    return path.strip(), _parse(text.strip())


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node: Any = values
    for depth, part in enumerate(parents):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(_unknown_path(path, values))
        node = node[part]
        if node is None:
            switched_off = ".".join(parents[: depth + 1])
            raise ConfigError(
                f"{path} cannot be set because {switched_off} is switched off (null) in this "
                f"experiment; switch it on with {switched_off}={{}} first, or choose another one"
            )
    if not isinstance(node, dict) or last not in node:
        raise ConfigError(_unknown_path(path, values))
    node[last] = value


def _keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            keys.extend(_keys(value, f"{prefix}{key}."))
    return keys


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping and no list, with its path."""
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    else:
        yield path, value
    for key, part in inside:
        yield from _leaves(part, f"{path}.{key}" if path else str(key))


def _unknown_path(path: str, values: Mapping[str, Any]) -> str:
    valid = _keys(values)
    by_ending = [key for key in valid if key.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]]
    near = difflib.get_close_matches(path, valid, n=3, cutoff=0.5) or by_ending[:3]
    remedy = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(values)}"
    return f"the config has no {path!r}; {remedy}"


def _first_problem(error: pydantic.ValidationError, values: Mapping[str, Any]) -> str:
    problem = error.errors()[0]
    # Pydantic puts the name of a union's member into the path; only field names help.
    path: list[str] = []
    node: Any = values
    for number, part in enumerate(problem["loc"], start=1):
        inside = part in node if isinstance(node, Mapping) else isinstance(part, int)
        if inside or number == len(problem["loc"]):
            path.append(str(part))
        if inside:
            node = node[part]
    return (
        f"config value {'.'.join(path)} does not fit: {problem['msg']}, "
        f"but got {problem['input']!r:.200}"
    )
