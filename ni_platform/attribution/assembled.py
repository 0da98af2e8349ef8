"""One picture without some cells of a grid, as often as one likes, from at most 16 readings of it.

A location of an early map of NI Table 3's network reads few pixels. As long as these lie in two
rows and two columns of cells at most, there are no more than 16 things that it can see, however
many cells the picture has: each of the four cells is there or not. The four differ in whether
their row and column are even or odd, so the picture is read with the cells of each of these
classes present or absent, 16 readings that hold everything any location can see. The map of the
picture without some cells is put together from them, and only the small maps behind it are computed
anew. Nothing is approximated.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from ni_platform.attribution.features import PIXELS_AT_ONCE, in_batches
from ni_platform.attribution.gridded_picture import GriddedPicture
from ni_platform.models.encoders.tiling import (
    ReceptiveField,
    Tile,
    is_large,
    location_sum,
    tiles_of,
)

ABLATION_READINGS = 5
"""The whole picture, and without the cells of each class: all that one cell less needs."""
_READINGS = 16
"""Every combination of the classes."""
_LOCATIONS = PIXELS_AT_ONCE // 4
"""Of the largest map that is put together at once: 16 of them take 256 MB."""


class AssembledPicture:
    """A picture put together without some of its cells, for any number of coalitions."""

    def __init__(self, picture: GriddedPicture, blocks: int) -> None:
        """Look what each location of the map after `blocks` residual blocks reads.

        That must be two rows and two columns of cells at most.
        """
        self._picture, self._blocks = picture, blocks
        field = ReceptiveField.of(picture.network, blocks)
        self._rows_2h, self._columns_2w = (_even_and_odd(side, field) for side in picture.cells)
        self._map_shape = self._rows_2h.shape[1], self._columns_2w.shape[1]

    @classmethod
    def of(cls, picture: GriddedPicture) -> AssembledPicture | None:
        """With the latest map that the cells allow; None where they are too small for any.

        Also None where that map, not being the last one, is too large to be kept 16 times.
        """
        blocks = _blocks_that_fit(picture)
        return cls(picture, blocks) if blocks > 0 else None

    def embeddings(self, present: np.ndarray) -> Tensor:
        """Embeddings [P, C] of the picture with only the `present` cells, bool [P, cells]."""
        device = self._picture.image_3HW.device
        kept_Prc = torch.as_tensor(present, dtype=torch.uint8, device=device)
        kept_Prc = kept_Prc.view(-1, *self._picture.grid)
        total_PC = torch.zeros(
            (len(present), self._picture.encoder.width), dtype=torch.float64, device=device
        )
        with torch.inference_mode():
            locations = sum(self._add(tile, kept_Prc, total_PC) for tile in self._tiles())
        return (total_PC / locations).float()

    def _tiles(self) -> list[Tile]:
        """Parts of the map that are put together one after the other.

        Where it is the last one, only its sum is asked for, so it goes tile by tile and pictures
        may have any size.
        """
        network, (height, width) = self._picture.network, self._picture.image_3HW.shape[1:]
        if self._blocks == len(network.blocks):
            return tiles_of(network, height, width)
        whole = (slice(0, self._map_shape[0]), slice(0, self._map_shape[1]))
        return [Tile((slice(0, height), slice(0, width)), owned=whole, inner=whole)]

    def _add(self, tile: Tile, kept_Prc: Tensor, total_PC: Tensor) -> int:
        """Add the locations of the last map that a tile leads to; return their number."""
        seen_Phw = self._seen(tile, kept_Prc)
        readings = torch.bincount(seen_Phw.flatten(), minlength=_READINGS).nonzero().flatten()
        position = torch.zeros(_READINGS, dtype=torch.int64, device=kept_Prc.device)
        position[readings] = torch.arange(len(readings), device=kept_Prc.device)
        # One row of channels per location and reading, so that a map is a list of rows.
        rows_XC = self._read(tile, readings).permute(2, 3, 0, 1).flatten(0, 2).contiguous()
        height, width = seen_Phw.shape[1:]
        first_hw = torch.arange(height * width, device=kept_Prc.device).view(height, width)
        locations = 0
        for part in in_batches(len(kept_Prc), max(1, PIXELS_AT_ONCE // (height * width))):
            chosen = first_hw * len(readings) + position[seen_Phw[part].long()]
            maps_Phwc = rows_XC.index_select(0, chosen.flatten()).unflatten(0, chosen.shape)
            last = self._picture.network.later_map(maps_Phwc.permute(0, 3, 1, 2), self._blocks)
            total_PC[part] += location_sum(last)
            locations = last.shape[2] * last.shape[3]
        return locations

    def _seen(self, tile: Tile, kept_Prc: Tensor) -> Tensor:
        """Which reading each location of the map that a tile owns sees, uint8 [P, h, w]."""
        total = torch.zeros((), dtype=torch.uint8, device=kept_Prc.device)
        rows_2h, columns_2w = self._rows_2h[:, tile.owned[0]], self._columns_2w[:, tile.owned[1]]
        for bit, (rows_h, columns_w) in enumerate(product(rows_2h, columns_2w)):
            total = total + (kept_Prc[:, rows_h][:, :, columns_w] << bit)
        return total

    def _read(self, tile: Tile, readings: Tensor) -> Tensor:
        """Maps [K, C, h, w] of what a tile reads, with the classes of cells that are bits of K."""
        picture = self._picture
        down, across = (side[pixels] for side, pixels in zip(picture.cells, tile.pixels))
        class_hw = (down % 2).unsqueeze(1) * 2 + across % 2
        kept_K1hw = ((readings.view(-1, 1, 1) >> class_hw) % 2).bool().unsqueeze(1)
        crop_13hw = tile.crop(picture.image_3HW)
        maps = []
        for part in in_batches(len(readings), max(1, PIXELS_AT_ONCE // class_hw.numel())):
            masked = torch.where(kept_K1hw[part], crop_13hw, picture.encoder.mean_311)
            read = picture.encoder.normalize(masked)
            maps.append(tile.cut(picture.network.early_map(read, self._blocks)))
        return torch.cat(maps)


def _blocks_that_fit(picture: GriddedPicture) -> int:
    """Most blocks after which every location reads two rows and two columns of cells at most."""
    last_map = len(picture.network.blocks)
    for blocks in range(last_map, 0, -1):
        field = ReceptiveField.of(picture.network, blocks)
        read = [_first_and_last(side, field) for side in picture.cells]
        if all(int((last - first).max()) <= 1 for first, last in read):
            locations = len(read[0][0]) * len(read[1][0])
            at_once = locations <= _LOCATIONS and not is_large(*picture.image_3HW.shape[1:])
            return blocks if at_once or blocks == last_map else 0
    return 0


def _first_and_last(cells: Tensor, field: ReceptiveField) -> tuple[Tensor, Tensor]:
    """Along one side, the first and the last cell that each location reads, int64 [h] each."""
    centre = torch.arange(0, len(cells), field.stride, device=cells.device)
    return (
        cells[(centre - field.before).clamp(min=0)],
        cells[(centre + field.after).clamp(max=len(cells) - 1)],
    )


def _even_and_odd(cells: Tensor, field: ReceptiveField) -> Tensor:
    """Along one side, the even and the odd cell that each location reads, int64 [2, h].

    Where it reads but one, a neighbour stands for the other, whatever it is: so without one cell
    of the picture, no location sees more than one cell missing.
    """
    first, last = _first_and_last(cells, field)
    neighbour = torch.where(first < cells.max(), first + 1, first - 1).clamp(min=0)
    second = torch.where(first < last, last, neighbour)
    return torch.stack([torch.where(first % 2 == parity, first, second) for parity in (0, 1)])
