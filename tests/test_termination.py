"""SIGTERM as an orderly stop."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, signal
from ni_platform.termination import unwind_on_sigterm

unwind_on_sigterm()
if {reset}:  # as ray.shutdown() does, behind Python's back
    ctypes.CDLL(None).signal(signal.SIGTERM, None)
assert unwind_on_sigterm() is None
try:
    os.kill(os.getpid(), signal.SIGTERM)
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("reset", [False, True])
def test_a_process_cleans_up_whatever_a_library_did_to_its_handler(reset):
    """It ends with 143, and has come to its `finally`."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(reset=reset)], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (143, "cleaned up\n"), ended.stderr
