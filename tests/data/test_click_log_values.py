"""Cells of a click log: one text of a key, a time in whatever unit, and levels in a spec."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ni_platform.data.click_log import LogSpec, aggregate
from ni_platform.data.click_log.spec import Creatives, DropRule
from ni_platform.errors import ConfigError, DatasetError, NiError

SPEC = LogSpec(
    name="ads",
    content="ad",
    clicked="clicked",
    categorical=("device",),
    min_impressions=1,
    min_level_impressions=0,
)
MOMENT = 1_700_188_829
"""Fri, 17 Nov 2023 02:40:29 UTC."""


def spec(**changes: object) -> LogSpec:
    """SPEC with changes."""
    return LogSpec(**{**vars(SPEC), **changes})


def write(path: Path, **columns: object) -> Path:
    """A Parquet log; what is not given is one phone, clicked."""
    rows = max(len(values) for values in columns.values())  # type: ignore[arg-type]
    whole = {"ad": ["a"] * rows, "device": ["phone"] * rows, "clicked": [1] * rows} | columns
    pq.write_table(pa.table(whole), path)
    return path


def rejects(out: Path) -> list[str]:
    """Reasons of rows that were set aside, by line."""
    return pd.read_csv(out / "rejects.csv")["reason"].tolist()


def test_an_id_is_one_value_in_all_types(tmp_path):
    """int64, float64 with a null, text with .0, decimal and categories: two ads in eight files."""
    ids = [672345678901, 5]
    typed = [
        pa.array(ids),
        pa.array([*map(float, ids), None]),
        pa.array([f"{i}.0" for i in ids]),
        pa.array([Decimal(i) for i in ids]),
        pa.array([Decimal(f"{i}.00") for i in ids]),
        pa.array([str(i).encode() for i in ids]),
        pa.array([str(i) for i in ids]).dictionary_encode(),
        pa.array([f" {i}" for i in ids]),
    ]
    (tmp_path / "log").mkdir()
    for number, array in enumerate(typed):
        write(tmp_path / f"log/{number}.parquet", ad=array)
    (tmp_path / "log/9.csv").write_text(
        "ad,device,clicked\n672345678901.0,phone,1\n6.72345678901E+11,phone,1\n5,phone,1\n"
    )

    dataset, report = aggregate(
        [str(tmp_path / "log")], str(tmp_path / "out"), spec(max_rejected=0.1)
    )

    found = dataset.contents.set_index("ad")["impressions"].to_dict()
    assert found == {"672345678901": 10, "5": 9}
    assert (report.combinations, rejects(tmp_path / "out")) == (2, ["ad is empty"])


def test_levels_are_one_value_in_all_types(tmp_path):
    """True and true, dates and their texts, two encodings of é, in every kind of key."""
    day = datetime.date(2024, 5, 1)
    write(
        tmp_path / "1.parquet",
        ad=["é", "é"], device=[True, False], domain=[day, day], test=[1.0, None], age=[1, 2],
    )  # fmt: skip
    write(
        tmp_path / "2.parquet",
        ad=["e\N{COMBINING ACUTE ACCENT}"] * 2, device=["True", "FALSE"],
        domain=["2024-05-01"] * 2, test=["1", ""], age=["1.0", "2"],
    )  # fmt: skip
    made = spec(
        domain="domain", ab_test="test", assignment="randomised", ordered={"age": ("1.0", "2")}
    )

    dataset, _ = aggregate(
        [str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")], str(tmp_path / "out"), made
    )

    rows = dataset.contents.astype(object).where(dataset.contents.notna(), None)
    assert rows[["ad", "domain", "test", "device", "age", "impressions"]].values.tolist() == [
        ["é", "2024-05-01", "1", "true", "1", 2],
        ["é", "2024-05-01", None, "false", "2", 2],
    ]


def test_ids_that_lost_digits_are_rejects_with_the_reason(tmp_path):
    """Floats from 2^53 on stand for several integers; a spreadsheet's 2.38512E+16 does, too."""
    big = 23851234567890125
    write(tmp_path / "1.parquet", ad=pa.array([5.0, float(big)]), device=["x", "y"])
    (tmp_path / "2.csv").write_text(f"ad,device,clicked\n2.38512E+16,x,1\n{big},2.4e+17,1\n5,x,1\n")
    write(tmp_path / "3.parquet", ad=pa.array([big, big + 1, None]))

    dataset, _ = aggregate(
        [str(tmp_path / f"{name}") for name in ("1.parquet", "2.csv", "3.parquet")],
        str(tmp_path / "out"),
        spec(max_rejected=0.5),
    )

    assert dataset.contents[["ad", "impressions"]].values.tolist() == [
        [str(big), 1],
        [str(big + 1), 1],
        ["5", 2],
    ]
    found = rejects(tmp_path / "out")
    assert [reason.split(":")[0].split(",")[0] for reason in found] == [
        "ad holds 2.3851234567890124e+16",
        "ad holds '2.38512E+16'",
        "device holds '2.4e+17'",
        "ad is empty",
    ]
    assert "export the column again as text or as integers" in found[0]
    with pytest.raises(DatasetError, match=r"ad holds 2\.38.*export the column again"):
        aggregate([str(tmp_path / "1.parquet")], str(tmp_path / "no"), SPEC)


