"""Raw rows of a dataset to the tensors that a model reads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.data.images import ImageInput, decode, pixel_count
from ni_platform.data.manifest import nearest
from ni_platform.data.reading.labels import is_null
from ni_platform.data.vectors import stacked
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.encoders.domain import domain_counts
from ni_platform.models.encoders.tokenization import TextTokenizer
from ni_platform.models.input_schema import InputSchema, category, joined_texts, numbers
from ni_platform.narrowing import given

_PLACEHOLDER_SIDE = 32
"""Side of the black picture that stands for a missing one of native size."""


class InputEncoder:
    """Turns tables of raw cells into `Inputs`; several threads may call it at once."""

    def __init__(
        self,
        schema: InputSchema,
        image: ImageInput,
        tokenizer: TextTokenizer | None,
        domain_buckets: int,
        *,
        separate_texts: bool = False,
    ) -> None:
        """Hold what encoding needs.

        Args:
            schema: columns to read.
            image: how pictures are read.
            tokenizer: of the text encoder; needed if the schema has text columns.
            domain_buckets: K, width of the domain's hashed counts.
            separate_texts: text columns are tokenized one by one, not joined to one text.
        """
        if schema.text and tokenizer is None:
            raise ValueError("a schema with text columns needs a tokenizer")
        self.schema = schema
        self.image = image
        self.tokenizer = tokenizer
        self.domain_buckets = domain_buckets
        self.separate_texts = separate_texts
        self._positions = [
            {level: position for position, level in enumerate(levels)}
            for _, levels in schema.categorical
        ]

    def encode(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> Inputs:
        """Encode the rows of `frame`, whose columns are named as in the dataset.

        Args:
            frame: image cells are paths, s3:// URIs or encoded bytes; a null cell, or a blank
                text, is a missing value.
            crop: side of a square cut out of each picture (after `image.size`), for
                pretraining; a smaller picture is first scaled up to it.
            rng: decides where to cut, from the centre if None.

        Raises:
            DatasetError: a column is missing, a numeric cell is not a number, or a vector has
                another length than those that the model was fitted to.
            ImageError: a picture is missing, corrupt or too large.
        """
        self._check(frame, crop)
        found: dict[str, ModalityInputs] = {}
        if self.schema.image is not None:
            found["image"] = self._images(frame[self.schema.image], crop, rng)
        if self.schema.text:
            found["text"] = self._texts(frame)
        if self.schema.domain is not None:
            found["domain"] = self._domains(frame[self.schema.domain])
        if self.schema.categorical or self.schema.numeric or self.schema.vector:
            found["attributes"] = self._attributes(frame)
        return Inputs(size=len(frame), modalities=found)

    def _check(self, frame: pd.DataFrame, crop: int | None) -> None:
        for column in self.schema.columns:
            if column not in frame.columns:
                hint = nearest(column, [str(name) for name in frame.columns])
                raise DatasetError(
                    f"The model reads the column {column!r}, but the table has none of that "
                    f"name{hint}. Add it; where the modality is missing, leave its cells null."
                )
        if crop is not None and self.image.size is not None and crop > self.image.size:
            raise ConfigError(
                f"image_crop must be at most image.input.size = {self.image.size}, but is {crop}. "
                "Lower it, or set image.input.size to None to cut from pictures of native size."
            )

    def _images(
        self, cells: pd.Series, crop: int | None, rng: np.random.Generator | None
    ) -> ModalityInputs:
        present = [not is_null(cell) for cell in cells]
        pictures = [self._picture(cell, crop, rng) for cell in cells]
        image_B3HW: Tensor | list[Tensor]
        if self.image.size is None and crop is None:
            image_B3HW = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
        else:
            # Height, width, channels in memory: the channels-last layout that convolutions like.
            image_B3HW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return _modality(torch.tensor(present), image_B3HW)

    def native_pixels(self, frame: pd.DataFrame) -> list[int]:
        """Pixels of the picture of each row that is read at its native size; 0 of the others.

        Raises:
            ImageError: a picture cannot be read.
        """
        if self.schema.image is None or self.image.size is not None:
            return [0] * len(frame)
        cells = frame[self.schema.image]
        return [0 if is_null(cell) else pixel_count(cell) for cell in cells]

    def _picture(self, cell: Any, crop: int | None, rng: np.random.Generator | None) -> np.ndarray:
        """uint8 [H, W, 3]; black for a null cell."""
        if is_null(cell):
            side = crop or self.image.size or _PLACEHOLDER_SIDE
            return np.zeros((side, side, 3), dtype=np.uint8)
        picture = decode(cell, max_pixels=self.image.max_pixels)
        if self.image.size is not None:
            square = (self.image.size, self.image.size)
            # The gap lets Pillow shrink by a cheap integer factor first.
            picture = picture.resize(square, Image.Resampling.BICUBIC, reducing_gap=3.0)
        if crop is not None:
            picture = _cropped(picture, crop, rng)
        return np.array(picture, dtype=np.uint8)

    def _texts(self, frame: pd.DataFrame) -> ModalityInputs:
        tokenizer = given(self.tokenizer)
        if self.separate_texts:
            columns = [list(joined_texts(frame, [name], " ")) for name in self.schema.text]
            texts = [text for row in zip(*columns) for text in row]
            tokens, mask = tokenizer.encode(texts)
            present_BC = torch.tensor([bool(text) for text in texts]).view(-1, len(columns))
            shape = (*present_BC.shape, tokens.shape[-1])
            mask_BCT = mask.view(shape) * present_BC.unsqueeze(2)
            return _modality(present_BC.any(1), tokens.view(shape), mask_BCT)
        texts = list(joined_texts(frame, self.schema.text, tokenizer.separator))
        tokens_BT, token_mask_BT = tokenizer.encode(texts)
        return _modality(torch.tensor([bool(text) for text in texts]), tokens_BT, token_mask_BT)

    def _domains(self, cells: pd.Series) -> ModalityInputs:
        counts_BK = np.zeros((len(cells), self.domain_buckets), dtype=np.float32)
        present_B = np.zeros(len(cells), dtype=bool)
        for row, cell in enumerate(cells):
            domain = category(cell)
            if domain is not None:
                counts_BK[row] = domain_counts(domain, self.domain_buckets)
                present_B[row] = True
        return _modality(torch.from_numpy(present_B), torch.from_numpy(counts_BK))

    def _attributes(self, frame: pd.DataFrame) -> ModalityInputs:
        encoded_BA = np.zeros((len(frame), self.schema.attributes_width), dtype=np.float32)
        present_B = np.zeros(len(frame), dtype=bool)
        start = 0
        for (column, levels), positions in zip(self.schema.categorical, self._positions):
            for row, cell in enumerate(frame[column]):
                level = category(cell)
                present_B[row] |= level is not None
                if level in positions:
                    encoded_BA[row, start + positions[level]] = 1
            start += len(levels)
        for column, mean, std in self.schema.numeric:
            values_B = numbers(frame, column)
            known_B = np.isfinite(values_B)
            present_B |= known_B
            # A missing number is the mean, which is 0.
            encoded_BA[known_B, start] = (values_B[known_B] - mean) / std
            start += 1
        for column, width, mean, std in self.schema.vector:
            values_BW, known_B = stacked(frame[column], width=width)
            present_B |= known_B
            encoded_BA[known_B, start : start + width] = (values_BW[known_B] - mean) / std
            start += width
        return _modality(torch.from_numpy(present_B), torch.from_numpy(encoded_BA))


def _modality(present_B: Tensor, *tensors: Tensor | list[Tensor]) -> ModalityInputs:
    complete = bool(present_B.all())
    return ModalityInputs(tensors=tensors, present_B=present_B, complete=complete)


def _cropped(picture: Image.Image, side: int, rng: np.random.Generator | None) -> Image.Image:
    if min(picture.size) < side:
        scale = side / min(picture.size)
        larger = (math.ceil(picture.width * scale), math.ceil(picture.height * scale))
        picture = picture.resize(larger, Image.Resampling.BICUBIC)
    spare_x, spare_y = picture.width - side, picture.height - side
    if rng is None:
        left, top = spare_x // 2, spare_y // 2
    else:
        left, top = int(rng.integers(spare_x + 1)), int(rng.integers(spare_y + 1))
    return picture.crop((left, top, left + side, top + side))
