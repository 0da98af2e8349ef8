"""What a log says of an input beside its key."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ni_platform.prediction_log.asked import asked
from ni_platform.prediction_log.keys import prediction_keys

ROLES = {"title": "text", "body": "text", "kind": "categorical", "size": "numeric"}


def test_modalities_that_are_empty_and_levels_that_are_new() -> None:
    """A modality is missing where all its columns are; a level counts as the one text it has."""
    frame = pd.DataFrame(
        {
            "title": ["a", None, " "],
            "body": [None, "b", np.nan],
            "kind": [3, "4", None],
            "size": [None, 1.0, None],
        },
        index=[7, 7, 9],
    )
    found = asked(frame, ROLES, {"kind": ("3", "5")})
    assert found["missing"] == ["", "", "text,attributes"]
    assert found["unknown"] == ["", "kind", ""]
    assert found["input_key"] == prediction_keys(frame, ROLES).tolist()


def test_a_model_without_levels_knows_none_that_is_new() -> None:
    """And a column that the table lacks is empty."""
    found = asked(pd.DataFrame({"title": ["a"]}), ROLES, {})
    assert found["missing"] == ["attributes"]
    assert found["unknown"] == [""]
