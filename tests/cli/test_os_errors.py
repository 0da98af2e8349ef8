"""What the operating system refuses has its own remedy, and a terminal may lack letters."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ni_platform.cli import main as command_line
from ni_platform.cli.os_errors import explained


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "can only be read"),
        (errno.EACCES, "ask for the permission"),
        (errno.ENOENT, "check the path"),
        (errno.ENAMETOOLONG, "choose a shorter one"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EADDRINUSE, "another port"),
        (errno.ECONNREFUSED, "start that server"),
    ],
)
def test_each_cause_has_its_remedy(number, remedy):
    """Only a full disk asks for space."""
    said = explained(OSError(number, os.strerror(number), "/some/file"))
    assert remedy in said
    assert "/some/file" in said
    assert ("free space" in said) == (number == errno.ENOSPC)


def test_an_unknown_cause_gets_no_remedy():
    """What nobody foresaw is told in the system's words alone."""
    assert explained(OSError("the moon is full")) == "the moon is full"


def test_a_home_that_cannot_be_written_is_named(monkeypatch):
    """A file below HOME that cannot be made asks for another HOME."""
    monkeypatch.setenv("HOME", "/proc/nohome")
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/nohome/.cache")
    assert "HOME is /proc/nohome" in explained(error)
    assert "set HOME to a folder that can" in explained(error)


def test_a_folder_too_long_for_sockets_is_named(monkeypatch):
    """Ray's sockets must fit below TMPDIR, so that is the setting to change."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 100)
    said = explained(OSError("AF_UNIX path length cannot exceed 107 bytes: '/tmp/xxx'"))
    assert said.startswith("TMPDIR (/tmp/xxx")
    assert "set RAY_TMPDIR to a short folder" in said


def test_the_command_line_says_it(monkeypatch, capsys):
    """An OSError that comes through is one line and status 1."""

    def fail(**_):
        raise OSError(errno.EMFILE, "Too many open files", "/some/file")

    monkeypatch.setattr(command_line.group, "main", fail)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: [Errno 24] Too many open files: '/some/file'")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_a_character(encoding, tmp_path):
    """What is printed has dashes and bars; a terminal without them gets others, and status 0."""
    (tmp_path / "ok.csv").write_text(
        "ad_id,headline,shown,clicked\na,Buy now,100,10\nb,Buy later,100,12\nc,Wait,100,9\n"
    )
    ni = Path(sys.executable).with_name("ni")
    options = "--content-id ad_id --text headline --impressions shown --clicks clicked"
    done = subprocess.run(
        [ni, "data", "import", "table", "ok.csv", "out", *options.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode(
        encoding
    )
