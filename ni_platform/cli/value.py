"""`ni value`: what a model is worth in clicks, on A/B tests that happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ni_platform.cli.output import console, data_option, interval, json_option, print_json, table

if TYPE_CHECKING:
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
    console.print(f"Run:   {run_id}\nNext:  ni ui, artifact plots/value.png", highlight=False)
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
    from ni_platform.metrics.intervals import Estimate
    from ni_platform.value.plot import LABELS
    from ni_platform.value.record import impressions

    found = valued.figures
    levels = sorted(found.by_traffic["traffic"].unique())

    def cells(policy: str) -> list[str]:
        rows = [valued.row(policy, level) for level in levels]
        return [interval(row and Estimate(row["value"], row["low"], row["high"])) for row in rows]

    tests = [f"{(valued.row('uniform', level) or {'tests': 0})['tests']:,.0f}" for level in levels]
    rows = [(label, *cells(policy)) for policy, label in LABELS.items()]
    out = [
        (f"  an arm ran out of viewers, {label}", *cells(f"{policy}_ran_out"))
        for policy, label in (("thompson", "of 1"), ("thompson_prior", "of 1, prior"))
    ]
    table(
        "Clicks per 1,000 impressions against all arms alike, by impressions of the test",
        ("policy", *("no test" if not level else f"{level:,}" for level in levels)),
        [("A/B tests", *tests), *rows, *out],
    )
    if len(found.saved):
        saved = [
            (
                f"{row['traffic']:,.0f}" if row["traffic"] else "no test",
                impressions(row, "needed"),
                impressions(row, "saved"),
                f"{row['low']:,.0f} – {row['high']:,.0f}",
            )
            for row in found.saved.to_dict("records")
        ]
        heads = ("with the prior", "without it", "impressions saved", "95 %")
        table(f"As good an arm ({found.saved['tests'].iloc[0]:,.0f} tests)", heads, saved)
    top = [
        (
            f"{row['k']:.0f}",
            f"{row['tests']:,.0f}",
            interval(Estimate(row["share"], row["share_low"], row["share_high"])),
            f"{row['by_chance']:.3f}",
            interval(Estimate(row["lost"], row["lost_low"], row["lost_high"])),
        )
        for row in found.top.to_dict("records")
    ]
    columns = ("first k", "tests of more arms", "hold the winner", "by chance", "clicks given away")
    table("To test the model's first k arms alone", columns, top)
    for sentence in valued.sentences():
        console.print(sentence, highlight=False)
