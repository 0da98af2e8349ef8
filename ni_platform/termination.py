"""SIGTERM as an orderly stop: it unwinds the stack as Ctrl-C does, then the exit status is 143."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

received: int | None = None
"""The exit status of a signal that this process was told to stop by; None before one."""


def unwind_on_sigterm() -> Any:
    """Let SIGTERM raise SystemExit(143) here; return the handler to put back.

    None where there is nothing to put back: it is so already, or this is not the main thread, which
    is the only one that may set handlers.
    """
    current = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or current is _unwind:
        return None
    signal.signal(signal.SIGTERM, _unwind)
    return current if current is not None else signal.SIG_DFL


def _unwind(number: int, frame: FrameType | None) -> None:
    global received
    received = 128 + number
    raise SystemExit(received)