def test_clicked_is_0_or_1_however_it_is_written(tmp_path):
    """1.0, "1", TRUE and decimals count; yes, 2 and nothing are rejects with their value."""
    good = [[1.0, 0.0], ["1", "0.0"], ["TRUE", " false "], [Decimal("1.00"), Decimal(0)]]
    for number, clicked in enumerate([*good, ["yes", ""], [2, None], [float("nan"), 0.5]]):
        write(tmp_path / f"{number}.parquet", clicked=clicked)

    dataset, _ = aggregate([str(tmp_path)], str(tmp_path / "out"), spec(max_rejected=0.5))

    assert dataset.contents[["impressions", "clicks"]].values.tolist() == [[8, 4]]
    assert rejects(tmp_path / "out") == [
        f"clicked must be 0 or 1 (is {value})"
        for value in ("'yes'", "''", "2", "empty", "nan", "0.5")
    ]


SECONDS = [MOMENT, MOMENT + 86_400]
MOMENTS = [datetime.datetime.fromtimestamp(second, datetime.UTC) for second in SECONDS]
NAIVE = [moment.replace(tzinfo=None) for moment in MOMENTS]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (SECONDS, None),
        ([second + 0.999 for second in SECONDS], "s"),
        ([Decimal(second) + Decimal("0.5") for second in SECONDS], None),
        ([second * 10**3 + 999 for second in SECONDS], "ms"),
        ([str(second * 10**6 + 999_999) for second in SECONDS], "us"),
        ([second * 10**9 + 999_999_999 for second in SECONDS], "ns"),
        ([str(second * 10**9 + 999_999_999) for second in SECONDS], "ns"),
        *((pa.array(NAIVE, pa.timestamp(unit)), None) for unit in ("s", "ms", "us", "ns")),
        (pa.array([s * 10**9 + 1 for s in SECONDS]).cast(pa.timestamp("ns")), "ms"),
        (pa.array(MOMENTS, pa.timestamp("us", "Asia/Tokyo")), None),
        ([moment.isoformat() for moment in NAIVE], None),
        ([f"{moment:%Y-%m-%d %H:%M:%S.123456} UTC" for moment in NAIVE], None),
        (["2023-11-17T11:40:29+09:00", "2023-11-17T22:40:29-0400"], None),
        (["2023-11-17T02:40:29.999999999Z", "20231118T024029Z"], None),
        ([str(MOMENT), MOMENTS[1].isoformat()], None),
        ([str(MOMENT * 1000), MOMENTS[1].isoformat()], "ms"),
    ],
)
def test_a_time_is_read_in_every_unit_and_type(values, unit, tmp_path):
    """Friday and Saturday at 2 o'clock UTC: no unit, type or zone moves them, none rounds up."""
    log = write(tmp_path / "log.parquet", t=values)
    made = spec(time="t", time_unit=unit, time_parts=("weekday", "hour"))

    dataset, _ = aggregate([str(log)], str(tmp_path / "out"), made)

    assert dataset.contents[["weekday", "hour"]].values.tolist() == [["Fri", "2"], ["Sat", "2"]]


