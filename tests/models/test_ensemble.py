"""An ensemble is a regressor like any other: it predicts, is saved and loaded."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pictured import M2FN, NI

from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.ensemble import Ensemble, EnsembleConfig
from ni_platform.models.regressor import load_regressor
from ni_platform.models.scorer import build_scorer
from tests.models.conftest import make_dataset

ROWS = np.arange(12)
WEIGHTS = {"a": 0.5, "b": 0.2, "c": 0.3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Contents of every modality."""
    return make_dataset(tmp_path_factory.mktemp("ensemble") / "tiny")


@pytest.fixture(scope="module")
def ensemble(data):
    """A network of rates without pictures, one of distributions, and a GLM of the attributes."""
    glm = TabularConfig(text=None, domain=None)
    members = {
        "a": build_scorer(replace(NI, image=None), data, ROWS, 0),
        "b": build_scorer(replace(M2FN, output="distribution"), data, ROWS, 1),
        "c": TabularRegressor.fit(glm, data, ROWS),
    }
    return Ensemble(members, WEIGHTS)


def test_a_prediction_is_the_mean_of_logits(ensemble, data):
    """Row by row as the members' own predictions say, in any number of rows."""
    frame = data.inputs(np.tile(np.arange(24), 50))
    done: list[int] = []
    found = ensemble.predict(frame, progress=done.append)
    assert sum(done) == len(found) == 1200
    odds = 1.0
    for name, member in ensemble.members.items():
        rates = member.predict(frame)
        odds = odds * (rates / (1 - rates)) ** WEIGHTS[name]
    np.testing.assert_allclose(found, odds / (1 + odds), rtol=1e-6)
    rates, deviations = ensemble.predict_with_deviation(frame.head(2))
    np.testing.assert_allclose(rates, found[:2], rtol=1e-5)
    assert deviations is None
    assert ensemble.predict(frame.head(0)).shape == (0,)


def test_the_order_of_members_does_not_matter(ensemble, data):
    """Weights go by name, also in a copy with other networks."""
    frame = data.inputs()
    networks = {name: ensemble.members[name] for name in ("b", "a")}
    one = Ensemble(networks, {"a": 0.9, "b": 0.1})
    other = Ensemble(dict(reversed(networks.items())), {"b": 0.1, "a": 0.9})
    expected = one.predict(frame)
    np.testing.assert_allclose(other.predict(frame), expected, rtol=1e-6)
    np.testing.assert_allclose(
        one.with_networks(lambda network: network).predict(frame), expected, rtol=1e-6
    )
    assert list(one.networks) == list(other.networks) == ["a", "b"]
    swapped = Ensemble(networks, {"a": 0.1, "b": 0.9}).predict(frame)
    assert not np.allclose(swapped, expected, rtol=1e-6)


def test_it_reads_what_any_member_reads(ensemble, data):
    """Pictures for the one, the domain for another; a level that two do not know is said once."""
    assert ensemble.roles == {
        "image": "image", "title": "text", "description": "text", "location": "domain",
        "weekday": "categorical", "price": "numeric",
    }  # fmt: skip
    frame = data.inputs(np.arange(2)).assign(weekday="never")
    (note,) = ensemble.unknown_levels(frame)
    assert note.startswith("weekday: no row has a level")
    with pytest.raises(DatasetError, match="'image'"):
        ensemble.predict(frame.drop(columns="image"))


def test_a_saved_copy_predicts_the_same(ensemble, data, tmp_path):
    """Each member is a regressor in a folder of its own, and nothing is a pickle."""
    ensemble.save(tmp_path / "model")
    loaded = load_regressor(tmp_path / "model", "cpu")
    assert isinstance(loaded, Ensemble)
    assert loaded.weights == WEIGHTS
    frame = data.inputs()
    np.testing.assert_allclose(loaded.predict(frame), ensemble.predict(frame), rtol=1e-6)
    alone = load_regressor(tmp_path / "model/members/b", "cpu")
    np.testing.assert_allclose(
        alone.predict(frame), ensemble.members["b"].predict(frame), rtol=1e-6
    )
    suffixes = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".skops"}


def test_a_damaged_folder_is_one_message(ensemble, tmp_path):
    """Without weights, or without a member."""
    ensemble.save(tmp_path / "model")
    (tmp_path / "model/members/c").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="members/c is not a saved regressor"):
        load_regressor(tmp_path / "model")
    description = tmp_path / "model/regressor.json"
    values = json.loads(description.read_text())
    for weights in ({}, {"a": 0.5, "b": 0.2}, {"a": 1.5, "b": -0.5}, None):
        description.write_text(json.dumps(values | {"weights": weights}))
        with pytest.raises(ConfigError, match="damaged"):
            load_regressor(tmp_path / "model")


@pytest.mark.parametrize("members", [(), ("a",), ("a", "b", "a")])
def test_an_ensemble_has_two_members_or_more(members):
    """Each once."""
    with pytest.raises(ConfigError, match="two runs or more, each named once"):
        EnsembleConfig(members=members)
