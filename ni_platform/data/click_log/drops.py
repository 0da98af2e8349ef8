"""Which events a drop rule leaves out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ni_platform.data.click_log.spec import DropRule
from ni_platform.data.reading.labels import labels_and_faults
from ni_platform.data.reading.numbers import NULLS, Decimals, NumberError, numbers_of

_PLAIN_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"


def matches(
    column: pa.ChunkedArray, rule: DropRule, decimal: Decimals | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Return which rows a rule leaves out (bool), and what is wrong with rows it cannot judge.

    Each distinct value is looked at once; null never matches. Levels are compared as labels.
    Numbers that are texts must be plain ones, unless `decimal` names their decimal sign.
    """
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    masks, faults, start = [np.zeros(0, dtype=bool)], dict[int, str](), 0
    for chunk in column.unify_dictionaries().chunks:
        found, wrong = _matching(chunk.dictionary, rule, decimal)
        mask = pc.fill_null(pc.take(found, chunk.indices), False)
        masks.append(mask.to_numpy(zero_copy_only=False))
        if wrong:
            indices = enumerate(chunk.indices.to_pylist(), start)
            faults |= {row: wrong[index] for row, index in indices if index in wrong}
        start += len(chunk)
    return np.concatenate(masks), faults


def _matching(
    values: pa.Array, rule: DropRule, decimal: Decimals | None
) -> tuple[pa.Array, dict[int, str]]:
    found, faults = [], dict[int, str]()
    if rule.levels is not None:
        labels, faults = labels_and_faults(pa.chunked_array([values]))
        found.append(
            pc.is_in(
                labels.cast(pa.string()).combine_chunks(),
                pa.array(sorted(rule.levels), pa.string()),
            )
        )
    if rule.matches is not None:
        found.append(pc.match_substring_regex(values.cast(pa.string()), rule.matches))
    if rule.below is not None or rule.above is not None:
        numbers, wrong = _numbers(values, decimal)
        faults = wrong | faults
        if rule.below is not None:
            found.append(pc.less(numbers, rule.below))
        if rule.above is not None:
            found.append(pc.greater(numbers, rule.above))
    whole = found[0]
    for mask in found[1:]:
        whole = pc.and_(whole, mask)
    return whole, faults


def _numbers(values: pa.Array, decimal: Decimals | None) -> tuple[pa.Array, dict[int, str]]:
    """Values as float64, and what is wrong with those that are no numbers."""
    kind = values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if pa.types.is_boolean(kind):
            values = values.cast(pa.int8())
        return values.cast(pa.float64(), safe=False), {}
    texts = pc.utf8_trim_whitespace(values)
    plain = pc.match_substring_regex(texts, _PLAIN_NUMBER)
    numbers = pc.if_else(plain, texts, None).cast(pa.float64()).to_pylist()
    faults: dict[int, str] = {}
    for index in np.flatnonzero(~plain.fill_null(True).to_numpy(zero_copy_only=False)).tolist():
        cell = texts[index].as_py()
        if cell.lower() in NULLS:
            continue
        if decimal is None:
            faults[index] = f"is no plain number: {cell!r:.40}; write it so, or name csv: decimal:"
            continue
        try:
            one = pa.chunked_array([[cell]], pa.string())
            numbers[index] = float(numbers_of(one, whole=False, decimal=decimal)[0])
        except NumberError as error:
            faults[index] = f"{error}: {cell!r:.40}"
    return pa.array(numbers, pa.float64()), faults
