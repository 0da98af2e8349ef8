"""When a model is hardly better than a coin."""

import numpy as np
import pandas as pd
import pytest

from ni_platform.metrics.skill import hardly_skilled


def _table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["slice", "metric", "value", "low", "high"])


_CEILING = ("test", "ceiling_within", 0.70, 0.68, 0.72)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        # A coin lies within the interval, whatever the figure.
        (
            (0.62, 0.50, 0.74),
            "not shown to be better than guessing: of 100 pairs of arms it orders 62.0 right",
        ),
        ((0.49, 0.45, 0.53), "not shown to be better than guessing"),
        # 0.536 is 0.036 of the 0.2 between a coin and the ceiling: less than a quarter.
        ((0.536, 0.519, 0.554), "hardly better than guessing: of 100 pairs of arms it orders 53.6"),
        ((0.5499, 0.53, 0.57), "hardly better than guessing"),
        ((0.5501, 0.53, 0.57), None),
        ((0.66, 0.63, 0.69), None),
    ],
)
def test_a_model_is_judged_by_interval_and_ceiling(figure: tuple, said: str | None) -> None:
    """Words with the figure, or nothing where the model has skill."""
    found = hardly_skilled(_table(("test", "pairwise_within", *figure), _CEILING))
    assert found is None if said is None else (found or "").startswith(said)


def test_pairs_that_differ_are_judged_where_there_are_twins() -> None:
    """And only the test part, and only pairs within tests."""
    good = ("test", "pairwise_within", 0.66, 0.63, 0.69)
    poor = ("test", "pairwise_within_distinct", 0.51, 0.48, 0.54)
    assert (hardly_skilled(_table(good, poor, _CEILING)) or "").startswith("not shown")
    assert hardly_skilled(_table(("validation", *poor[1:]), good, _CEILING)) is None
    assert hardly_skilled(_table(("test", "pairwise_accuracy", 0.5, 0.4, 0.6))) is None


def test_without_an_interval_nothing_is_shown_to_be_better() -> None:
    """A figure of a few tests proves no skill."""
    found = hardly_skilled(_table(("test", "pairwise_within", 1.0, np.nan, np.nan), _CEILING))
    assert (found or "").endswith("guessing: of 100 pairs of arms it orders 100.0 right, a coin 50")
