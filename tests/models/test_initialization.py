"""Initial weights of a part follow from the seed and its name, not from the other parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ni_platform.data.images import ImageInput
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.initialization import own_stream
from ni_platform.models.m2fn.image_network import ImageNetworkConfig
from ni_platform.models.m2fn.network import M2FN, HashedDomain, M2FNConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsights, NeuralInsightsConfig

TEXT = TextEncoderConfig(
    architecture="scratch",
    weights=None,
    max_tokens=12,
    scratch=ScratchTransformerConfig(vocabulary=60, layers=1, width=16, heads=2),
)
NI = NeuralInsightsConfig(
    image=ImageEncoderConfig(),
    text=TEXT,
    domain=DomainEncoderConfig(buckets=16, mlp=MLPConfig(hidden=(8,))),
    attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(8,))),
    regression=MLPConfig(hidden=(16,)),
)
FUSION = M2FNConfig(
    image=ImageNetworkConfig(architecture="table3", input=ImageInput(size=32)),
    text=TEXT,
    domain=HashedDomain(buckets=8),
    attention_width=8,
    high_level_width=8,
    head=(8,),
)


def build(config, seed=0, **options):
    """A network from a seed; 16 is the width of the text encoder, 32 that of Table 3's network."""
    torch.manual_seed(seed)
    kind = NeuralInsights if isinstance(config, NeuralInsightsConfig) else M2FN
    sizes = {
        "attributes": InputSize(width=3),
        "text": InputSize(vocabulary=60),
        "domain": InputSize(width=8),
    }
    return kind(config, sizes, **options).state_dict()


def different(first, second):
    """Parts that have other weights in `second`, of those that both have."""
    shared = [name for name in first if name in second]
    changed = [
        name
        for name in shared
        if first[name].shape != second[name].shape or not torch.equal(first[name], second[name])
    ]
    return {".".join(name.split(".")[: 2 if name.startswith("enc") else 1]) for name in changed}


@pytest.mark.parametrize(
    ("config", "encoded"),
    [(NI, {"image": 32, "text": 16}), (replace(FUSION, low_level=(False,) * 5), {"image": 32})],
)
def test_stand_ins_leave_the_other_weights(config, encoded):
    """A network without its frozen encoders has the other weights of the whole one, and no more."""
    whole, part = build(config), build(config, encoded=encoded)
    assert different(whole, part) == set()
    absent = {f"encoders.{name}" for name in encoded}
    assert {name for name in whole if ".".join(name.split(".")[:2]) not in absent} == set(part)


def test_a_part_keeps_its_weights_when_another_changes():
    """Without text, and with another head, only the parts whose inputs change start otherwise."""
    assert different(build(NI), build(replace(NI, text=None))) == {"regression"}
    assert different(build(FUSION), build(replace(FUSION, head=(12,)))) == {"head", "output"}


def test_parts_differ_from_each_other_and_by_seed():
    """Encoders of one shape have different weights, and every random weight follows the seed."""
    two = build(replace(NI, attributes=AttributesEncoderConfig(mlp=MLPConfig(hidden=(8, 8)))))
    other = build(replace(NI, domain=DomainEncoderConfig(buckets=3, mlp=MLPConfig(hidden=(8, 8)))))
    name = "layers.0.weight"
    assert two[f"encoders.attributes.{name}"].shape == other[f"encoders.domain.{name}"].shape
    assert not torch.equal(two[f"encoders.attributes.{name}"], other[f"encoders.domain.{name}"])
    assert different(build(NI, 0), build(NI, 1)) == {
        "encoders.image", "encoders.text", "encoders.domain", "encoders.attributes",
        "regression", "output",
    }  # fmt: skip


def test_the_stream_around_goes_on():
    """What is drawn after the block is what would have been drawn without it."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with own_stream("part"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    assert not torch.equal(inside, expected)


def test_low_level_fusion_refuses_an_encoded_image():
    """Its conditional batch normalization happens inside the image network."""
    with pytest.raises(ValueError, match="inside the image network"):
        build(FUSION, encoded={"image": 32})
