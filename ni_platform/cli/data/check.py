"""`ni data check`: Great Expectations' verdict on a dataset."""

from __future__ import annotations

import click

from ni_platform.cli.data.output import print_check_report
from ni_platform.cli.output import console, json_option, print_json


@click.command("check")
@click.argument("folder")
@click.option("--docs", metavar="DIR", help="Write the Data Docs (web pages) into DIR.")
@json_option
def command(folder: str, docs: str | None, as_json: bool) -> None:
    """Check the dataset in FOLDER; a failed check ends with exit code 2."""
    from ni_platform.api.data import open_dataset

    checks = open_dataset(folder).check(docs=docs)
    print_check_report(checks.report)
    for note in checks.notes:
        console.print(f"Note: {note}", markup=False)
    if as_json:
        print_json(checks.report.to_json())
    checks.require()