def test_dates_have_weekdays_and_no_hours(tmp_path):
    """date32, date64 and texts give the weekday; an hour made of them would be midnight for all."""
    day = datetime.date(2023, 11, 17)
    for number, values in enumerate(
        [pa.array([day]), pa.array([day], pa.date64()), pa.array(["2023-11-17"])]
    ):
        log = str(write(tmp_path / f"{number}.parquet", t=values))
        made = spec(time="t", time_parts=("weekday",))
        dataset, _ = aggregate([log], str(tmp_path / f"out{number}"), made)
        assert dataset.contents["weekday"].tolist() == ["Fri"]
        with pytest.raises(DatasetError, match="t has no hour: 2023-11-17"):
            aggregate([log], str(tmp_path / "no"), spec(time="t", time_parts=("hour",)))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("per_second", "unit", "name"),
    [(10**3, "ms", "milliseconds"), (10**6, "us", "micro"), (10**9, "ns", "nanoseconds")],
)
def test_another_unit_is_one_error_that_names_it(per_second, unit, name, suffix, tmp_path):
    """Without a unit in the spec; with it the log is read."""
    log = tmp_path / f"log.{suffix}"
    values = [second * per_second for second in SECONDS]
    write(tmp_path / "log.parquet", t=values)
    (tmp_path / "log.csv").write_text(
        "ad,device,clicked,t\n" + "".join(f"a,phone,1,{value}\n" for value in values)
    )
    with pytest.raises(DatasetError, match=rf"t {values[0]} looks like {name}.*time_unit: {unit} "):
        aggregate([str(log)], str(tmp_path / "no"), spec(time="t"))
    made = spec(time="t", time_unit=unit, time_parts=("weekday",))
    dataset, _ = aggregate([str(log)], str(tmp_path / "out"), made)
    assert dataset.contents["weekday"].tolist() == ["Fri", "Sat"]


def test_mixed_units_are_found(tmp_path):
    """In one file and across files; rows in another unit than the one that is named are rejects."""
    mixed = write(tmp_path / "1.parquet", t=[MOMENT, MOMENT * 1000])
    with pytest.raises(
        DatasetError, match=r"line 2: .*looks like milli.*other rows are in seconds"
    ):
        aggregate([str(mixed)], str(tmp_path / "no"), spec(time="t"))
    later = write(tmp_path / "2.parquet", t=[MOMENT * 1000] * 2)
    named = spec(time="t", time_unit="ms", max_rejected=0.3)
    _, report = aggregate([str(mixed), str(later)], str(tmp_path / "out"), named)
    assert (report.impressions, report.rejected) == (3, 1)
    assert rejects(tmp_path / "out")[0].startswith("t looks like seconds, not milliseconds")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (20240101, "t is no time of a click: 20240101 as seconds is in the year 1970; give"),
        (14102100, "t is no time of a click"),
        (0, "t is no time of a click"),
        (-5, "t is negative"),
        (2**62, "t is no time of a click"),
        (float("inf"), "t is no time: inf"),
        (float("nan"), "t is no time: nan"),
        (None, "t is no time"),
        ("now", "t is no time: now"),
        ("1.7E+09", "t is no time: 1.7E+09"),
        ("01/02/2024", "t is no time: 01/02/2024"),
        ("2024-02-30", "t is no time: 2024-02-30"),
        ("1970-01-01T00:00:00", "t is in the year 1970"),
        (datetime.datetime(1, 1, 1), "t is in the year 1"),
    ],
)
def test_what_is_no_time_of_a_click_is_a_reject(value, reason, tmp_path):
    """Dates written as numbers, missing times written as 1970, and words are never a weekday."""
    good = {int: MOMENT, float: float(MOMENT), str: str(MOMENT)}.get(type(value), NAIVE[0])
    log = write(tmp_path / "log.parquet", t=[good, value])

    _, report = aggregate(
        [str(log)], str(tmp_path / "out"), spec(time="t", time_parts=("hour",), max_rejected=0.5)
    )

    assert report.levels["hour"] == {"2": 1}
    assert rejects(tmp_path / "out")[0].startswith(reason)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.7e9]).cast(pa.float32(), safe=False),
        pa.array([datetime.time(2, 40)]),
        pa.array([True]),
        pa.array([datetime.timedelta(1)]),
    ],
)
def test_a_column_that_holds_no_times_is_one_error(values, tmp_path):
    """Types that keep no moment are told as such, not row by row."""
    log = write(tmp_path / "log.parquet", t=values)

    with pytest.raises(DatasetError, match=re.escape(f"column 't' holds {values.type}")):
        aggregate([str(log)], str(tmp_path / "out"), spec(time="t"))


