"""From drafts to a plan, on planted tests in which the word "Free" doubles the rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import ni_platform as ni
from ni_platform.beliefs.past_errors import PastErrors
from ni_platform.beliefs.prior import Prior
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.regressor import Regressor
from ni_platform.plans.drafts import read_drafts
from ni_platform.plans.past import Past
from ni_platform.plans.plan import Plan, PlanConfig, make_plan
from tests.command import ni as command


def _plan(ranker: Regressor, ranker_project: Path, **settings: int | str) -> Plan:
    drafts = read_drafts(ranker_project / "drafts.csv", ranker)
    config = PlanConfig(**settings)  # type: ignore[arg-type]
    return make_plan(ranker, drafts, Past.open(str(ranker_project / "data")), config)


def test_what_is_planted_is_planned(ranker: Regressor, ranker_project: Path) -> None:
    """The good word leads, the control is tested, and shares add up."""
    plan = _plan(ranker, ranker_project, control="old", traffic=4_000, arms=3)
    drafts = plan.drafts
    assert drafts.loc["free", "prediction"] > drafts.loc["old", "prediction"]
    assert drafts.loc["old", "tested"]
    assert drafts["tested"].sum() == 3
    assert drafts["share"].sum() == pytest.approx(1.0)
    # The square root of two others, in the unit of one of them.
    assert drafts.loc["old", "share"] == pytest.approx(2**0.5 / (2 + 2**0.5))
    assert drafts["chance_best"].sum() == pytest.approx(1.0)
    past = Past.open(str(ranker_project / "data")).dataset.success_rate
    assert drafts.loc["free", "place"] == (past < drafts.loc["free", "prediction"]).mean()
    assert plan.against[1] == "old"
    assert plan.gain is not None
    assert plan.gain.planned > plan.gain.without_test
    assert plan.chance is not None
    more = _plan(ranker, ranker_project, control="old", traffic=400_000, arms=3)
    assert more.chance is not None
    assert more.chance > plan.chance


def test_drafts_that_say_the_same_and_drafts_that_nobody_can_judge(
    ranker: Regressor, ranker_project: Path
) -> None:
    """The same words with a mark more; a script that no past content has."""
    plan = _plan(ranker, ranker_project)
    assert ("free", "also") in plan.alike
    assert plan.drafts.loc["alien", "caution"] == (
        "its text is unlike all that the model learned from"
    )
    assert plan.drafts["caution"].drop("alien").tolist() == [None] * 4
    assert plan.drafts["nearest"].drop("alien").notna().all()
    assert plan.drafts.index[plan.drafts["prediction"].isna()].tolist() == ["alien"]
    assert not plan.drafts.loc["alien", "tested"]
    assert ("old", "free") not in plan.alike
    assert any("alien is not judged" in sentence for sentence in plan.sentences())
    assert plan.chance is None
    assert any("free and also are alike" in sentence for sentence in plan.sentences())


def test_what_cannot_be_planned_is_told(ranker: Regressor, ranker_project: Path) -> None:
    """Each with what to do."""
    drafts, past = (
        read_drafts(ranker_project / "drafts.csv", ranker),
        Past.open(str(ranker_project / "data")),
    )
    with pytest.raises(ConfigError, match="The control is one of the drafts, but 'new' is none"):
        make_plan(ranker, drafts, past, PlanConfig(control="new"))
    with pytest.raises(DatasetError, match="2 to 1,000 drafts, but got 1"):
        make_plan(ranker, drafts.head(1), past, PlanConfig())
    with pytest.raises(DatasetError, match="that the model can judge, but there are 1: of one its"):
        make_plan(ranker, drafts.loc[["free", "alien"]], past, PlanConfig())
    with pytest.raises(DatasetError, match="'free' comes twice"):
        make_plan(ranker, pd.concat([drafts, drafts.loc[["free"]]]), past, PlanConfig())
    with pytest.raises(ConfigError, match="two arms or more, but arms is 1"):
        PlanConfig(arms=1)
    with pytest.raises(DatasetError, match="none of the columns that the model reads"):
        make_plan(ranker, drafts.rename(columns={"subject": "title"}), past, PlanConfig())
    with pytest.raises(DatasetError, match="has no column 'name'; it has id, subject"):
        read_drafts(ranker_project / "drafts.csv", ranker, id_column="name")
    path = ranker_project / "others.csv"
    path.write_text("id,title\na,b\n")
    with pytest.raises(DatasetError, match=r"none of the columns that the model reads \(subject\)"):
        read_drafts(path, ranker)
    path.write_text("id,subject\n,b\n")
    with pytest.raises(DatasetError, match="Each draft has an id"):
        read_drafts(path, ranker)


@pytest.mark.usefixtures("ranker")
def test_the_command_prints_a_plan(ranker_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, sentences, and all of it as JSON."""
    monkeypatch.chdir(ranker_project)
    monkeypatch.setenv("NI_HOME", str(ranker_project / ".ni"))
    words = ("--drafts=drafts.csv", "--data=data", "--control=old", "--traffic=4000", "--json")
    ended = command("plan", (ranker_project / "run").read_text(), *words)
    assert ended.code == 0, ended.stderr
    assert "Drafts, the likely best first" in ended.stdout
    assert ended.json["against"][1] == "old"
    assert {row["id"] for row in ended.json["drafts"]} == {"old", "free", "also", "other", "alien"}


