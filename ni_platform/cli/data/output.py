"""What the commands on datasets print."""

from __future__ import annotations

from typing import Any

from ni_platform.cli.output import console, table

_LISTED = 20
_REMEDY = (
    "Look for what shows or counts one arm more often. Were other shares planned, name their "
    "column with columns.share in dataset.yaml; were none, or are several rows one arm, add the "
    "line `shares: unknown`."
)


def print_dataset(dataset: Any) -> None:
    """Print what a dataset holds and the command that comes next."""
    from ni_platform.api.data import Dataset

    facts = Dataset(stored=dataset).facts()
    table(dataset.manifest.name, ("dataset", dataset.root), facts)
    console.print(f"Next: [bold]ni data check {dataset.root}[/bold]")


def print_import(result: Any) -> None:
    """Print which export was read and why, what it added, and what is in no content."""
    for line in result.lines():
        console.print(line, highlight=False, markup=False)
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
    if report.sample_ratio is not None:
        console.print(f"Sample ratio: {report.sample_ratio}", markup=False, highlight=False)
    if report.mismatched:
        table(
            "Left out of the evaluation: A/B tests without the planned shares",
            ("A/B test", "arms", "impressions", "planned shares", "p"),
            [_mismatched(test) for test in report.mismatched[:_LISTED]],
        )
        console.print(_REMEDY, markup=False)
    if (more := len(report.mismatched) - _LISTED) > 0:
        console.print(f"{more:,} more are listed by --json and --docs")


def _mismatched(test: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(test["ab_test"]),
        ", ".join(map(str, test["arms"])),
        ", ".join(f"{count:,.0f}" for count in test["impressions"]),
        ", ".join(f"{share:.3g}" for share in test["shares"]),
        f"{test['p']:.2g}",
    )
