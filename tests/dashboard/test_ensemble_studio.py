"""The dashboard on an ensemble, of which one network reads neither pictures nor the domain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pictured import NI

from ni_platform.dashboard.opening import open_studio
from ni_platform.dashboard.what_if import PaintedCell, TextEdit
from ni_platform.models.ensemble import Ensemble
from ni_platform.models.scorer import build_scorer
from ni_platform.tracking.store import open_store
from tests.dashboard.conftest import lively


@pytest.fixture(scope="module")
def ensemble(pictured):
    """The heavier network reads less."""
    less = build_scorer(
        dataclasses.replace(NI, image=None, domain=None), pictured, np.arange(50), seed=1
    )
    return Ensemble({"less": less, "all": lively(pictured, seed=3)}, {"less": 0.6, "all": 0.4})


@pytest.fixture(scope="module")
def mixed_studio(ensemble, pictured, tmp_path_factory):
    """As `ni dashboard` opens it."""
    folder = tmp_path_factory.mktemp("dashboard") / "ensemble"
    ensemble.save(folder)
    return open_studio(open_store(), str(folder), pictured.root)


def test_a_content_gets_the_ensembles_rate(mixed_studio, ensemble, pictured):
    """Also when it is asked again, with the picture's embedding that was kept."""
    for row in (0, 1, 2, 0):
        expected = ensemble.predict(pictured.inputs([row]))[0]
        assert mixed_studio.rate(mixed_studio.draft(row)) == pytest.approx(expected, rel=1e-5)


def test_every_modality_is_explained(mixed_studio):
    """With the rate of the whole ensemble as the prediction."""
    draft = mixed_studio.draft(1)
    rate = mixed_studio.rate(draft)
    assert set(mixed_studio.explainer.modalities) == {"image", "text", "domain", "attributes"}
    for modality in mixed_studio.explainer.modalities:
        found = mixed_studio.explain(draft, modality)
        assert found.prediction == pytest.approx(rate, rel=1e-5)
        assert not found.nothing
    assert mixed_studio.levels("day") == ["mon", "tue"]


@pytest.mark.parametrize(("monday", "levels"), [(0.6, ["mon"]), (0.4, ["mon", "tue"])])
def test_levels_are_those_of_the_heaviest(monday, levels, pictured, tmp_path):
    """Where members know different levels of an attribute."""
    mondays = np.flatnonzero(pictured.contents["day"] == "mon")
    members = {"monday": build_scorer(NI, pictured, mondays, seed=1), "all": lively(pictured, 3)}
    Ensemble(members, {"monday": monday, "all": 1 - monday}).save(tmp_path / "ensemble")
    studio = open_studio(open_store(), str(tmp_path / "ensemble"), pictured.root)
    assert studio.levels("day") == levels


def test_edits_change_the_ensembles_rate(mixed_studio):
    """A word that both networks read, and a region that one of them sees."""
    draft = mixed_studio.draft(1)
    word = draft.texts["title"].split()[0]
    for edit in (
        TextEdit(column="title", phrase=word, replacement="new shoes"),
        PaintedCell(row=1, column=1),
    ):
        change = mixed_studio.what_if(draft, edit).change
        assert change.before == pytest.approx(mixed_studio.rate(draft), rel=1e-5)
        assert change.after != change.before
