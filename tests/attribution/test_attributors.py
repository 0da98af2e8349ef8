"""What every attributor promises, for every modality of every network."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import attributors, contents_of, features_of
from ni_platform.attribution.features import counts, without_anything

ATTRIBUTORS = attributors(AttributionConfig(grid=3))


@pytest.fixture(params=ATTRIBUTORS, ids=lambda method: method.name)
def attributor(request, features):
    """A method that explains the modality."""
    if not request.param.explains(features):
        pytest.skip(f"{request.param.name} does not explain {features.modality}")
    return request.param


def everything(features, rows) -> np.ndarray:
    """Every feature present."""
    return np.ones((len(rows), int(counts(features).max())), dtype=bool)


def test_with_all_features_a_content_is_what_the_model_predicts(features):
    """Predictions through encoders that ran once are those of the whole network."""
    contents = features.contents
    scored = contents.scorer.predict(contents.frame)
    rows = np.flatnonzero(counts(features))
    np.testing.assert_allclose(features.rates(rows, everything(features, rows)), scored[rows],
                               rtol=1e-5)  # fmt: skip
    np.testing.assert_allclose(contents.predictions, scored, rtol=1e-5)
    points, _ = features.points(rows[:1])
    there = features.rates_at(points, torch.tensor(rows[:1]))
    np.testing.assert_allclose(there.detach().numpy(), scored[rows[:1]], rtol=1e-5)


def test_each_content_has_a_number_per_feature(attributor, features):
    """A content without the modality has none; all others are finite, and some are not zero."""
    found = attributor.attribute(features)
    assert len(found) == len(features.contents)
    for raw, shape in zip(found, features.shapes):
        assert raw.ndim == len(shape)
        assert (raw.size == 0) == (np.prod(shape) == 0)
        assert np.isfinite(raw).all()
        if features.modality != "image" or attributor.name in ("kernel_shap", "feature_ablation"):
            assert raw.shape == shape
    assert any(np.abs(raw).sum() > 0 for raw in found)


def test_a_content_is_explained_alike_in_any_company(attributor, features):
    """Order and neighbours in the batch do not matter, and asking twice gives the same."""
    contents = features.contents
    reversed_ = contents_of(contents.scorer, contents.frame.iloc[::-1])
    other = features_of(reversed_, features.modality, AttributionConfig(grid=3))
    for one, same in zip(attributor.attribute(features), attributor.attribute(other)[::-1]):
        np.testing.assert_allclose(one, same, rtol=1e-3, atol=1e-6)


def test_shapley_values_are_exact_where_all_coalitions_are_asked(features):
    """They equal the mean over all orders of what each feature adds, computed one by one."""
    shap = next(method for method in ATTRIBUTORS if method.name == "kernel_shap")
    found = shap.attribute(features)
    sizes = counts(features)
    for row in np.flatnonzero((sizes > 0) & (sizes <= 5)):
        size = int(sizes[row])
        worth = {}
        for mask in range(2**size):
            present = np.array([[bool(mask >> bit & 1) for bit in range(size)]])
            worth[mask] = features.rates(np.array([row]), present)[0]
        expected = np.zeros(size)
        orders = list(permutations(range(size)))
        for order in orders:
            mask = 0
            for feature in order:
                expected[feature] += worth[mask | 1 << feature] - worth[mask]
                mask |= 1 << feature
        np.testing.assert_allclose(found[row].ravel(), expected / len(orders), atol=1e-7)


def test_shapley_values_sum_to_what_the_features_add(features):
    """Efficiency: nothing is left unexplained."""
    shap = next(method for method in ATTRIBUTORS if method.name == "kernel_shap")
    baselines = without_anything(features)
    for row, raw in enumerate(shap.attribute(features)):
        if raw.size:
            attribution = Attribution(raw, features.contents.predictions[row], baselines[row])
            assert attribution.gap == pytest.approx(0, abs=1e-12)


def test_ablation_is_the_loss_of_one_feature(features):
    """Each content's features are taken away one by one."""
    ablation = next(method for method in ATTRIBUTORS if method.name == "feature_ablation")
    found = ablation.attribute(features)
    for row, size in enumerate(counts(features)):
        for feature in range(size):
            present = np.ones((1, size), dtype=bool)
            present[0, feature] = False
            left = features.rates(np.array([row]), present)[0]
            assert found[row].ravel()[feature] == pytest.approx(
                features.contents.predictions[row] - left, abs=1e-6
            )


def test_values_sum_to_the_prediction(attributor, features):
    """NI Definition 2, whatever the method leaves unexplained."""
    baselines = without_anything(features)
    for row, raw in enumerate(attributor.attribute(features)):
        if raw.size:
            prediction = features.contents.predictions[row]
            attribution = Attribution(raw, prediction, baselines[row])
            assert attribution.values.sum() == pytest.approx(prediction, rel=1e-9)
            np.testing.assert_allclose(np.diff(attribution.values.ravel()), np.diff(raw.ravel()),
                                       atol=1e-12)  # fmt: skip
