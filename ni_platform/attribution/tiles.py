"""One large picture, explained tile by tile: exactly what the untiled way gives, in bounded memory.

NI Table 3's network ends in a mean over locations. So the embedding is a sum over tiles, the
gradient of a rate is the same at every location of the last map, and it is handed to the tiles one
after the other. What grows with the picture are its own pixels and a map of contributions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.gridded_picture import GriddedPicture
from ni_platform.models.encoders.tiling import Tile, location_sum, map_size, tiles_of

Rate = Callable[[Tensor], Tensor]
"""From a picture's embedding [1, C] to the success rate [1], differentiable."""


class TiledPicture:
    """A picture cut into tiles that the network reads one after the other."""

    def __init__(self, picture: GriddedPicture) -> None:
        """Cut the picture into tiles."""
        height, width = picture.image_3HW.shape[1:]
        self.shape = (height, width)
        self.map_shape = map_size(picture.network, height, width)
        self._encoder, self._network = picture.encoder, picture.network
        self._image_3HW = picture.image_3HW
        self._cells, self._grid = picture.cells, picture.grid
        self._tiles = tiles_of(picture.network, height, width)

    def feature_map(self) -> Tensor:
        """The last map [C, H', W']."""
        found = self._image_3HW.new_empty(
            (self._encoder.width, *self.map_shape), dtype=torch.float32
        )
        with torch.inference_mode():
            for tile in self._tiles:
                found[:, tile.owned[0], tile.owned[1]] = self._features(
                    tile, tile.crop(self._image_3HW)
                )[0]
        return found

    def embeddings(self, present: np.ndarray) -> Tensor:
        """Embeddings [P, C] of the picture with only the `present` cells, bool [P, cells]."""
        down, across = self._cells
        found = []
        for kept in torch.from_numpy(present).to(self._image_3HW.device):
            total_1C = torch.zeros(1, self._encoder.width, dtype=torch.float64)
            for tile in self._tiles:
                rows, columns = down[tile.pixels[0]], across[tile.pixels[1]]
                kept_hw = kept[rows.unsqueeze(1) * self._grid[1] + columns]
                with torch.inference_mode():
                    crop_13hw = tile.crop(self._image_3HW)
                    masked = torch.where(kept_hw, crop_13hw, self._encoder.mean_311)
                    total_1C += location_sum(self._features(tile, masked)).cpu()
            found.append(total_1C / (self.map_shape[0] * self.map_shape[1]))
        return torch.cat(found).to(self._image_3HW.device, torch.float32)

    def embedding_towards(self, share: float) -> Tensor:
        """Embedding [1, C] of the picture at a share of the way from the mean colour to itself."""
        total_1C = torch.zeros(1, self._encoder.width, dtype=torch.float64)
        with torch.inference_mode():
            for tile in self._tiles:
                features = self._features(tile, self._towards(tile.crop(self._image_3HW), share))
                total_1C += location_sum(features).cpu()
        mean_1C = total_1C / (self.map_shape[0] * self.map_shape[1])
        return mean_1C.to(self._image_3HW.device, torch.float32)

    def pixel_contributions(
        self, share: float, gradient_1C: Tensor
    ) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Pixels' gradients times their way from the mean colour, summed over colours.

        Tiles overlap: what is given for a pixel several times is to be added up.

        Args:
            share: where on the way from the mean colour to the picture gradients are taken.
            gradient_1C: of the rate by the embedding there.

        Yields:
            A part of the picture, as rows and columns of pixels, and its contributions [h, w].
        """
        # The embedding is a mean, so each location of the map gets an equal part.
        per_location_1C11 = (gradient_1C / (self.map_shape[0] * self.map_shape[1]))[
            :, :, None, None
        ]
        for tile in self._tiles:
            crop_13hw = tile.crop(self._image_3HW)
            with torch.enable_grad():
                point = self._towards(crop_13hw, share).requires_grad_()
                features = self._features(tile, point)
                (found,) = torch.autograd.grad(
                    features, point, per_location_1C11.expand_as(features)
                )
            way = crop_13hw - self._encoder.mean_311
            yield tile.pixels, (found * way)[0].sum(0)

    def _towards(self, crop_13hw: Tensor, share: float) -> Tensor:
        mean_311 = self._encoder.mean_311
        return mean_311 + share * (crop_13hw - mean_311)

    def _features(self, tile: Tile, pixels_13hw: Tensor) -> Tensor:
        return tile.cut(self._network.features(self._encoder.normalize(pixels_13hw)))


def grad_cam(picture: TiledPicture, rate: Rate) -> np.ndarray:
    """GradCAM of the last map, float64 [H', W'].

    The gradient by the map is the same everywhere, the embedding's divided by the locations; so it
    is the mean that GradCAM weighs channels with.
    """
    features_CHW = picture.feature_map()
    gradient_1C = _gradient(rate, features_CHW.mean((1, 2)).unsqueeze(0))
    weight_C = gradient_1C[0] / (features_CHW.shape[1] * features_CHW.shape[2])
    found: np.ndarray = torch.einsum("c,chw->hw", weight_C, features_CHW).double().cpu().numpy()
    return found


def integrated_gradients(picture: TiledPicture, rate: Rate, steps: int) -> np.ndarray:
    """Integrated gradients, float64 [H, W]: summed over colours, from the mean colour.

    By the Gauss-Legendre rule of `steps` points, as `IntegratedGradients`.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    total = np.zeros(picture.shape)
    for share, weight in zip((1 + points) / 2, weights / 2):
        gradient_1C = _gradient(rate, picture.embedding_towards(float(share)))
        for (rows, columns), found in picture.pixel_contributions(float(share), gradient_1C):
            total[rows, columns] += weight * found.cpu().numpy()
    return total


def _gradient(rate: Rate, embedding_1C: Tensor) -> Tensor:
    """Gradient [1, C] of the rate by the picture's embedding, through the rest of the network."""
    with torch.enable_grad():
        point = embedding_1C.clone().requires_grad_()
        (gradient_1C,) = torch.autograd.grad(rate(point).sum(), point)
    return gradient_1C
