"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

# Libraries that ask the network for news or weights must not do so in a test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# Pictures from a test's S3 are not for the user's own cache.
os.environ.setdefault("NI_CACHE_GB", "0")

# Tensors are tiny here: a second thread costs more than it gives, and the more so where tests
# and Ray's processes share two cores. A worker of Ray Train sets its own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where the developer's own runs go is no place for a test's.
_STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
for variable in _STORES:
    os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def forget_the_tracking_store() -> Iterator[None]:
    """MLflow exports the store it was told of: the next test's processes must not inherit it."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        for variable in _STORES:  # set_registry_uri(None) leaves its own
            os.environ.pop(variable, None)
