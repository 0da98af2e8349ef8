"""What the dashboard works with: a model, a dataset, and what is known of both. No web in here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.beliefs.past_errors import PastErrors
from ni_platform.dashboard import pictures
from ni_platform.dashboard.advice import Advice, advice, past_of
from ni_platform.dashboard.draft import Draft
from ni_platform.dashboard.explaining import Explained, Explainer
from ni_platform.dashboard.loaded_model import LoadedModel
from ni_platform.dashboard.past import Interval, PastContents, Place
from ni_platform.dashboard.patches import Patches
from ni_platform.dashboard.uploads import Uploads
from ni_platform.dashboard.what_if import Change, Edit, PaintedCell, TextEdit, WhatIf
from ni_platform.data.assignment import EVIDENCE
from ni_platform.data.dataset import Dataset
from ni_platform.data.images import decode
from ni_platform.errors import ContentError
from ni_platform.insights.insights import domain_labels
from ni_platform.insights.record import StoredInsights
from ni_platform.models.ensemble import network_with
from ni_platform.models.modalities.attributes import AttributesReader
from ni_platform.models.modalities.image import ImageReader
from ni_platform.narrowing import given
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True)
class Score:
    """A predicted success rate and what gives it meaning."""

    rate: float
    interval: Interval | None
    place: Place | None
    before: float | None
    """Of an edited content: the prediction for the past content as it was."""
    beyond: tuple[str, ...]
    """Attributes of which past contents have nothing alike, in words."""


@dataclass(frozen=True, kw_only=True)
class ShownArm:
    """A content of an A/B test beside the others of its test."""

    row: int
    content_id: str
    arm: str
    draft: Draft
    predicted: float
    observed: float
    impressions: float


class Studio:
    """Scores, explains and compares contents with one model."""

    def __init__(
        self,
        model: LoadedModel,
        dataset: Dataset,
        past: PastContents,
        *,
        insights: StoredInsights | None = None,
        patches: Patches | None = None,
        ensemble: Sequence[LoadedModel] = (),
        errors: PastErrors | None = None,
        worth: str | None = None,
        plans: Store | None = None,
    ) -> None:
        """Take what `open_studio` loads; `plans` is where plans are recorded."""
        self.plans = plans
        self.model = model
        self.dataset = dataset
        self.past = past
        self.insights = insights
        self.patches = patches
        self.errors, self.worth = errors, worth
        self.ensemble = (model, *ensemble)
        self.uploads = Uploads()
        self.inputs = model.scorer.inputs
        readers = [r for r in self.inputs.readers.values() if isinstance(r, AttributesReader)]
        # An ensemble's heaviest network comes first, and its levels count.
        self._levels = {
            name: known for reader in reversed(readers) for name, known in reader.categorical
        }
        self.explainer = Explainer(model.copy_of_scorer(), insights)
        self._ranges = {
            name: (float(cells.min()), float(cells.max()))
            for name in self.inputs.columns("numeric")
            if name in dataset.contents and (cells := dataset.contents[name].dropna()).size
        }
        self._predicted = dict(zip(past.rows.tolist(), past.predictions.tolist()))
        self._ids = dataset.content_id.astype(str)
        self._domains = domain_labels(dataset)
        self._search = self._searchable()

    @property
    def domains(self) -> list[str]:
        """Of the dataset, sorted."""
        return sorted({name for name in self._domains if name is not None})

    def row_of(self, content_id: str) -> int:
        """The dataset row of a content.

        Raises:
            ContentError: the dataset has no such content.
        """
        rows = np.flatnonzero((self._ids == content_id).to_numpy())
        if not len(rows):
            raise ContentError(
                f"The dataset has no content {content_id[:80]!r}: choose one from the list."
            )
        return int(rows[0])

    def content_id(self, row: int) -> str:
        """The id of a past content."""
        return str(self._ids.iloc[row])

    def find(self, text: str, domain: str, limit: int = 12) -> tuple[list[int], int]:
        """Rows of past contents of a domain (any if empty) whose texts or id hold `text`."""
        chosen = self._search.str.contains(text.lower().strip(), regex=False)
        if domain:
            chosen &= self._domains == domain
        rows = np.flatnonzero(chosen.to_numpy(dtype=bool))
        return rows[:limit].tolist(), len(rows)

    def draft(self, row: int) -> Draft:
        """A past content, ready for editing.

        Raises:
            ContentError: there is no such row.
        """
        if not 0 <= row < len(self.dataset):
            raise ContentError(f"Rows run from 0 to {len(self.dataset) - 1}, but got {row}.")
        return Draft.of(self.dataset, self.inputs, row)

    def predicted(self, row: int) -> float:
        """Predicted success rate of a past content."""
        if row not in self._predicted:
            self._predicted[row] = self.rate(self.draft(row))
        return self._predicted[row]

    def rate(self, draft: Draft) -> float:
        """Predicted success rate of a content; errors as `Draft.frame` and `picture_source`."""
        return self.model.rate(self.frame(draft), draft.picture)

    def score(self, draft: Draft) -> Score:
        """Predict, and say how that compares; errors as `rate`."""
        rate, row = self.rate(draft), draft.row
        edited = row is not None and draft != self.draft(row)
        return Score(
            rate=rate,
            interval=self.past.interval(rate, without=row),
            place=self.past.place(rate, draft.domain.strip(), without=row),
            before=self.predicted(row) if edited and row is not None else None,
            beyond=tuple(self._beyond(draft)),
        )

    def _beyond(self, draft: Draft) -> Iterator[str]:
        levels = self._levels
        for column, text in draft.attributes.items():
            value = text.strip()
            if not value:
                continue
            if column in levels and value not in levels[column]:
                yield f"{column} is {value}, which no content that the model learned from has"
            elif column in self._ranges:
                low, high = self._ranges[column]
                if not low <= float(value) <= high:
                    yield f"{column} is {value}, and past contents have {low:g} to {high:g}"

    def explain(self, draft: Draft, modality: str) -> Explained:
        """Contributions of one modality's features; kept by content."""
        if modality not in self.explainer.modalities:
            raise ContentError(
                f"The model does not read {modality[:40]!r}; it reads "
                f"{', '.join(self.explainer.modalities)}."
            )
        picture = self.picture(draft.picture) if modality == "image" else None
        return self.explainer.explain(modality, _key(draft), self.frame(draft), picture)

    def what_if(self, draft: Draft, edit: Edit) -> WhatIf:
        """The model's prediction of an edit.

        Raises:
            ContentError: the edit does not fit the content.
        """
        before = self.frame(draft)
        text, past = None, []
        if isinstance(edit, TextEdit):
            text = edit.applied(draft.texts.get(edit.column, ""))
            after = self.frame(draft.with_text(edit.column, text))
            key: str | None = draft.picture
            known = [past_of(self.insights, phrase) for phrase in (edit.phrase, edit.replacement)]
            past = [found for found in known if found is not None]
        else:
            after, key = self.frame(draft, self._painted(draft, edit)), None
        return WhatIf(
            edit=edit,
            change=Change.of(
                [model.rate(before, draft.picture) for model in self.ensemble],
                [model.rate(after, key) for model in self.ensemble],
            ),
            text=text,
            past=past,
        )

    def _painted(self, draft: Draft, edit: PaintedCell) -> bytes:
        source = self.picture_source(draft.picture)
        if source is None or "image" not in self.explainer.modalities:
            raise ContentError("There is no picture that the model reads: choose a text edit.")
        picture = decode(source)
        down, across = pictures.grid_of(picture.size)
        if not (0 <= edit.row < down and 0 <= edit.column < across):
            raise ContentError(
                f"The picture has {down} rows and {across} columns of regions, but got row "
                f"{edit.row + 1}, column {edit.column + 1}: choose one inside."
            )
        network = given(network_with(self.model.scorer, ImageReader))
        name, _ = given(network.inputs.find(ImageReader))
        mean = network.model.encoders[name].mean_311
        red, green, blue = (round(float(value)) for value in mean.flatten())  # type: ignore[operator]
        return pictures.png(
            pictures.painted_over(picture, edit.row, edit.column, (red, green, blue))
        )

    def frame(self, draft: Draft, picture: Any = None) -> pd.DataFrame:
        """The row that the model reads; `picture` in place of the draft's own."""
        source = self.picture_source(draft.picture) if picture is None else picture
        return draft.frame(self.dataset, self.inputs, source)

    def picture_source(self, reference: str | None) -> Any:
        """Path, URI or bytes of a picture; None for none.

        Raises:
            ContentError: a reference to nothing.
        """
        if reference is None:
            return None
        kind, _, name = reference.partition(":")
        if kind == "upload":
            return self.uploads.get(name).data
        uris = self.dataset.image_uri
        if kind == "content" and name.isdecimal() and int(name) < len(self.dataset):
            return None if uris is None else uris.iloc[int(name)]
        raise ContentError(f"There is no picture {reference[:60]!r}: choose or upload one.")

    def picture(self, reference: str | None) -> Image.Image | None:
        """A picture in the size of the page; errors as `picture_source`, or one that is broken."""
        source = self.picture_source(reference)
        return None if source is None else pictures.shown(source)

    def advice(self, domain: str) -> list[Advice]:
        """What insights recommend; nothing without them."""
        return [] if self.insights is None else advice(self.insights, domain)

    def evidence(self, row: int) -> str:
        """What the A/B test of a past content can prove, in words."""
        return EVIDENCE[self.dataset.evidence.iloc[row]]

    def arms(self, row: int | None, most: int = 6) -> list[ShownArm]:
        """The contents of the A/B test that a past content is from, the control first.

        Then by observed rate, the best first; empty outside of A/B tests.
        """
        test = None if row is None else self.dataset.ab_test.iloc[row]
        if test is None:
            return []
        rows = np.flatnonzero((self.dataset.ab_test == test).to_numpy())
        rates, declared = self.dataset.success_rate, self.dataset.arm
        arm = {int(r): "" if declared is None else str(declared.iloc[r] or "") for r in rows}
        order = sorted(
            arm, key=lambda r: (arm[r].lower() != "control", r != row, -np.nan_to_num(rates[r]))
        )
        return [
            ShownArm(
                row=r,
                content_id=self.content_id(r),
                arm=arm[r],
                draft=self.draft(r),
                predicted=self.predicted(r),
                observed=float(rates[r]),
                impressions=float(self.dataset.impressions[r]),
            )
            for r in order[:most]
        ]

    def levels(self, column: str) -> list[str]:
        """Levels of a categorical attribute that the model knows."""
        return list(self._levels.get(column, ()))

    @property
    def stale(self) -> list[str]:
        """Attributes that were computed from the picture and texts, and do not follow edits."""
        derived = set(self.dataset.manifest.derived)
        return [name for name in self.inputs.roles if name in derived]

    def _searchable(self) -> pd.Series:
        found = self._ids
        for column in self.dataset.manifest.columns.text:
            found = (
                found + "\n" + self.dataset.contents[column].astype(object).fillna("").astype(str)
            )
        return found.str.lower()


def _key(draft: Draft) -> str:
    """What tells contents apart."""
    text = json.dumps(asdict(draft), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
