"""`ni sweep promote`: a sweep's winner through the gates into the registry."""

from __future__ import annotations

import click

from ni_platform.cli.output import console, json_option, print_json, table
from ni_platform.cli.sweep.options import storage_option


@click.command("promote")
@click.argument("name")
@click.option("--model", required=True, metavar="MODEL", help="Registered model.")
@click.option("--trial", type=int, help="Another trial than the best one.")
@storage_option
@click.option("--workers", type=int, help="Ray Train workers; one if not given.")
@click.option("--force", metavar="REASON", help="Promote although a gate failed; recorded.")
@click.option("--allow-failed-checks", is_flag=True, help="Train although data checks failed.")
@json_option
def command(
    name: str,
    model: str,
    trial: int | None,
    storage: str | None,
    workers: int | None,
    force: str | None,
    allow_failed_checks: bool,
    as_json: bool,
) -> None:
    """Retrain the best trial of sweep NAME on train and validation, judge it on test, promote it.

    How much the best of so many trials looks better than it is, is stated. A winner that was
    judged before is not trained and judged again.
    """
    from ni_platform.api.progress import TrainingProgress
    from ni_platform.cli.promote import print_promotion
    from ni_platform.tracking.store import open_store
    from ni_platform.training.worker_count import Workers
    from ni_platform.tuning.results.page import promotion_rows
    from ni_platform.tuning.results.winner_promotion import promote_winner

    with TrainingProgress() as progress:
        promotion = promote_winner(
            open_store(),
            name,
            model,
            trial=trial,
            storage=storage,
            workers=None if workers is None else Workers(count=workers),
            force=force,
            allow_failed_checks=allow_failed_checks,
            on_event=progress,
        )
    winner = promotion.winner
    heads, rows = promotion_rows(promotion.to_json())
    table(
        f"Trial {winner.trial.number} of sweep {name}, rank {winner.rank} of {winner.trials:,}",
        heads,
        [[row[0], row[1], row[2] or "–"] for row in rows],
    )
    print_promotion(promotion.gates)
    console.print(f"Run: {promotion.run_id}", highlight=False)
    if as_json:
        print_json(promotion.to_json())
    promotion.gates.require()
