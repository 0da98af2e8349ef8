"""Experiment tracking for marketing content: learn from A/B tests what makes content work.

    import ni_platform as ni

    ads = ni.import_table("ads.parquet", "data/ads", content_id="ad_id", ...)
    run = ni.train("neural_insights.text_small", ads, training={"epochs": 3})

`__all__` is the public interface; what it does not name may change in any version. A name is
imported when it is first used, so importing the package takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ni_platform.version import __version__

if TYPE_CHECKING:
    from ni_platform.api.data import Checks, Dataset, import_table, open_dataset, synthesize
    from ni_platform.api.definitions import experiments, spaces
    from ni_platform.api.estimator import SuccessRateRegressor
    from ni_platform.api.explanations import Explanations
    from ni_platform.api.exports import export_profiles, import_export
    from ni_platform.api.insights import Insights
    from ni_platform.api.models import Model, open_model
    from ni_platform.api.monitor import Health
    from ni_platform.api.outcomes import Outcomes, outcomes
    from ni_platform.api.plans import TestPlan
    from ni_platform.api.retraining import retrain
    from ni_platform.api.runs import Run, compare, open_run, runs
    from ni_platform.api.sweeps import Sweep, open_sweep, resume_sweep, sweep
    from ni_platform.api.training import AutoTraining, resume, train, train_auto
    from ni_platform.api.value import Value
    from ni_platform.errors import NiError
    from ni_platform.experiment_config import ExperimentConfig

__all__ = [
    "AutoTraining",
    "Checks",
    "Dataset",
    "ExperimentConfig",
    "Explanations",
    "Health",
    "Insights",
    "Model",
    "NiError",
    "Outcomes",
    "Run",
    "SuccessRateRegressor",
    "Sweep",
    "TestPlan",
    "Value",
    "__version__",
    "compare",
    "experiments",
    "export_profiles",
    "import_export",
    "import_table",
    "open_dataset",
    "open_model",
    "open_run",
    "open_sweep",
    "outcomes",
    "resume",
    "resume_sweep",
    "retrain",
    "runs",
    "spaces",
    "sweep",
    "synthesize",
    "train",
    "train_auto",
]

_HOMES = {
    "api.data": ("Checks", "Dataset", "import_table", "open_dataset", "synthesize"),
    "api.definitions": ("experiments", "spaces"),
    "api.estimator": ("SuccessRateRegressor",),
    "api.explanations": ("Explanations",),
    "api.exports": ("export_profiles", "import_export"),
    "api.insights": ("Insights",),
    "api.models": ("Model", "open_model"),
    "api.monitor": ("Health",),
    "api.outcomes": ("Outcomes", "outcomes"),
    "api.plans": ("TestPlan",),
    "api.retraining": ("retrain",),
    "api.runs": ("Run", "compare", "open_run", "runs"),
    "api.sweeps": ("Sweep", "open_sweep", "resume_sweep", "sweep"),
    "api.training": ("AutoTraining", "resume", "train", "train_auto"),
    "api.value": ("Value",),
    "errors": ("NiError",),
    "experiment_config": ("ExperimentConfig",),
}
"""Module -> the public names that it defines."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
