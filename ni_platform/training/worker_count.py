"""How many processes train a stage together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ni_platform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many processes train a stage together."""

    count: int = 1
    cpus_each: int | None = None
    """CPUs and torch threads of each; the machine's CPUs divided among them if None."""

    def __post_init__(self) -> None:
        for words, value in (("workers", self.count), ("CPUs of a worker", self.cpus_each)):
            if value is not None and value < 1:
                raise ConfigError(f"{words} must be at least 1, but are {value}; leave it out")

    def to_tags(self) -> dict[str, str]:
        """Return what `of` reads back."""
        tags = {"ni.workers": str(self.count)}
        return (
            tags if self.cpus_each is None else tags | {"ni.cpus_per_worker": str(self.cpus_each)}
        )

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> Workers:
        """Return those that a run was started with: only as many can go on with it."""
        each = tags.get("ni.cpus_per_worker")
        return cls(count=int(tags.get("ni.workers", 1)), cpus_each=int(each) if each else None)