def test_a_spec_names_levels_as_they_are_written(tmp_path):
    """YAML's NO, 1.10, 007, 12:30, dates and true are texts, compared as levels are."""
    path = tmp_path / "log.yaml"
    path.write_text(
        "name: 2024\ncontent: on\nclicked: y\ntime: 1\ntime_unit: ms\ncategorical: [no, 1.10]\n"
        "ordered: {2024-01-01: [NO, 1.10, 007, 12:30, 1_000, true]}\n"
        "drop:\n- {column: 7, equals: 1.0}\n- {column: 8, one_of: [Off, 2024-05-01], below: 1e3}\n"
        "min_impressions: 5\nmax_rejected: 0.5\n".replace("1e3", "-2.5")
    )

    found = LogSpec.load(path)

    assert (found.name, found.content, found.clicked, found.time) == ("2024", "on", "y", "1")
    assert found.categorical == ("no", "1.10")
    assert found.order("2024-01-01") == ["NO", "1.10", "007", "12:30", "1_000", "true"]
    assert [rule.levels for rule in found.drop] == [{"1"}, {"Off", "2024-05-01"}]
    assert (found.min_impressions, found.max_rejected, found.drop[1].below) == (5, 0.5, -2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{min_impressions: 0100}", "min_impressions.*'0100'"),
        ("{min_impressions: 1:30}", "min_impressions.*'1:30'"),
        ("{categorical: [a], categorical: [b]}", "'categorical' more than once"),
        ("{categorical: &a [*a]}", "holds itself"),
        ("{ordered: {age: ['1', 1.0]}}", "each level once, but '1'"),
        ("{ordered: {age: [2.38512E+16]}}", "rounded away"),
        ("{drop: [{column: b, equals: ' '}]}", "blank level"),
        ("{time_unit: ms}", "name its column with time"),
        ("{time: t, time_unit: minutes}", "time_unit"),
        ("{csv: {delimiter: ';;'}}", "one character"),
        ("{csv: {encoding: latin-9000}}", "no text encoding"),
        ("{csv: {quote: x}}", "csv"),
    ],
)
def test_a_spec_that_may_be_read_wrongly_is_one_message(text, message, tmp_path):
    """Numbers that YAML would change, keys given twice, levels that are one or none."""
    path = tmp_path / "log.yaml"
    path.write_text("{name: x, content: ad, clicked: c, " + text.removeprefix("{"))

    with pytest.raises(NiError, match=message):
        LogSpec.load(path)


