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
    from ni_platform.api.progress import CheckProgress
    from ni_platform.data.checks import check_dataset
    from ni_platform.data.dataset import Dataset
    from ni_platform.data.splits import SplitConfig, split_dataset
    from ni_platform.errors import ChecksFailedError

    dataset = Dataset.open(folder)
    with CheckProgress() as progress:
        splits = split_dataset(dataset, SplitConfig())
        report = check_dataset(dataset, splits, docs_folder=docs, progress=progress)
    print_check_report(report)
    for note in splits.notes:
        console.print(f"Note: {note}", markup=False)
    if as_json:
        print_json(report.to_json())
    if not report.success:
        raise ChecksFailedError(
            f"{len(report.failures)} of {report.evaluated} checks failed on {folder}; "
            "mend the rows named above, or train with --allow-failed-checks"
        )
