"""Which attribution methods explain a model, and how finely."""

from __future__ import annotations

from dataclasses import dataclass

from ni_platform.data.manifest import nearest
from ni_platform.errors import ConfigError
from ni_platform.seeds import check_seed

PCA = "pca"
"""The consensus of the other methods."""
METHODS = ("grad_cam", "integrated_gradients", "kernel_shap", "feature_ablation", PCA)
"""In the order of NI Table 2."""
RATE_CHANGES = ("integrated_gradients", "kernel_shap", "feature_ablation")
"""Those whose contributions are changes of the success rate. GradCAM's have a unit of their own,
and so has what PCA makes of all."""


@dataclass(frozen=True, kw_only=True)
class AttributionConfig:
    """Which methods explain, and how finely."""

    methods: tuple[str, ...] = METHODS
    grid: int = 8
    """Cells along a picture's longer side, for methods that perturb."""
    map_side: int = 32
    """Most cells along a side of a recorded map: finer maps of contributions are summed up to it,
    finer feature maps averaged."""
    samples: int = 128
    """Coalitions per content of Kernel SHAP."""
    steps: int = 32
    """Points along the path of integrated gradients."""
    grad_cam_layer: str | None = None
    """Layer of the image network; None: its last map."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError(f"methods must name at least one of {', '.join(METHODS)}")
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(
                    f"there is no attribution method {name!r}{nearest(name, list(METHODS))}; "
                    f"choose among {', '.join(METHODS)}"
                )
        if PCA in self.methods and len(self.methods) < 3:
            raise ConfigError("pca combines methods: name at least two others beside it")
        check_seed("seed", self.seed)
        for name in ("grid", "map_side", "samples", "steps"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name} must be at least 2, but is {getattr(self, name)}")
