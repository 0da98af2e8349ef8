"""Runs that were made offline, copied to the team's tracking server.

With them go their children and artifacts, models and registered versions. What was interrupted is
gone on with, and nothing is there twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ni_platform.claims import claimed
from ni_platform.errors import BusyError, TrackingError
from ni_platform.registry.copied_ids import CopiedIds, place_of, runs_like
from ni_platform.registry.run_copy import RunCopier
from ni_platform.registry.version_copy import CopiedVersion, VersionCopier
from ni_platform.tracking.run_claim import require_unheld
from ni_platform.tracking.run_queries import get_run
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True)
class CopiedRun:
    """A run that was copied."""

    run_id: str
    name: str
    copy: str
    """Its id on the server."""


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What was copied just now, and what was not."""

    target: str
    runs: tuple[CopiedRun, ...]
    present: int
    """Runs that were there before."""
    versions: tuple[CopiedVersion, ...]
    notes: tuple[str, ...]
    """What was left out or left as it is, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "target": self.target,
            "runs": [vars(run) for run in self.runs],
            "present": self.present,
            "versions": [vars(version) for version in self.versions],
            "notes": list(self.notes),
        }


def sync(
    source: Store,
    target: Store,
    run_ids: Sequence[str] = (),
    *,
    on_event: Callable[[str], None] = lambda event: None,
) -> SyncReport:
    """Copy runs, their models and the registered versions of these from one store to another.

    The originals are left alone. Aliases are set where the target's model has no champion.

    Args:
        source: Where the runs are.
        target: Where to.
        run_ids: Which, none of them a child; if empty, all that have finished.
        on_event: Told what is being done.

    Raises:
        TrackingError: Both are the same place, there is no such run or it is a child, or a store
            does not answer; what was copied until then stays and is not copied again.
        BusyError: Another process copies from this state folder to the target.
    """
    notes: list[str] = []
    with _alone(source, target):
        ids = CopiedIds(source, target)
        copier = RunCopier(source=source, target=target, ids=ids, on_event=on_event)
        runs = _named(source, run_ids) if run_ids else _finished(source)
        copied, present = [], 0
        for number, run in enumerate(runs, start=1):
            why_not = _being_worked_on(source, run)
            if why_not:
                notes.append(why_not)
                continue
            on_event(f"run {number} of {len(runs)}: {run.info.run_name}")
            target.require_answer()
            if copier.copy(run):
                copy = str(ids.run(run.info.run_id))
                copied.append(CopiedRun(run_id=run.info.run_id, name=run.info.run_name, copy=copy))
            else:
                present += 1
        on_event("registered versions")
        registrar = VersionCopier(
            source=source, target=target, ids=ids, on_note=notes.append, on_wait=on_event
        )
        registered = registrar.copy()
    return SyncReport(
        target=place_of(target),
        runs=tuple(copied),
        present=present,
        versions=tuple(registered),
        notes=tuple(notes),
    )


@contextmanager
def _alone(source: Store, target: Store) -> Iterator[None]:
    if place_of(source) == place_of(target):
        raise TrackingError(
            f"Runs are copied from one place to another, but both are {place_of(target)}. The"
            " first is the one that MLFLOW_TRACKING_URI names, else the state folder: unset it, or"
            " name another server."
        )
    key = hashlib.sha256(f"{source.uri} {target.uri}".encode()).hexdigest()[:16]
    with claimed(state_folder() / "locks" / f"sync-{key}.lock", f"Copying to {place_of(target)}"):
        yield


def _finished(source: Store) -> list[Run]:
    with source.errors("list the runs"):
        found = runs_like(source, "attributes.status = 'FINISHED'")
    return [run for run in found if MLFLOW_PARENT_RUN_ID not in run.data.tags]


def _named(source: Store, run_ids: Sequence[str]) -> list[Run]:
    runs = [get_run(source, run_id) for run_id in dict.fromkeys(run_ids)]
    for run in runs:
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
        if parent is not None:
            raise TrackingError(
                f"Run {run.info.run_id} ({run.info.run_name}) is part of run {parent}, with which"
                f" it is copied: name that one."
            )
    return sorted(runs, key=lambda run: run.info.start_time)


def _being_worked_on(source: Store, run: Run) -> str | None:
    name = f"run {run.info.run_id} ({run.info.run_name})"
    if run.info.status == "RUNNING":
        return f"{name} is RUNNING and was not copied: let it end, or resume it"
    try:
        require_unheld(source, run.info.run_id)
    except BusyError as error:
        return f"{name} was not copied: {error}"
    return None
