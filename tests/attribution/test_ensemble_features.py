"""What an ensemble's features contribute, against answers that its networks give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ni_platform.attribution.cells import Cells
from ni_platform.attribution.config import PCA, AttributionConfig
from ni_platform.attribution.explain import contents_of, explain, features_of
from ni_platform.attribution.grad_cam import GradCam
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.errors import ConfigError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.encoders import tiling
from ni_platform.models.ensemble import Ensemble
from tests.attribution.conftest import MODALITIES, ROWS

CONFIG = AttributionConfig(grid=3, steps=8)


def logit(rates):
    """Log odds."""
    return np.log(rates / (1 - rates))


def test_an_ensemble_of_equals_is_explained_as_its_network(scorers, pictured):
    """Every method gives what it gives of the network alone, which is twice in it."""
    one = scorers["neural_insights"]
    twice = Ensemble({"a": one, "b": one}, {"a": 0.3, "b": 0.7})
    frame = pictured.inputs(ROWS)
    alone, together = (explain(model, frame, CONFIG, with_maps=True) for model in (one, twice))
    np.testing.assert_allclose(together.predictions, alone.predictions, rtol=1e-6)
    assert list(together.modalities) == list(alone.modalities)
    for name, expected in alone.modalities.items():
        found = together.modalities[name]
        assert (found.words, found.names) == (expected.words, expected.names)
        assert found.elements == expected.elements
        assert len(found.maps) == len(expected.maps)
        assert set(found.by_method) == set(expected.by_method)
        for method, attributions in expected.by_method.items():
            scale = max(np.abs(each.raw).max(initial=0) for each in attributions)
            for one_raw, both in zip(attributions, found.by_method[method]):
                tolerance = (1e-2 if method == PCA else 1e-4) * scale
                np.testing.assert_allclose(both.raw, one_raw.raw, atol=tolerance)
                assert both.baseline == pytest.approx(one_raw.baseline, rel=1e-5)


def test_without_features_it_is_the_mean_of_what_its_networks_say(contents):
    """Cells and columns are taken from all at once; one without a domain predicts as before."""
    ensemble = contents["ensemble"]
    rng = np.random.default_rng(0)
    for modality in ("image", "domain", "attributes"):
        features = features_of(ensemble, modality, CONFIG)
        size = max(int(np.prod(shape)) for shape in features.shapes)
        present = rng.random((len(ROWS), size)) < 0.5
        rows = np.arange(len(ROWS))
        expected = 0.0
        for member, weight in zip(ensemble.members, ensemble.weights):
            rates = member.predictions
            if modality == "image":
                rates = Cells(member, modality, grid=features.shapes).rates(rows, present)
            elif modality in member.modalities:
                rates = features_of(member, modality, CONFIG).rates(rows, present)
            expected = expected + weight * logit(rates)
        np.testing.assert_allclose(logit(features.rates(rows, present)), expected, rtol=1e-5)


def test_pictures_of_two_sizes_share_the_cells(contents):
    """A network that squeezes a picture into a square sees the regions that the other sees."""
    features = features_of(contents["ensemble"], "image", CONFIG)
    grids = {tuple(member.shapes) for member in features.members}
    assert grids == {tuple(features.shapes)}
    native = features_of(contents["neural_insights"], "image", CONFIG)
    assert features.shapes == native.shapes


def test_a_word_that_a_network_cuts_off_changes_the_others(contents):
    """All words are features; without one behind the seventh token, `cut` predicts the same."""
    ensemble = contents["ensemble"]
    features = features_of(ensemble, "text", CONFIG)
    cut = ensemble.members[[network.inputs for network in ensemble.scorer.networks.values()].index(
        ensemble.scorer.members["cut"].inputs)]  # fmt: skip
    short = features_of(cut, "text", CONFIG)
    whole = features_of(contents["neural_insights"], "text", CONFIG)
    for found, full, few in zip(features.words, whole.words, short.words):
        assert found == full
        assert few == [word for word in full if word in few]
    row = max(range(len(ROWS)), key=lambda row: len(whole.words[row]))
    lost = [
        position for position, word in enumerate(whole.words[row]) if word not in short.words[row]
    ]
    assert lost
    present = np.ones((1, len(whole.words[row])), dtype=bool)
    present[0, lost[0]] = False
    expected = sum(
        weight
        * logit(
            member.predictions[[row]]
            if member is cut
            else features_of(member, "text", CONFIG).rates(np.array([row]), present)
        )
        for member, weight in zip(ensemble.members, ensemble.weights)
    )
    np.testing.assert_allclose(logit(features.rates(np.array([row]), present)), expected, rtol=1e-5)


@pytest.mark.parametrize("modality", [name for name in MODALITIES if name != "wording"])
def test_integrated_gradients_add_up_along_the_common_path(scorers, pictured, modality):
    """Completeness: what they sum to is the difference between the path's two ends.

    Not with the Gaussian process, which alone reads the wording: to it zeros, where paths of
    vectors begin, are a missing vector.
    """
    members = {run: scorers["ensemble"].members[run] for run in ("m2fn", "cut")}
    ensemble = Ensemble(members, {"m2fn": 0.6, "cut": 0.4})
    features = features_of(contents_of(ensemble, pictured.inputs(ROWS)), modality, CONFIG)
    found = IntegratedGradients(steps=200).attribute(features)
    for row in [row for row, raw in enumerate(found) if raw.size][:2]:
        ends = [features.rates_at(p, torch.tensor([row])).item() for p in features.points([row])]
        assert found[row].sum() == pytest.approx(ends[0] - ends[1], rel=0.05, abs=2e-4)


def test_grad_cam_follows_the_chain_rule(contents):
    """The sum of the networks' own, each times the slope of the ensemble's rate along its own."""
    ensemble = contents["ensemble"]
    features = features_of(ensemble, "text", CONFIG)
    found = GradCam().attribute(features)[0]
    expected = np.zeros(len(found))
    for number, member in enumerate(ensemble.members):
        rates = [each.predictions[0] for each in ensemble.members]

        def moved(by, rates=rates, number=number):
            changed = [rate + (by if place == number else 0) for place, rate in enumerate(rates)]
            total = sum(w * logit(rate) for w, rate in zip(ensemble.weights, changed))
            return 1 / (1 + np.exp(-total))

        slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
        own = features_of(member, "text", CONFIG)
        at = [features.words[0].index(word) for word in own.words[0]]
        expected[at] += slope * GradCam().attribute(own)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_large_pictures_are_not_walked(scorers, pictured, monkeypatch):
    """Integrated gradients of tiles are one network's; the error names the way out."""
    monkeypatch.setattr(tiling, "LARGE", 1000)
    one = scorers["neural_insights"]
    contents = contents_of(
        Ensemble({"a": one, "b": one}, {"a": 0.5, "b": 0.5}), pictured.inputs(ROWS)
    )
    features = features_of(contents, "image", CONFIG)
    with pytest.raises(ConfigError, match="leave the method out"):
        IntegratedGradients(steps=2).attribute(features)


def test_only_networks_are_explained(scorers, pictured):
    """A tabular member is one message."""
    glm = TabularRegressor.fit(TabularConfig(), pictured, np.arange(50))
    ensemble = Ensemble({"a": scorers["m2fn"], "b": glm}, {"a": 0.5, "b": 0.5})
    with pytest.raises(ConfigError, match="member b is of kind tabular"):
        explain(ensemble, pictured.inputs(ROWS), CONFIG)
