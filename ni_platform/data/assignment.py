"""How the arms of A/B tests were assigned to people, and what that lets anyone conclude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ni_platform.errors import DatasetError

Assignment = Literal["randomised", "platform", "observational"]
Shares = Literal["equal", "unknown"]

KINDS: tuple[Assignment, ...] = get_args(Assignment)
"""From what proves most to what proves least.

- randomised: chance decided who saw which arm, so that arms differ by their content only.
- platform: a platform's optimiser decided, so that each arm had an audience of its own.
- observational: nobody assigned anything; contents were shown where and when they were.
"""
MISMATCHED = "mismatched"
"""In place of randomised: chance was to decide, but arms did not get the planned shares."""
EVIDENCE: Mapping[str, str] = {
    "randomised": "randomised A/B tests",
    "platform": "platform delivery: what was delivered together with success, not what works",
    "observational": "observational: what came together with success, not what works",
    MISMATCHED: "randomised, but without the planned shares of impressions: it proves nothing",
}
"""What stands behind a figure or a piece of advice, in words."""
_SHOWN = 3


def strongest(kinds: Iterable[object]) -> Assignment | None:
    """The one of `KINDS` that proves most among some words; None if none of them is among these."""
    found = set(kinds)
    return next((kind for kind in KINDS if kind in found), None)


def one_of(words: tuple[str, ...]) -> str:
    """The words as a list to choose from: a, b or c."""
    return f"{', '.join(words[:-1])} or {words[-1]}"


def check_words(
    *,
    ab_test: str | None,
    assignment: str | None,
    column: str | None,
    shares: str | None,
    share: str | None,
) -> None:
    """Raise `DatasetError` unless a manifest says of its A/B tests, once, how arms were assigned.

    Args:
        ab_test: `columns.ab_test`, None where there are no A/B tests.
        assignment: the word for all of them.
        column: `columns.assignment`.
        shares: the word for all planned shares.
        share: `columns.share`.
    """
    if assignment is not None and assignment not in KINDS:
        raise DatasetError(
            f"assignment must be {one_of(KINDS)}, but got {assignment!r}: correct it."
        )
    if shares is not None and shares not in get_args(Shares):
        raise DatasetError(
            f"shares must be {one_of(get_args(Shares))}, but got {shares!r}: correct it, or name a "
            "column of shares with columns.share."
        )
    if ab_test is None:
        _check_without_tests(assignment, column, shares, share)
    elif assignment is None and column is None:
        raise DatasetError(
            "A dataset with A/B tests says how their arms were assigned, but columns.ab_test is "
            f"{ab_test!r} and there is no assignment: add the line `assignment: randomised` to "
            "dataset.yaml if chance decided who saw which arm, `assignment: platform` if a "
            "platform's optimiser did, else `assignment: observational` (for an import "
            "--assignment), or name a column with columns.assignment."
        )
    for one, word, other, name in (
        ("assignment", assignment, "columns.assignment", column),
        ("shares", shares, "columns.share", share),
    ):
        if word is not None and name is not None:
            raise DatasetError(
                f"{one} and {other} exclude each other, but got {word!r} and {name!r}: keep the "
                "column where A/B tests differ, else the word."
            )


def _check_without_tests(
    assignment: str | None, column: str | None, shares: str | None, share: str | None
) -> None:
    if assignment not in (None, "observational"):
        raise DatasetError(
            "Without A/B tests a dataset is observational, but columns.ab_test is not declared and "
            f"assignment is {assignment!r}: name the column of A/B tests, or remove assignment."
        )
    about = {"columns.assignment": column, "columns.share": share, "shares": shares}
    for key, value in about.items():
        if value is not None:
            raise DatasetError(
                f"{key} is about arms of A/B tests, but got {value!r} without columns.ab_test: "
                f"name the column of A/B tests, or remove {key}."
            )


def kinds_of(
    ab_test: pd.Series, kind: Assignment | None, column: pd.Series | None, *, source: str
) -> pd.Series:
    """How each content was assigned: one of `KINDS` [N], observational outside of A/B tests.

    Args:
        ab_test: label of each content's A/B test [N], null for none.
        kind: that of every A/B test; None where `column` says it, or there are no A/B tests.
        column: that of each content's test [N], equal within a test.
        source: the table, for messages.

    Raises:
        DatasetError: A content of an A/B test has no kind or an unknown one, or contents of one
            test have different ones.
    """
    in_test = ab_test.notna()
    if column is None:
        said = pd.Series(kind or "observational", index=ab_test.index, dtype=object)
        return said.where(in_test, "observational")
    told, name = column.astype(object).where(column.notna(), None), column.name
    wrong = in_test & ~told.isin(KINDS)
    if wrong.any():
        raise DatasetError(
            f"Every content of an A/B test must say {one_of(KINDS)} in {name!r}, but "
            f"{int(wrong.sum()):,} contents of {source} do not, such as "
            f"{told[wrong].unique()[:_SHOWN].tolist()} in A/B tests "
            f"{ab_test[wrong].unique()[:_SHOWN].tolist()}: correct these cells."
        )
    mixed = _tests_with_several(ab_test[in_test], told[in_test])
    if len(mixed):
        raise DatasetError(
            f"All contents of an A/B test were assigned alike, but {len(mixed):,} A/B tests of "
            f"{source} have several words in {name!r}, such as {mixed[:_SHOWN]}: give each test "
            "one, or split it."
        )
    return told.where(in_test, "observational")


def check_shares(ab_test: pd.Series, share: pd.Series, *, source: str) -> None:
    """Raise `DatasetError` unless each A/B test has a positive share for every arm or for none.

    Args:
        ab_test: label of each content's A/B test [N], null for none.
        share: weight of each content within its test [N], in any unit; null where unknown.
        source: the table, for messages.
    """
    in_test = ab_test.notna()
    weight = share.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = in_test & ~np.isnan(weight) & ~(np.isfinite(weight) & (weight > 0))
    if wrong.any():
        raise DatasetError(
            f"An arm's share must be above 0, but {int(wrong.sum()):,} contents of {source} have "
            f"{share[wrong].unique()[:_SHOWN].tolist()} in {share.name!r}: correct these cells, or "
            "empty those of the whole A/B test if its shares are not known."
        )
    partly = _tests_with_several(ab_test[in_test], pd.Series(np.isnan(weight))[in_test])
    if len(partly):
        raise DatasetError(
            f"An A/B test has a share for each of its arms or for none, but {len(partly):,} of "
            f"{source} lack some in {share.name!r}, such as {partly[:_SHOWN]}: fill in the others, "
            "or empty them all."
        )


def _tests_with_several(ab_test: pd.Series, value: pd.Series) -> list[object]:
    """The A/B tests whose contents have different values, in order of appearance."""
    pairs = pd.DataFrame({"ab_test": ab_test, "value": value}).drop_duplicates()
    return list(pairs["ab_test"][pairs["ab_test"].duplicated()].unique())
