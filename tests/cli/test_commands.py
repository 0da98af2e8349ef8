"""The command line's own promises: documented, quick to start."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ni_platform.cli.main import COMMANDS, group

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy", "great_expectations", "transformers", "boto3")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_stands_in_the_documents(name):
    """A command that no document shows how to use, or without help, is not finished."""
    command = group.get_command(click.Context(group), name)

    assert command is not None
    assert command.help
    assert any(f"ni {name}" in page.read_text() for page in DOCUMENTS)


def test_help_imports_nothing_heavy():
    """`ni --help` must not pay for libraries that only commands need."""
    script = (
        "import sys\n"
        "from ni_platform.cli.main import group\n"
        "group.main(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert printed.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error():
    """Click names what is wrong and exits with 2."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ni")), "trian"], capture_output=True, text=True
    )

    assert done.returncode == 2
    assert "trian" in done.stderr


_TOLD_TO_STOP = """
import time
from ni_platform.cli import main
def work(**_):
    try:
        print("up", flush=True)
        time.sleep(600)
    except SystemExit:
        {ending}
main.group.main = work
main.main()
"""


@pytest.mark.parametrize("ending", ["raise", "raise RuntimeError('a process of Ray has gone')"])
def test_sigterm_ends_with_143(ending):
    """A command that is told to stop cleans up and says so, whatever its cleaning up meets."""
    script = _TOLD_TO_STOP.format(ending=ending)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
