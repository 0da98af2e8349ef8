"""A claim has one holder, who is named to everybody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ni_platform.claims import claimed, holder
from ni_platform.errors import BusyError

_HOLD = """
import sys, time
from pathlib import Path
from ni_platform.claims import claimed
with claimed(Path(sys.argv[1]), "The model"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_is_told_who_holds_it(tmp_path):
    """Another process's claim is refused with host, process id and since when."""
    path = tmp_path / "locks" / "one.lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        named = rf"The model is held by process {process.pid} of {socket.gethostname()} since 20"
        with pytest.raises(BusyError, match=named), claimed(path, "The model", seconds=0):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(path) is None, "a claim ends with its process"
    with claimed(path, "The model"):
        assert holder(path).pid == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_one_of_many_at_a_time(tmp_path):
    """Of threads that wait for each other each gets its turn, and never two at once."""
    inside, most, turns = [], [], []

    def work():
        with claimed(tmp_path / "one.lock", "It", seconds=600):
            inside.append(1)
            most.append(len(inside))
            turns.append(1)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(turns), max(most)) == (8, 1)


def test_who_waits_is_told_for_whom(tmp_path, monkeypatch):
    """One that waits says once, in words, for which process."""
    monkeypatch.setattr("ni_platform.claims.SECONDS_FOR_A_LOOK", 0.0)
    path, said, free = tmp_path / "one.lock", [], threading.Event()

    def wait():
        with claimed(
            path, "The model", seconds=600, on_wait=lambda text: (said.append(text), free.set())
        ):
            pass

    with claimed(path, "The model"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert free.wait(60)
    thread.join()
    assert len(said) == 1
    assert f"The model is held by process {os.getpid()} of" in said[0]


def test_a_claim_needs_its_folder(tmp_path):
    """Where the folder cannot be made the system's own error comes through."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError), claimed(Path(tmp_path / "file" / "a" / "b"), "It"):
        pass
