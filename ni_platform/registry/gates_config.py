"""Which gates a promotion asks, and their thresholds: `gates.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ni_platform.data.manifest import nearest
from ni_platform.errors import ConfigError

FILE_NAME = "gates.yaml"
_STRICT = ConfigDict(extra="forbid")

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Share = Annotated[_Number, Field(ge=0, le=1)]
_Margin = Annotated[_Number, Field(ge=0)]
_Budget = Annotated[_Number, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class WithoutThreshold:
    """A gate that is on or off; its text is empty."""

    __pydantic_config__ = _STRICT

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, kw_only=True)
class BetterThanChampion:
    """How much worse than the champion a model may order pairs, luck included."""

    __pydantic_config__ = _STRICT

    margin: _Margin = 0.0
    """The 95 % interval of the paired difference must lie above the negative of it."""

    def __str__(self) -> str:
        return f"difference above {0 - self.margin:g}"


@dataclass(frozen=True, kw_only=True)
class CalibrationOfDifferences:
    """Where the slope of outcomes on predicted chances to win, `pair_slope`, must lie."""

    __pydantic_config__ = _STRICT

    low: _Number = 0.8
    high: _Number = 1.25

    def __post_init__(self) -> None:
        _require_order("calibration_of_differences", self.low, self.high)

    def __str__(self) -> str:
        return f"pair_slope from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class CoverageOfDifferences:
    """Where the share of differences inside of their 95 % interval, `pair_coverage`, must lie."""

    __pydantic_config__ = _STRICT

    low: _Share = 0.93
    high: _Share = 0.97

    def __post_init__(self) -> None:
        _require_order("coverage_of_differences", self.low, self.high)

    def __str__(self) -> str:
        return f"pair_coverage from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class ValueNotBelowChampion:
    """How much less than the champion a model may be worth, luck included."""

    __pydantic_config__ = _STRICT

    margin: _Margin = 0.5
    """Clicks per 1,000 impressions. At 0 a model that is just as good, and chooses otherwise, would
    pass once in forty times; half a click is 5 % of what a rate of 1 % brings."""

    def __str__(self) -> str:
        return f"difference of at least {0 - self.margin:g} clicks per 1,000"


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds that a prediction may take."""

    __pydantic_config__ = _STRICT

    one_ms: _Budget = 100.0
    """Of one content: what feels immediate on a page."""
    hundred_ms: _Budget = 2000.0
    """Of a batch of 100 contents."""

    def __str__(self) -> str:
        return f"1 content in {self.one_ms:g} ms, 100 in {self.hundred_ms:g} ms"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the files of a model may be."""

    __pydantic_config__ = _STRICT

    megabytes: _Budget = 500.0
    """Millions of bytes."""

    def __str__(self) -> str:
        return f"at most {self.megabytes:g} MB"


def _switched(value: Any) -> Any:
    """Read true as all default thresholds, false as off; null says neither."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, Mapping):
        raise PydanticCustomError("switch", "must be true, false or a mapping of thresholds")
    return _with_text_keys(value)


def _with_text_keys(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in values.items()}


_Switch = BeforeValidator(_switched)


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """The thresholds of each gate; None for one that is off. As it stands here: without a file."""

    __pydantic_config__ = _STRICT

    data_checks_passed: Annotated[WithoutThreshold | None, _Switch] = WithoutThreshold()
    evaluated_on_unseen_test: Annotated[WithoutThreshold | None, _Switch] = WithoutThreshold()
    better_than_champion: Annotated[BetterThanChampion | None, _Switch] = BetterThanChampion()
    calibration_of_differences: Annotated[CalibrationOfDifferences | None, _Switch] = None
    coverage_of_differences: Annotated[CoverageOfDifferences | None, _Switch] = None
    value_not_below_champion: Annotated[ValueNotBelowChampion | None, _Switch] = None
    latency: Annotated[Latency | None, _Switch] = None
    size: Annotated[Size | None, _Switch] = None

    @classmethod
    def load(cls, path: str | Path) -> GatesConfig:
        """Read a file; a gate that it does not name is as without a file.

        Raises:
            ConfigError: It is no file of gates; names the file, each key, its value and the remedy.
        """
        try:
            values = _EachKeyOnce(Path(path).read_bytes()).get_single_data()
        except OSError as error:
            raise ConfigError(
                f"The gates of {path} cannot be read: {error.strerror}. Name a file that is there."
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{path} is not valid YAML: {reason}. Correct it.") from error
        if not isinstance(values, Mapping):
            held = "nothing" if values is None else f"{values!r:.80}"
            raise ConfigError(
                f"{path} must be a mapping of gates, but it holds {held}: write a line such as"
                f" `size: true`. Known gates are {', '.join(_names(cls))}."
            )
        try:
            return TypeAdapter(cls).validate_python(_with_text_keys(values))
        except ValidationError as error:
            problems = " ".join(_problem(item) for item in error.errors())
            raise ConfigError(f"{path}: {problems}") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @property
    def on(self) -> dict[str, Any]:
        """Name of each gate that is on, in order, and its thresholds."""
        gates = {name: getattr(self, name) for name in _names(GatesConfig)}
        return {name: thresholds for name, thresholds in gates.items() if thresholds is not None}

    @property
    def off(self) -> tuple[str, ...]:
        """Names of the gates that are off."""
        return tuple(name for name in _names(GatesConfig) if getattr(self, name) is None)


def gates_in_use(named: str | Path | None = None) -> tuple[GatesConfig, Path | None]:
    """Return the gates of a file and which file that is.

    It is the named one, else `gates.yaml` of the current folder; None where there is none.

    Raises:
        ConfigError: As `GatesConfig.load`.
    """
    file = Path(FILE_NAME if named is None else named)
    if named is None and not file.exists():
        return GatesConfig(), None
    return GatesConfig.load(file), file


class _EachKeyOnce(yaml.SafeLoader):
    """YAML that gives no key twice: of two, the last would count without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"{key!r} is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def _require_order(gate: str, low: float, high: float) -> None:
    if low > high:
        raise ConfigError(
            f"{gate}.low must not be above {gate}.high, but got {low:g} and {high:g}: correct them."
        )


def _problem(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        rule = item["msg"].removeprefix("Input ")
        return f"{key} {rule}, but got {item['input']!r:.80}: correct it."
    every = TypeAdapter(GatesConfig).validate_python(dict.fromkeys(_names(GatesConfig), True))
    known = _names(GatesConfig if len(location) == 1 else type(getattr(every, location[0])))
    if not known:
        return f"{key} is not a known key: {location[0]} has no threshold; write true or false."
    return f"{key} is not a known key{nearest(location[-1], known)}; known are {', '.join(known)}."


def _names(config_type: type) -> list[str]:
    return [field.name for field in fields(config_type)]
