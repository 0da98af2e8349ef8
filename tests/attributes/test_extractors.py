"""What every extractor promises."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from transformers import AutoModel

from ni_platform.data.attributes.dominant_colour import DominantColour
from ni_platform.data.attributes.extractor import Unreadable
from ni_platform.data.attributes.ocr import Ocr
from ni_platform.errors import ConfigError, WeightsError
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.text_embedding import TextEmbedding
from tests.attributes.drawn import banner, plain
from tests.tiny_bert import save_bert

PICTURES = [banner("Free tea"), plain("red"), plain("blue")]
TEXTS = [b"free shoes", b"today", "free café".encode()]


def bert(folder, **config) -> TextEmbedding:
    """An extractor around a tiny BERT."""
    if not folder.exists():
        save_bert(folder)
    config = {"weights": str(folder), "pooling": "mean", "max_tokens": 16} | config
    return TextEmbedding(config=TextEncoderConfig(**config))


@pytest.fixture(params=["ocr", "dominant_colour", "text_embedding"])
def extractor_and_items(request, tmp_path):
    """Each extractor with three items of different value."""
    if request.param == "text_embedding":
        return bert(tmp_path / "bert"), TEXTS
    return {"ocr": Ocr(), "dominant_colour": DominantColour()}[request.param], PICTURES


def same(value, other) -> bool:
    """Whether two values are equal, vectors to rounding."""
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and np.allclose(value, other, atol=1e-6)
    return value == other


def test_a_value_belongs_to_its_bytes(extractor_and_items):
    """Values keep the order of items, and are the same alone, repeated and in a copy elsewhere."""
    extractor, items = extractor_and_items
    values = extractor.extract(items)
    copied = pickle.loads(pickle.dumps(extractor))
    assert (copied.name, copied.version) == (extractor.name, extractor.version)
    again = copied.extract([items[2], items[0], items[2]])
    assert all(map(same, again, [values[2], values[0], values[2]]))
    assert not same(values[0], values[2])


@pytest.mark.parametrize("extractor", [Ocr(), DominantColour()], ids=lambda e: e.name)
def test_what_is_no_picture_is_unreadable_and_the_others_are_read(extractor):
    """A page, an empty file and half a picture get reasons; the picture between has its value."""
    good = PICTURES[0]
    found = extractor.extract([b"<html>404</html>", good, b"", good[: len(good) // 2]])
    assert [isinstance(value, Unreadable) for value in found] == [True, False, True, True]
    assert found[1] == extractor.extract([good])[0]
    assert "corrupt or of an unknown format" in found[0].reason
    assert "0x" not in found[0].reason


def test_a_version_names_settings():
    """Other settings are another version."""
    assert Ocr(shorter_side=400).version != Ocr().version
    assert DominantColour(clusters=4).version != DominantColour().version


def test_embeddings_are_the_encoders(tmp_path):
    """Mean pooling over a text's own tokens equals transformers' states averaged by hand."""
    extractor = bert(tmp_path / "bert")
    model = AutoModel.from_pretrained(tmp_path / "bert").eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([[2, 4, 5, 3]])).last_hidden_state[0]
    first, _ = extractor.extract([b"free shoes", b"free free free free free free today"])
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, states.mean(0).numpy(), atol=1e-6)
    (token,) = bert(tmp_path / "bert", pooling="cls").extract([b"free shoes"])
    np.testing.assert_allclose(token, states[0].numpy(), atol=1e-6)


def test_an_embeddings_version_follows_the_weights_and_not_their_name(tmp_path):
    """A copy elsewhere has the same version; other weights, pooling or length have another."""
    save_bert(tmp_path / "a")
    save_bert(tmp_path / "b")
    version = bert(tmp_path / "a").version
    assert bert(tmp_path / "b").version == version
    path = tmp_path / "b" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    versions = [
        bert(tmp_path / "b").version,
        bert(tmp_path / "a", pooling="cls").version,
        bert(tmp_path / "a", max_tokens=8).version,
    ]
    assert len({version, *versions}) == 4


def test_weights_that_cannot_be_used_are_told(tmp_path):
    """A folder that does not exist and an encoder without weights are errors with a remedy."""
    missing = TextEmbedding(config=TextEncoderConfig(weights=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match="no such folder"):
        _ = missing.version
    with pytest.raises(ConfigError, match="pretrained weights"):
        TextEmbedding(config=TextEncoderConfig(architecture="scratch"))
