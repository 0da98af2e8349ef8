"""From drafts to a plan, on planted tests in which the word "Free" doubles the rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import ni_platform as ni
from ni_platform.data.importers.exports.importing import import_export
from ni_platform.data.importers.exports.rows import Wishes
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.regressor import Regressor
from ni_platform.plans.drafts import read_drafts
from ni_platform.plans.past import Past
from ni_platform.plans.plan import Plan, PlanConfig, make_plan
from tests import export_files
from tests.command import ni as command
from tests.test_exports_end_to_end import CONFIG

_DRAFTS = """id,subject
old,Plain garden sale weekend shoes
free,Free garden sale weekend shoes
also,Free garden sale weekend shoes!
other,Plain letter lamp jacket river
alien,Ωμέγα γράμμα
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Path]:
    """A folder with a dataset, drafts and the run of a ranker."""
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NI_HOME", str(folder / ".ni"))
        files = export_files.klaviyo(folder, tests=60)
        import_export(files, folder / "data", wishes=Wishes(success="clicks"))
        (folder / "drafts.csv").write_text(_DRAFTS)
        run = ni.train(replace(CONFIG, insights=None), folder / "data")
        (folder / "run").write_text(run.run_id)
        yield folder


@pytest.fixture(scope="module")
def model(project: Path) -> Regressor:
    """The ranker."""
    return ni.open_run((project / "run").read_text()).model.regressor


def _plan(model: Regressor, project: Path, **settings: int | str) -> Plan:
    drafts = read_drafts(project / "drafts.csv", model)
    config = PlanConfig(**settings)  # type: ignore[arg-type]
    return make_plan(model, drafts, Past.open(str(project / "data")), config)


def test_what_is_planted_is_planned(model: Regressor, project: Path) -> None:
    """The good word leads, the control is tested, and shares add up."""
    plan = _plan(model, project, control="old", traffic=4_000, arms=3)
    drafts = plan.drafts
    assert drafts.loc["free", "prediction"] > drafts.loc["old", "prediction"]
    assert drafts.loc["old", "tested"]
    assert drafts["tested"].sum() == 3
    assert drafts["share"].sum() == pytest.approx(1.0)
    # The square root of two others, in the unit of one of them.
    assert drafts.loc["old", "share"] == pytest.approx(2**0.5 / (2 + 2**0.5))
    assert drafts["chance_best"].sum() == pytest.approx(1.0)
    assert plan.against[1] == "old"
    assert plan.gain is not None
    assert plan.gain.planned > plan.gain.without_test
    assert plan.chance is not None
    more = _plan(model, project, control="old", traffic=400_000, arms=3)
    assert more.chance is not None
    assert more.chance > plan.chance


def test_drafts_that_say_the_same_and_drafts_that_nobody_can_judge(
    model: Regressor, project: Path
) -> None:
    """The same words with a mark more; a script that no past content has."""
    plan = _plan(model, project)
    assert ("free", "also") in plan.alike
    assert plan.drafts.loc["alien", "caution"] == (
        "its text is unlike all that the model learned from"
    )
    assert plan.drafts["caution"].drop("alien").isna().all()
    assert plan.drafts["nearest"].drop("alien").notna().all()
    assert plan.chance is None
    assert any("free and also are alike" in sentence for sentence in plan.sentences())


def test_what_cannot_be_planned_is_told(model: Regressor, project: Path) -> None:
    """Each with what to do."""
    drafts, past = read_drafts(project / "drafts.csv", model), Past.open(str(project / "data"))
    with pytest.raises(ConfigError, match="The control is one of the drafts, but 'new' is none"):
        make_plan(model, drafts, past, PlanConfig(control="new"))
    with pytest.raises(DatasetError, match="2 to 1,000 drafts, but got 1"):
        make_plan(model, drafts.head(1), past, PlanConfig())
    with pytest.raises(DatasetError, match="'free' comes twice"):
        make_plan(model, pd.concat([drafts, drafts.loc[["free"]]]), past, PlanConfig())
    with pytest.raises(ConfigError, match="two arms or more, but arms is 1"):
        PlanConfig(arms=1)
    path = project / "others.csv"
    path.write_text("id,title\na,b\n")
    with pytest.raises(DatasetError, match=r"none of the columns that the model reads \(subject\)"):
        read_drafts(path, model)
    path.write_text("id,subject\n,b\n")
    with pytest.raises(DatasetError, match="Each draft has an id"):
        read_drafts(path, model)


@pytest.mark.usefixtures("model")
def test_the_command_prints_a_plan(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, sentences, and all of it as JSON."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("NI_HOME", str(project / ".ni"))
    words = ("--drafts=drafts.csv", "--data=data", "--control=old", "--traffic=4000", "--json")
    ended = command("plan", (project / "run").read_text(), *words)
    assert ended.code == 0, ended.stderr
    assert "Drafts, the likely best first" in ended.stdout
    assert ended.json["against"][1] == "old"
    assert {row["id"] for row in ended.json["drafts"]} == {"old", "free", "also", "other", "alien"}


@pytest.mark.usefixtures("model")
def test_a_plan_in_python(project: Path) -> None:
    """A table of any library, or a file; the same plan."""
    opened = ni.open_run((project / "run").read_text()).model
    frame = pd.read_csv(project / "drafts.csv")
    plan = opened.plan(frame, project / "data", control="old", traffic=4_000)
    of_file = opened.plan(project / "drafts.csv", project / "data", control="old", traffic=4_000)
    pd.testing.assert_frame_equal(plan.drafts, of_file.drafts, check_names=False)
    assert plan.clicks_per_1000["planned"] > plan.clicks_per_1000["without_test"]
    assert "Test " in repr(plan)
    assert "<table" in plan._repr_html_()
