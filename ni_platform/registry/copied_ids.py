"""Which copy on another tracking server came from which run or model, and what its id is there.

A copy carries the tag `ni.synced_from`: the id of its original, then where that is, for people. Ids
are unique wherever they were made, so that a store that was moved or renamed is known again.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

from mlflow.entities import LoggedModel, Run
from mlflow.store.entities import PagedList

from ni_platform.tracking.address import scheme_of, sqlite_path, without_secrets
from ni_platform.tracking.store import Store

SYNCED_FROM = "ni.synced_from"

_ID = re.compile(r"(?<![0-9a-f])(?:m-)?[0-9a-f]{32}(?![0-9a-f])")


class CopiedIds:
    """The ids of runs and models of `source` and those of their copies in `target`."""

    def __init__(self, source: Store, target: Store) -> None:
        self._target = target
        self._place = place_of(source)
        self._known: dict[str, str | None] = {}

    def tag(self, identity: str) -> dict[str, str]:
        """Return the tag of the copy of a run or model."""
        return {SYNCED_FROM: f"{identity} {self._place}"}

    def note(self, identity: str, copy: str) -> None:
        """Remember what a copy's id is."""
        self._known[identity] = copy

    def run(self, run_id: str) -> str | None:
        """Return the id of a run's copy; None if it has none."""
        if run_id not in self._known:
            found = runs_like(self._target, f"tags.`{SYNCED_FROM}` LIKE '{run_id} %'")
            self._known[run_id] = found[0].info.run_id if found else None
        return self._known[run_id]

    def model(self, model_id: str) -> str | None:
        """Return the id of a model's copy, once that was noted."""
        return self._known.get(model_id)

    def rewritten(self, text: str) -> str:
        """Return a text in which the ids of what was copied are those of the copies."""

        def new(match: re.Match[str]) -> str:
            identity = match[0]
            find = self.model if identity.startswith("m-") else self.run
            return find(identity) or identity

        return _ID.sub(new, text)


def original_of(copy: Run | LoggedModel) -> str | None:
    """Return the id of what a run or model is the copy of; None if it is none."""
    tags = copy.data.tags if isinstance(copy, Run) else copy.tags
    tag: str | None = tags.get(SYNCED_FROM)
    return None if tag is None else tag.split(" ")[0]


def runs_like(store: Store, condition: str, *experiments: str) -> list[Run]:
    """Return the runs, the oldest first, that fulfil MLflow's condition, wherever they are."""
    client = store.client
    searched = list(experiments) or [
        experiment.experiment_id
        for experiment in every(client.search_experiments, max_results=1000)
    ]
    return every(
        lambda page_token: client.search_runs(
            searched,
            condition,
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=page_token,
        )
    )


def every(search: Callable[..., PagedList], **how: Any) -> list[Any]:
    """Return what all pages of one of MLflow's searches hold."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(page_token=token, **how)
        found += page
        token = page.token
        if not token:
            return found


def place_of(store: Store) -> str:
    """Return where a store is, for people: an address, or a machine and a file."""
    if scheme_of(store.uri) == "sqlite":
        return f"{socket.gethostname()}:{sqlite_path(store.uri)}"
    return without_secrets(store.uri)
