"""GradCAM (Selvaraju et al. 2017): activations weighted by their mean gradient."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from ni_platform.attribution import tiles
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.ensemble import EnsembleFeatures
from ni_platform.attribution.features import Features
from ni_platform.attribution.integrated_gradients import groups
from ni_platform.attribution.words import Words
from ni_platform.errors import ConfigError
from ni_platform.models.encoders import tiling
from ni_platform.models.m2fn.network import M2FN
from ni_platform.models.m2fn.steps import ConditionalBatchNorm, SpatialAttention
from ni_platform.narrowing import given

_STEPS = (ConditionalBatchNorm, SpatialAttention)


class GradCam:
    """Maps of an image network's layer, by Captum, and the same over the tokens of texts.

    Positive and negative contributions are both kept (no ReLU), as NI Section 6.3 shows both.
    """

    name = "grad_cam"

    def __init__(self, *, layer: str | None = None, at_once: int = 64) -> None:
        """Set the image layer by its path in the network, such as `encoders.image.network.stem`.

        None is the last map before the average over space; `layers` lists M2FN's steps.
        """
        self.layer = layer
        self.at_once = at_once

    def explains(self, features: Features) -> bool:
        """As `Attributor.explains`."""
        if isinstance(features, EnsembleFeatures):
            return self.explains(features.members[0])
        return isinstance(features, Words | Cells)

    def attribute(self, features: Features) -> list[np.ndarray]:
        """As `Attributor.attribute`; of pictures, maps of the layer's size."""
        if isinstance(features, EnsembleFeatures):
            return features.by_derivative(self.attribute)
        found = [np.zeros(shape) for shape in features.shapes]
        for rows, _ in groups(features, self.at_once):
            if isinstance(features, Words):
                values = _of_words(features, rows)
            elif isinstance(features, Cells):
                values = self._of_pictures(features, rows)
            else:
                raise ConfigError(
                    f"grad_cam explains texts and pictures, not {features.modality}; "
                    "leave the method or the modality out"
                )
            features.evaluations += len(rows)
            for row, value in zip(rows, values):
                found[row] = value
        return found

    def _of_pictures(self, features: Cells, rows: list[int]) -> list[np.ndarray]:
        if features.tiled(rows[0]) is not None:
            return [self._of_large_picture(features, row) for row in rows]
        captum = LayerGradCam(
            features.rates_at, chosen_layer(features.contents.network, self.layer)
        )
        points, _ = features.points(rows)
        maps = captum.attribute(
            points.requires_grad_(),
            additional_forward_args=(torch.tensor(rows, device=points.device),),
            relu_attributions=False,
        )
        if not isinstance(maps, Tensor) or maps.dim() != 4:
            raise ConfigError(
                f"the layer {self.layer!r} gives no map [B, C, H, W]; choose a convolutional one"
            )
        return list(maps.detach().double().squeeze(1).cpu().numpy())

    def _of_large_picture(self, features: Cells, row: int) -> np.ndarray:
        network, picture = features.contents.network, given(features.tiled(row))
        if chosen_layer(network, self.layer) is not chosen_layer(network, None):
            raise ConfigError(
                f"of pictures beyond {tiling.LARGE:,} pixels GradCAM reads the last map, not the "
                f"layer {self.layer!r}: leave grad_cam_layer out, or set model.image.input.size"
            )
        return tiles.grad_cam(picture, features.rate_of(row))


def _of_words(features: Words, rows: list[int]) -> list[np.ndarray]:
    """The mean gradient over a text's tokens times their states, summed over the states' width."""
    points, _ = features.points(rows)
    with torch.enable_grad():
        chosen = torch.tensor(rows, device=points.device)
        states_XTV, rates = features.states(points.requires_grad_(), chosen)
        (gradient_XTV,) = torch.autograd.grad(rates.sum(), states_XTV)
    # Padding has no gradient; the mean is over the tokens that are there.
    tokens_X1 = features.tokens(rows).flatten(0, 1).sum(1, keepdim=True)
    weight_X1V = (gradient_XTV.sum(1) / tokens_X1).unsqueeze(1)
    per_token_XT = (weight_X1V * states_XTV.detach()).sum(-1)
    return features.collect(per_token_XT.view(len(rows), -1, per_token_XT.shape[1]), rows)


def chosen_layer(network: nn.Module, name: str | None) -> nn.Module:
    """The named module of the network, or the one that gives its last map.

    Raises:
        ConfigError: there is no module of that name.
    """
    modules = dict(network.named_modules())
    if name is None:
        name = "last_map" if isinstance(network, M2FN) else "encoders.image.network.last_map"
    if name not in modules:
        raise ConfigError(
            f"the network has no layer {name!r}; it has, for instance, {', '.join(layers(network))}"
        )
    return modules[name]


def layers(network: nn.Module) -> list[str]:
    """Paths of the layers with a map: M2FN's steps (its Figure 7), every convolution, the last."""
    steps = [name for name, module in network.named_modules() if isinstance(module, _STEPS)]
    return steps + [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) or name.endswith("last_map")
    ]
