"""`ni value`: what a model is worth in clicks, on A/B tests that happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.output import console, data_option, json_option, print_json, table

if TYPE_CHECKING:
    import pandas as pd

    from ni_platform.value.record import Valued


@click.command("value")
@click.argument("model")
@data_option()
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Replays of each A/B test.",
)
@json_option
def command(model: str, data: str, replicates: int, as_json: bool) -> None:
    """Replay A/B tests of --data that MODEL did not learn from, and count what it is worth.

    MODEL is a run id, models:/NAME@champion or another model URI. Part of each test's viewers
    decide, the others judge. Everything goes into the run that made the model (for another dataset,
    into a run of its own): value/, plots/value.png and figures of the slice value.
    """
    from ni_platform.api.progress import ScoringProgress
    from ni_platform.tracking.store import open_store
    from ni_platform.value.replay import ReplayConfig
    from ni_platform.value.valuing import value_model

    config = ReplayConfig(replicates=replicates)
    with ScoringProgress() as progress:
        run_id, valued = value_model(open_store(), model, data, config, on_scored=progress)
    print_value(valued)
    console.print(f"Run:   {run_id}\nNext:  ni ui, artifact value/report.html", highlight=False)
    if as_json:
        found = valued.figures
        print_json(
            {
                "run_id": run_id,
                "by_traffic": found.by_traffic.to_dict("records"),
                "saved": found.saved.to_dict("records"),
                "top": found.top.to_dict("records"),
                "sentences": valued.sentences(),
            }
        )


def print_value(valued: Valued) -> None:
    """Print worth by traffic, saved impressions, the model's top k, and what follows in words."""
    _print_traffic(valued)
    _print_saved(valued.figures.saved)
    _print_top(valued.figures.top)
    for sentence in valued.sentences():
        console.print(sentence, highlight=False)


def _print_traffic(valued: Valued) -> None:
    from ni_platform.value.plot import LABELS

    levels = sorted(valued.figures.by_traffic["traffic"].unique())

    def cells(policy: str, cell: Callable[[Mapping[Any, Any]], str]) -> list[str]:
        rows = [valued.row(policy, level) for level in levels]
        return ["–" if row is None else cell(row) for row in rows]

    rows = [("A/B tests", *cells("uniform", lambda row: f"{row['tests']:,.0f}"))]
    rows += [(label, *cells(policy, _estimate)) for policy, label in LABELS.items()]
    rows += [
        (label, *cells(f"{policy}_ran_out", lambda row: f"{100 * row['value']:.1f} %"))
        for policy, label in (
            ("thompson", "Thompson sampling: an arm ran out of viewers"),
            ("thompson_prior", "  the same, with the prior"),
        )
    ]
    table(
        "Clicks per 1,000 impressions against all arms alike, by impressions of the test",
        ("policy", *("no test" if not level else f"{level:,}" for level in levels)),
        rows,
    )


def _print_saved(saved: pd.DataFrame) -> None:
    from ni_platform.value.record import impressions

    if saved.empty:
        return
    rows = [
        (
            f"{row['traffic']:,.0f}" if row["traffic"] else "no test",
            impressions(row, "needed"),
            impressions(row, "saved"),
            f"{row['low']:,.0f} – {row['high']:,.0f}",
        )
        for row in saved.to_dict("records")
    ]
    heads = ("impressions with the prior", "without it", "saved", "95 %")
    table(f"As good an arm ({saved['tests'].iloc[0]:,.0f} A/B tests)", heads, rows)


def _print_top(top: pd.DataFrame) -> None:
    rows = [
        (
            f"{row['k']:.0f}",
            f"{row['tests']:,.0f}",
            f"{100 * row['share']:.0f} %",
            f"{100 * row['by_chance']:.0f} %",
            _estimate({"value": row["lost"], "low": row["lost_low"], "high": row["lost_high"]}),
        )
        for row in top.to_dict("records")
    ]
    heads = ("first k", "tests of more arms", "hold the winner", "by chance", "clicks given away")
    table("To test the model's first k arms alone", heads, rows)


def _estimate(row: Mapping[Any, Any]) -> str:
    """Return a figure as a cell, its interval below."""
    if row["low"] != row["low"]:
        return f"{row['value']:+.2f}"
    return f"{row['value']:+.2f}\n[dim]{row['low']:.2f} – {row['high']:.2f}[/dim]"
