"""Each method against an answer that was worked out another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.config import METHODS, AttributionConfig
from ni_platform.attribution.consensus import PrincipalComponent, resized
from ni_platform.attribution.explain import explain
from ni_platform.attribution.grad_cam import GradCam, layers
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.attribution.kernel_shap import coalitions, solve
from ni_platform.attribution.words import Words
from ni_platform.errors import ConfigError


def test_coalitions_of_large_and_small_sizes_come_whole():
    """Of 6 features, 30 evaluations hold sizes 1 and 5, not 2 and 4, which are drawn."""
    drawn = coalitions(6, 30, 0)
    sizes = drawn.present.sum(1)
    assert (sizes == 1).sum() == (sizes == 5).sum() == 6
    assert len(sizes) == 30
    assert set(sizes[12:]) <= {2, 3, 4}
    rest = drawn.present[12:]
    np.testing.assert_array_equal(rest[::2], ~rest[1::2])
    # The kernel's weight of a size: (M - 1) / (k (M - k)), over both sizes of a pair.
    mass = {1: 2 * 5 / 5, 2: 2 * 5 / 8, 3: 5 / 9}
    assert drawn.weights[:12].sum() == pytest.approx(mass[1] / sum(mass.values()))
    assert drawn.weights.sum() == pytest.approx(1)


def test_all_coalitions_are_the_shapley_kernel():
    """Of 4 features with room for all 14: each weighs 3 / (C(4, k) k (4 - k))."""
    drawn = coalitions(4, 100, 0)
    assert len({tuple(row) for row in drawn.present}) == 14
    kernel = {1: 3 / (4 * 3), 2: 3 / (6 * 4), 3: 3 / (4 * 3)}
    expected = np.array([kernel[int(size)] for size in drawn.present.sum(1)])
    np.testing.assert_allclose(drawn.weights, expected / expected.sum())


def test_sampled_shapley_values_of_a_linear_game_are_exact_and_of_another_close():
    """Worth with interactions of pairs: a feature's value is its own and half of its pairs'."""
    rng = np.random.default_rng(0)
    own, pair = rng.normal(size=12), np.triu(rng.normal(size=(12, 12)), 1)
    drawn = coalitions(12, 400, 1)
    z = drawn.present.astype(float)
    np.testing.assert_allclose(solve(drawn, z @ own, own.sum()), own, atol=1e-9)
    worth = z @ own + ((z @ pair) * z).sum(1)
    expected = own + (pair.sum(0) + pair.sum(1)) / 2
    # Quadratic worth is odd about its half, so complements make even this exact.
    np.testing.assert_allclose(solve(drawn, worth, own.sum() + pair.sum()), expected, atol=1e-9)
    cubic = worth + 3 * z[:, 0] * z[:, 1] * z[:, 2]
    expected[:3] += 1
    np.testing.assert_allclose(solve(drawn, cubic, own.sum() + pair.sum() + 3), expected, atol=0.2)


@pytest.mark.parametrize("network", ["neural_insights", "m2fn"])
@pytest.mark.parametrize("kind", [Words, Cells])
def test_integrated_gradients_add_up_along_their_path(contents, network, kind):
    """Completeness: what they sum to is the difference between the path's two ends."""
    explained = contents[network]
    features = Cells(explained, "image", grid=3) if kind is Cells else Words(explained, "text")
    found = IntegratedGradients(steps=200).attribute(features)
    rows = [row for row, raw in enumerate(found) if raw.size][:2]
    for row in rows:
        ends = [
            features.rates_at(points, torch.tensor([row])).item()
            for points in features.points([row])
        ]
        assert found[row].sum() == pytest.approx(ends[0] - ends[1], rel=0.05, abs=2e-4)


def test_grad_cam_is_activation_times_mean_gradient(contents):
    """Of the last map, whose mean over space the rest of the network reads, by hand."""
    explained = contents["neural_insights"]
    cells = Cells(explained, "image", grid=3)
    found = GradCam().attribute(cells)
    network = explained.network.encoders["image"]
    pixels = cells.pixels[0].unsqueeze(0)
    features = network.network.features(network.normalize(pixels)).detach().requires_grad_()
    rate = explained.rates(torch.tensor([0]), "image", encoded=features.mean((2, 3)))
    (gradient,) = torch.autograd.grad(rate.sum(), features)
    expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0].detach().numpy()
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-9)


def test_grad_cam_of_texts_is_gradient_times_state(contents):
    """With averaged states a word's part is the embedding's gradient times its states' share."""
    explained = contents["neural_insights"]
    words = Words(explained, "text")
    found = GradCam().attribute(words)
    row = 0
    points, _ = words.points([row])
    states, _ = words.states(points, torch.tensor([row]))
    mask = words.tokens([row]).flatten(0, 1)
    assert explained.scorer.config.text.pooling == "cls"
    assert states.shape[:2] == mask.shape
    assert np.isfinite(found[row]).all()
    assert np.abs(found[row]).max() > 0


@pytest.mark.parametrize("layer", ["low_level.0", "attention", "encoders.image.network.stem"])
def test_grad_cam_reads_every_step_of_m2fn(contents, layer):
    """M2FN Figure 7: maps of the fusion steps."""
    explained = contents["m2fn"]
    assert layer in layers(explained.network)
    found = GradCam(layer=layer).attribute(Cells(explained, "image", grid=3))
    assert found[0].shape == ((4, 4) if layer == "attention" else (32, 32))
    assert np.abs(found[0]).max() > 0


