"""What to do about a model: nothing, retrain, or distrust a domain; and why, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ni_platform.monitoring.streams import Watched
from ni_platform.narrowing import given

HEALTHY = "healthy"
RETRAIN = "retrain"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be done, and why."""

    actions: tuple[str, ...]
    """`retrain` and `distrust domain X`, none where nothing is to be done."""
    reasons: tuple[str, ...]
    """Plain sentences with figures, one per alarm and per domain that was never seen."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is to be done."""
        return not self.actions

    def __str__(self) -> str:
        return "; ".join(self.actions) or "nothing"

    @property
    def tag(self) -> str:
        """What the model's version is tagged with."""
        return HEALTHY if self.healthy else str(self)


def verdict_of(watched: Sequence[Watched], never_seen: Mapping[str, int]) -> Verdict:
    """Judge alarms, and how many new contents each domain has that the model never saw."""
    alarms = sorted(
        (found for found in watched if found.alarm is not None),
        key=lambda found: (found.stream.kind != "accuracy", found.stream.subject),
    )
    fallen = [f.stream.subject for f in alarms if f.stream.kind == "accuracy"]
    domains = {f.stream.subject for f in watched if f.stream.kind == "accuracy"}
    # Where all have fallen, none is to be distrusted more than another.
    everywhere = "" in fallen and set(fallen) == domains
    worse = [] if everywhere else [name for name in fallen if name]
    distrusted = [*worse, *never_seen]
    retrain = any(f.stream.kind != "accuracy" or not f.stream.subject for f in alarms)
    actions = [RETRAIN] if retrain else []
    actions += [f"distrust domain {name}" for name in dict.fromkeys(distrusted)]
    reasons = [_reason(found) for found in alarms]
    reasons += [
        f"The model never saw the domain {name}, which has {count:,} new contents."
        for name, count in never_seen.items()
    ]
    return Verdict(actions=tuple(actions), reasons=tuple(reasons))


def _reason(found: Watched) -> str:
    stream, alarm = found.stream, given(found.alarm)
    name, end = stream.label[0].upper() + stream.label[1:], "most" if stream.rises else "least"
    return (
        f"{name}: {found.now:.3g} since {alarm.since}, where {stream.usual:.3g} was usual and at "
        f"{end} {stream.promised:.3g} was promised (alarm on {alarm.day})."
    )
