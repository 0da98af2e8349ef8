"""`ni train auto`: its budget, and what it prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.output import console, interval, table

if TYPE_CHECKING:
    from ni_platform.auto.outcome import AutoRun

AUTO = "auto"
"""Stands in place of an experiment's name, which has a dot in it."""
DEFAULT_BUDGET = "20m"
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def budget_seconds(text: str) -> float:
    """Return the seconds of a budget such as `20m`, `90s` or `1.5h`.

    Raises:
        UsageError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise click.UsageError(
            f"--budget is a time above 0 in seconds, minutes or hours, but got {text!r}; write "
            "90s, 20m or 1h"
        )
    return seconds


def train_auto(data: str | None, budget: str | None, **options: Any) -> AutoRun:
    """Do what `ni train auto` does."""
    if data is None:
        raise click.UsageError("a dataset is needed; name its folder with --data DIR")
    seconds = budget_seconds(budget or DEFAULT_BUDGET)
    from ni_platform.api.progress import TrainingProgress
    from ni_platform.auto import search
    from ni_platform.tracking.store import open_store

    with TrainingProgress() as progress:
        return search.train_auto(open_store(), data, budget=seconds, on_event=progress, **options)


def print_auto(found: AutoRun) -> None:
    """Print what was tried, why one was chosen, and every doubt."""
    table(
        "What was tried, judged on the validation part",
        ("candidate", found.yardstick.label, "seconds", ""),
        [
            (
                each.name,
                interval(each.validation),
                "–" if each.seconds is None else f"{each.seconds:.0f}",
                each.outcome,
            )
            for each in found.candidates
        ],
    )
    for words in filter(None, (found.decision, found.luck)):
        console.print(words, highlight=False, markup=False)
    for concern in found.concerns:
        console.print(f"The data do not suffice: {concern}", highlight=False, markup=False)
