"""The page's plan of a test, from drafts that were pasted."""

from __future__ import annotations

from ni_platform.dashboard.forms import PlanForm
from ni_platform.dashboard.studio import Studio
from ni_platform.errors import ContentError
from ni_platform.insights.opportunities import opportunities, sentence_of
from ni_platform.models.uncertainty import is_gaussian_process
from ni_platform.plans.drafts import pasted_drafts, texts_of
from ni_platform.plans.past import Past
from ni_platform.plans.plan import Plan, PlanConfig, make_plan

MOST_DRAFTS = 100
"""Of one request, as one visitor must not keep the others waiting."""


def plans_tests(studio: Studio) -> bool:
    """Whether it is known how sure the model is of differences between drafts."""
    return studio.errors is not None or is_gaussian_process(studio.model.scorer)


def plan_of(studio: Studio, form: PlanForm) -> tuple[Plan, dict[str, str], str | None]:
    """Plan a test; give the first text of each draft, and what none of them says.

    See `pasted_drafts` and `make_plan` for what they refuse.

    Raises:
        ContentError: More drafts than a page plans.
    """
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
    return plan, shown, sentence_of(found)
