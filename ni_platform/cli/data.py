"""`ni data`: make, import and check datasets."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.output import console, json_option, print_json, table


@click.group("data")
def command() -> None:
    """Make, import and check datasets."""


@command.group("import")
def import_group() -> None:
    """Turn other people's tables into a dataset folder."""


@import_group.command("upworthy")
@click.argument("archive")
@click.argument("folder")
@click.option(
    "--include-faulty-weeks",
    is_flag=True,
    help="Keep the A/B tests of 25 June 2013 to 10 January 2014, whose randomisation was faulty.",
)
def import_upworthy(archive: str, folder: str, include_faulty_weeks: bool) -> None:
    """Import the Upworthy Research Archive's packages ARCHIVE (CSV) into FOLDER."""
    from ni_platform.data.importers.upworthy import import_upworthy as run

    _print_dataset(run(archive, folder, include_faulty_weeks=include_faulty_weeks))


def _columns(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple:
    """Accept both `--text title --text description` and `--text title,description`."""
    return tuple(name.strip() for item in value for name in item.split(",") if name.strip())


@import_group.command("table")
@click.argument("source")
@click.argument("folder")
@click.option("--name", help="Name of the dataset; the folder's name if not given.")
@click.option("--content-id", required=True, help="Column that names each content; unique.")
@click.option("--image", help="Column with each content's picture, relative to --images.")
@click.option("--images", help="Folder or s3:// prefix that holds the pictures.")
@click.option("--text", multiple=True, callback=_columns, help="Text column; any number.")
@click.option("--categorical", multiple=True, callback=_columns, help="Categorical attribute.")
@click.option("--numeric", multiple=True, callback=_columns, help="Numeric attribute.")
@click.option("--domain", help="Column that says where the content is shown.")
@click.option("--ab-test", help="Column that names the A/B test of a content.")
@click.option("--arm", help="Column with control or treatment.")
@click.option("--split", help="Column with train, validation or test, where the owner decides.")
@click.option("--impressions", help="Column with how often the content was shown.")
@click.option("--clicks", help="Column with how often it succeeded.")
@click.option("--ratings", multiple=True, callback=_columns, help="Rating counts, lowest first.")
def import_table(source: str, folder: str, **columns: Any) -> None:
    """Import any CSV or Parquet table SOURCE into FOLDER.

    Options name the table's columns. Success is given by --impressions and --clicks, or by
    --ratings.
    """
    from ni_platform.data.importers.table import import_table as run

    columns["ratings"] = columns["ratings"] or None
    _print_dataset(run(source, folder, **columns))


@command.command("aggregate")
@click.argument("logs", nargs=-1, required=True)
@click.argument("folder")
@click.option("--spec", required=True, metavar="FILE", help="YAML: what the log's columns mean.")
@json_option
def aggregate(logs: tuple[str, ...], folder: str, spec: str, as_json: bool) -> None:
    """Count a click log LOGS (files, folders, s3:// prefixes) into the dataset FOLDER.

    One row of the log is one exposure; one row of the dataset is one combination of a content
    and its attributes.
    """
    from dataclasses import asdict
    from pathlib import Path

    from ni_platform.cli.progress import CountingProgress
    from ni_platform.data.click_log import LogSpec
    from ni_platform.data.click_log import aggregate as run

    meaning = LogSpec.load(spec)
    with CountingProgress() as progress:
        dataset, report = run(logs, folder, meaning, folder=Path(spec).parent, on_file=progress)
    table(
        "Click log",
        ("", "count"),
        [
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
    _print_dataset(dataset)
    if as_json:
        print_json(asdict(report))


@command.command("push")
@click.argument("folder")
@click.argument("target")
def push(folder: str, target: str) -> None:
    """Copy the dataset in FOLDER to TARGET, an s3:// prefix; repeat to go on after a stop."""
    from ni_platform.cli.progress import CountingProgress
    from ni_platform.data.transfer import push as run

    with CountingProgress() as progress:
        files, moved = run(folder, target, progress)
    console.print(f"{target}: {files} files, {moved} of them sent", highlight=False)


@command.command("pull")
@click.argument("source")
@click.argument("folder")
def pull(source: str, folder: str) -> None:
    """Copy the dataset at SOURCE, an s3:// prefix, into FOLDER; repeat to go on after a stop."""
    from ni_platform.cli.progress import CountingProgress
    from ni_platform.data.transfer import pull as run

    with CountingProgress() as progress:
        files, moved = run(source, folder, progress)
    console.print(f"{folder}: {files} files, {moved} of them fetched", highlight=False)


@command.command("synthesize")
@click.argument("folder")
@click.option("--tests", default=200, show_default=True, help="Number of A/B tests.")
@click.option("--domains", default=6, show_default=True, help="Number of domains.")
@click.option("--image-size", default=96, show_default=True, help="Side of a picture in pixels.")
@click.option("--seed", default=0, show_default=True)
def synthesize(folder: str, tests: int, domains: int, image_size: int, seed: int) -> None:
    """Draw marketing contents with known effects into FOLDER; the truth is written beside."""
    from ni_platform.cli.progress import DrawingProgress
    from ni_platform.data.synthetic import make_synthetic

    with DrawingProgress() as progress:
        dataset = make_synthetic(
            folder,
            tests=tests,
            domains=domains,
            image_size=image_size,
            seed=seed,
            progress=progress,
        )
    _print_dataset(dataset)


@command.command("check")
@click.argument("folder")
@click.option("--docs", metavar="DIR", help="Write the Data Docs (web pages) into DIR.")
@json_option
def check(folder: str, docs: str | None, as_json: bool) -> None:
    """Check the dataset in FOLDER; a failed check ends with exit code 2."""
    from ni_platform.cli.progress import CheckProgress
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


def print_check_report(report: Any) -> None:
    """Print how many rules of each suite hold, and the rules that do not with sample rows."""
    table(
        f"Data checks: {'passed' if report.success else 'FAILED'}",
        ("suite", "rules", "passed"),
        [
            (suite, len(rules), sum(rule.success for rule in rules))
            for suite in report.suites
            if (rules := [rule for rule in report.results if rule.suite == suite])
        ],
    )
    for rule in report.failures:
        console.print(f"[red]FAIL[/red] {rule.suite}: {rule.rule} Observed: {rule.observed}.")
        for row in rule.sample_rows:
            console.print(f"       {row}", markup=False)


def _print_dataset(dataset: Any) -> None:
    manifest = dataset.manifest
    tests = dataset.ab_test.dropna()
    rows: list[tuple[str, Any]] = [
        ("contents", len(dataset)),
        ("A/B tests", int(tests.nunique())),
        ("impressions", int(dataset.impressions.sum())),
        ("mean success rate", float(dataset.success_rate.mean())),
        ("text", ", ".join(manifest.columns.text) or "–"),
        ("image", manifest.columns.image or "–"),
        ("domain", manifest.columns.domain or "–"),
        ("attributes", ", ".join(manifest.columns.categorical + manifest.columns.numeric) or "–"),
    ]
    table(manifest.name, ("dataset", dataset.root), rows)
    console.print(f"Next: [bold]ni data check {dataset.root}[/bold]")
