"""One process at a time works on a run: a lock in the state folder, and a sign of life in the run.

The lock holds between processes that share a state folder. The run's tag `ni.held_by` is for those
that share only the tracking server: its process renews it every few seconds. Two processes of
different machines that begin within the same second are not kept apart, and a process that is cut
off from the server for a minute counts as dead.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from ni_platform.claims import Holder, claimed, holder, process_lives
from ni_platform.errors import BusyError, TrackingError
from ni_platform.tracking.run_queries import find_runs, get_run
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store

HELD_BY = "ni.held_by"
"""Tag: host, pid and since of the process, and when it was last seen (Unix seconds); "" if none."""
SECONDS_BETWEEN_SIGNS = 10.0
SECONDS_TO_EXPIRE = 60.0
"""Clocks of machines may differ by much less."""

_log = logging.getLogger(__name__)


def run_holder(store: Store, run_id: str) -> Holder | None:
    """Return the living process that works on a run; None if nobody does.

    Where the last sign of life of another machine's process is younger than a minute, waits for the
    next one, or for the minute to pass.

    Raises:
        TrackingError: There is no such run, or the store does not answer.
    """
    found = holder(_lock_of(run_id))
    if found is not None:
        return found
    first = seen = _seen(store, run_id)
    while seen is not None and time.time() - seen[1] < SECONDS_TO_EXPIRE:
        if seen[0].is_here:
            return seen[0] if process_lives(seen[0].pid) else None
        if seen != first:
            return seen[0]
        time.sleep(0.5)
        seen = _seen(store, run_id)
    return None


def require_unheld(store: Store, run_id: str) -> None:
    """Refuse to go on with a run that a living process works on.

    Raises:
        BusyError: One does; it is named.
    """
    found = run_holder(store, run_id)
    if found is not None:
        raise BusyError(
            f"Run {run_id} is held by {found}, which works on it: wait until it has ended, or end"
            " it there."
        )


def interrupted_run(
    store: Store, tags: Mapping[str, str], on_live: Callable[[str], None] | None = None
) -> str | None:
    """Return the newest run with these tags that did not come to its end and that nobody works on.

    A killed machine leaves a run RUNNING, so MLflow's status does not say whether it is alive.
    A live one is told to `on_live`, in words, and left alone.

    Raises:
        BusyError: A living process works on one, and there is no `on_live`.
    """
    for run in find_runs(store, tags):
        if run.status == "FINISHED":
            continue
        try:
            require_unheld(store, run.run_id)
        except BusyError as error:
            if on_live is None:
                raise
            on_live(str(error))
            continue
        return run.run_id
    return None


@contextmanager
def held(store: Store, run_id: str) -> Iterator[None]:
    """Be the one process that works on a run, for the time of use.

    Raises:
        BusyError: Another one does; it is named.
    """
    with ExitStack() as stack:
        # Without a place for the lock the run's own sign of life is all that there is.
        with suppress(OSError):
            stack.enter_context(claimed(_lock_of(run_id), f"Run {run_id}"))
        me = Holder.this_process()
        with store.errors(f"claim run {run_id}"):
            _sign(store, run_id, me)
        ended = threading.Event()
        thread = threading.Thread(target=_go_on, args=(store, run_id, me, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5)
            # A store that is gone is told by who writes results; there the sign expires by itself.
            with suppress(TrackingError), store.errors(f"let go of run {run_id}"):
                store.require_answer()
                store.client.set_tag(run_id, HELD_BY, "")


def _lock_of(run_id: str) -> Path:
    return state_folder() / "locks" / f"run-{run_id}.lock"


def _sign(store: Store, run_id: str, me: Holder) -> None:
    store.client.set_tag(run_id, HELD_BY, json.dumps(asdict(me) | {"seen": time.time()}))


def _seen(store: Store, run_id: str) -> tuple[Holder, float] | None:
    tag = get_run(store, run_id).data.tags.get(HELD_BY)
    if not tag:
        return None
    content = json.loads(tag)
    return Holder(host=content["host"], pid=content["pid"], since=content["since"]), content["seen"]


def _go_on(store: Store, run_id: str, me: Holder, ended: threading.Event) -> None:
    while not ended.wait(SECONDS_BETWEEN_SIGNS):
        try:
            with store.errors(f"sign run {run_id}"):
                _sign(store, run_id, me)
        except TrackingError as error:
            _log.debug("%s", error)  # who writes results tells of a store that does not answer
