"""What an extractor of attributes is: bytes of a picture or text in, one value out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from ni_platform.data.images import decode
from ni_platform.errors import ImageError

Value = str | np.ndarray | None
"""Text, a vector (float32 [D]), or None where there is nothing, such as a picture without text."""


@dataclass(frozen=True)
class Unreadable:
    """Stands in for a value where the bytes cannot be read."""

    reason: str


class Extractor(Protocol):
    """Computes one attribute; equal bytes have equal values for one name and version.

    Extractors of pictures are pickled into other processes, so that what is large is loaded on
    first use.
    """

    @property
    def name(self) -> str:
        """What is extracted."""

    @property
    def version(self) -> str:
        """Changes whenever the values might: library, weights and settings."""

    def extract(self, items: Sequence[bytes]) -> list[Value | Unreadable]:
        """One value per item, in order; never raises for what is wrong with an item."""


def of_each_picture(
    items: Sequence[bytes], value: Callable[[Image.Image], Value]
) -> list[Value | Unreadable]:
    """Apply `value` to each decoded picture; one that does not decode is `Unreadable`."""

    def safely(item: bytes) -> Value | Unreadable:
        try:
            picture = decode(item)
        except ImageError as error:
            return Unreadable(str(error))
        return value(picture)

    return [safely(item) for item in items]
