"""Raw cells to tensors."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.images import ImageInput
from ni_platform.errors import ConfigError, DatasetError, ImageError
from ni_platform.models.encoders.tokenization import TextTokenizer
from ni_platform.models.inputs import InputEncoder
from ni_platform.models.modalities.attributes import AttributesEncoderConfig, AttributesReader
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig, ImageReader
from ni_platform.models.modalities.modality import category
from ni_platform.models.modalities.text import (
    ScratchTransformerConfig,
    TextEncoderConfig,
    TextReader,
)

ALL = {
    "image": ImageEncoderConfig(input=ImageInput(size=32)),
    "text": TextEncoderConfig(
        architecture="scratch", weights=None, scratch=ScratchTransformerConfig(vocabulary=300)
    ),
    "domain": DomainEncoderConfig(buckets=16),
    "attributes": AttributesEncoderConfig(),
}


def tokenizer() -> TextTokenizer:
    """A vocabulary of ten words."""
    texts = ["free shoes today", "new summer sale", "best secret for you"]
    return TextTokenizer.train(texts, vocabulary_size=300, max_tokens=12)


def pictures(size: int | None = 32) -> InputEncoder:
    """An input encoder of the column `image` for squares of `size`."""
    return InputEncoder({"image": ImageReader(column="image", input=ImageInput(size=size))})


def texts(*columns: str) -> InputEncoder:
    """An input encoder of text columns."""
    return InputEncoder({"text": TextReader(columns=columns, tokenizer=tokenizer())})


def picture(width: int, height: int) -> bytes:
    """A PNG whose red is the column and whose green is the row of each pixel."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def test_schema_is_fitted_on_training_rows(dataset: Dataset):
    """Levels, mean and spread are those of the given rows alone."""
    rows = np.array([0, 3, 5, 8])
    readers = InputEncoder.fit(ALL, dataset, rows).readers
    frame = dataset.contents.iloc[rows]
    assert readers["text"].columns == ("title", "description")
    attributes = readers["attributes"]
    assert attributes.categorical == (("weekday", tuple(sorted(set(frame["weekday"])))),)
    (name, mean, std), = attributes.numeric  # fmt: skip
    assert name == "price"
    assert mean == pytest.approx(frame["price"].mean())
    assert std == pytest.approx(frame["price"].std(ddof=0))


def test_schema_of_absent_modality(dataset: Dataset):
    """A model that reads what the dataset does not declare is refused, with what it declares."""
    columns = dataset.manifest.columns
    object.__setattr__(columns, "domain", None)
    with pytest.raises(ConfigError, match=r"reads domain.*\(its inputs: title, desc.*, image\)"):
        InputEncoder.fit(ALL, dataset, [0, 1])


def test_attributes_by_hand():
    """One-hot levels, standardised numbers; nulls and unknown levels are zeros."""
    attributes = AttributesReader(
        categorical=(("day", ("mon", "tue")), ("age", ("3", "7"))), numeric=(("price", 10.0, 2.0),)
    )
    frame = pd.DataFrame(
        {
            "day": ["tue", "fri", None, None],
            "age": [3.0, 7.0, np.nan, np.nan],
            "price": [14.0, np.nan, 9.0, np.nan],
        }
    )
    inputs = InputEncoder({"attributes": attributes}).encode(frame)
    assert inputs.modalities["attributes"].tensors[0].tolist() == [
        [0, 1, 1, 0, 2.0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, -0.5],
        [0, 0, 0, 0, 0],
    ]
    assert inputs.modalities["attributes"].present_B.tolist() == [True, True, True, False]
    assert set(inputs.modalities) == {"attributes"}


@pytest.mark.parametrize(
    ("cell", "level"),
    [
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (True, "true"),
        ("3.0", "3"),
        (" a ", "a"),
        ("", None),
        (None, None),
    ],
)
def test_levels_of_cells(cell, level):
    """The level of a cell does not depend on how pandas happens to store the column."""
    assert category(cell) == level


def test_constant_number_is_harmless(dataset: Dataset):
    """A numeric column without any spread encodes as zero, not as nan."""
    dataset.contents["price"] = 0.1
    parts = {"attributes": AttributesEncoderConfig()}
    inputs = InputEncoder.fit(parts, dataset, range(10)).encode(dataset.inputs())
    assert inputs.modalities["attributes"].tensors[0][:, -1].abs().max() < 1e-6


def test_texts_of_a_content_are_joined():
    """Several text columns become one sequence with a separator; blanks are missing."""
    frame = pd.DataFrame(
        {"title": ["free shoes", None, " "], "lede": ["new sale", "today", None]}, dtype=object
    )
    inputs = texts("title", "lede").encode(frame)
    alone = [tokenizer().tokenizer.encode(text).ids for text in ("free shoes", "new sale", "today")]
    rows = [row[mask == 1].tolist() for row, mask in zip(*inputs.modalities["text"].tensors)]
    assert rows == [alone[0] + alone[1][1:], alone[2], alone[0][:1] + alone[0][-1:]]
    assert inputs.modalities["text"].present_B.tolist() == [True, True, False]