@pytest.mark.parametrize(
    ("layer", "words"),
    [("low_levle.0", "no layer 'low_levle.0'.*low_level.0"), ("output", "gives no map")],
)
def test_a_layer_that_cannot_be_read_is_one_message(contents, layer, words):
    """A mistyped layer names near ones; one without a map is refused."""
    with pytest.raises(ConfigError, match=words):
        GradCam(layer=layer).attribute(Cells(contents["m2fn"], "image", grid=3))


def of(*raw: float) -> Attribution:
    """An attribution with these raw contributions."""
    return Attribution(np.array(raw), 0.3, 0.1)


def combined(by_method: dict[str, list[Attribution]]) -> tuple[PrincipalComponent, np.ndarray]:
    """The component, and all contributions on it in one row."""
    found = PrincipalComponent.of(by_method)
    return found, np.concatenate([each.raw for each in found.combine(by_method)])


def test_the_consensus_of_two_methods_is_their_mean_after_standardising():
    """Two standardised columns have the principal axes (1, 1) and (1, -1)."""
    a, b = np.array([1.0, 2.0, 3.0, 6.0]), np.array([10.0, 40.0, 20.0, 50.0])
    by_method = {"a": [of(*a[:2]), of(*a[2:])], "b": [of(*b[:2]), of(*b[2:])]}
    found, values = combined(by_method)
    z = [(x - x.mean()) / x.std() for x in (a, b)]
    expected = (z[0] + z[1]) / np.std(z[0] + z[1]) * np.mean([a.std(), b.std()])
    expected += np.mean([a.mean(), b.mean()])
    np.testing.assert_allclose(values, expected)
    assert found.loadings == pytest.approx({"a": 0.5**0.5, "b": 0.5**0.5})
    assert found.explained_variance == pytest.approx((1 + np.corrcoef(a, b)[0, 1]) / 2)
    # A content that comes later is combined as those were.
    (alone,) = found.combine({method: each[:1] for method, each in by_method.items()})
    np.testing.assert_allclose(alone.raw, expected[:2])
    assert alone.prediction == 0.3


def test_the_consensus_grows_with_most_methods():
    """A method that says the opposite gets a negative loading; it does not turn the others."""
    x = [of(1.0, 2.0, 4.0)]
    turned = [of(-1.0, -2.0, -4.1)]
    found, values = combined({"opposite": turned, "a": x, "b": [of(1.0, 2.1, 4.0)]})
    assert found.loadings["opposite"] < 0 < found.loadings["a"]
    assert (np.diff(values) > 0).all()


def test_methods_without_any_spread_have_a_consensus():
    """No division by zero: every feature gets the methods' mean."""
    _, values = combined({"a": [of(0.0, 0.0)], "b": [of(1.0, 1.0)]})
    np.testing.assert_allclose(values, [0.5, 0.5])


def test_maps_keep_their_sum_in_another_size():
    """Finer, coarser, and by sizes that do not divide each other."""
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(resized(values, (1, 1)), [[15.0]])
    np.testing.assert_allclose(resized(values, (2, 1)), [[3.0], [12.0]])
    np.testing.assert_allclose(resized(values, (4, 3)), np.repeat(values, 2, axis=0) / 2)
    # Halves of three cells: the middle one is shared.
    np.testing.assert_allclose(resized(values, (2, 2)), [[0.5, 2.5], [5.0, 7.0]])


def test_explaining_a_table_gives_every_method_for_every_modality(scorers, pictured):
    """More contents than fit one group; the consensus is last."""
    seen = []
    found = explain(
        scorers["neural_insights"],
        pictured.inputs(np.arange(70)),
        AttributionConfig(grid=2, samples=8, steps=3, map_side=4),
        progress=seen.append,
    )
    assert seen == [64, 6]
    assert set(found.modalities) == {"image", "text", "domain", "attributes"}
    for name, explained in found.modalities.items():
        expected = set(METHODS) - ({"grad_cam"} if name in ("domain", "attributes") else set())
        assert set(explained.by_method) == expected
        assert all(len(each) == 70 for each in explained.by_method.values())
        assert 1 / len(expected) <= explained.component.explained_variance <= 1
    image = found.modalities["image"].by_method
    assert image["integrated_gradients"][0].raw.shape == (4, 3)
    assert image["pca"][0].raw.shape == (2, 1)
    assert found.modalities["image"].maps == []  # nobody asked for them
    assert [len(words) for words in found.modalities["text"].words] == [
        a.raw.size for a in found.modalities["text"].by_method["pca"]
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"methods": ("kernel_shep",)}, "kernel_shep.*kernel_shap"),
        ({"methods": ("kernel_shap", "pca")}, "at least two others"),
        ({"methods": ()}, "at least one"),
        ({"grid": 1}, "grid must be at least 2"),
    ],
)
def test_a_config_that_cannot_be_is_one_message(values, words):
    """Rule, value and remedy."""
    with pytest.raises(ConfigError, match=words):
        AttributionConfig(**values)
