"""What is computed tile by tile equals what is computed at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from pictured import M2FN, NI
from PIL import Image

from ni_platform.attribution.cells import Cells, feature_maps
from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.explain import explain
from ni_platform.attribution.feature_ablation import FeatureAblation
from ni_platform.attribution.features import without_anything
from ni_platform.attribution.grad_cam import GradCam
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.attribution.kernel_shap import KernelShap
from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError
from ni_platform.models.encoders import tiling
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.encoders.tiling import ReceptiveField, tiles_of
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.scorer import Scorer, build_scorer

SIZES = [(64, 96), (83, 57), (24, 107)]
"""Height and width: multiples of the tiles' side and not, odd ones, thinner than a tile."""
SIDES = [32, 40]
METHODS = [GradCam(), IntegratedGradients(steps=3), FeatureAblation(), KernelShap(samples=16)]


@pytest.fixture(scope="module")
def frame(tmp_path_factory, pictured) -> pd.DataFrame:
    """A content with a picture of each size, and one without."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    names: list[str | None] = []
    for height, width in SIZES:
        name = folder / f"{height}x{width}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(name)
        names.append(str(name))
    cells = pictured.inputs(np.arange(len(SIZES) + 1))
    return cells.assign(image=[*names, None])


@pytest.fixture(scope="module")
def untiled(scorers, frame) -> Cells:
    """Cells of pictures that are taken at once."""
    return Cells(Contents(scorers["neural_insights"], frame), "image", grid=3)


@pytest.fixture(scope="module")
def whole(untiled) -> dict[str, list[np.ndarray]]:
    """Attributions of pictures that are taken at once."""
    return {method.name: method.attribute(untiled) for method in METHODS}


@pytest.fixture(params=SIDES)
def tiled(request, scorers, frame, monkeypatch) -> Cells:
    """Cells of the same pictures in tiles of a side."""
    monkeypatch.setattr(tiling, "LARGE", 1000)
    monkeypatch.setattr(tiling, "SIDE", request.param)
    cells = Cells(Contents(scorers["neural_insights"], frame), "image", grid=3)
    assert [cells.tiled(row) is not None for row in range(len(cells.shapes))] == [True] * len(
        SIZES
    ) + [False]
    return cells


def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """With batch normalization that is not the identity, in evaluation mode."""
    generator = torch.manual_seed(0)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


def test_the_receptive_field_is_what_gradients_reach():
    """Of Table 3's network: 24 pixels to both sides of every eighth; found by gradients too."""
    network = randomized(PreactivationResNet()).double()
    field = ReceptiveField.of(network)
    assert field == ReceptiveField(stride=8, before=24, after=24)
    pixels = torch.randn(1, 3, 120, 8, dtype=torch.float64, requires_grad=True)
    location = 7
    (gradient,) = torch.autograd.grad(network.features(pixels)[0, :, location].sum(), pixels)
    reached = np.flatnonzero(gradient.abs().sum((0, 1, 3)).numpy())
    assert (reached.min(), reached.max()) == (8 * location - 24, 8 * location + 24)


def test_every_location_belongs_to_one_tile(monkeypatch):
    """Tiles begin on multiples of the stride and read no pixel beyond what their locations do."""
    monkeypatch.setattr(tiling, "SIDE", 40)
    owners = np.zeros((17, 10), dtype=int)
    for tile in tiles_of(PreactivationResNet(), 131, 77):
        owners[tile.owned] += 1
        for pixels, owned, length in zip(tile.pixels, tile.owned, (131, 77)):
            assert pixels.start == max(0, 8 * owned.start - 24)
            assert pixels.stop == min(length, 8 * (owned.stop - 1) + 24 + 1)
    assert (owners == 1).all()


