"""The page's plan of a test, from drafts that were pasted."""

from __future__ import annotations

from dataclasses import dataclass

from ni_platform.dashboard.forms import PlanForm
from ni_platform.dashboard.studio import Studio
from ni_platform.errors import ContentError
from ni_platform.insights.opportunities import opportunities, sentence_of
from ni_platform.models.uncertainty import is_gaussian_process
from ni_platform.plans.drafts import pasted_drafts, texts_of
from ni_platform.plans.past import Past
from ni_platform.plans.plan import Plan, PlanConfig, make_plan
from ni_platform.plans.record import Planner, record_plan

MOST_DRAFTS = 100
"""Of one request, as one visitor must not keep the others waiting."""


@dataclass(frozen=True, kw_only=True)
class PlannedTest:
    """What the page shows of a plan."""

    plan: Plan
    texts: dict[str, str]
    """The first text of each draft."""
    opportunity: str | None
    """What none of the drafts says."""
    run_id: str | None
    """The run that it is recorded in; None if it is not."""


def plans_tests(studio: Studio) -> bool:
    """Whether it is known how sure the model is of differences between drafts."""
    return studio.errors is not None or is_gaussian_process(studio.model.scorer)


def plan_of(studio: Studio, form: PlanForm) -> PlannedTest:
    """Plan a test, and record the plan if that is asked for.

    See `pasted_drafts` and `make_plan` for what they refuse.

    Raises:
        ContentError: More drafts than a page plans, or a dashboard that records no plans.
        TrackingError: The plan cannot be recorded.
    """
    if form.record and studio.plans is None:
        raise ContentError("This dashboard records no plans: start it without --no-record.")
    scorer = studio.model.scorer
    drafts = pasted_drafts(form.drafts, scorer)
    if len(drafts) > MOST_DRAFTS:
        raise ContentError(
            f"A page plans at most {MOST_DRAFTS} drafts, but got {len(drafts):,}: leave some out, "
            "or use `ni plan`."
        )
    config = PlanConfig(
        arms=form.arms, control=form.control.strip() or None, traffic=form.impressions
    )
    plan = make_plan(scorer, drafts, Past(dataset=studio.dataset), config, studio.errors)
    texts = [name for name in drafts if scorer.roles[str(name)] == "text"]
    shown = {str(name): str(drafts[texts[0]][name]) for name in drafts.index} if texts else {}
    found = []
    if studio.insights is not None:
        found = opportunities(studio.insights, texts_of(drafts, scorer))
    run_id = None
    if form.record and studio.plans is not None:
        planner = Planner(regressor=scorer, uri=studio.model.uri, run=studio.model.run)
        run_id = record_plan(studio.plans, plan, drafts, planner, studio.dataset)
    return PlannedTest(plan=plan, texts=shown, opportunity=sentence_of(found), run_id=run_id)
