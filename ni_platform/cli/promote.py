"""`ni promote`: a run's model through the gates into the registry."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.output import console, json_option, note, print_json, table


@click.command("promote")
@click.argument("run_id")
@click.option("--model", required=True, metavar="NAME", help="Registered model.")
@click.option("--force", metavar="REASON", help="Promote although a gate failed; recorded.")
@click.option("--sign", metavar="KEY", help="Sign a champion's files with this private key (PEM).")
@click.option(
    "--gates",
    metavar="FILE",
    help="Which gates are on, and their thresholds; gates.yaml of the current folder if not given.",
)
@json_option
def command(
    run_id: str,
    model: str,
    force: str | None,
    sign: str | None,
    gates: str | None,
    as_json: bool,
) -> None:
    """Register RUN_ID's model as NAME and make it champion if every gate passes."""
    from ni_platform.registry.promotion import promote
    from ni_platform.tracking.store import open_store

    report = promote(
        open_store(), run_id, model, force=force, sign=sign, gates=gates, on_event=note
    )
    print_promotion(report)
    if as_json:
        print_json(report.to_json())
    report.require()


def print_promotion(report: Any) -> None:
    """Print each gate with its figures, and where the version stands now."""
    table(
        f"Promotion gates of {report.model_name} version {report.version}",
        ("gate", "result", "figures"),
        [
            (gate.name, "pass" if gate.passed else "[red]FAIL[/red]", gate.explanation)
            for gate in report.gates
        ],
    )
    if report.promoted:
        console.print(
            f"[bold]{report.model_name}[/bold] version {report.version} is champion: "
            f"models:/{report.model_name}@champion",
            highlight=False,
        )
