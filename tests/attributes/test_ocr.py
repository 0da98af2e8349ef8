"""Words drawn into pictures are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ni_platform.data.attributes.ocr import Ocr
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError
from tests.attributes.drawn import banner, encoded, plain


def read(*pictures: bytes) -> list:
    """The texts of pictures."""
    return Ocr().extract(pictures)


def test_drawn_words_are_read_from_top_to_bottom():
    """Two lines come back in order, joined by a space."""
    (text,) = read(banner("Summer sale today", "50% off all shoes"))
    assert text.lower().replace(" ", "") == "summersaletoday50%offallshoes"


def test_a_large_picture_is_read():
    """A picture beyond the largest side is scaled down and still read."""
    small = Image.open(io.BytesIO(banner("Free returns")))
    (text,) = read(encoded(small.resize((2880, 1600))))
    assert text.lower().replace(" ", "") == "freereturns"


@pytest.mark.parametrize(
    "data",
    [
        plain("white", size=(300, 200)),
        plain("red", size=(1, 1)),
        plain("blue", size=(2000, 2)),
        plain("green", size=(2, 2000)),
        plain(128, mode="L"),
        plain((0, 0, 0, 0), mode="RGBA"),
    ],
    ids=["white", "one pixel", "a line", "a column", "grey levels", "transparent"],
)
def test_a_picture_without_words_has_none(data):
    """Nothing is read where nothing is written, whatever the picture's shape."""
    assert read(data) == [None]


def test_banners_of_the_generator_are_read(tmp_path):
    """The label of the button, drawn into every planted banner, is read from most of them."""
    dataset = make_synthetic(tmp_path / "data", tests=4, image_size=256)
    uris = list(dict.fromkeys(uri for uri in dataset.image_uri if uri))[:6]
    texts = read(*(Path(uri).read_bytes() for uri in uris))
    found = [bool(text) and "shopnow" in text.lower().replace(" ", "") for text in texts]
    assert np.mean(found) >= 0.5


def test_sizes_must_make_sense():
    """A shorter side above the longer one is refused with both."""
    with pytest.raises(ConfigError, match="900 and 640"):
        Ocr(shorter_side=900, longer_side=640)
