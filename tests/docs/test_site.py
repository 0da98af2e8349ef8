"""What the documents point at is there, and what is made of the code says what the code says."""

from __future__ import annotations

import re

import click
import pytest

from docs.command_reference import commands_as_markdown, every_command
from docs.figures import FIGURES, IMAGES
from tests.docs.blocks import PAGES, ROOT

_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_LARGEST = 150_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page):
    """Files and pictures by relative paths; `make docs` looks at the rest."""
    linked = [target for target, _ in _LINK.findall(page.read_text(encoding="utf-8"))]

    assert [target for target in linked if not (page.parent / target).exists()] == []


def test_pictures_are_small_and_used():
    """And every drawn one has the function that draws it."""
    pictures = list(IMAGES.iterdir())
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert [path.name for path in pictures if f"images/{path.name}" not in text] == []
    assert [path.name for path in pictures if path.stat().st_size > _LARGEST] == []
    assert {path.stem for path in pictures if path.suffix == ".svg"} == set(FIGURES)


def test_the_reference_names_every_command_and_option():
    """With its help, as the command line shows it."""
    reference = commands_as_markdown()

    for words, command in every_command():
        section = reference.partition(f"## ni {' '.join(words)}\n")[2].partition("\n## ")[0]
        assert command.help, words
        for option in command.params:
            assert not isinstance(option, click.Option) or option.opts[-1] in section, words


def test_the_reference_escapes_what_markdown_would_read():
    """Bars would end a cell, and stars, underlines and brackets would vanish."""
    reference = commands_as_markdown()

    assert r"`--scheduler [asha\|hyperband\|none]`" in reference
    assert r"\[default: asha\]" in reference
