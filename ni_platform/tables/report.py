"""A measured table as text, CSV, Markdown and a figure, the paper's figures beside the measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from ni_platform.metrics.evaluation import evaluate_by_domain
from ni_platform.metrics.intervals import Estimate
from ni_platform.metrics.scored import Observed
from ni_platform.tables.curve import COLOURS, curve_figure, gains_in_words
from ni_platform.tables.paper_table import INSIGHT, Column, MeasuredRow, MeasuredTable, full_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ABREAST = 3
"""Metrics side by side, so that a terminal need not fold lines."""


def write_report(measured: MeasuredTable, folder: Path) -> None:
    """Write table.csv, .md, .txt and .png; by domain by_domain.csv and .png, a curve curve.png."""
    folder.mkdir(parents=True, exist_ok=True)
    long_table(measured).to_csv(folder / "table.csv", index=False)
    (folder / "table.md").write_text(as_markdown(measured), encoding="utf-8")
    (folder / "table.txt").write_text(as_text(measured), encoding="utf-8")
    _figure(measured).savefig(folder / "table.png", bbox_inches="tight", dpi=150)
    if measured.table.curve is not None:
        curve_figure(measured).savefig(folder / "curve.png", bbox_inches="tight", dpi=150)
    if measured.table.by_domain:
        domains = by_domain(measured)
        domains.to_csv(folder / "by_domain.csv", index=False)
        if len(domains):
            figure = _domain_figure(domains, measured.table.by_domain)
            figure.savefig(folder / "by_domain.png", bbox_inches="tight", dpi=150)


def long_table(measured: MeasuredTable) -> pd.DataFrame:
    """Return a line per row and column: value, interval, spread over seeds, paper, runs."""
    lines = []
    for row in measured.rows:
        for column in measured.columns:
            estimate = row.figures.get(column.title, Estimate(float("nan")))
            lines.append(
                {
                    "table": measured.table.name,
                    "dataset": measured.dataset,
                    "group": row.row.group,
                    "row": row.row.label,
                    "column": column.title,
                    "metric": column.metric,
                    "relative_to": column.relative_to or "",
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "deviation_over_seeds": row.spread.get(column.title, float("nan")),
                    "paper": row.row.paper.get(column.title, float("nan")),
                    "seeds": " ".join(map(str, measured.seeds)),
                    "budget": measured.budget,
                    "runs": " ".join(row.runs),
                }
            )
    return pd.DataFrame(lines)


def header(measured: MeasuredTable, columns: Sequence[Column] | None = None) -> list[str]:
    """Return the titles of `columns` (all if None), the paper's figures behind those it has."""
    titles = [measured.table.rows_are]
    for column in columns or measured.columns:
        titles.append(column.title)
        if _in_paper(measured, column):
            titles.append("paper")
    return titles


def cells(
    measured: MeasuredTable, row: MeasuredRow, columns: Sequence[Column] | None = None
) -> list[str]:
    """Return a row as text, cell by cell as `header`."""
    found = [full_label(row.row)]
    for column in columns or measured.columns:
        found.append(_cell(row, column))
        if _in_paper(measured, column):
            paper = row.row.paper.get(column.title)
            found.append("" if paper is None else _number(paper, column))
    return found


def order_agreement(measured: MeasuredTable) -> dict[str, tuple[float, int]]:
    """Return Kendall's tau between measured and paper's figures of a column, and of how many rows.

    Groups of rows are compared within themselves, the taus averaged by their numbers of pairs.
    """
    agreement = {}
    for column in measured.columns:
        total, pairs, rows = 0.0, 0, 0
        for group in dict.fromkeys(row.row.group for row in measured.rows):
            both = [
                (row.figures[column.title].value, row.row.paper[column.title])
                for row in measured.rows
                if row.row.group == group
                and column.title in row.figures
                and column.title in row.row.paper
                and row.row.label != column.relative_to
            ]
            if len(both) < 3:
                continue
            tau = kendalltau(*zip(*both)).statistic
            if np.isfinite(tau):
                count = len(both) * (len(both) - 1) // 2
                total, pairs, rows = total + tau * count, pairs + count, rows + len(both)
        if pairs:
            agreement[column.title] = (total / pairs, rows)
    return agreement


def captions(measured: MeasuredTable) -> Iterator[str]:
    """What a reader needs to know beside the figures."""
    trained = f"seeds {', '.join(map(str, measured.seeds))}"
    if measured.budget < 1:
        trained += f", {measured.budget:.0%} of the epochs"
    yield (
        f"{measured.table.name} on {measured.dataset}; {trained}. Brackets: 95 % intervals over "
        "whole A/B tests (else pictures, else contents) of the test part"
        + ("; ± standard deviation over seeds." if len(measured.seeds) > 1 else ".")
    )
    for title, (tau, rows) in order_agreement(measured).items():
        yield f"{title}: order of {rows} rows against the paper's, Kendall's tau {tau:+.2f}."
    yield from gains_in_words(measured)
    yield from measured.table.notes
    yield f"MLflow run {measured.run_id}."


