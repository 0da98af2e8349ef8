"""The page's plans of a test, from drafts that were pasted or uploaded."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

import pandas as pd

from ni_platform.dashboard.forms import PlanForm, SentFile
from ni_platform.dashboard.studio import Studio
from ni_platform.dashboard.uploads import too_large
from ni_platform.data.images import MAX_BYTES
from ni_platform.errors import ContentError, TooLargeError
from ni_platform.insights.said import Said, said_by
from ni_platform.models.uncertainty import is_gaussian_process
from ni_platform.plans.drafts import sent_drafts, texts_of
from ni_platform.plans.past import Past
from ni_platform.plans.plan import Plan, PlanConfig, make_plan
from ni_platform.plans.record import Planner, record_plan

MOST_DRAFTS = 100
"""Of one request, as one visitor must not keep the others waiting."""
_KEPT = 20
"""Plans that can be recorded after they were shown."""
_KEPT_BYTES = 256 * 2**20
"""Of their pictures together."""


@dataclass(frozen=True, kw_only=True)
class PlannedTest:
    """What the page shows of a plan."""

    key: str
    """By which it can be recorded."""
    plan: Plan
    texts: dict[str, str]
    """The first text of each draft."""
    said: Said
    """What speaks for and against drafts, and what none of them says."""
    run_id: str | None = None
    """The run that it is recorded in; None if it is not."""


_Shown = tuple[PlanForm, PlannedTest, pd.DataFrame]


def plans_tests(studio: Studio) -> bool:
    """Whether it is known how sure the model is of differences between drafts."""
    return studio.errors is not None or is_gaussian_process(studio.model.scorer)


class Planning:
    """Plans tests, and keeps the last plans so that one can be recorded as it was shown."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._lock = Lock()

    def plan(self, form: PlanForm, files: Sequence[SentFile] = ()) -> PlannedTest:
        """Plan a test; a file of drafts takes the place of those in the form.

        See `sent_drafts` and `make_plan` for what they refuse.

        Raises:
            ContentError: More drafts than a page plans.
            TooLargeError: A picture has more bytes than a picture may have.
        """
        studio, scorer = self._studio, self._studio.model.scorer
        tables = [file.data for file in files if file.field == "table"]
        pictures = {file.name: file.data for file in files if file.field == "pictures"}
        for data in pictures.values():
            if len(data) > MAX_BYTES:
                raise TooLargeError(too_large(len(data)))
        drafts = sent_drafts(tables[0] if tables else form.drafts, scorer, pictures)
        if len(drafts) > MOST_DRAFTS:
            raise ContentError(
                f"A page plans at most {MOST_DRAFTS} drafts, but got {len(drafts):,}: leave some "
                "out, or use `ni plan`."
            )
        config = PlanConfig(
            arms=form.arms, control=form.control.strip() or None, traffic=form.impressions
        )
        plan = make_plan(scorer, drafts, Past(dataset=studio.dataset), config, studio.errors)
        texts = [name for name in drafts if scorer.roles[str(name)] == "text"]
        shown = {str(name): str(drafts[texts[0]][name]) for name in drafts.index} if texts else {}
        said = Said()
        if studio.insights is not None:
            said = said_by(studio.insights, texts_of(drafts, scorer))
        planned = PlannedTest(key=secrets.token_urlsafe(16), plan=plan, texts=shown, said=said)
        with self._lock:
            self._shown[planned.key] = form, planned, drafts
            while len(self._shown) > _KEPT or (
                len(self._shown) > 1 and sum(map(_bytes, self._shown.values())) > _KEPT_BYTES
            ):
                self._shown.popitem(last=False)
        return planned

    def record(self, key: str) -> tuple[PlanForm, PlannedTest]:
        """Record a plan once, as it was shown; give it with the form that it was made of.

        Raises:
            ContentError: The plan is no longer kept, or the dashboard records no plans.
            TrackingError: The plan cannot be recorded.
        """
        studio = self._studio
        if studio.plans is None:
            raise ContentError("This dashboard records no plans: start it without --no-record.")
        with self._lock:
            if key not in self._shown:
                raise ContentError(
                    f"This plan is no longer kept (the last {_KEPT} are): plan it again."
                )
            form, planned, drafts = self._shown[key]
            if planned.run_id is None:
                model = studio.model
                planner = Planner(regressor=model.scorer, uri=model.uri, run=model.run)
                run_id = record_plan(studio.plans, planned.plan, drafts, planner, studio.dataset)
                planned = replace(planned, run_id=run_id)
                self._shown[key] = form, planned, drafts
        return form, planned


def _bytes(shown: _Shown) -> int:
    """Of the pictures of a plan's drafts."""
    cells = shown[2].to_numpy(dtype=object).ravel()
    return sum(len(cell) for cell in cells if isinstance(cell, bytes))
