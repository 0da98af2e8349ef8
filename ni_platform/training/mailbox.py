"""Where workers leave what the driver should know.

Kept free of heavy imports: the actor that holds a mailbox is a process of its own.
"""

from __future__ import annotations

from ni_platform.errors import NiError
from ni_platform.training.events import Event


class Mailbox:
    """Events that are waiting for the driver, and the error that ended a chain of stages."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._failures: dict[str, dict[int, NiError]] = {}

    def put(self, event: Event) -> None:
        """Leave an event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def fail(self, chain: str, rank: int, error: NiError) -> int:
        """Leave the error that stopped a worker; returns how many workers it has stopped."""
        failures = self._failures.setdefault(chain, {})
        failures.setdefault(rank, error)
        return len(failures)

    def failure(self, chain: str) -> NiError | None:
        """Return the first error that a worker of the chain left, if any."""
        failures = self._failures.get(chain)
        return next(iter(failures.values())) if failures else None
