"""What the commands on datasets print."""

from __future__ import annotations

from typing import Any

from ni_platform.cli.output import console, table


def print_dataset(dataset: Any) -> None:
    """Print what a dataset holds and the command that comes next."""
    from ni_platform.api.data import Dataset

    facts = Dataset(stored=dataset).facts()
    table(dataset.manifest.name, ("dataset", dataset.root), facts)
    console.print(f"Next: [bold]ni data check {dataset.root}[/bold]")


def print_import(result: Any) -> None:
    """Print which export was read and why, what it added, and what is in no content."""
    from ni_platform.data.importers.exports.history import SET_ASIDE_FILE

    entry, manifest = result.entry, result.dataset.manifest
    aside = entry.get("set_aside", {})
    lines = [f"Read as [bold]{result.profile.name}[/bold] ({result.profile.title}): {result.why}"]
    lines.append(f"A success is counted by {result.success}.")
    if "new_rows" in entry:
        lines.append(
            f"Added: {entry['new_rows']:,} rows, {entry['new_contents']:,} contents, "
            f"{entry['new_tests']:,} A/B tests; changed: {entry['changed_rows']:,} rows"
        )
        lines += [f"       {change}" for change in entry["changes"]]
    if manifest.assignment is not None:
        lines.append(
            f"Arms were assigned: [bold]{manifest.assignment}[/bold]. "
            f"{manifest.assignment_reason or ''}"
        )
    lines += [f"Set aside: {rows:,} rows, {why}" for why, rows in aside.items()]
    if aside:
        lines.append(f"       listed in {result.dataset.root}/{SET_ASIDE_FILE}")
    lines += [f"Note: {note}" for note in result.notes]
    if result.profile.note:
        lines.append(f"Note: {result.profile.note}")
    for line in lines:
        console.print(line, highlight=False)
    print_dataset(result.dataset)


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
