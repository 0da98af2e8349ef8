"""What a table of a paper is: rows that are experiments or ways to explain one, and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ni_platform.data.dataset import Dataset
from ni_platform.definitions import load_function, require_known
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import EXPERIMENTS, TABLES, ExperimentConfig, list_tables

INSIGHT = "insight/"
CONTROL_BEST = "_control_best"
"""What metrics of insight correlations start with, and end with if they are not of all pairs."""


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
class PaperTable:
    """A table of a paper, for one dataset."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    rows_are: str = "model"
    notes: tuple[str, ...] = ()
    """How it differs from the paper's, beside the data."""
    by_domain: tuple[str, ...] = ()
    """Metrics that are also drawn for each domain (NI Figure 8)."""


def load_table(name: str, dataset: Dataset, base: ExperimentConfig | None = None) -> PaperTable:
    """Return the table `PAPER.FUNCTION` that `experiments/PAPER_tables.py` makes for a dataset.

    The function is called as `function(dataset, base)`; `base` is the experiment whose variants
    the rows are, the paper's own if None.

    Raises:
        ConfigError: There is no such table; names the nearest.

    """
    require_known(name, [known for known, _ in list_tables()], "table")
    paper, _, function = name.rpartition(".")
    table: PaperTable = load_function(EXPERIMENTS, f"{paper}{TABLES}.{function}")(dataset, base)
    labels = [(row.group, row.label) for row in table.rows]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"the rows of {name} must have different labels, but are {labels}")
    return table
