"""SIGTERM as an orderly stop: it unwinds the stack as Ctrl-C does, then the exit status is 143."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

received: int | None = None
"""The exit status of a signal that this process was told to stop by; None before one."""


def unwind_on_sigterm() -> Any:
    """Let SIGTERM raise SystemExit(143) here; return the handler to put back.

    None where there is nothing to put back: it is so already, or this is not the main thread, which
    is the only one that may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    current = signal.getsignal(signal.SIGTERM)
    # Also where it seems to be so: `ray.shutdown()` restores the system's way, which Python does
    # not learn of.
    signal.signal(signal.SIGTERM, _unwind)
    if current is _unwind:
        return None
    return current if current is not None else signal.SIG_DFL


def end(status: int) -> NoReturn:
    """End this process here and now, after what it had to clean up.

    Python's own way out tears native threads of libraries down, which after a signal now and then
    ends in a crash, and so in another exit status.
    """
    if ray := sys.modules.get("ray"):
        with suppress(Exception):  # the signal may have ended Ray's processes already
            ray.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _unwind(number: int, frame: FrameType | None) -> None:
    global received
    received = 128 + number
    raise SystemExit(received)
