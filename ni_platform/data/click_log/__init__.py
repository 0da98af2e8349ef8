"""From a log of single exposures to a dataset folder (M2FN Section 6.2).

`spec` says what the columns mean (`spec_file` reads it), `files` which files are the log; `pieces`
opens them, `csv_pieces` and `texts` read CSV, `times` tells when an event was, `drops` which events
to leave out, `events` puts these together, and `rejects` keeps the bad rows; `counts` adds events
up per combination, `levels` merges rare levels, `contents` makes the contents table, `report` says
what became of the log, and `aggregate` does it all.
"""

from ni_platform.data.click_log.aggregate import aggregate
from ni_platform.data.click_log.report import Aggregation
from ni_platform.data.click_log.spec import LogSpec

__all__ = ["Aggregation", "LogSpec", "aggregate"]