def test_predictions_and_maps_are_those_of_the_whole_picture(untiled, tiled):
    """Embeddings of the network itself, and its last map put together."""
    assert (untiled.tiled(0), untiled.contents.predictions.shape) == (None, (len(SIZES) + 1,))
    np.testing.assert_allclose(tiled.contents.predictions, untiled.contents.predictions, rtol=1e-5)
    scored = tiled.contents.scorer.predict(tiled.contents.frame)
    np.testing.assert_allclose(scored, untiled.contents.predictions, rtol=1e-5)
    *maps, none = feature_maps(tiled, 32)
    assert none is None
    assert [found.shape for found in maps] == [(32, -(-h // 8), -(-w // 8)) for h, w in SIZES]
    # 64 x 96 pixels are 8 x 12 locations; of at most 6 along a side each is the mean of four.
    pooled = feature_maps(tiled, 6)[0]
    expected = maps[0].float().view(32, 4, 2, 6, 2).mean((2, 4))
    torch.testing.assert_close(pooled.float(), expected, rtol=2e-3, atol=1e-3)


def test_maps_put_together_are_the_whole_map(untiled, tiled):
    """Without rounding to half precision."""
    encoder = untiled.contents.network.encoders["image"]
    for row in range(len(SIZES)):
        pixels = untiled.pixels[row].unsqueeze(0)
        with torch.no_grad():
            expected = encoder.network.features(encoder.normalize(pixels))[0]
        torch.testing.assert_close(tiled.tiled(row).feature_map(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_attributions_are_those_of_the_whole_picture(whole, tiled, method):
    """Every method; a content without a picture has none."""
    for found, expected in zip(method.attribute(tiled), whole[method.name]):
        assert found.shape == expected.shape
        assert_close(found, expected)


def test_without_any_cell_pictures_are_alike_however_they_are_taken(untiled, tiled):
    """The baseline of every method."""
    np.testing.assert_allclose(without_anything(tiled), without_anything(untiled), rtol=1e-5)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """As a whole: rounding may turn a rectified unit that is near zero, and so a few gradients."""
    assert np.linalg.norm(found - expected) <= 2e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize(("before", "after"), [(16, 24), (24, 23)])
def test_a_smaller_margin_gives_another_result(tiled, monkeypatch, before, after):
    """So the margin is needed: without a location, or a pixel, of it the map is another one."""
    whole = tiled.tiled(1).feature_map()
    monkeypatch.setattr(ReceptiveField, "of", lambda network: ReceptiveField(8, before, after))
    less = Cells(tiled.contents, "image", grid=3).tiled(1).feature_map()
    assert less.shape == whole.shape
    assert (less - whole).abs().max() > 1e-3 * whole.abs().max()


def test_gradients_of_other_layers_are_refused_for_large_pictures(tiled):
    """The last map by its own name is read."""
    GradCam(layer="encoders.image.network.last_map").attribute(tiled)
    with pytest.raises(ConfigError, match="leave grad_cam_layer out"):
        GradCam(layer="encoders.image.network.stem").attribute(tiled)


def scorer_with(pictured, **image: object) -> Scorer:
    """An untrained scorer with another image encoder."""
    config = dataclasses.replace(NI, image=ImageEncoderConfig(**image))
    return build_scorer(config, pictured, np.arange(50), seed=0)


def test_a_large_picture_of_a_network_without_tiles_is_one_message(pictured, frame, monkeypatch):
    """At native size; at a fixed size the same network is explained as ever."""
    monkeypatch.setattr("ni_platform.attribution.cells._LARGEST_WHOLE", 1000)
    native = scorer_with(pictured, architecture="efficientnet_lite0", input=ImageInput(size=None))
    contents = Contents(native, frame)
    with pytest.raises(ConfigError, match=r"96 x 64 pixels.*beyond 1,000.*image\.input\.size"):
        Cells(contents, "image", grid=3)
    fixed = scorer_with(pictured, architecture="efficientnet_lite0", input=ImageInput(size=64))
    assert Cells(Contents(fixed, frame), "image", grid=3).tiled(0) is None


def test_m2fn_reads_pictures_of_one_size_and_is_never_tiled(scorers, pictured, monkeypatch):
    """Though its image network may be Table 3's."""
    assert M2FN.image.architecture == "table3"
    monkeypatch.setattr(tiling, "LARGE", 100)
    cells = Cells(Contents(scorers["m2fn"], pictured.inputs(np.arange(3))), "image", grid=3)
    assert cells.tiled(0) is None


def test_table_3_at_a_large_fixed_size_is_tiled(pictured, frame, monkeypatch):
    """And a content without a picture has its placeholder of that size left alone."""
    scorer = scorer_with(pictured, input=ImageInput(size=64))
    untiled = IntegratedGradients(steps=2).attribute(
        Cells(Contents(scorer, frame), "image", grid=3)
    )
    monkeypatch.setattr(tiling, "LARGE", 1000)
    monkeypatch.setattr(tiling, "SIDE", 40)
    cells = Cells(Contents(scorer, frame), "image", grid=3)
    assert (cells.tiled(0) is not None, cells.tiled(len(SIZES))) == (True, None)
    for found, expected in zip(IntegratedGradients(steps=2).attribute(cells), untiled):
        assert_close(found, expected)


def test_only_an_encoder_without_gradients_takes_tiles(monkeypatch):
    """While it is trained, statistics and gradients are those of whole pictures; not if frozen."""
    monkeypatch.setattr(tiling, "LARGE", 1000)
    encoder = ImageEncoderConfig(input=ImageInput(size=None)).build(InputSize())
    pictures = [torch.zeros(3, 40, 40, dtype=torch.uint8)]
    tiled = []
    monkeypatch.setattr(type(encoder), "_encode_tiles", lambda self, image: tiled.append(1)
                        or torch.zeros(1, 32))  # fmt: skip
    encoder.train()(pictures)
    encoder.eval()(pictures)
    with torch.no_grad():
        encoder.train()(pictures)
    assert not tiled
    with torch.no_grad():
        encoder.eval()(pictures)
    encoder.requires_grad_(False)(pictures)
    assert len(tiled) == 2


def test_large_pictures_are_explained_in_small_groups(frame, scorers, monkeypatch):
    """6,144 and 4,731 pixels are beyond 10,000; the last two and the one without a picture are not.

    Each explanation is the one that all contents together get.
    """
    config = AttributionConfig(grid=3, steps=3, methods=("integrated_gradients",), map_side=8)
    scorer, groups = scorers["neural_insights"], []
    together = explain(scorer, frame, config, modalities=("image",)).modalities["image"]
    monkeypatch.setattr("ni_platform.attribution.explain._PIXELS_AT_ONCE", 10_000)
    found = explain(scorer, frame, config, modalities=("image",), progress=groups.append)
    assert groups == [1, 3]
    (one,), (other,) = found.modalities["image"].by_method.values(), together.by_method.values()
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.raw, theirs.raw, rtol=1e-4, atol=1e-8)
    assert max(one[0].raw.shape) == 8  # no map in pixels is kept
