"""`ni plan`: which drafts to test next, with how much traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ni_platform.cli.data.options import text_table_options
from ni_platform.cli.output import console, data_option, json_option, print_json, table

if TYPE_CHECKING:
    import pandas as pd

    from ni_platform.insights.said import Said
    from ni_platform.plans.plan import Plan


@click.command("plan")
@click.argument("model")
@click.option("--drafts", required=True, metavar="FILE", help="CSV or Parquet, a row per draft.")
@data_option()
@click.option(
    "--id", "id_column", default="id", show_default=True, help="Column that names drafts."
)
@click.option("--control", metavar="ID", help="Draft that is shown today.")
@click.option("--traffic", type=int, help="Impressions that the whole test may have.")
@click.option(
    "--arms", default=4, show_default=True, help="Arms of the test, the control included."
)
@click.option(
    "--shadow",
    "shadows",
    multiple=True,
    metavar="URI",
    help="Model that scores the drafts, too, for the record only; any number.",
)
@click.option(
    "--record/--no-record",
    default=True,
    show_default=True,
    help="Keep the predictions as a run, to be compared with the test's outcome.",
)
@json_option
@text_table_options
def command(
    model: str,
    drafts: str,
    data: str,
    id_column: str,
    shadows: tuple[str, ...],
    record: bool,
    as_json: bool,
    form: Any,
    say: Any,
    **settings: Any,
) -> None:
    """Say which of --drafts to test, and what the test is expected to bring.

    MODEL is a run id, models:/NAME@champion or another model URI. --data is the dataset
    that it learned from. Drafts have the columns that the model reads; those that are not there
    count as missing. The plan is recorded as a run of the experiment `plans`, with ids and keys of
    drafts, without their contents.
    """
    from dataclasses import asdict

    from ni_platform.errors import ConfigError
    from ni_platform.insights.said import recorded_said
    from ni_platform.plans.believed import past_errors_of
    from ni_platform.plans.drafts import read_drafts, texts_of
    from ni_platform.plans.past import Past
    from ni_platform.plans.plan import PlanConfig, make_plan
    from ni_platform.plans.record import Planner, record_plan
    from ni_platform.registry.model_source import store_of_model
    from ni_platform.tracking.store import open_store

    if shadows and not record:
        raise ConfigError(
            "A shadow's predictions are only recorded, but --no-record records nothing: leave out "
            "--shadow or --no-record."
        )
    store = store_of_model(model)
    planner = Planner.load(store, model)
    beside = [Planner.load(store_of_model(uri), uri) for uri in shadows]
    regressor = planner.regressor
    table_of_drafts = read_drafts(drafts, regressor, id_column=id_column, form=form, say=say)
    scored = [
        (one, read_drafts(drafts, one.regressor, id_column=id_column, form=form, say=say))
        for one in beside
    ]
    past = Past.open(data)
    errors = past_errors_of(store, model)
    found = make_plan(regressor, table_of_drafts, past, PlanConfig(**settings), errors)
    said = recorded_said(store, model, texts_of(table_of_drafts, regressor))
    print_plan(found, said)
    run_id = None
    if record:
        place = open_store() if store is None else store
        run_id = record_plan(place, found, table_of_drafts, planner, past.dataset, shadows=scored)
        console.print(f"Recorded as run {run_id}.", highlight=False, markup=False)
    if as_json:
        print_json({**found.to_json(), **asdict(said), "run_id": run_id})


def print_plan(found: Plan, said: Said) -> None:
    """Print drafts, and what a marketer should know, a sentence each."""
    rows = [
        (
            name,
            *_figures(row),
            f"{row['share']:.0%}" if row["tested"] else "",
            _nearest(row),
        )
        for name, row in _rows(found.drafts)
    ]
    heads = (
        "draft", "rate", "95 % interval", "above past", "is the best", "share",
        "nearest past content",
    )  # fmt: skip
    table("Drafts, the likely best first", heads, rows)
    for sentence in [*found.sentences(), *said.sentences()]:
        console.print(sentence, highlight=False, markup=False)


def _rows(drafts: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    rows: dict[Any, Any] = drafts.to_dict("index")
    return [(str(name), row) for name, row in rows.items()]


def _nearest(row: dict[str, Any]) -> str:
    if row["nearest"] is None:
        return ""
    return f"{row['nearest']} ({100 * row['nearest_rate']:.2f} %)"


def _figures(row: dict[str, Any]) -> tuple[str, str, str, str]:
    if not row["judged"] and row["prediction"] != row["prediction"]:
        return "–", "–", "–", "–"
    interval = f"{100 * row['low']:.2f} to {100 * row['high']:.2f} %"
    rate, place = f"{100 * row['prediction']:.2f} %", f"{row['place']:.0%}"
    return rate, interval, place, f"{row['chance_best']:.0%}"