def as_markdown(measured: MeasuredTable) -> str:
    """Return the table in GitHub's Markdown."""
    titles = header(measured)
    lines = [f"# {measured.table.title}", "", _pipe(titles), _pipe(["---"] * len(titles))]
    lines += [_pipe(cells(measured, row)) for row in measured.rows]
    return "\n".join([*lines, "", *(f"- {caption}" for caption in captions(measured)), ""])


def as_text(measured: MeasuredTable) -> str:
    """Return the table in columns of plain text, three metrics below one another at a time."""
    drawn = [measured.table.title, ""]
    for start in range(0, len(measured.columns), _ABREAST):
        columns = measured.columns[start : start + _ABREAST]
        lines = [header(measured, columns)]
        lines += [cells(measured, row, columns) for row in measured.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        for line in lines:
            drawn.append("  ".join(c.ljust(width) for c, width in zip(line, widths)).rstrip())
        drawn.append("")
    return "\n".join([*drawn, *captions(measured), ""])


def by_domain(measured: MeasuredTable) -> pd.DataFrame:
    """Return the table's metrics by domain, a line per model and domain."""
    found = []
    for label, table in measured.predictions.items():
        if not table["domain"].notna().any():
            continue
        observed = Observed.of(table)
        figures = evaluate_by_domain(table["prediction"], observed, table["domain"])
        wanted = [f"{m}{end}" for m in measured.table.by_domain for end in ("", "_low", "_high")]
        found.append(figures[["domain", "n_contents", *wanted]].assign(model=label))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _in_paper(measured: MeasuredTable, column: Column) -> bool:
    return any(column.title in row.row.paper for row in measured.rows)


def _cell(row: MeasuredRow, column: Column) -> str:
    estimate = row.figures.get(column.title)
    if estimate is None:
        return "–"
    if row.row.label == column.relative_to:
        return "0"
    text = _number(estimate.value, column)
    if column.title in row.spread:
        text += f" ± {row.spread[column.title]:.3f}"
    if np.isfinite(estimate.low):
        text += f" [{_number(estimate.low, column)}, {_number(estimate.high, column)}]"
    return text


def _number(value: float, column: Column) -> str:
    return f"{value:.3f}" if column.relative_to is None else f"{value:+.0f} %"


def _pipe(texts: list[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _figure(measured: MeasuredTable) -> Figure:
    """Draw each row's figures with intervals as points, the paper's as crosses, side by side."""
    from matplotlib.figure import Figure  # takes a second

    columns = measured.columns[:4]
    rows = list(reversed(measured.rows))
    names = [full_label(row.row) for row in rows]
    figure = Figure(
        figsize=(2.2 + 2.6 * max(len(columns), 1), 1.2 + 0.32 * len(rows)), layout="constrained"
    )
    panels = figure.subplots(1, max(len(columns), 1), sharey=True, squeeze=False)[0]
    places = np.arange(len(rows))
    for axes, column in zip(panels, columns):
        estimates = [row.figures.get(column.title, Estimate(float("nan"))) for row in rows]
        values = np.array([estimate.value for estimate in estimates])
        errors = np.array([[e.value - e.low, e.high - e.value] for e in estimates]).T
        axes.errorbar(
            values, places, xerr=np.nan_to_num(errors), fmt="o", color=COLOURS[0], capsize=2,
            label="measured",
        )  # fmt: skip
        if _in_paper(measured, column):
            paper = [row.row.paper.get(column.title, float("nan")) for row in rows]
            axes.plot(paper, places, "x", color=COLOURS[1], label="paper, its own data")
        metric = column.metric.partition("/")[2]
        if column.metric.startswith(INSIGHT):
            metric = "insight correlation"
        unit = ", change in %" if column.relative_to else ""
        axes.set(title=column.title, xlabel=metric + unit)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, names)
    # The paper may have figures for some columns only.
    legend = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())
    }
    figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=2)
    figure.suptitle(f"{measured.table.name} on {measured.dataset}")
    return figure


def _domain_figure(domains: pd.DataFrame, metrics: tuple[str, ...]) -> Figure:
    """Draw bars per domain and model, a panel per metric (NI Figure 8)."""
    from matplotlib.figure import Figure

    names, models = sorted(domains["domain"].unique()), list(domains["model"].unique())
    figure = Figure(figsize=(max(6, 1 + 0.6 * len(names)), 3 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    width = 0.8 / len(models)
    for axes, metric in zip(panels, metrics):
        for number, model in enumerate(models):
            own = domains[domains["model"] == model].set_index("domain").reindex(names)
            places = np.arange(len(names)) - 0.4 + width * (number + 0.5)
            value, low, high = own[metric], own[f"{metric}_low"], own[f"{metric}_high"]
            error = np.array([value - low, high - value])
            axes.bar(
                places, value, width, yerr=np.nan_to_num(error).clip(min=0), capsize=2,
                color=COLOURS[number % len(COLOURS)], label=model,
            )  # fmt: skip
        axes.set_ylabel(metric)
    panels[-1].set_xticks(range(len(names)), names, rotation=45, ha="right")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
