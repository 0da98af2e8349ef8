"""How a model's accuracy grows with the data: a line over the logarithm of the training tests.

Within the range of a few doublings a learning curve is nearly straight on that scale; beyond it,
it flattens towards the ceiling, so that what the line foretells is the least that is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ni_platform.evaluation import SLICES
from ni_platform.metrics.evaluation import mean_draws
from ni_platform.metrics.intervals import Draws, Estimate
from ni_platform.metrics.scored import Observed
from ni_platform.tables.paper_table import Gain, MeasuredTable, PaperTable, Row, full_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINT = 0.01
_MOST_DOUBLINGS = 10
"""Beyond a thousand times the data a number says nothing any more."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito's, which the colour-blind can tell apart."""


def gains(
    table: PaperTable,
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[pd.DataFrame]],
    replicates: int,
) -> tuple[Gain, ...]:
    """Return the gain per doubling of each model of a table's curve that has two points or more.

    `predictions` are those of each row's runs by its label. All points are judged on the same
    contents, so the interval is that of the slope on the same resampled A/B tests; which training
    tests were drawn is not in it. Empty for a table without a curve.
    """
    if table.curve is None:
        return ()
    (column,) = (each for each in table.columns if each.title == table.curve.column)
    part, _, metric = column.metric.partition("/")
    found = []
    for model in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == model]
        shares = np.array([row.config.train_share for row in own])
        draws = [_draws(metric, part, predictions[full_label(row)], replicates) for row in own]
        if len(set(shares)) > 1:
            found.append(Gain(model=model, per_doubling=slope(np.log2(shares), draws)))
    return tuple(found)


def slope(x: np.ndarray, draws: Sequence[Draws]) -> Estimate:
    """Return the least-squares slope of a line through figures at x [K], on common replicates."""
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    values = weights @ np.stack([each.values for each in draws])
    return Draws(values, min(each.clusters for each in draws)).estimate()


def gains_in_words(measured: MeasuredTable) -> Iterator[str]:
    """Say of each model how many more A/B tests would help."""
    curve = measured.table.curve
    if curve is None:
        return
    most = max(curve.sizes.values())
    for gain in measured.gains:
        low, high = gain.per_doubling.low, gain.per_doubling.high
        yield (
            f"{gain.model}: {gain.per_doubling.value:+.4f} [{low:+.4f}, {high:+.4f}] per doubling "
            f"of the {curve.unit} trained on; "
            + needed_in_words(gain.per_doubling, most, curve.unit)
        )


def needed_in_words(per_doubling: Estimate, now: int, unit: str) -> str:
    """Say how many A/B tests a point more would take at a gain per doubling."""
    if not per_doubling.value > 0:
        return f"no gain seen: more {unit} are not shown to help."
    words = (
        f"at that rate 0.01 more takes about {_count(per_doubling.value, now)} {unit} to train on, "
        f"in place of {now:,}"
    )
    if per_doubling.low > 0:
        few, many = (_count(gain, now) for gain in (per_doubling.high, per_doubling.low))
        return f"{words} (by the interval {few} to {many})."
    if np.isfinite(per_doubling.high):
        few = _count(per_doubling.high, now)
        return f"{words} (by the interval {few} at least, and it may be that more do not help)."
    return f"{words}; how sure that is cannot be told."


def _count(per_doubling: float, now: int) -> str:
    """Return the A/B tests that a point more takes, to two digits."""
    doublings = _POINT / per_doubling
    if doublings > _MOST_DOUBLINGS:
        return f"{now * 2**_MOST_DOUBLINGS:,.0f} and more"
    needed = now * 2**doublings
    digits = 10 ** max(0, int(np.floor(np.log10(needed))) - 1)
    return f"{round(needed / digits) * digits:,.0f}"


def _draws(metric: str, part: str, tables: Sequence[pd.DataFrame], replicates: int) -> Draws:
    """The mean over trainings of a metric on a slice."""
    rows = tables[0]["part"].isin(SLICES[part])
    observed = Observed.of(tables[0][rows])
    return mean_draws(metric, [table["prediction"][rows] for table in tables], observed,
                      replicates, 0)  # fmt: skip


def curve_figure(measured: MeasuredTable) -> Figure:
    """Draw each model's figures over the number of training tests, with intervals and ceiling."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, ScalarFormatter

    curve = measured.table.curve
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    if curve is None:
        return figure
    for number, model in enumerate(dict.fromkeys(row.row.group for row in measured.rows)):
        own = [row for row in measured.rows if row.row.group == model]
        points = sorted(
            (curve.sizes[row.row.config.train_share], row.figures[curve.column])
            for row in own
            if curve.column in row.figures
        )
        sizes = [size for size, _ in points]
        values = np.array([each.value for _, each in points])
        errors = np.array([[e.value - e.low, e.high - e.value] for _, e in points]).T
        axes.errorbar(
            sizes, values, yerr=np.nan_to_num(errors), fmt="o-", capsize=3,
            color=COLOURS[number % len(COLOURS)], label=model,
        )  # fmt: skip
    ceilings = [row.figures.get(curve.ceiling or "") for row in measured.rows]
    if ceilings[0] is not None:
        axes.axhline(ceilings[0].value, color="black", linestyle="--", label="noise ceiling")
        axes.axhline(0.5, color="grey", linestyle=":", label="a coin")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(curve.sizes.values()))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=f"{curve.unit} trained on", ylabel=curve.column)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    figure.suptitle(f"{measured.table.title} on {measured.dataset}")
    return figure