@pytest.mark.usefixtures("ranker")
def test_a_plan_in_python(ranker_project: Path) -> None:
    """A table of any library, or a file; the same plan."""
    opened = ni.open_run((ranker_project / "run").read_text()).model
    frame = pd.read_csv(ranker_project / "drafts.csv")
    wider = frame.assign(place="top")  # which the model does not read
    plan = opened.plan(wider, ranker_project / "data", control="old", traffic=4_000)
    of_file = opened.plan(
        ranker_project / "drafts.csv", ranker_project / "data", control="old", traffic=4_000
    )
    pd.testing.assert_frame_equal(plan.drafts, of_file.drafts, check_names=False)
    assert plan.clicks_per_1000["planned"] > plan.clicks_per_1000["without_test"]
    assert "Test " in repr(plan)
    assert "<table" in plan._repr_html_()


def test_a_model_without_uncertainty_plans_by_its_past_errors(
    ranker: Regressor, ranker_project: Path
) -> None:
    """The good word leads by the slope that past tests give; the same draft twice is alike."""
    past = Past.open(str(ranker_project / "data"))
    known = past.dataset.contents.iloc[0]
    drafts = read_drafts(ranker_project / "drafts.csv", ranker).drop(index="alien")
    drafts["subject"] = drafts["subject"].str.rstrip("!")
    drafts = drafts.assign(weekday=known["weekday"], channel=known["channel"])
    every = np.arange(len(past.dataset))
    model = TabularRegressor.fit(TabularConfig(), past.dataset, every)
    prior = Prior(slope=0.5, deviation=0.2, overdispersion=2.0, tests=20)
    errors = PastErrors(prior=prior, shift=0.1, deviation=0.4)
    plan = make_plan(model, drafts, past, PlanConfig(arms=3, control="old"), errors)
    raw = logit(model.predict(drafts.reset_index(drop=True)))
    expected = expit(raw.mean() + 0.5 * (raw - raw.mean()) + 0.1)
    found = plan.drafts.loc[drafts.index]
    np.testing.assert_allclose(found["prediction"], expected)
    np.testing.assert_allclose(logit(found["high"]) - logit(expected), 1.96 * 0.4, rtol=1e-4)
    assert plan.alike == [("free", "also")]
    assert not found.loc[["free", "also"], "tested"].all()
    assert found["chance_best"].sum() == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="needs a model that says how sure it is"):
        make_plan(model, drafts, past, PlanConfig())
