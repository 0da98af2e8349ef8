"""What became of a log: counted, set aside, dropped, merged or left out, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from pydantic import TypeAdapter, ValidationError

from ni_platform.data import storage
from ni_platform.data.click_log.levels import Merge
from ni_platform.errors import DatasetError

REPORT_FILE, REJECTS_FILE = "aggregation.json", "rejects.csv"


@dataclass(kw_only=True)
class Aggregation:
    """What became of a log's rows."""

    files: int
    passed_over: list[str]
    """Files of the log's folders that are no logs by their names."""
    keys: list[str]
    """Columns that make a combination."""
    max_rejected: float
    min_level_impressions: int
    min_impressions: int
    found_out: list[str] = field(default_factory=list)
    """How files are written, where it is not the usual way: separator, encoding, header."""
    rows: int = 0
    rejected: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Events left out by each drop rule."""
    merges: list[Merge] = field(default_factory=list)
    """Rare levels that went into others, in their order."""
    levels: dict[str, dict[str, int]] = field(default_factory=dict)
    """Impressions of each level of each attribute, after merging, of all combinations."""
    combinations: int = 0
    below_min_impressions: int = 0
    """Combinations left out because they were shown too rarely."""
    impressions_below_min: int = 0
    without_creative: int = 0
    """Combinations left out because no row of the creatives table is theirs."""
    impressions_without_creative: int = 0
    contents: int = 0
    impressions: int = 0
    clicks: int = 0

    def to_json(self) -> str:
        """The report as `aggregation.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def of(cls, root: str) -> Self:
        """Read the report in a dataset folder. Raises DatasetError where it is none."""
        place = storage.join(root, REPORT_FILE)
        try:
            return TypeAdapter(cls).validate_json(storage.read_bytes(place))
        except ValidationError as error:
            wrong = error.errors()[0]
            key = ".".join(map(str, wrong["loc"])) or "the file"
            raise DatasetError(
                f"{place} is not a report of `ni data aggregate` of this version, as {key} is "
                f"wrong ({wrong['msg']}): aggregate the log again."
            ) from error
