"""Every command and every Python block of the documents works, in the order of its page.

`blocks.py` says what the hidden comments of a page decide, `project.py` what its folder holds.
"""

from __future__ import annotations

import json
import linecache
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from ni_platform.cli.main import group
from tests.command import ni
from tests.docs.blocks import PAGES, READ, ROOT, RUN, SHOWN, Command, Page, read_page
from tests.docs.project import QUICK, Shared, page_project

pytestmark = pytest.mark.usefixtures("two_cpus")

_PAGES = [page for path in PAGES if (page := read_page(path)).blocks]
_SLOW = [page for page in _PAGES if any("slow" in block.notes for block in page.blocks)]
_NAMED = {"quick": QUICK}
_TRAINED = re.compile(r"^Run:\s+(\w+)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.DOTALL)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Shared:
    """Planted data and the runs on them, of all pages."""
    return Shared(tmp_path_factory.mktemp("docs"), empty_database)


@pytest.mark.parametrize("page", _PAGES, ids=str)
def test_the_blocks_of_a_page_work(page, shared, tmp_path, request, monkeypatch):
    """All but those that are slow, or say why they are not run."""
    _work_through(page, shared, tmp_path, request, monkeypatch, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", _SLOW, ids=str)
def test_the_slow_blocks_of_a_page_work(page, shared, tmp_path, request, monkeypatch):
    """With the others before them, which they build on."""
    _work_through(page, shared, tmp_path, request, monkeypatch, slow=True)


@pytest.mark.parametrize("page", _PAGES, ids=str)
def test_what_is_not_run_is_understood(page):
    """Every `ni` command has the options that it names, and every `make` its target."""
    for block in page.blocks:
        assert block.language in (*RUN, *READ, *SHOWN), f"{block}: what is {block.language!r}?"
        if block.language == "python":
            compile(block.text, str(block), "exec")
        if block.language != "sh":
            continue
        for command in block.commands:
            for words in command.calls():
                _require_known(words, f"{block}: {command.line}")
            if command.words[0] == "make":
                targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                assert set(command.words[1:]) <= set(targets), f"{block}: no such target"


@pytest.mark.parametrize(
    "block", [b for p in _PAGES for b in p.blocks if "not run" in b.notes], ids=str
)
def test_what_is_not_run_says_why(block):
    """`pytest -v -k says_why` lists what no test of the documents runs."""
    assert len(block.not_run.split()) > 2


def _work_through(
    page: Page,
    shared: Shared,
    folder: Path,
    request: pytest.FixtureRequest,
    patch: pytest.MonkeyPatch,
    *,
    slow: bool,
) -> None:
    with page_project(shared, page.setup, folder, request) as names:
        python: dict[str, Any] = {"__name__": "__main__"}
        for block in page.blocks:
            text = _filled_in(block.text, names)
            if "file" in block.notes:
                Path(block.notes["file"]).parent.mkdir(parents=True, exist_ok=True)
                Path(block.notes["file"]).write_text(text)
            if "not run" in block.notes or ("slow" in block.notes and not slow):
                continue
            if block.language == "sh":
                for number, command in enumerate(block.commands, 1):
                    last = number == len(block.commands)
                    code = int(block.notes.get("ends", 0)) if last else 0
                    _run(command, names, patch, code)
            elif block.language == "python" and "file" not in block.notes:
                _run_python(text, f"<{block}>", python)
            elif block.language == "yaml":
                yaml.safe_load(text)
            elif block.language == "json":
                json.loads(text)
            elif block.language == "toml":
                tomllib.loads(text)


def _run_python(text: str, name: str, variables: dict[str, Any]) -> None:
    """Run a block as a notebook runs a cell: its source can be asked for."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), variables)


def _run(command: Command, names: dict[str, str], patch: pytest.MonkeyPatch, code: int) -> None:
    notes = command.block.notes
    words = [_filled_in(word, names) for word in command.words]
    if words[0] == "export":
        for word in words[1:]:
            patch.setenv(*_assigned(word))
        return
    if words[0] == "unset":
        for word in words[1:]:
            patch.delenv(word, raising=False)
        return
    if words[0] == "make":
        return  # its target is looked for by another test
    if words[0] == "openssl":
        subprocess.run(words, check=True, capture_output=True)
        return
    with pytest.MonkeyPatch.context() as only_here:
        while _ASSIGNMENT.match(words[0]):
            only_here.setenv(*_assigned(words.pop(0)))
        assert words[0] == "ni", f"{command.block}: only `ni` can be run, not {command.line}"
        if words[1] == "train" or "with" not in notes or notes["with"] != "quick":
            words += _extra(notes.get("with", ""))
        without = notes.get("without", "").split()
        ended = ni(*(word for word in words[1:] if word not in without))
    assert ended.code == code, f"{command.block}: {command.line}\n{ended.stdout}{ended.stderr}"
    if trained := _TRAINED.search(ended.stdout):
        names.setdefault("RUN_ID", trained.group(1))  # unless the setup made it


def _extra(words: str) -> Sequence[str]:
    return [found for word in words.split() for found in _NAMED.get(word, (word,))]


def _assigned(word: str) -> tuple[str, str]:
    found = _ASSIGNMENT.match(word)
    assert found, word
    return found.group(1), found.group(2)


def _filled_in(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def _require_known(words: list[str], where: str) -> None:
    """Parse a call of `ni` as the command line does, without doing anything."""
    command: click.Command = group
    context = click.Context(group, info_name="ni")
    rest = list(words)
    try:
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, rest)
            assert found is not None, where
            context, outer = click.Context(found, info_name=name, parent=context), context
            command = found
        read = command.make_context(command.name, rest, parent=outer)
    except click.ClickException as error:
        pytest.fail(f"{where}: {error.format_message()}")
    if "options" in read.params:  # those of `ni sweep run`, passed on unread
        _require_known(["sweep", "run", *read.params["options"]], where)
