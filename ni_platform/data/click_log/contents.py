"""From counts per combination to the contents table of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ni_platform.data.click_log.counts import IMPRESSIONS, encoded, in_order, summed
from ni_platform.data.click_log.levels import merge_rare_levels
from ni_platform.data.click_log.report import Aggregation
from ni_platform.data.click_log.spec import LogSpec
from ni_platform.errors import DatasetError


def contents_table(counts: pa.Table, spec: LogSpec, report: Aggregation) -> pd.DataFrame:
    """Merge rare levels and leave out rare combinations.

    Fills in what the report says of combinations. Rows come in the order of the keys.
    """
    counts = _kept(_merged(counts, spec, report), spec, report)
    # Hashed while dictionary-encoded: each level once, not once per row.
    ids = _content_ids(counts.select(list(spec.keys)).to_pandas(), spec.content)
    table = _decoded(counts, spec.keys).to_pandas()
    table.insert(0, spec.content_id, ids)
    return table


def _merged(counts: pa.Table, spec: LogSpec, report: Aggregation) -> pa.Table:
    for attribute in spec.attributes:
        # In order of the texts: ties must not be broken by which file was counted first.
        totals = _decoded(summed(counts, [attribute]), [attribute]).to_pandas()
        names, merges = merge_rare_levels(
            totals, attribute, spec.min_level_impressions, spec.order(attribute)
        )
        by_level = totals[IMPRESSIONS].groupby(totals[attribute].map(names)).sum()
        report.levels[attribute] = {str(level): int(shown) for level, shown in by_level.items()}
        if merges:
            place = counts.column_names.index(attribute)
            counts = counts.set_column(place, attribute, _renamed(counts[attribute], names))
            report.merges += merges
    if report.merges:
        counts = summed(counts, spec.keys)
    return in_order(counts, spec.keys)


def _decoded(counts: pa.Table, keys: Sequence[str]) -> pa.Table:
    for key in keys:
        place = counts.column_names.index(key)
        counts = counts.set_column(place, key, counts[key].cast(pa.string()))
    return counts


def _renamed(column: pa.ChunkedArray, names: dict[str, str]) -> pa.DictionaryArray:
    levels = encoded(column)
    renamed = pa.array([names.get(name, name) for name in levels.dictionary.to_pylist()])
    renamed = renamed.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        pc.take(renamed.indices, levels.indices), renamed.dictionary
    )


def _kept(counts: pa.Table, spec: LogSpec, report: Aggregation) -> pa.Table:
    report.combinations = len(counts)
    rare = pc.less(counts[IMPRESSIONS], spec.min_impressions)
    left_out, kept = counts.filter(rare), counts.filter(pc.invert(rare))
    report.below_min_impressions = len(left_out)
    report.impressions_below_min = pc.sum(left_out[IMPRESSIONS], min_count=0).as_py()
    if not len(kept):
        raise DatasetError(
            f"No combination was shown {spec.min_impressions} times, the most is "
            f"{pc.max(counts[IMPRESSIONS])}: lower min_impressions, or name fewer attributes."
        )
    return kept


def _content_ids(keys: pd.DataFrame, content: str) -> list[str]:
    """Name each combination by its creative and a hash of all keys."""
    hashes = pd.util.hash_pandas_object(keys, index=False).tolist()
    names = keys[content].tolist()
    return [f"{name}-{number:016x}" for name, number in zip(names, hashes)]
