"""Import of the Upworthy Research Archive: A/B tests of article packages, 2013 to 2015.

Matias, Munger, Le Quere and Ebersole, "The Upworthy Research Archive, a time series of 32,487
experiments in U.S. media", Scientific Data 8, 195 (2021).
"""

from datetime import datetime
from pathlib import Path

import pandas as pd

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.importers.table import check_clicks, check_columns, check_totals
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.reading.csv_file import CsvFormat, Say
from ni_platform.data.reading.table import Role, read_table
from ni_platform.errors import DatasetError

FAULTY_WEEKS = (201325, 201401)
"""First and last `test_week` with faulty randomisation, both included.

The publishers give 25 June 2013 to 10 January 2014. `test_week` is year * 100 + week, weeks
counted from 0 for the days before the year's first Monday, so that these dates fall in week 25 of
2013 and week 1 of 2014. Only whole weeks are known.
"""
_ROLES: dict[str, Role] = {
    "clickability_test_id": "label",
    "headline": "text",
    "lede": "text",
    "excerpt": "text",
    "eyecatcher_id": "label",
    "test_week": "count",
    "impressions": "count",
    "clicks": "count",
}
_KEPT = {
    "clickability_test_id": "ab_test",
    "headline": "headline",
    "lede": "lede",
    "excerpt": "excerpt",
    "eyecatcher_id": "eyecatcher_id",
    "test_week": "test_week",
    "impressions": "impressions",
    "clicks": "clicks",
}
"""Columns read and their names in the dataset. The archive's `significance`, `winner` and
`first_place` are outcomes of the test and are not read at all."""


def import_upworthy(
    csv: str | Path,
    out: str | Path,
    *,
    include_faulty_weeks: bool = False,
    form: CsvFormat | None = None,
    say: Say = lambda note: None,
) -> Dataset:
    """Write the archive's packages as a dataset: headlines in A/B tests, with clicks.

    Every package stays the arm that it was, also where arms share their headline (they differ in
    a picture that is not public). No arm is a control, so none is declared. An A/B test any of
    whose packages falls in `FAULTY_WEEKS` is flagged in the column `faulty_randomisation` and,
    unless `include_faulty_weeks`, left out. `form` and `say` are as in `import_table`. Raises
    `DatasetError` for a table that cannot be read exactly or has other columns, rows that are there
    twice, clicks above impressions, or a folder in use.
    """
    source = read_table(csv, _ROLES, form=form, say=say)
    check_columns(source, {name: name for name in _KEPT}, csv)
    if twice := int(source.duplicated().sum()):
        raise DatasetError(
            f"A row is a package, but {twice:,} rows of {csv} are there twice: remove the copies."
        )
    table = source[list(_KEPT)].rename(columns=_KEPT)
    check_clicks(table, content_id="ab_test", impressions="impressions", clicks="clicks")
    check_totals(table, "ab_test", ("impressions", "clicks"))
    arm_number = table.groupby("ab_test").cumcount().astype(str)
    table.insert(0, "content_id", table["ab_test"].astype(str) + "-" + arm_number)
    table["day"] = table["test_week"].map(_first_day)
    faulty = table["test_week"].between(*FAULTY_WEEKS)
    table["faulty_randomisation"] = faulty.groupby(table["ab_test"]).transform("any")
    if not include_faulty_weeks:
        table = table[~table["faulty_randomisation"]]
    manifest = Manifest(
        name="upworthy",
        description=(
            "Headlines that a news site A/B-tested, 2013-2015 (The Upworthy Research Archive, "
            "CC BY 4.0); weeks with faulty randomisation "
            + ("included, see faulty_randomisation." if include_faulty_weeks else "left out.")
        ),
        columns=Columns(content_id="content_id", ab_test="ab_test", day="day", text=("headline",)),
        target=Target(impressions="impressions", clicks="clicks"),
        assignment="randomised",
        assignment_reason="The archive's publishers say that visitors were assigned at random.",
    )
    return write_dataset(out, manifest, pd.DataFrame(table).reset_index(drop=True))


def _first_day(week: int) -> str:
    """The Monday of a `test_week`; that of week 0 lies in the year before."""
    year, number = divmod(int(week), 100)
    return datetime.strptime(f"{year} {number} 1", "%Y %W %w").date().isoformat()
