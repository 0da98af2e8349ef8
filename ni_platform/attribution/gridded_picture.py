"""One picture, the cells of a grid over it, and the network that reads it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ni_platform.models.encoders.image import ImageEncoder
from ni_platform.models.encoders.preactivation_resnet import PreactivationResNet
from ni_platform.narrowing import of_kind


@dataclass(frozen=True)
class GriddedPicture:
    """A picture of H x W pixels under a grid, as NI Table 3's network reads it."""

    encoder: ImageEncoder
    """In evaluation mode; `tiling.can_tile` holds of its network."""
    image_3HW: Tensor
    """uint8 RGB."""
    cells: tuple[Tensor, Tensor]
    """The row of cells that each row of pixels is in, int64 [H], and the column of cells of each
    column of pixels [W]."""

    @property
    def network(self) -> PreactivationResNet:
        """The encoder's."""
        return of_kind(self.encoder.network, PreactivationResNet)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells down and across."""
        down, across = self.cells
        return int(down.max()) + 1, int(across.max()) + 1
