"""Tables of A/B tests whose effects are planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target


def as_dataset(frame, *, categorical=(), numeric=(), domain=None, ab_test=None, target=None):
    """A dataset in memory; `shown` and `clicked` are its counts unless `target` says otherwise."""
    frame = frame.assign(id=[f"c{row}" for row in range(len(frame))])
    manifest = Manifest(
        name="planted",
        columns=Columns(
            content_id="id",
            ab_test=ab_test,
            domain=domain,
            categorical=tuple(categorical),
            numeric=tuple(numeric),
        ),
        target=target or Target(impressions="shown", clicks="clicked"),
        assignment=None if ab_test is None else "randomised",
        shares=None if ab_test is None else "unknown",
    )
    return Dataset("memory", manifest, frame)


def draw_clicks(log_odds, rng, *, shown=(1000, 4000)):
    """Columns `shown` and `clicked` for contents of these log odds."""
    impressions = rng.integers(*shown, size=len(log_odds))
    return {
        "shown": impressions,
        "clicked": rng.binomial(impressions, 1 / (1 + np.exp(-np.asarray(log_odds)))),
    }


@pytest.fixture(scope="session")
def campaign():
    """300 tests of 3 contents: `colour` and `size` work, everything else is of no use."""
    rng = np.random.default_rng(4)
    tests, arms = 300, 3
    rows = tests * arms
    test = np.repeat(np.arange(tests), arms)
    colour = rng.choice(["red", "green", "blue"], rows)
    size = rng.normal(10, 2, rows)
    effect = pd.Series(colour).map({"red": 0.3, "green": 0.0, "blue": -0.3}).to_numpy()
    noise = rng.choice(["a", "b", "c"], tests)[test]
    frame = pd.DataFrame(
        {
            "test": [f"t{number}" for number in test],
            "colour": colour,
            "size": size,
            "noise": noise,
            "colour_code": pd.Series(colour).map({"red": "R", "green": "G", "blue": "B"}),
            "warm": np.where(colour == "red", "yes", "no"),
            "inches": size / 2.54,
            "constant": "x",
            "empty": pd.Series([None] * rows, dtype=object),
            "nothing": np.nan,
            "own": [f"level {row}" for row in range(rows)],
        }
    )
    log_odds = -3 + effect + 0.1 * (size - 10) + rng.normal(0, 0.3, tests)[test]
    return frame.assign(**draw_clicks(log_odds, rng))
