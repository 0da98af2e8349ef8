"""From a log of single exposures to a dataset folder (M2FN Section 6.2).

`spec` says what the columns mean, `events` reads files and sets bad rows aside, `counts` adds
events up per combination, `levels` merges rare levels, `aggregate` puts it together.
"""

from ni_platform.data.click_log.aggregate import Aggregation, aggregate
from ni_platform.data.click_log.spec import LogSpec

__all__ = ["Aggregation", "LogSpec", "aggregate"]
