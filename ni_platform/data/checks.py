"""Runs the Great Expectations suites of `data_checks/` on a dataset and reports what they found.

A suite is a module of the top-level folder `data_checks`, found by its name, with three functions:

    applies(dataset, splits) -> bool          whether the dataset has what the suite looks at
    table(dataset, splits) -> DataFrame       what is checked; its first column names the row;
                                              `data.splits.used` drops what training leaves out
    suite(dataset) -> ExpectationSuite        rules, each described in plain words

`table` may take `progress` (called with done and total) where it takes long.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from ni_platform.data import check_docs
from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import Splits
from ni_platform.errors import ConfigError
from ni_platform.user_code import Definition, load_modules, shown

SUITES_PACKAGE = "data_checks"
_PARTS = ("applies", "table", "suite")
_SAMPLE_ROWS = 5
_NOTHING_EVALUATED = "The suite has at least one rule and at least one row to evaluate it on."

Progress = Callable[[str, int, int], None]
"""Called with the suite's name, steps done and steps in all."""
_Step = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """What one rule of a suite found."""

    suite: str
    rule: str
    """The rule in plain words."""
    success: bool
    observed: str
    """Count of rows that break the rule, or the value that was observed."""
    failed_rows: int | None
    """Rows that break the rule, also where it tolerates some; None for rules on a whole table."""
    sample_rows: list[dict[str, Any]]
    """The first rows that break the rule: what identifies them, and the value at fault."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What all suites found."""

    success: bool
    results: tuple[RuleResult, ...]
    evaluated: int
    """Number of rules that were evaluated."""
    sample_ratio: str | None = None
    """How many randomised A/B tests do not have the planned shares, in words; None without any."""
    mismatched: tuple[dict[str, Any], ...] = ()
    """These A/B tests, the smallest p first: ab_test, arms, impressions, shares, p."""

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """Rules that the dataset breaks."""
        return tuple(result for result in self.results if not result.success)

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites that were run."""
        return tuple(dict.fromkeys(result.suite for result in self.results))

    def to_json(self) -> dict[str, Any]:
        """Plain mapping for `summary.json`, failures first."""
        ordered = sorted(self.results, key=lambda result: result.success)
        return {
            "success": self.success,
            "evaluated": self.evaluated,
            "failed": len(self.failures),
            "suites": list(self.suites),
            "sample_ratio": self.sample_ratio,
            "mismatched": list(self.mismatched),
            "results": [asdict(result) for result in ordered],
        }


def check_dataset(
    dataset: Dataset,
    splits: Splits | None,
    *,
    docs_folder: str | Path | None,
    progress: Progress | None = None,
) -> CheckReport:
    """Run every suite that applies to the dataset.

    Writes Data Docs (`index.html` and a page per suite; they open without a server or network)
    and `summary.json` into `docs_folder`, unless it is None. Broken rules are reported, not
    raised. A suite that evaluates nothing counts as a failure; without `splits` the suite on
    leakage is left out. A/B tests without the planned shares of impressions are listed; they only
    fail the check where the suite `ab_tests` finds them too many.
    """
    context = _quiet_context()
    results: list[RuleResult] = []
    pages: dict[str, str] = {}
    evaluated = 0
    for name, parts in load_suites().items():
        applies = parts["applies"](dataset, splits)
        if not isinstance(applies, bool | np.bool_):
            # None, where a `return` was forgotten, would leave the suite out for ever.
            raise parts["applies"].refused(
                f"must return True or False, but returned {shown(applies)}"
            )
        if not applies:
            continue
        with _followed(name, progress) as step:
            table = _table(parts["table"], dataset, splits, step)
            found = _evaluate(context, name, _suite(parts["suite"], dataset), table)
        evaluated += len(found.results) if len(table) else 0
        results += _rule_results(name, found, table)
        if docs_folder is not None:
            pages[name] = check_docs.page(found)
    ratios = dataset.sample_ratio
    report = CheckReport(
        success=bool(results) and all(result.success for result in results),
        results=tuple(results),
        evaluated=evaluated,
        sample_ratio=None if ratios.table.empty else str(ratios),
        mismatched=tuple(_plain(ratios.failing.to_dict("records"))),
    )
    if docs_folder is not None:
        check_docs.write(Path(docs_folder), dataset.manifest.name, report.to_json(), pages)
    return report


def load_suites() -> dict[str, dict[str, Definition]]:
    """The functions applies, table and suite of each module of `data_checks`, by its name.

    Raises:
        ConfigError: A module cannot be imported, or lacks one of them.

    """
    suites = {}
    for name, module in load_modules(SUITES_PACKAGE).items():
        missing = [part for part in _PARTS if not callable(getattr(module, part, None))]
        if missing:
            raise ConfigError(
                f"A suite must define applies, table and suite, but {SUITES_PACKAGE}/{name}.py "
                f"lacks {', '.join(missing)}: add them."
            )
        suites[name] = {
            part: Definition(
                kind="suite",
                name=f"{name}.{part}",
                folder=SUITES_PACKAGE,
                function=getattr(module, part),
            )
            for part in _PARTS
        }
    return suites


@contextmanager
def _followed(name: str, progress: Progress | None) -> Iterator[_Step]:
    """Report the start, the steps and the end of a suite."""
    total = 0

    def step(done: int, steps: int) -> None:
        nonlocal total
        total = steps
        if progress is not None:
            # One step more than the table has: the evaluation that follows it.
            progress(name, done, steps + 1)

    step(0, 0)
    yield step
    if progress is not None:
        progress(name, total + 1, total + 1)


def _table(table: Definition, dataset: Dataset, splits: Splits | None, step: _Step) -> pd.DataFrame:
    """What a suite checks: a DataFrame of its own, whose columns have different names."""
    takes_progress = "progress" in inspect.signature(table.function).parameters
    found = table(dataset, splits, **({"progress": step} if takes_progress else {}))
    if not isinstance(found, pd.DataFrame) or not len(found.columns):
        raise table.refused(f"must return a DataFrame with columns, but returned {shown(found)}")
    if not found.columns.is_unique:
        twice = found.columns[found.columns.duplicated()][0]
        raise table.refused(f"must give columns different names, but two are {twice!r}")
    return found


def _suite(suite: Definition, dataset: Dataset) -> gx.ExpectationSuite:
    """The rules of a suite."""
    rules = suite(dataset)
    if not isinstance(rules, gx.ExpectationSuite):
        raise suite.refused(f"must return an ExpectationSuite, but returned {shown(rules)}")
    return rules


def _quiet_context() -> Any:
    """A context that lives in memory: no files, no progress bars, no usage statistics."""
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
            analytics_enabled=False,
        ),
    )


def _evaluate(context: Any, name: str, suite: Any, table: pd.DataFrame) -> Any:
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    found = batch.validate(
        suite,
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": [table.columns[0]],
            "partial_unexpected_count": 20,
        },
    )
    # Results come in an order of their own, and the pages cannot show NumPy's numbers.
    order = {rule.description: number for number, rule in enumerate(suite.expectations)}
    found.results.sort(key=lambda item: order.get(item.expectation_config.description, 0))
    for item in found.results:
        item.result = _plain(item.result)
        rows = item.result.get("partial_unexpected_index_list")
        if rows:
            # What identifies the row comes first.
            key = str(table.columns[0])
            item.result["partial_unexpected_index_list"] = [
                {key: row.get(key), **row} for row in rows
            ]
    return found


def _rule_results(name: str, found: Any, table: pd.DataFrame) -> list[RuleResult]:
    if found.results and not table.empty:
        return [_rule_result(name, item) for item in found.results]
    return [
        RuleResult(
            suite=name,
            rule=_NOTHING_EVALUATED,
            success=False,
            observed=f"{len(found.results)} rules on {len(table)} rows",
            failed_rows=None,
            sample_rows=[],
        )
    ]


def _rule_result(name: str, item: Any) -> RuleResult:
    config = item.expectation_config
    details = item.result or {}
    failed_rows = details.get("unexpected_count")
    rows = details.get("partial_unexpected_index_list") or []
    return RuleResult(
        suite=name,
        rule=config.description or config.type,
        success=bool(item.success),
        observed=_observed(item),
        failed_rows=None if failed_rows is None else int(failed_rows),
        sample_rows=[_plain(row) for row in rows[:_SAMPLE_ROWS]],
    )


def _observed(item: Any) -> str:
    details = item.result or {}
    if "unexpected_count" in details:
        return f"{int(details['unexpected_count']):,} of {int(details['element_count']):,} rows"
    if "partial_missing_list" in details:
        missing = ", ".join(map(str, details["partial_missing_list"]))
        return f"missing: {missing or 'nothing'}"
    if "observed_value" in details:
        return str(details["observed_value"])
    reasons = item.exception_info or {}
    nested = [value for value in reasons.values() if isinstance(value, dict)] or [reasons]
    return f"could not be evaluated: {nested[0].get('exception_message')}"


def _plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
