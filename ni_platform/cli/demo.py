"""`ni demo`: the whole journey on planted data."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from ni_platform.cli.output import console, note, table

MODEL = "demo"


@click.command("demo")
@click.option("--folder", default="data/demo", show_default=True, help="Where the data goes.")
@click.option("--tests", default=240, show_default=True, help="Number of planted A/B tests.")
def command(folder: str, tests: int) -> None:
    """Make planted data, check it, train in stages, evaluate, explain, register and promote.

    Everything stays in the folders data and .ni; a second call uses the same data again.
    """
    from ni_platform.api.progress import DrawingProgress, TrainingProgress
    from ni_platform.cli.data.output import print_check_report
    from ni_platform.cli.insights import print_insights
    from ni_platform.cli.promote import print_promotion
    from ni_platform.cli.train import print_run
    from ni_platform.data.checks import check_dataset
    from ni_platform.data.dataset import Dataset
    from ni_platform.data.splits import SplitConfig, split_dataset
    from ni_platform.data.synthetic import make_synthetic
    from ni_platform.experiment import train
    from ni_platform.experiment_config import load_experiment
    from ni_platform.insights.record import StoredInsights
    from ni_platform.opened import open_experiment
    from ni_platform.registry.promotion import promote
    from ni_platform.tracking.store import open_store

    began = time.monotonic()
    store = open_store()
    _step(1, "Marketing contents with known effects", f"ni data synthesize {folder}")
    if not (Path(folder) / "dataset.yaml").exists():
        with DrawingProgress() as drawing:
            make_synthetic(folder, tests=tests, image_size=96, progress=drawing)
    dataset = Dataset.open(folder)
    console.print(f"{len(dataset)} contents in {dataset.ab_test.nunique()} A/B tests")

    _step(2, "Data checks", f"ni data check {folder}")
    splits = split_dataset(dataset, SplitConfig())
    print_check_report(check_dataset(dataset, splits, docs_folder=None))

    _step(3, "Training in stages", f"ni train neural_insights.demo --data {folder}")
    with TrainingProgress() as progress:
        demo = open_experiment(load_experiment("neural_insights.demo"), folder)
        run = train(store, demo, on_event=progress)
    print_run(run)

    _step(
        4, "What it has learned, and does that hold?", f"ni insights {run.run_id} --data {folder}"
    )
    insights = StoredInsights.load(store, run.run_id)
    if insights is not None:
        print_insights(insights)

    _step(5, "Promotion", f"ni promote {run.run_id} --model {MODEL}")
    report = promote(store, run.run_id, MODEL, on_event=note)
    print_promotion(report)

    _print_results(run, report, time.monotonic() - began)


def _print_results(run: Any, report: Any, seconds: float) -> None:
    test = run.metrics["test"]
    table(
        f"The demo in {seconds:.0f} seconds",
        ("what", "result"),
        [
            ("pairwise accuracy within A/B tests", test["pairwise_within"].value),
            ("what an oracle would reach", test["ceiling_within"].value),
            ("Spearman correlation on the test part", test["spearman"].value),
            ("run", run.run_id),
            ("model", f"models:/{MODEL}@champion" if report.promoted else run.model_uri),
        ],
    )
    console.print(f"Open the MLflow UI:  [bold]{sys.argv[0]} ui[/bold]", highlight=False)


def _step(number: int, title: str, equivalent: str) -> None:
    console.rule(f"[bold]{number}. {title}[/bold]", align="left")
    console.print(f"$ {equivalent}", style="dim", highlight=False)
