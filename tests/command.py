"""`ni` in this process: the same words and exit codes, without the seconds that a start takes."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from ni_platform.cli.main import main


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        """What --json makes of the last line of standard output."""
        assert self.code == 0, self.stderr
        return json.loads(self.stdout.strip().splitlines()[-1])


def ni(*words: str) -> Ended:
    """Run `ni WORDS` in the current folder."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["ni", *words]),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    return Ended(code=int(code), stdout=stdout.getvalue(), stderr=stderr.getvalue())


@contextmanager
def in_project(folder: Path, empty_database: Path) -> Iterator[Path]:
    """Make a user's folder the current one, with an empty store of its own."""
    (folder / ".ni").mkdir()
    shutil.copy(empty_database, folder / ".ni/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NI_HOME", raising=False)
        patch.chdir(folder)
        yield folder
