"""The blocks of code in the documents, and what the hidden comments before them say.

Before a block, or for a page anywhere:

    <!-- setup: ads run -->           what the page's folder holds (`project.py`); once per page
    <!-- not run: REASON -->          the block's commands are only parsed
    <!-- with: WORDS -->              added to each of its `ni` commands, to be done in seconds
    <!-- without: WORDS -->           taken out of them
    <!-- slow -->                     run only by `make test-slow`
    <!-- file: PATH -->               the block is that file
    <!-- ends: CODE -->               the exit code of its last command, where that is not 0

RUN_ID is the first run that the page trains, where the setup makes none.
A block without a language, or of an unknown one, is an error: so nothing is passed over.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts),
    ]
)
RUN = ("sh", "python")
READ = ("yaml", "json", "toml")
SHOWN = ("text", "{toctree}")

_FENCE = re.compile(r"^(`{3,})(\S*)\s*$")
_COMMENT = re.compile(r"^<!--\s*([a-z ]+?)(?::\s*(.*?))?\s*-->$")
_NOTES = ("not run", "with", "without", "slow", "file", "ends")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def not_run(self) -> str | None:
        """Why it is not run."""
        return self.notes.get("not run")

    @cached_property
    def commands(self) -> list[Command]:
        """The commands of a block of the shell."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        return [
            Command(block=self, line=line.strip())
            for line in joined.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of a block of the shell, continued lines joined."""

    block: Block
    line: str

    @cached_property
    def words(self) -> list[str]:
        """Its words, without a comment at the end."""
        return shlex.split(self.line, comments=True)

    def calls(self) -> list[list[str]]:
        """Every call of `ni` in it, without that word and what stands before it."""
        found = []
        lexer = shlex.shlex(self.line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set(";&|"):
                if "ni" in words:
                    found.append(words[words.index("ni") + 1 :])
                words = []
            else:
                words.append(word)
        return found


@dataclass(frozen=True, kw_only=True)
class Page:
    """A document."""

    path: Path
    blocks: list[Block]
    setup: tuple[str, ...]
    """What its folder holds."""

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


def read_page(path: Path) -> Page:
    """Read the blocks of a document."""
    blocks: list[Block] = []
    setup: tuple[str, ...] = ()
    notes: dict[str, str] = {}
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        stripped = line.strip()
        if comment := _COMMENT.match(stripped):
            name, value = comment.group(1), comment.group(2) or ""
            if name == "setup":
                setup = tuple(value.split())
            elif name in _NOTES:
                notes[name] = value
            continue
        if fence := _FENCE.match(stripped):
            body = []
            for _, inner in lines:
                if inner.strip() == fence.group(1):
                    break
                body.append(inner.removeprefix(line[: line.index("`")]))
            blocks.append(
                Block(
                    page=path,
                    line=number + 1,
                    language=fence.group(2),
                    text="\n".join(body),
                    notes=notes,
                )
            )
            notes = {}
        elif stripped:
            assert not notes, f"{path}:{number}: {notes} belong to no block"
    return Page(path=path, blocks=blocks, setup=setup)
