"""`ni data select`: which attributes bear on the success rate, and how."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.output import console, json_option, print_json, table


@click.command("select")
@click.argument("folder")
@click.option("--alpha", default=0.05, show_default=True, help="Significance level.")
@click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini-hochberg", "none"]),
    default="holm",
    show_default=True,
    help="For testing several attributes.",
)
@click.option(
    "--cluster",
    metavar="COLUMN",
    help="Contents with equal values depend on each other; A/B test, picture and words if not "
    "given.",
)
@click.option(
    "--without-test",
    is_flag=True,
    help="Leave the test part out, so that what it says later is not flattered.",
)
@click.option("--apply", is_flag=True, help="Declare only the kept attributes in dataset.yaml.")
@json_option
def command(
    folder: str,
    alpha: float,
    correction: str,
    cluster: str | None,
    without_test: bool,
    apply: bool,
    as_json: bool,
) -> None:
    """Test each attribute of the dataset in FOLDER: ANOVA and logistic regression.

    Writes selection.json, tables and bar charts into the folder, and records them as a run.
    """
    from ni_platform.selection.config import SelectionConfig
    from ni_platform.selection.record import select
    from ni_platform.tracking.store import open_store

    config = SelectionConfig(
        alpha=alpha, correction=correction, cluster=cluster, include_test=not without_test
    )
    result = select(open_store(), folder, config, apply=apply)
    selection = result.selection
    table(
        f"Attributes of {selection.dataset}: {selection.contents:,} contents in "
        f"{selection.groups:,} independent groups",
        ("attribute", "variance explained", "best level (odds)", "worst level (odds)", "verdict"),
        [_row(item) for item in selection.verdicts],
    )
    for note in selection.notes:
        console.print(f"Note: {note}", markup=False)
    _print_places(folder, result, apply, without_test)
    if as_json:
        print_json(result.to_json())


def _row(verdict: Any) -> tuple[str, str, str, str, str]:
    effect = verdict.effect
    if effect is None:
        return verdict.name, "–", "–", "–", verdict.reason
    share = effect.omega_squared
    ratios = sorted(effect.odds_ratios.items(), key=lambda pair: -pair[1].value)
    odds = [f"{level} ×{ratio.value:.2f}" for level, ratio in ratios]
    return (
        verdict.name,
        f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%})",
        odds[0] if odds else "–",
        odds[-1] if len(odds) > 1 else "–",
        verdict.reason,
    )


def _print_places(folder: str, result: Any, apply: bool, without_test: bool) -> None:
    console.print(
        f"Charts and tables: {folder}/plots/selection, {folder}/selection.csv, "
        f"{folder}/selection_levels.csv; run {result.run_id}",
        highlight=False,
    )
    dropped = ", ".join(result.selection.dropped)
    if result.backup:
        console.print(
            f"No longer declared: {dropped}. The manifest from before is {folder}/{result.backup}",
            markup=False,
        )
        if not without_test:
            console.print("Note: the test part took part in this choice; see --without-test.")
    elif dropped and not apply:
        console.print(f"Next: [bold]ni data select {folder} --apply[/bold] drops {dropped}")
