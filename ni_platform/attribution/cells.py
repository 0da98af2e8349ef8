"""The cells of a grid over a content's picture, for perturbation, and its pixels, for gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ni_platform.attribution.assembled import ABLATION_READINGS, AssembledPicture
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.features import PIXELS_AT_ONCE, distinct, in_batches, no_grad_rates
from ni_platform.attribution.gridded_picture import GriddedPicture
from ni_platform.attribution.tiles import Rate, TiledPicture
from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.errors import ConfigError
from ni_platform.models.encoders import tiling
from ni_platform.models.encoders.image import ImageEncoder
from ni_platform.models.m2fn.network import M2FN
from ni_platform.models.modalities.image import ImageReader
from ni_platform.narrowing import of_kind

_LARGEST_WHOLE = 2_000_000
"""Pixels of the largest picture of native size that a network without tiles is asked about."""
_HEADS_AT_ONCE = 1024
"""Predictions from embeddings of one picture that are made together."""


class Cells:
    """Features: the cells of a grid. Where a cell is absent, pixels are the encoder's mean colour.

    That is zero after standardisation, the zero vector of NI Section 4.2's ablation. A content
    without a picture has no cells. Of Table 3's network, pictures beyond `tiling.LARGE` pixels are
    read tile by tile, and pictures of which many coalitions are asked are put together from few
    readings (`assembled`); both give the same result.
    """

    def __init__(
        self, contents: Contents, modality: str, *, grid: int | Sequence[tuple[int, ...]]
    ) -> None:
        """Lay a grid of `grid` cells along the longer side over each picture.

        In place of that number, `grid` may say for each content how many cells down and across.

        Raises:
            ConfigError: a picture of native size is too large for a network without tiles.
        """
        self.contents = contents
        self.modality = modality
        self.evaluations = 0
        (pixels,) = contents.inputs.modalities[modality].tensors
        self.pixels: Tensor | list[Tensor] = pixels
        has = contents.has(modality)
        sides = [tuple(picture.shape[1:]) for picture in pixels]
        self.shapes: list[tuple[int, ...]] = [
            (0, 0) if not has[row] else _grid(side, grid) if isinstance(grid, int) else grid[row]
            for row, side in enumerate(sides)
        ]
        self._tiled = {
            row: TiledPicture(self._gridded(row, self.shapes[row]))
            for row in range(len(contents))
            if has[row] and self._takes_tiles(sides[row])
        }
        self._grids = list(zip(sides, self.shapes))
        whole = {found for row, found in enumerate(self._grids) if row not in self._tiled}
        self._labels = {found: _labels(*found).to(contents.device) for found in whole}
        self._sizes = np.array([np.prod(shape) for shape in self.shapes], dtype=np.int64)

    @property
    def baseline(self) -> Tensor:
        """The mean colour [3, 1, 1]."""
        mean: Tensor = self.contents.network.encoders[self.modality].mean_311  # type: ignore[assignment]
        return mean

    def tiled(self, row: int) -> TiledPicture | None:
        """The tiles of a content's picture, if it is a large one."""
        return self._tiled.get(row)

    def rate_of(self, row: int) -> Rate:
        """The content's success rate by its picture's embedding [1, C]."""
        chosen = torch.tensor([row], device=self.contents.device)
        return lambda embedding_1C: self.contents.rates(chosen, self.modality, encoded=embedding_1C)

    def _takes_tiles(self, side: tuple[int, ...]) -> bool:
        if self._can_tile:
            return tiling.is_large(*side)
        reader = of_kind(self.contents.scorer.inputs.readers[self.modality], ImageReader)
        native = reader.input.size is None
        if native and prod(side) > _LARGEST_WHOLE:
            raise ConfigError(
                f"a picture of {side[1]} x {side[0]} pixels is too large to be explained at its "
                f"native size by this image network: beyond {_LARGEST_WHOLE:,} pixels only "
                "Table 3's goes, tile by tile. Train with model.image.architecture table3, or set "
                "model.image.input.size, for instance to 512"
            )
        return False

    def rates(self, rows: np.ndarray, present: np.ndarray) -> np.ndarray:
        """As `Features.rates`; equal coalitions of one picture are computed once."""
        first, which = distinct(rows, present, self._sizes)
        rows, present = rows[first], present[first]
        found = np.empty(len(rows))
        by_picture = self._by_picture(rows)
        for row, picture in by_picture.items():
            places = np.flatnonzero(rows == row)
            embedding_PC = picture.embeddings(present[places, : self._sizes[row]])
            found[places] = self._rates_of_embeddings(row, embedding_PC)
        rest = np.flatnonzero(~np.isin(rows, list(by_picture)))
        for group in _of_equal_size([self._grids[row] for row in rows[rest]]):
            group = rest[group]
            side, _ = grid = self._grids[rows[group[0]]]
            at_once = max(1, PIXELS_AT_ONCE // (side[0] * side[1]))
            for part in in_batches(len(group), at_once):
                chosen = group[part]
                found[chosen] = self._masked_rates(rows[chosen], present[chosen], grid)
        self.evaluations += len(rows)
        return found[which]

    @property
    def _can_tile(self) -> bool:
        encoder = self.contents.network.encoders[self.modality]
        return isinstance(encoder, ImageEncoder) and tiling.can_tile(encoder.network)

    def _gridded(self, row: int, grid: tuple[int, ...]) -> GriddedPicture:
        encoder = of_kind(self.contents.network.encoders[self.modality], ImageEncoder)
        height, width = self.pixels[row].shape[1:]
        down, across = _cell_of(height, grid[0]), _cell_of(width, grid[1])
        cells = (down.to(self.contents.device), across.to(self.contents.device))
        return GriddedPicture(encoder, self.pixels[row], cells)

    def _by_picture(self, rows: np.ndarray) -> dict[int, TiledPicture | AssembledPicture]:
        """Of the contents `rows` of coalitions, those that are answered one picture at a time."""
        found: dict[int, TiledPicture | AssembledPicture] = {}
        for row, coalitions in Counter(rows.tolist()).items():
            picture: TiledPicture | AssembledPicture | None = None
            if coalitions > ABLATION_READINGS and self._can_tile:
                picture = AssembledPicture.of(self._gridded(row, self.shapes[row]))
            picture = picture or self.tiled(row)
            if picture is not None:
                found[row] = picture
        return found

    def _rates_of_embeddings(self, row: int, embedding_PC: Tensor) -> np.ndarray:
        found = []
        for part in in_batches(len(embedding_PC), _HEADS_AT_ONCE):
            same = np.full(len(embedding_PC[part]), row)
            found.append(
                no_grad_rates(self.contents, same, self.modality, encoded=embedding_PC[part])
            )
        return np.concatenate(found)

    def _masked_rates(self, rows: np.ndarray, present: np.ndarray, grid: Any) -> np.ndarray:
        labels_HW = self._labels[grid]
        cells = int(labels_HW.max()) + 1
        kept = torch.zeros(len(rows), cells, dtype=torch.bool, device=self.contents.device)
        width = min(cells, present.shape[1])
        kept[:, :width] = torch.as_tensor(present[:, :width], device=self.contents.device)
        here = torch.as_tensor(self.contents.has(self.modality)[rows], device=self.contents.device)
        pixels = self._stacked(rows)
        masked = torch.where(kept[:, labels_HW].unsqueeze(1), pixels, self.baseline)
        read = ModalityInputs(tensors=(masked,), present_B=here)
        return no_grad_rates(self.contents, rows, self.modality, read=read)

    def points(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Pixels [B, 3, H, W] as floats, and the mean colour, of pictures of one size."""
        pixels = self._stacked(rows)
        return pixels, self.baseline.expand_as(pixels)

    def _stacked(self, rows: Iterable[int]) -> Tensor:
        """Pixels [B, 3, H, W] as floats, in the layout that convolutions like."""
        pixels = torch.stack([self.pixels[row] for row in rows])
        return pixels.to(torch.float32, memory_format=torch.channels_last)

    def rates_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """As `Features.rates_at`."""
        there = torch.ones(len(rows), dtype=torch.bool, device=self.contents.device)
        read = ModalityInputs(tensors=(points,), present_B=there, complete=True)
        return self.contents.rates(rows, self.modality, read=read)

    def collect(self, contributions: Tensor, rows: Sequence[int]) -> list[np.ndarray]:
        """Contributions [B, 3, H, W], summed over colours to maps [H, W]."""
        return list(contributions.detach().double().sum(1).cpu().numpy())


def feature_maps(cells: Cells, side: int) -> list[Tensor | None]:
    """The image network's last map [C, H', W'] of each picture, half precision, on the CPU.

    Of M2FN the one without fusion, which depends on the picture alone. None without a picture. A
    map with more than `side` locations along a side is averaged down to that: so neither the maps
    that are kept nor the comparison of their locations grows with the pictures.

    Raises:
        ConfigError: the image network has no map.
    """
    contents, name = cells.contents, cells.modality
    network, has = contents.network, contents.has(name)
    found: list[Tensor | None] = [None] * len(contents)
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append(output)

    hook = None
    if not isinstance(network, M2FN):
        hook = network.encoders[name].network.last_map.register_forward_hook(keep)  # type: ignore[union-attr]
    try:
        with torch.inference_mode():
            for row in np.flatnonzero(has).tolist():
                tiled = cells.tiled(row)
                if tiled is not None:
                    # The hook would see the map of each tile, with its margin.
                    found[row] = _kept(tiled.feature_map(), side)
                    continue
                chosen = torch.tensor([row], device=contents.device)
                inputs = Inputs(size=1, modalities={name: contents.read(name, chosen)})
                seen.clear()
                output = network.encode(name, inputs)
                last = seen[-1] if seen else output
                if last.dim() != 4:
                    raise ConfigError(
                        "the image network gives a sequence, not a map, so locations of two "
                        "pictures cannot be compared; leave image out"
                    )
                found[row] = _kept(last[0], side)
    finally:
        if hook is not None:
            hook.remove()
    return found


def _kept(map_CHW: Tensor, side: int) -> Tensor:
    height, width = map_CHW.shape[1:]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    return functional.adaptive_avg_pool2d(map_CHW, size).half().cpu()


def _grid(side: tuple[int, ...], cells: int) -> tuple[int, int]:
    """Cells down and across for a picture of height and width `side`; square as far as possible."""
    longer = max(side)
    down, across = (max(1, min(length, round(cells * length / longer))) for length in side)
    return down, across


def _labels(side: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
    """The cell of each pixel [H, W], row by row."""
    down, across = (_cell_of(length, cells) for length, cells in zip(side, grid))
    return down.unsqueeze(1) * grid[1] + across


def _cell_of(length: int, cells: int) -> Tensor:
    """The cell of each pixel along a side, int64 [length]."""
    return torch.arange(length) * cells // length


def _of_equal_size(shapes: Sequence[Any]) -> list[np.ndarray]:
    """Positions of the pictures of each size and grid."""
    groups: dict[Any, list[int]] = {}
    for position, shape in enumerate(shapes):
        groups.setdefault(tuple(shape), []).append(position)
    return [np.array(group) for group in groups.values()]