def test_a_spec_that_is_no_text_is_one_message(tmp_path):
    """Latin-1 is no YAML, which is in UTF-8."""
    (tmp_path / "log.yaml").write_bytes("name: Köln".encode("latin-1"))

    with pytest.raises(DatasetError, match="not valid YAML"):
        LogSpec.load(tmp_path / "log.yaml")


def test_drop_rules_compare_what_is_the_same(tmp_path):
    """1 is 1.0 and true is True; null never matches; what is no number is a reject, not kept."""
    write(
        tmp_path / "1.parquet",
        flag=[1.0, None, 2.0, 3.0], bot=[True, False, False, None], wait=["5", "1,5", "20", "NA"],
    )  # fmt: skip
    write(tmp_path / "2.parquet", flag=["1", "x", "2"], bot=["true"] * 2 + ["0"], wait=[5, 50, 7])
    rules = (
        DropRule(column="flag", equals="1"),
        DropRule(column="bot", one_of=("True", "yes")),
        DropRule(column="wait", above=10, below=30),
    )

    _, report = aggregate(
        [str(tmp_path)], str(tmp_path / "out"), spec(drop=rules, max_rejected=0.2)
    )

    assert list(report.dropped.values()) == [2, 1, 1]
    assert report.impressions == 2
    assert rejects(tmp_path / "out") == [
        "wait is no plain number: '1,5'; write it so, or name csv: decimal:"
    ]


def test_creatives_are_joined_by_label_and_read_as_declared(tmp_path):
    """Keys as floats with a null meet integers of the log; texts and levels stay as written."""
    write(tmp_path / "log.parquet", ad=[672345678901, 2, 3])
    (tmp_path / "creatives.csv").write_text(
        "id,slogan,country,zip,age\n"
        "672345678901.0,NA,NA,01234,1.10\n2,None,NO,00501,1.1\n3,007,null,1,True\n,,,,x\n"
    )
    about = Creatives(
        table="creatives.csv", key="id", text=("slogan",), categorical=("country", "zip", "age")
    )
    notes: list[str] = []

    dataset, _ = aggregate(
        [str(tmp_path / "log.parquet")],
        str(tmp_path / "out"),
        spec(creatives=about),
        folder=tmp_path,
        say=notes.append,
    )

    found = dataset.contents.set_index("ad")[["slogan", "country", "zip", "age"]]
    assert found.loc["672345678901"].tolist() == ["NA", "NA", "01234", "1.10"]
    assert found.loc["2"].tolist() == ["None", "NO", "00501", "1.1"]
    assert found.loc["3"].tolist() == ["007", "null", "1", "true"]
    assert notes == [f"{tmp_path / 'creatives.csv'}: 1 rows have no 'id', and are left out"]


def test_a_creative_that_comes_twice_is_an_error(tmp_path):
    """Also where the two rows name it as 2 and 2.0."""
    write(tmp_path / "log.parquet", ad=[2])
    (tmp_path / "creatives.csv").write_text("id,slogan\n2,a\n2.0,b\n")
    made = spec(creatives=Creatives(table="creatives.csv", key="id", text=("slogan",)))

    with pytest.raises(DatasetError, match="one row per creative, but id '2'"):
        aggregate([str(tmp_path / "log.parquet")], str(tmp_path / "out"), made, folder=tmp_path)


def test_an_ad_shown_as_often_as_all_others_is_no_row_of_totals(tmp_path):
    """Events were counted one by one, so nothing can be the sum of the rest."""
    log = write(tmp_path / "log.parquet", ad=["a"] * 3 + ["b", "c", "d"], clicked=[0] * 6)
    dataset, _ = aggregate([str(log)], str(tmp_path / "out"), SPEC)
    assert sorted(dataset.impressions) == [1, 1, 1, 3]


