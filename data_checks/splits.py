"""Checks on the split: nothing that is tested on has been seen in training."""

from __future__ import annotations

import great_expectations as gx
import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.near_duplicates import words
from ni_platform.data.splits import TEST_PARTS, Splits, used

_SHARED = {
    "group": "No group of rows that belong together",
    "A/B test": "No A/B test",
    "picture": "No picture (equal bytes)",
    "text": "No text (equal words)",
}


def applies(dataset: Dataset, splits: Splits | None) -> bool:
    """Only a dataset that has been split has sides to compare."""
    return splits is not None


def table(dataset: Dataset, splits: Splits | None) -> pd.DataFrame:
    """One row per content: its part, and on how many sides each thing it shares occurs.

    What rows share is found here anew, from tests, bytes and words, so that a defect of the
    splitting cannot hide itself.
    """
    dataset, splits = used(dataset, splits)
    if splits is None:
        return pd.DataFrame({"content_id": []})
    validated = splits.validation_trained or splits.has("validation")
    side = pd.Series(np.where(np.isin(splits.part, TEST_PARTS), "test", splits.part))
    found = pd.DataFrame(
        {
            "content_id": dataset.content_id,
            "part": splits.part,
            "side": side.to_numpy(),
            "validated": str(validated),
        }
    )
    for name, keys in _keys(dataset, splits).items():
        found[_sides(name)] = side.groupby(keys.to_numpy()).transform("nunique")
    if dataset.domain is not None:
        seen = set(dataset.domain[side.to_numpy() != "test"].dropna())
        held_out = dataset.domain.where(splits.part == "out_of_domain").dropna()
        found["held-out domain"] = held_out.map(lambda name: "seen" if name in seen else "unseen")
    return found


def suite(dataset: Dataset) -> gx.ExpectationSuite:
    """Rules for the parts."""
    columns = dataset.manifest.columns
    rules: list[gxe.Expectation] = [
        gxe.ExpectColumnDistinctValuesToContainSet(
            column="side",
            value_set=["train", "test"],
            description="Train and test both have contents.",
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="validated",
            value_set=["True"],
            description="Validation has contents, unless they are trained on as well.",
        ),
    ]
    has = {
        "group": True,
        "A/B test": columns.ab_test is not None,
        "picture": columns.image is not None,
        "text": bool(dataset.manifest.given(columns.text)),
    }
    rules += [
        gxe.ExpectColumnValuesToBeBetween(
            column=_sides(name),
            max_value=1,
            description=f"{subject} is on more than one side of the split.",
        )
        for name, subject in _SHARED.items()
        if has[name]
    ]
    if columns.domain is not None:
        rules.append(
            gxe.ExpectColumnValuesToBeInSet(
                column="held-out domain",
                value_set=["unseen"],
                description="No domain of the out-of-domain part is in train or validation.",
            )
        )
    return gx.ExpectationSuite(name="splits", expectations=rules)


def _keys(dataset: Dataset, splits: Splits) -> dict[str, pd.Series]:
    """What each row shares with others; null where it has no such thing."""
    columns = dataset.manifest.columns
    keys = {"group": pd.Series(splits.group)}
    if columns.ab_test is not None:
        keys["A/B test"] = dataset.ab_test
    if dataset.image_digests is not None:
        keys["picture"] = dataset.image_digests
    # Derived texts do not decide what stays together (`data/splits.py`).
    given = list(dataset.manifest.given(columns.text))
    if given:
        texts = dataset.contents[given].astype(object)
        filled = texts.where(texts.notna(), "")
        joined = (" ".join(map(str, row)) for row in zip(*(filled[name] for name in given)))
        keys["text"] = pd.Series([" ".join(sorted(words(text))) or None for text in joined])
    return keys


def _sides(name: str) -> str:
    return f"sides of its {name}"
