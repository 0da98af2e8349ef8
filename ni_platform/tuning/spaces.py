"""Search spaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ni_platform.experiment_config import ExperimentConfig
from ni_platform.overrides import set_values


def trial_config(base: ExperimentConfig, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Return the experiment with a trial's overrides (config path -> JSON-able value)."""
    return set_values(base, [f"{path}={json.dumps(value)}" for path, value in overrides.items()])
