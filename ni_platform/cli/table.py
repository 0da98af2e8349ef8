"""`ni table`: a paper's table on the user's own data."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.output import console, data_option, json_option, print_json, table


def _numbers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    try:
        return [int(number) for number in value.split(",")]
    except ValueError:
        message = f"--{option.name} takes numbers such as 0,1,2, but got {value}"
        raise click.UsageError(message) from None


@click.command("table")
@click.argument("name", required=False)
@data_option(required=False)
@click.option("--base", help="Experiment whose variants the rows are; the paper's if not given.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of --base, such as model.image.input.size=64; any number.",
)
@click.option("--rows", multiple=True, help="Only rows whose label contains this text.")
@click.option(
    "--seeds",
    default="0",
    show_default=True,
    callback=_numbers,
    help="Seeds of the training: 0,1,2.",
)
@click.option("--budget", default=1.0, show_default=True, help="Share of the epochs to train.")
@click.option("--workers", type=int, help="Ray Train workers per row; one if not given.")
@click.option("--output", metavar="DIR", help="Write table.txt, .csv, .md and .png into DIR.")
@click.option("--allow-failed-checks", is_flag=True, help="Train although data checks failed.")
@json_option
def command(
    name: str | None,
    data: str | None,
    base: str | None,
    overrides: tuple[str, ...],
    workers: int | None,
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure table NAME (such as m2fn.table6) on the dataset in --data.

    Every row is a run of its own below the table's run. A row that was trained before, with the
    same config on the same data, is not trained again; repeat the command to go on after a stop.
    Without NAME, the tables are listed.
    """
    from ni_platform.experiment_config import list_tables, load_experiment
    from ni_platform.overrides import set_values

    if name is None:
        table("Tables", ("name", "what it is"), list_tables())
        return
    if data is None:
        raise click.UsageError("a dataset is needed; name its folder with --data DIR")
    if overrides and base is None:
        raise click.UsageError("--set changes the experiment that --base names")
    experiment = None if base is None else set_values(load_experiment(base), overrides)

    from ni_platform.data.dataset import Dataset
    from ni_platform.tables.paper_table import load_table

    definition = load_table(name, Dataset.open(data), experiment)

    from ni_platform.api.progress import TrainingProgress
    from ni_platform.tables.report import as_text, long_table
    from ni_platform.tables.run import run_table
    from ni_platform.tracking.store import open_store
    from ni_platform.training.worker_count import Workers

    with TrainingProgress() as progress:
        measured = run_table(
            open_store(),
            definition,
            data,
            workers=None if workers is None else Workers(count=workers),
            output=output,
            on_event=progress,
            **options,
        )
    # Rich would fold intervals to the width of the terminal.
    click.echo(as_text(measured))
    if output is not None:
        more = "" if definition.curve is None else ", curve.png"
        console.print(f"Written to {output}: table.txt, table.csv, table.md, table.png{more}")
    if as_json:
        print_json({"run_id": measured.run_id, "rows": long_table(measured).to_dict("records")})
