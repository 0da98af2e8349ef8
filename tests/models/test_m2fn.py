"""M2FN against Table 3's counts, arithmetic done plainly, and the registry of regressors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import ResNetConfig, ResNetModel

from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import ImageInput
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import ConfigError, WeightsError
from ni_platform.experiment_config import load_experiment
from ni_platform.models.encoders.pretrained import load_torch_state
from ni_platform.models.m2fn.image_network import ImageNetworkConfig, image_network
from ni_platform.models.m2fn.network import M2FN, M2FNConfig, OneHotAttributes
from ni_platform.models.m2fn.steps import ConditionalBatchNorm, HighLevelFusion, SpatialAttention
from ni_platform.models.m2fn.vgg import VGG
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.overrides import set_values

AUX = 6
SMALL = M2FNConfig(
    image=ImageNetworkConfig(input=ImageInput(size=64)),
    attributes=OneHotAttributes(),
    low_level_width=8,
    attention_width=8,
    high_level_width=8,
    head=(16, 16),
    dropout=0.0,
)
OFF = {"low_level": (False,) * 5, "attention": None, "high_level": False}


def inputs(contents: int = 4, seed: int = 0) -> Inputs:
    """Random pictures of 64 pixels and six attributes."""
    draw = torch.Generator().manual_seed(seed)
    present_B = torch.ones(contents, dtype=torch.bool)
    pixels = torch.randint(0, 256, (contents, 3, 64, 64), generator=draw).to(torch.uint8)
    attributes = torch.randn(contents, AUX, generator=draw)
    return Inputs(
        size=contents,
        modalities={
            "image": ModalityInputs(tensors=(pixels,), present_B=present_B),
            "attributes": ModalityInputs(tensors=(attributes,), present_B=present_B),
        },
    )


def with_picture(batch: Inputs, **changes: Any) -> Inputs:
    """The same inputs with another picture, or with none where it is not present."""
    return batch.with_modality("image", replace(batch.modalities["image"], **changes))


def network(config: M2FNConfig = SMALL) -> M2FN:
    """A seeded network, in evaluation."""
    torch.manual_seed(0)
    return M2FN(config, {"attributes": InputSize(width=AUX)}, initial_rate=0.02).eval()


def test_parameters_are_those_of_table_3():
    """Counts worked out from Table 3's shapes; VGG-19's are torchvision's, not the table's."""
    with torch.device("meta"):
        published = M2FN(
            M2FNConfig(attributes=OneHotAttributes()), {"attributes": InputSize(width=2385)}
        )
    counts = dict(published.parameter_table())

    conditional = 2385 * 512 + 512 + 512 * 256 + 256 + 256 * 64 + 64
    assert counts == {
        "CBN 0 scale": conditional,
        "CBN 0 shift": conditional,
        "vgg19 without classifier": 20_024_384,
        "attention": (25088 + 2385) * 512 + 512 + 512 * 49 + 49,
        "high-level fusion, image": 25088 * 512 + 512,
        "high-level fusion, aux": 2385 * 512 + 512,
        "fully connected layers": 512 * 4096 + 4096 + 4096 * 4096 + 4096,
        "output": 4097,
    }
    printed = {"attention": 14e6, "high-level fusion, image": 13e6, "fully connected layers": 19e6}
    for layer, millions in printed.items():
        assert counts[layer] == pytest.approx(millions, rel=0.03)
    assert sum(counts.values()) == sum(p.numel() for p in published.parameters())


def test_vgg_has_torchvisions_keys(tmp_path):
    """Sixteen convolutions where torchvision has them; only its file loads."""
    places = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    vgg = VGG(19)
    assert list(vgg.state_dict()) == [
        f"features.{place}.{kind}" for place in places for kind in ("weight", "bias")
    ]
    assert vgg.points == (0, 5, 10, 19, 28)

    state = {name: torch.full_like(value, 0.5) for name, value in vgg.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg19.pth")
    load_torch_state(vgg, str(tmp_path / "vgg19.pth"))
    assert all(torch.equal(vgg.state_dict()[name], value) for name, value in state.items())

    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth"):
        load_torch_state(vgg, str(tmp_path / "other.pth"))


def test_conditional_batch_norm():
    """It starts as batch normalization; then scale and shift are what the two networks say."""
    torch.manual_seed(1)
    norm = ConditionalBatchNorm(3, AUX, 5)
    x, aux = torch.randn(4, 3, 2, 2), torch.randn(4, AUX)
    plain = functional.batch_norm(x, None, None, training=True)
    assert torch.allclose(norm(x, aux), plain, atol=1e-6)

    for part in (norm.scale, norm.shift):
        nn.init.normal_(part[-1].weight)
    scale, shift = 1 + norm.scale(aux), norm.shift(aux)
    expected = plain * scale[:, :, None, None] + shift[:, :, None, None]
    assert torch.allclose(norm(x, aux), expected, atol=1e-5)


@pytest.mark.parametrize("reading", ["flattened", "per_location"])
def test_attention_as_section_5_2_writes_it(reading):
    """The auxiliary tensor replicated and stacked, a perceptron, softmax over locations."""
    torch.manual_seed(2)
    attention = SpatialAttention(3, 4, AUX, 5, reading)
    x, aux = torch.randn(2, 3, 2, 2), torch.randn(2, AUX)
    if reading == "flattened":
        stack = torch.cat([x.flatten(1), aux], dim=1)
        score = attention.score(torch.relu(attention.embed(stack)))
    else:
        replicated = aux[:, :, None, None].expand(-1, -1, 2, 2)
        stack = torch.cat([x, replicated], dim=1).permute(0, 2, 3, 1)
        score = attention.score(torch.relu(attention.embed(stack))).flatten(1)
    alpha = score.exp() / score.exp().sum(1, keepdim=True)

    assert torch.allclose(attention.weights(x, aux).flatten(1), alpha, atol=1e-6)
    expected = x * alpha.view(2, 1, 2, 2)
    assert torch.allclose(attention(x, aux), expected, atol=1e-6)


def test_high_level_fusion():
    """Element-wise product of two tanh."""
    fusion = HighLevelFusion(7, AUX, 5)
    image, aux = torch.randn(2, 7), torch.randn(2, AUX)
    expected = (image @ fusion.image.weight.T + fusion.image.bias).tanh()
    expected = expected * (aux @ fusion.aux.weight.T + fusion.aux.bias).tanh()
    assert torch.allclose(fusion(image, aux), expected, atol=1e-6)


@pytest.mark.parametrize(
    "modules",
    [
        OFF | {"attributes": None},
        OFF,
        OFF | {"low_level": (True, False, False, False, False)},
        OFF | {"low_level": (True,) * 5, "attention": "per_location"},
        OFF | {"high_level": True},
        {},
    ],
)
def test_modules_are_switched_one_by_one(modules):
    """Every row of Tables 6 and 7 trains all its weights and reads aux only if it has it."""
    model = network(replace(SMALL, **modules)).train()
    batch = inputs()
    model(batch).sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []

    model.eval()
    for module in model.modules():
        if isinstance(module, ConditionalBatchNorm):  # not at its start, which ignores aux
            nn.init.normal_(module.scale[-1].weight, std=0.1)
    read = batch.modalities["attributes"]
    changed = batch.with_modality("attributes", replace(read, tensors=(read.tensors[0] + 1,)))
    reads_aux = not torch.equal(model(batch), model(changed))
    assert reads_aux == (modules.get("attributes", True) is not None)


def test_a_missing_picture_is_zeros():
    """A content without picture is scored as one whose normalised pixels are zero."""
    model, batch = network(), inputs()
    without = with_picture(batch, present_B=torch.tensor([True, False, True, True]))
    # Pixels are whole numbers, so the mean itself is used for the comparison.
    grey = batch.modalities["image"].tensors[0].float().clone()
    grey[1] = model.encoders["image"].mean_311
    assert torch.allclose(model(without), model(with_picture(batch, tensors=(grey,))), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": None}, "fuse auxiliary attributes"),
        ({"image": None}, "reads a picture"),
        ({"head": (0,)}, "positive"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_configs_that_make_no_network(changes, message):
    """Each contradiction is one message."""
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **changes)
    with pytest.raises(ConfigError, match="32 divides"):
        ImageNetworkConfig(input=ImageInput(size=100))
    with pytest.raises(ConfigError, match="trained as a whole"):
        network().stage("image")


@pytest.mark.parametrize(
    ("architecture", "millions", "channels"),
    [
        # Published counts (torchvision's, in millions) less the classifier of 1000 classes.
        ("vgg16", 138.357544 - 123.642856, (64, 128, 256, 512, 512)),
        ("vgg19_bn", 143.678248 - 123.642856, (64, 128, 256, 512, 512)),
        ("resnet18", 11.689512 - 0.513, (64, 64, 128, 256, 512)),
        ("resnet50", 25.557032 - 2.049, (64, 256, 512, 1024, 2048)),
        ("resnet101", 44.549160 - 2.049, (64, 256, 512, 1024, 2048)),
        ("efficientnet_lite0", 4.652008 - 1.281, (32, 24, 40, 80, 192)),
    ],
)
def test_image_networks_have_the_published_size(architecture, millions, channels):
    """Parameters are those of the papers, and fusion finds the channels that it is told of."""
    torch.manual_seed(0)
    built = image_network(ImageNetworkConfig(architecture=architecture), pretrained=False).eval()
    assert sum(p.numel() for p in built.parameters()) / 1e6 == pytest.approx(millions, abs=1e-6)

    seen: dict[int, int] = {}

    def note(block):
        return lambda x: seen.setdefault(block, x.shape[1]) and x

    pictures = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.inference_mode():
        found = built(pictures, torch.ones(1), {block: note(block) for block in range(5)})
    assert found.shape == (1, built.width, 2, 2)
    assert tuple(seen[block] for block in range(5)) == built.channels == channels


def test_resnet_is_the_one_of_transformers(tmp_path):
    """A published ResNet folder gives its own feature map; another depth is one clear error."""
    config = ResNetConfig(
        layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], embedding_size=64
    )
    torch.manual_seed(0)
    published = ResNetModel(config).eval()
    published.save_pretrained(tmp_path / "resnet")
    named = ImageNetworkConfig(architecture="resnet18", weights=str(tmp_path / "resnet"))
    network = image_network(named, pretrained=True).eval()
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    pixels = (pictures.float() - network.mean_311) / network.std_311
    with torch.inference_mode():
        expected = published(pixel_values=pixels).last_hidden_state
        found = network(pictures, torch.ones(2), {})
    assert torch.allclose(found, expected, atol=1e-5)
    with pytest.raises(WeightsError, match="do not load"):
        image_network(replace(named, architecture="resnet50"), pretrained=True)


def test_inceptions_are_those_of_timm():
    """With timm they have the published size; without it the message names the extra."""
    image = ImageNetworkConfig(architecture="inception_v4")
    with pytest.raises(ConfigError, match="pooling to average"):
        M2FNConfig(image=image, attributes=OneHotAttributes())
    M2FNConfig(image=image, pooling="average", head=(), **OFF)
    try:
        network = image_network(image, pretrained=False).eval()
    except WeightsError as error:
        assert "ni-platform[inception]" in str(error)  # noqa: PT017  # as on machines without
        return
    size = sum(p.numel() for p in network.parameters()) / 1e6
    assert size == pytest.approx(42.679816 - 1.537, abs=1e-6)
    assert network(torch.zeros(1, 3, 96, 96), torch.ones(1), {}).shape[:2] == (1, 1536)


def test_a_blank_picture_is_never_read():
    """Without image (Table 7) the inputs need none, and the attributes alone decide."""
    model = network(replace(SMALL, image=replace(SMALL.image, blank=True)))
    batch = inputs()
    without = replace(batch, modalities={"attributes": batch.modalities["attributes"]})
    assert "image" not in model.config.modalities
    assert torch.equal(model(without), model(batch))
    zeros = with_picture(batch, present_B=torch.zeros(4, dtype=torch.bool))
    assert torch.allclose(model(without), network()(zeros), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_text_columns_are_embedded_one_by_one(tmp_path, seed):
    """Each column has its own embedding, and an empty one gives zeros."""
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "title": ["free shoes", None, "new shoes"],
            "ocr": ["sale", "big sale", None],
            "n": [100, 100, 100],
            "c": [1, 2, 3],
        }
    )
    manifest = Manifest(
        name="t",
        columns=Columns(content_id="id", text=("title", "ocr")),
        target=Target(impressions="n", clicks="c"),
    )
    dataset = write_dataset(tmp_path / "data", manifest, frame)
    text = TextEncoderConfig(
        architecture="scratch", columns="separate", scratch=ScratchTransformerConfig(width=8)
    )
    config = replace(SMALL, attributes=None, text=text, image=replace(SMALL.image, blank=True))
    scorer = build_scorer(config, dataset, [0, 1, 2], seed)
    scorer.model.eval()
    with torch.inference_mode():
        aux = scorer.model.auxiliary(scorer.inputs.encode(frame))
        alone = scorer.model.auxiliary(scorer.inputs.encode(frame.assign(ocr=[None] * 3)))
        swapped = scorer.model.auxiliary(
            scorer.inputs.encode(frame.rename(columns={"ocr": "title", "title": "ocr"}))
        )
    assert aux.shape == (3, 16)
    assert not aux[1, :8].any()
    assert not aux[2, 8:].any()
    assert torch.allclose(aux[:, :8], alone[:, :8], atol=1e-6)
    assert not alone[:, 8:].any()
    assert torch.allclose(aux[:, :8], swapped[:, 8:], atol=1e-6)


@pytest.mark.parametrize("output", ["rate", "distribution"])
def test_it_is_saved_and_loaded_like_any_regressor(tmp_path, output):
    """The laptop's experiment scores a dataset, and the same after a round trip."""
    dataset = make_synthetic(tmp_path / "data", tests=6, image_size=48)
    config = replace(load_experiment("m2fn.small").model, output=output)
    scorer = build_scorer(config, dataset, np.arange(len(dataset)), 0)
    frame = dataset.inputs(np.arange(8))
    scorer.save(tmp_path / "model")
    loaded = Scorer.load(tmp_path / "model", "cpu")

    assert loaded.config == config
    assert loaded.buckets == scorer.buckets
    for one, other in zip(
        scorer.predict_with_deviation(frame), loaded.predict_with_deviation(frame)
    ):
        assert np.array_equal(one, other)
        assert (other is None) == (output == "rate" and one is None)


def test_overrides_name_the_field_and_not_the_kind():
    """A wrong value inside the model is told by the path that --set takes."""
    config = load_experiment("m2fn.small")

    assert set_values(config, ["model.attention=per_location"]).model.attention == "per_location"
    with pytest.raises(ConfigError, match=r"config value model\.attention_width does not fit"):
        set_values(config, ["model.attention_width=wide"])
