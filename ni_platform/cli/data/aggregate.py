"""`ni data aggregate`: a click log counted into a dataset folder."""

from __future__ import annotations

import click

from ni_platform.cli.data.output import print_dataset
from ni_platform.cli.output import console, json_option, print_json, say, table


@click.command("aggregate")
@click.argument("logs", nargs=-1, required=True)
@click.argument("folder")
@click.option("--spec", required=True, metavar="FILE", help="YAML: what the log's columns mean.")
@json_option
def command(logs: tuple[str, ...], folder: str, spec: str, as_json: bool) -> None:
    """Count a click log LOGS (files, folders, s3:// prefixes) into the dataset FOLDER.

    One row of the log is one exposure; one row of the dataset is one combination of a content
    and its attributes.
    """
    from dataclasses import asdict
    from posixpath import dirname

    from ni_platform.api.progress import CountingProgress
    from ni_platform.data.click_log import LogSpec
    from ni_platform.data.click_log import aggregate as run

    meaning = LogSpec.load(spec)
    with CountingProgress() as progress:
        dataset, report = run(
            logs, folder, meaning, folder=dirname(spec), on_file=progress, say=say
        )
    table(
        "Click log",
        ("", "count"),
        [
            ("files", report.files),
            *([("  passed over (aggregation.json)", n)] if (n := len(report.passed_over)) else ()),
            ("rows", report.rows),
            ("rejected (rejects.csv)", report.rejected),
            *((f"dropped: {rule}", count) for rule, count in report.dropped.items()),
            ("combinations", report.combinations),
            (f"  shown less than {meaning.min_impressions} times", report.below_min_impressions),
            ("  without a creative", report.without_creative),
        ],
    )
    for merge in report.merges:
        console.print(
            f"Merged: {merge.attribute} {merge.level} ({merge.impressions:,} impressions) "
            f"with {merge.into}",
            markup=False,
        )
    print_dataset(dataset)
    if as_json:
        print_json(asdict(report))