def test_shares_are_checked_only_where_rows_are_arms(tmp_path):
    """A creative with one row per A/B test is an arm; one of two devices has two, which is said."""
    log = write(
        tmp_path / "log.parquet", ad=["a", "a", "b"], device=["phone", "desk", "phone"],
        test=["t"] * 3,
    )  # fmt: skip
    said: list[str] = []
    tested = {"ab_test": "test", "assignment": "randomised"}
    by_device, report = aggregate([str(log)], str(tmp_path / "1"), spec(**tested), say=said.append)
    assert (by_device.manifest.assignment, by_device.manifest.shares) == ("randomised", "unknown")
    assert "shares: unknown" in said[-1]
    assert report.found_out[-1] == said[-1]
    arms, _ = aggregate([str(log)], str(tmp_path / "2"), spec(**tested, categorical=()))
    assert arms.manifest.shares is None


@pytest.mark.parametrize("given", [{"ab_test": "test"}, {"assignment": "randomised"}])
def test_a_log_of_ab_tests_says_how_arms_were_assigned(given):
    """Before anything is counted."""
    with pytest.raises(ConfigError, match="ab_test and assignment go together"):
        spec(**given)


def test_a_log_of_counts_is_the_log_of_its_events(tmp_path: Path) -> None:
    """Rows of impressions and clicks per day give the dataset that their events give."""
    rng = np.random.default_rng(3)
    events = pd.DataFrame(
        {
            "ad": rng.choice(["a", "b", "c"], 500),
            "device": rng.choice(["phone", "desk"], 500),
            "day": rng.integers(0, 4, 500),
            "clicked": rng.integers(0, 2, 500),
        }
    )
    daily = events.groupby(["ad", "device", "day"])["clicked"].agg(["size", "sum"]).reset_index()
    events.to_csv(tmp_path / "events.csv", index=False)
    daily.to_csv(tmp_path / "daily.csv", index=False)
    common = {"name": "ads", "content": "ad", "categorical": ("device",)}
    small = {"min_impressions": 1, "min_level_impressions": 0}
    one, _ = aggregate(
        [str(tmp_path / "events.csv")],
        str(tmp_path / "one"),
        LogSpec(**common, **small, clicked="clicked"),  # type: ignore[arg-type]
    )
    counted = LogSpec(**common, **small, impressions="size", clicks="sum")  # type: ignore[arg-type]
    for name in ("daily.csv", "daily.parquet"):
        daily.to_parquet(tmp_path / "daily.parquet")
        other, _ = aggregate([str(tmp_path / name)], str(tmp_path / f"of {name}"), counted)
        pd.testing.assert_frame_equal(one.contents, other.contents)


def test_counts_that_are_none_are_set_aside_and_corrections_added(tmp_path: Path) -> None:
    """A negative count takes back; what is no whole number is a bad row with its line."""
    log = tmp_path / "log.csv"
    log.write_text('ad,seen,hits\na,100,5\na,-10,-1\na,2.5,1\nb,7,\nb,"1,200",3\nb,50,4\n')
    spec = LogSpec(
        name="ads", content="ad", impressions="seen", clicks="hits", min_impressions=1,
        min_level_impressions=0, max_rejected=0.9,
    )  # fmt: skip
    dataset, report = aggregate([str(log)], str(tmp_path / "out"), spec)
    assert dataset.contents[["ad", "impressions", "clicks"]].to_numpy().tolist() == [
        ["a", 90, 4],
        ["b", 50, 4],
    ]
    assert report.rejected == 3
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv")
    assert rejects.iloc[:, 1].tolist() == [4, 5, 6]
    assert "seen must be a count (is '2.5')" in rejects.to_csv()


@pytest.mark.parametrize(
    "given", [{}, {"clicked": "c", "clicks": "k"}, {"impressions": "i"}, {"clicks": "k"}]
)
def test_a_row_is_one_exposure_or_counts(given: dict[str, str]) -> None:
    """Half of a form, or both, is refused."""
    with pytest.raises(ConfigError, match="A row is one exposure"):
        LogSpec(name="ads", content="ad", **given)  # type: ignore[arg-type]
