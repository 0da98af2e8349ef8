"""What a table of a paper is, rows that are experiments or ways to explain one, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.evaluation import SLICES
from ni_platform.experiment_config import (
    EXPERIMENTS,
    TABLES,
    ExperimentConfig,
    checked_config,
    list_tables,
)
from ni_platform.metrics.catalogue import known_metric
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import EvaluationError
from ni_platform.user_code import Definition, load_function, require_known, shown

INSIGHT = "insight/"
CONTROL_BEST = "_control_best"
"""What metrics of insight correlations start with, and end with if they are not of all pairs."""
LONGEST_LABEL = 200
"""Characters of a row's label: it begins the name of a run, which may have 250."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of one slice."""

    title: str
    metric: str
    """`SLICE/METRIC`, as runs record it; `insight/MODALITY` or `insight/MODALITY_control_best` is
    the insight correlation of the row's method."""
    relative_to: str | None = None
    """Label of the row against which the change in percent is given; None: the metric itself."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a table, or one way to explain it."""

    label: str
    config: ExperimentConfig
    method: str | None = None
    """The attribution method whose insight correlation is shown, where columns are of insights."""
    group: str = ""
    """Rows of one group are compared with one another, such as those of one selection of data."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's own figures by column title."""


def full_label(row: Row) -> str:
    """Return the group and the label, which together name a row."""
    return f"{row.group} {row.label}".strip()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A column whose figure grows with the data: groups are models, their rows shares of it."""

    column: str
    """Title of the column."""
    ceiling: str | None
    """Title of the column that holds what no model can pass, if that is known."""
    sizes: Mapping[float, int]
    """Number of `unit` that are trained on, by `train_share`."""
    unit: str = "A/B tests"


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How a model's figure grows with the data."""

    model: str
    per_doubling: Estimate
    """Slope of the line through its figures over the logarithm (base 2) of the share."""


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table of a paper, or another comparison of experiments, for one dataset."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    rows_are: str = "model"
    notes: tuple[str, ...] = ()
    """How it differs from the paper's, beside the data."""
    by_domain: tuple[str, ...] = ()
    """Metrics that are also drawn for each domain (NI Figure 8)."""
    curve: Curve | None = None
    """What is also drawn over the amount of data."""


def load_table(name: str, dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """Return the table that `experiments/PAPER_tables.py` makes for a dataset.

    `name` is `PAPER.FUNCTION`, or one word where the function is named as its file.

    The function is called as `function(dataset, base)`; `base` is the experiment whose variants
    the rows are, the paper's own if None.

    Raises:
        ConfigError: There is no such table; names the nearest. Or its function fails, or returns
            a table that cannot be measured; names file and line.

    """
    require_known(name, [known for known, _ in list_tables()], "table")
    paper, _, function = name.rpartition(".")
    path = f"{paper or function}{TABLES}.{function}"
    defined = load_function(EXPERIMENTS, path, kind="table", name=name)
    table = defined(dataset, base)
    problem = _problem(table, defined)
    if problem is not None:
        raise defined.refused(problem)
    return table


def _problem(table: PaperTable, defined: Definition) -> str | None:
    """Return the rule that a user's table breaks, which its training would find after hours."""
    if not isinstance(table, PaperTable):
        return f"must return a PaperTable, but returned {shown(table)}"
    for kind, parts in ((Column, table.columns), (Row, table.rows)):
        if not isinstance(parts, tuple) or not parts or not all(isinstance(p, kind) for p in parts):
            return f"must have {kind.__name__}s in a tuple, but has {shown(parts)}"
    titles = [column.title for column in table.columns]
    labels = [full_label(row) for row in table.rows]
    for words, names in (("columns must have different titles", titles),
                         ("rows must have different labels", labels)):  # fmt: skip
        if len(set(names)) < len(names):
            return f"is ambiguous: its {words}, but they are {names}"
    for label in labels:
        if not label.isprintable() or not label or len(label) > LONGEST_LABEL:
            return (
                f"must have labels of one line, 1 to {LONGEST_LABEL} characters, which name the "
                f"rows' runs, but one is {label!r}"
            )
    for row in table.rows:
        checked_config(row.config, defined)
    return next(filter(None, (_column_problem(column, table) for column in table.columns)), None)


def _column_problem(column: Column, table: PaperTable) -> str | None:
    part, _, metric = column.metric.partition("/")
    if column.metric.startswith(INSIGHT):
        if any(row.method is None or row.config.insights is None for row in table.rows):
            return f"shows {column.metric}, so each row needs a method and a config with insights"
    elif part not in SLICES:
        return f"shows metrics as SLICE/METRIC, with {' or '.join(SLICES)}, but {column.metric!r}"
    else:
        try:
            known_metric(metric)
        except EvaluationError as error:
            return f"shows a metric that there is not: {error}"
    compared = {row.group for row in table.rows if row.label == column.relative_to}
    if column.relative_to is not None and (alone := {row.group for row in table.rows} - compared):
        return (
            f"compares {column.title!r} with the row {column.relative_to!r}, which each group of "
            f"rows must have, but {', '.join(map(repr, sorted(alone)))} has none"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class MeasuredRow:
    """A row with its figures."""

    row: Row
    runs: tuple[str, ...]
    """Run id of each seed."""
    figures: Mapping[str, Estimate]
    """By column title; a metric that this row does not have is absent."""
    spread: Mapping[str, float]
    """Standard deviation over seeds by column title, where there are several."""


@dataclass(frozen=True, kw_only=True)
class MeasuredTable:
    """A finished table."""

    table: PaperTable
    dataset: str
    seeds: tuple[int, ...]
    budget: float
    rows: tuple[MeasuredRow, ...]
    predictions: Mapping[str, pd.DataFrame]
    """Predictions of each row on the test part, with the first seed."""
    run_id: str
    gains: tuple[Gain, ...] = ()
    """Of each model of the table's curve."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the table's columns for which a row has a figure."""
        known = {title for row in self.rows for title in row.figures}
        return tuple(column for column in self.table.columns if column.title in known)
