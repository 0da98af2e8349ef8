"""Processes that a test started, to look at or to kill."""

from __future__ import annotations

from contextlib import suppress

import psutil


def processes_below(word: str) -> list[psutil.Process]:
    """Living processes below this one whose command holds a word; any may end meanwhile."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found
