"""The text embedded in a picture (M2FN Section 6.3.2's OCR attribute), read by RapidOCR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ni_platform.data.attributes.extractor import Unreadable, Value, of_each_picture
from ni_platform.errors import ConfigError

_LEAST_SIDE = 32
"""Pixels; the step of the detector's grid."""


@dataclass(frozen=True, kw_only=True)
class Ocr:
    """Reads Latin and Chinese text with the PP-OCR models that come with RapidOCR."""

    shorter_side: int = 320
    """Pixels; text is looked for at this size at least. RapidOCR's own 736 takes four times as
    long on thumbnails and reads hardly more."""
    longer_side: int = 1280
    """Pixels; larger pictures are scaled down to it."""
    least_confidence: float = 0.5
    """Of a line; less certain ones are left out."""

    def __post_init__(self) -> None:
        if not _LEAST_SIDE <= self.shorter_side <= self.longer_side:
            raise ConfigError(
                f"{_LEAST_SIDE} <= shorter_side <= longer_side must hold, but got "
                f"{self.shorter_side} and {self.longer_side}."
            )

    @property
    def name(self) -> str:
        """What is extracted."""
        return "ocr"

    @property
    def version(self) -> str:
        """Of the method below, of RapidOCR with the models that it carries, and the settings."""
        return f"1, rapidocr {version('rapidocr')}, {self}"

    def extract(self, items: Sequence[bytes]) -> list[Value | Unreadable]:
        """Lines of each picture from top to bottom, joined by spaces; None without any."""
        return of_each_picture(items, self._text)

    def _text(self, picture: Image.Image) -> str | None:
        side = self.longer_side
        picture.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
        if min(picture.size) < _LEAST_SIDE:  # RapidOCR fails on a line of pixels
            picture = ImageOps.expand(picture, border=_LEAST_SIDE, fill="white")
        pixels_HW3 = np.ascontiguousarray(np.asarray(picture)[..., ::-1])  # blue first
        lines = _engine(self)(pixels_HW3).txts or ()
        return " ".join(" ".join(lines).split()) or None


@lru_cache(maxsize=2)
def _engine(config: Ocr) -> Any:
    import cv2
    from rapidocr import RapidOCR

    # Pictures are read side by side, a process per processor: more threads would be in the way.
    cv2.setNumThreads(1)
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": config.longer_side + 2 * _LEAST_SIDE,
            "Global.text_score": config.least_confidence,
            "Det.limit_side_len": config.shorter_side,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
