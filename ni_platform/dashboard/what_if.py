"""What the model predicts of an edit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ni_platform.dashboard.advice import Recommendation
from ni_platform.errors import ContentError


@dataclass(frozen=True, kw_only=True)
class TextEdit:
    """A phrase of a text put in another's place; an empty replacement drops it."""

    column: str
    phrase: str
    replacement: str = ""

    def applied(self, text: str) -> str:
        """The text with every occurrence replaced, whole words only and whatever their case.

        Raises:
            ContentError: the text has no such phrase.
        """
        phrase = " ".join(self.phrase.split())
        if not phrase:
            raise ContentError("An edit names the phrase that it replaces: choose one of the text.")
        words = r"\s+".join(re.escape(word) for word in phrase.split())
        pattern = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
        # A function, so that a backslash in what is typed stays one.
        edited, count = pattern.subn(lambda found: self.replacement, text)
        if not count:
            raise ContentError(
                f"{self.column} does not hold the phrase {phrase[:80]!r}: choose words that it has."
            )
        return re.sub(r"[ \t]{2,}", " ", edited).strip()

    def __str__(self) -> str:
        if self.replacement:
            return f"“{self.phrase}” replaced by “{self.replacement}” in {self.column}"
        return f"“{self.phrase}” dropped from {self.column}"


@dataclass(frozen=True, kw_only=True)
class PaintedCell:
    """A cell of the grid over the picture, painted in the encoder's mean colour."""

    row: int
    column: int
    """Both from 0."""

    def __str__(self) -> str:
        return f"region in row {self.row + 1}, column {self.column + 1} painted over"


Edit = TextEdit | PaintedCell


@dataclass(frozen=True, kw_only=True)
class Change:
    """A predicted change of the success rate; never an observed one."""

    before: float
    after: float
    change: float
    """Mean over the models."""
    low: float | None
    """95 % interval of that mean by Student's t over models; None of one model."""
    high: float | None
    models: int

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> Change:
        """From the predictions of each model, the dashboard's own first.

        One model says nothing of how sure it is, so it gives no interval.
        """
        changes = np.subtract(after, before)
        models = len(changes)
        low = high = None
        if models > 1:
            error = changes.std(ddof=1) / np.sqrt(models)
            width = float(-stdtrit(models - 1, 0.025) * error)
            low, high = float(changes.mean()) - width, float(changes.mean()) + width
        return cls(
            before=float(before[0]),
            after=float(after[0]),
            change=float(changes.mean()),
            low=low,
            high=high,
            models=models,
        )


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """An edit, the model's prediction of it, and what is known of its phrases."""

    edit: Edit
    change: Change
    text: str | None
    """Of a text edit, the text as it would be."""
    past: list[Recommendation]
    """Of the phrase that goes and the one that comes, where insights know them."""
