"""From a log of single exposures to a dataset folder (M2FN Section 6.2).

`spec` says what the columns mean, `files` which files are the log, `events` reads them, `rejects`
keeps the bad rows, `counts` adds events up per combination, `levels` merges rare levels,
`contents` makes the contents table, `report` says what became of the log, and `aggregate` puts it
together.
"""

from ni_platform.data.click_log.aggregate import aggregate
from ni_platform.data.click_log.report import Aggregation
from ni_platform.data.click_log.spec import LogSpec

__all__ = ["Aggregation", "LogSpec", "aggregate"]
