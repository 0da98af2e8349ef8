"""How many examples a property is tried with: a hundred in all, or ten thousand in `make fuzz`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

LONG = os.environ.get("NI_FUZZ") == "long"


def examples(few: int, many: int) -> Callable[[Any], Any]:
    """Try a property with `few` examples, the same ones each time, or with `many` new ones."""
    return settings(
        max_examples=many if LONG else few,
        derandomize=not LONG,
        database=None,
        deadline=None,  # no test depends on speed
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
