"""A picture without some cells, put together from few readings, is the masked one read whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ni_platform.attribution.assembled import AssembledPicture
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.feature_ablation import FeatureAblation
from ni_platform.attribution.features import counts
from ni_platform.attribution.gridded_picture import GriddedPicture
from ni_platform.attribution.kernel_shap import KernelShap
from ni_platform.models.encoders import tiling
from ni_platform.models.encoders.image import ImageEncoder
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize

# After n blocks of Table 3's network a location reads 6, 12, 24 and 48 pixels beyond its own.
PICTURES = [
    pytest.param((96, 96), (8, 8), 2, id="cells of 12 pixels"),
    pytest.param((96, 88), (8, 8), 1, id="cells of 12 by 11 pixels"),
    pytest.param((131, 260), (5, 7), 3, id="cells of 26 pixels, odd sides"),
    pytest.param((196, 211), (4, 4), 4, id="cells of 49 pixels, the last map itself"),
    pytest.param((7, 300), (1, 8), 3, id="one row of cells"),
]


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    """Table 3's, with batch normalization that is not the identity."""
    found = ImageEncoderConfig().build(InputSize())
    generator = torch.manual_seed(0)
    for module in found.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    assert isinstance(found, ImageEncoder)
    return found.eval().requires_grad_(False)


def picture_of(shape: tuple[int, int], grid: tuple[int, int]) -> tuple:
    """A picture of random pixels, and the cell of each of their rows and columns."""
    image = torch.randint(0, 256, (3, *shape), generator=torch.manual_seed(1), dtype=torch.uint8)
    cells = [torch.arange(length) * count // length for length, count in zip(shape, grid)]
    return image, (cells[0], cells[1])


def coalitions(cells: int) -> np.ndarray:
    """None, all, each but one, and some at random."""
    rng = np.random.default_rng(0)
    drawn = rng.random((20, cells)) < rng.random((20, 1))
    return np.concatenate([np.zeros((1, cells)), np.ones((1, cells)), ~np.eye(cells, dtype=bool),
                           drawn]).astype(bool)  # fmt: skip


def read_whole(encoder: ImageEncoder, image, cells, present: np.ndarray) -> torch.Tensor:
    """Embeddings [P, C] of the masked pictures by the network as it stands, one by one."""
    grid = tuple(int(side.max()) + 1 for side in cells)
    found = []
    for kept in present.reshape(-1, *grid):
        there = torch.from_numpy(kept)[cells[0]][:, cells[1]]
        found.append(encoder(torch.where(there, image.float(), encoder.mean_311).unsqueeze(0)))
    return torch.cat(found)


@pytest.mark.parametrize(("shape", "grid", "blocks"), PICTURES)
def test_embeddings_are_those_of_the_masked_pictures(encoder, shape, grid, blocks):
    """Any coalition; from the latest map whose locations read four cells at most."""
    image, cells = picture_of(shape, grid)
    picture = AssembledPicture.of(GriddedPicture(encoder, image, cells))
    assert picture is not None
    assert picture._blocks == blocks
    present = coalitions(grid[0] * grid[1])
    expected = read_whole(encoder, image, cells, present)
    torch.testing.assert_close(picture.embeddings(present), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "grid", "blocks"), PICTURES[:3])
def test_a_later_map_gives_another_result(encoder, shape, grid, blocks):
    """So what fits is not too careful: one block later, locations read a fifth cell."""
    image, cells = picture_of(shape, grid)
    present = coalitions(grid[0] * grid[1])
    found = AssembledPicture(GriddedPicture(encoder, image, cells), blocks + 1).embeddings(present)
    expected = read_whole(encoder, image, cells, present)
    assert (found - expected).abs().max() > 3e-4


@pytest.mark.parametrize("side", [32, 40])
def test_a_picture_of_any_size_is_put_together_tile_by_tile(encoder, monkeypatch, side):
    """Tiles that hold parts of up to four cells; only readings that a tile's locations see."""
    monkeypatch.setattr(tiling, "SIDE", side)
    monkeypatch.setattr(tiling, "LARGE", 1000)
    image, cells = picture_of((153, 211), (3, 4))
    picture = AssembledPicture.of(GriddedPicture(encoder, image, cells))
    assert picture is not None
    assert picture._blocks == 4
    present = coalitions(12)
    expected = read_whole(encoder, image, cells, present)
    torch.testing.assert_close(picture.embeddings(present), expected, rtol=1e-4, atol=1e-5)


def test_a_large_picture_is_not_read_whole(encoder, monkeypatch):
    """Cells of 26 pixels are too small for the last map, and others are put together at once."""
    image, cells = picture_of((131, 260), (5, 7))
    assert AssembledPicture.of(GriddedPicture(encoder, image, cells)) is not None
    monkeypatch.setattr(tiling, "LARGE", 1000)
    assert AssembledPicture.of(GriddedPicture(encoder, image, cells)) is None


def test_cells_that_are_too_small_or_maps_that_are_too_large_are_not_put_together(encoder):
    """Five pixels, when a location reads six beyond its own; a map of 130,000 locations."""
    assert AssembledPicture.of(GriddedPicture(encoder, *picture_of((50, 40), (8, 8)))) is None
    assert AssembledPicture.of(GriddedPicture(encoder, *picture_of((520, 1000), (90, 170)))) is None


def test_ablation_reads_a_picture_five_times_and_shap_sixteen_times(encoder, monkeypatch):
    """Whole, and without the cells of each of the four classes; every combination of them."""
    image, cells = picture_of((96, 96), (8, 8))
    picture = AssembledPicture.of(GriddedPicture(encoder, image, cells))
    assert picture is not None
    read = []
    early_map = PreactivationResNet.early_map

    def counted(self: PreactivationResNet, pixels: torch.Tensor, blocks: int) -> torch.Tensor:
        read.append(len(pixels))
        return early_map(self, pixels, blocks)

    monkeypatch.setattr(PreactivationResNet, "early_map", counted)
    picture.embeddings(~np.eye(64, dtype=bool))
    assert sum(read) == 5
    read.clear()
    picture.embeddings(coalitions(64))
    assert sum(read) == 16


@pytest.mark.parametrize(
    "method", [FeatureAblation(), KernelShap(samples=40)], ids=lambda m: m.name
)
def test_attributions_are_those_of_pictures_that_are_read_whole(
    scorers, pictured, monkeypatch, method
):
    """Contents with and without pictures; a picture of few coalitions is read whole as well."""
    contents = Contents(scorers["neural_insights"], pictured.inputs(np.arange(12)))
    made = []
    embeddings = AssembledPicture.embeddings

    def counted(self: AssembledPicture, present: np.ndarray) -> torch.Tensor:
        made.append(len(present))
        return embeddings(self, present)

    monkeypatch.setattr(AssembledPicture, "embeddings", counted)
    cells = Cells(contents, "image", grid=5)
    found = method.attribute(cells)
    if method.name == "feature_ablation":
        assert made == [count for count in counts(cells) if count > 5]
    assert len(made) > 5
    made.clear()
    monkeypatch.setattr("ni_platform.attribution.cells.ABLATION_READINGS", 10**9)
    whole = method.attribute(Cells(contents, "image", grid=5))
    assert not made
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-7)