def test_long_texts_are_cut():
    """No text has more than max_tokens tokens, and its last token is the separator."""
    inputs = texts("title").encode(pd.DataFrame({"title": ["free shoes " * 50]}))
    assert inputs.modalities["text"].tensors[0].shape == (1, 12)
    assert inputs.modalities["text"].tensors[0][0, -1] == tokenizer().tokenizer.token_to_id("[SEP]")


def test_pictures_are_squares():
    """Bytes and paths become uint8 RGB of the given size; a null cell is black and absent."""
    inputs = pictures().encode(pd.DataFrame({"image": [picture(64, 48), None]}, dtype=object))
    (pixels,) = inputs.modalities["image"].tensors
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert inputs.modalities["image"].present_B.tolist() == [True, False]
    assert not inputs.modalities["image"].complete
    assert not pixels[1].any()
    left, right = pixels[0, 0, 5, 0], pixels[0, 0, 5, -1]
    assert left < 3
    assert right > 60


def test_native_size():
    """With size None every picture keeps its pixels."""
    inputs = pictures(None).encode(pd.DataFrame({"image": [picture(20, 30), picture(50, 10)]}))
    (pixels,) = inputs.modalities["image"].tensors
    assert inputs.modalities["image"].complete
    assert [tuple(image.shape) for image in pixels] == [(3, 30, 20), (3, 10, 50)]
    assert pixels[1][0, 3].tolist() == list(range(50))
    assert pixels[0][1, :, 3].tolist() == list(range(30))


def test_random_crops_follow_the_generator():
    """A crop is a patch of the picture, the same for the same generator state, else another."""
    inputs_of = pictures(None)
    frame = pd.DataFrame({"image": [picture(100, 90), picture(80, 120)]})
    first, again, other = (
        inputs_of.encode(frame, crop=16, rng=np.random.default_rng(seed))
        .modalities["image"]
        .tensors[0]
        for seed in (1, 1, 2)
    )
    assert first.shape == (2, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for patch in first:
        left, top = int(patch[0, 0, 0]), int(patch[1, 0, 0])
        assert patch[0, 0].tolist() == list(range(left, left + 16))
        assert patch[1, :, 0].tolist() == list(range(top, top + 16))


def test_small_pictures_are_scaled_up_to_the_crop():
    """A picture smaller than the crop fills it."""
    inputs = pictures(None).encode(
        pd.DataFrame({"image": [picture(30, 20)]}), crop=40, rng=np.random.default_rng(0)
    )
    assert inputs.modalities["image"].tensors[0].shape == (1, 3, 40, 40)


def test_crop_beyond_the_size():
    """A crop larger than the resized picture is refused."""
    with pytest.raises(ConfigError, match=r"at most image.input.size = 32"):
        pictures().encode(pd.DataFrame({"image": [None]}), crop=64)


def test_missing_column():
    """A table without a column that the model reads is refused, naming the nearest."""
    with pytest.raises(DatasetError, match=r"'title'.*'titel'"):
        texts("title").encode(pd.DataFrame({"titel": ["a"]}))


def test_number_that_is_none():
    """A numeric cell that is no number is refused, naming the column."""
    price = AttributesReader(numeric=(("price", 0.0, 1.0),))
    with pytest.raises(DatasetError, match=r"'price'.*declare the column categorical"):
        InputEncoder({"attributes": price}).encode(pd.DataFrame({"price": ["cheap"]}))


def test_missing_picture(tmp_path):
    """A path without a file is an error, not a black picture."""
    with pytest.raises(ImageError, match="nowhere"):
        pictures().encode(pd.DataFrame({"image": [str(tmp_path / "nowhere.png")]}))


def test_encoding_from_many_threads(dataset: Dataset):
    """Threads that encode at the same time get what one thread gets."""
    inputs_of = InputEncoder.fit(ALL, dataset, range(len(dataset)))
    frame = dataset.inputs()
    expected = inputs_of.encode(frame)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: inputs_of.encode(frame), range(24)))
    for result in results:
        assert set(result.modalities) == set(ALL)
        for name, read in expected.modalities.items():
            for mine, its in zip(result.modalities[name].tensors, read.tensors, strict=True):
                assert torch.equal(mine, its)


def test_vocabulary_is_reproducible():
    """The same texts give the same vocabulary."""
    texts = [f"word{i} other{i % 7} thing" for i in range(200)]
    first, second = (TextTokenizer.train(texts, 300, 16) for _ in range(2))
    assert first.tokenizer.to_str() == second.tokenizer.to_str()
    assert first.vocabulary_size <= 300


def test_tokenizer_round_trip(tmp_path):
    """A saved tokenizer gives the same tokens."""
    original = tokenizer()
    original.save(tmp_path)
    texts = ["free summer shoes", "", "unheard-of"]
    for mine, loaded in zip(original.encode(texts), TextTokenizer.load(tmp_path).encode(texts)):
        assert torch.equal(mine, loaded)
