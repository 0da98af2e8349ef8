"""Click logs to dataset folders: counts against pandas, rejects by line, merges worked by hand."""

from __future__ import annotations

import bz2
import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
import yaml
from click.testing import CliRunner
from PIL import Image

from ni_platform.cli.data import command
from ni_platform.data import storage
from ni_platform.data.click_log import LogSpec, aggregate
from ni_platform.data.click_log.levels import merge_rare_levels
from ni_platform.data.click_log.spec import DropRule
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, DatasetError, NiError
from ni_platform.ray_cluster import start_ray

pytestmark = pytest.mark.usefixtures("without_ray")  # of another test's environment

SPEC = LogSpec(
    name="ads",
    content="ad",
    clicked="clicked",
    categorical=("device",),
    min_impressions=1,
    min_level_impressions=0,
)


@pytest.fixture(scope="module")
def eleven_logs(tmp_path_factory) -> list[str]:
    """11 files of 1 to 11 events, each with a bad row more."""
    folder = tmp_path_factory.mktemp("logs")
    for number in range(1, 12):
        log = events(number, seed=number)
        log.loc[number, ["ad", "device", "clicked"]] = ["ad0", "phone", 5]
        log.to_csv(folder / f"{number:02d}.csv", index=False)
    return [str(folder)]


@pytest.fixture(scope="module")
def counted_alone(without_ray, eleven_logs, tmp_path_factory):
    """Their dataset and report as this process makes them: so few do not pay for a Ray."""
    out = tmp_path_factory.mktemp("alone") / "out"
    counted = aggregate(eleven_logs, str(out), spec(max_rejected=0.5))
    assert not ray.is_initialized()
    return counted


@pytest.fixture(scope="module")
def one_cpu(counted_alone, s3_environment) -> None:
    """A Ray of one CPU; its processes take their environment, and so the bucket's place, now."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        start_ray(1)


def events(rows: int, seed: int = 0) -> pd.DataFrame:
    """Exposures of four ads on two devices; ad 3 is clicked most."""
    rng = np.random.default_rng(seed)
    ad = rng.integers(0, 4, rows)
    return pd.DataFrame(
        {
            "ad": [f"ad{number}" for number in ad],
            "device": rng.choice(["phone", "desk"], rows),
            "bot": rng.choice(["no", "yes"], rows, p=[0.9, 0.1]),
            "seconds": 1_700_000_000 + rng.integers(0, 10**6, rows),
            "clicked": (rng.random(rows) < 0.1 * (1 + ad)).astype(int),
        }
    )


def spec(**changes: object) -> LogSpec:
    """SPEC with changes."""
    return LogSpec(**{**vars(SPEC), **changes})


def test_many_files_of_both_kinds_count_as_pandas_does(one_cpu, tmp_path):
    """A folder of Parquet, CSV and compressed CSV is counted side by side, robots left out."""
    parts = [events(500, seed) for seed in range(4)]
    logs = tmp_path / "logs"
    logs.mkdir()
    parts[0].to_parquet(logs / "0.parquet")
    parts[1].to_csv(logs / "1.csv", index=False)
    parts[2].to_csv(logs / "2.csv.gz", index=False)
    parts[3].assign(clicked=parts[3]["clicked"].astype(bool)).to_parquet(logs / "3.parquet")
    made = spec(
        time="seconds",
        time_parts=("weekday", "hour"),
        drop=(DropRule(column="bot", equals="yes"),),
    )

    dataset, report = aggregate([str(logs)], str(tmp_path / "out"), made)

    everything = pd.concat(parts)
    people = everything[everything["bot"] == "no"]
    moment = pd.to_datetime(people["seconds"], unit="s")
    expected = (
        people.assign(weekday=moment.dt.strftime("%a"), hour=moment.dt.hour.astype(str))
        .groupby(["ad", "device", "weekday", "hour"])["clicked"]
        .agg(["size", "sum"])
    )
    found = dataset.contents.set_index(["ad", "device", "weekday", "hour"]).sort_index()
    assert found["impressions"].tolist() == expected["size"].tolist()
    assert found["clicks"].tolist() == expected["sum"].tolist()
    assert dataset.content_id.is_unique
    assert report.rows == 2000
    assert report.dropped == {"bot = yes": int((everything["bot"] == "yes").sum())}


def test_ray_counts_every_file_once_and_as_one_process_does(
    one_cpu, counted_alone, eleven_logs, tmp_path
):
    """Of 11 files with a bad row each it counts two at once."""
    alone, report = counted_alone
    shared, shared_report = aggregate(eleven_logs, str(tmp_path / "shared"), spec(max_rejected=0.5))

    assert (report.files, report.rows, report.impressions) == (11, 77, 66)
    assert shared_report == report
    assert shared.contents.equals(alone.contents)
    rejects = pd.read_csv(tmp_path / "shared/rejects.csv")
    assert rejects["line"].tolist() == list(range(3, 14))
    assert rejects["file"].tolist() == [
        str(file) for file in sorted(Path(eleven_logs[0]).iterdir())
    ]


def test_paths_are_of_the_folder_that_one_works_in(one_cpu, tmp_path, monkeypatch):
    """Ray's processes were started in another; files are called as they were named."""
    for number in range(2):
        events(50, number).to_csv(tmp_path / f"{number}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    dataset, report = aggregate(["0.csv", "1.csv"], "out", spec())
    assert (report.files, report.rows) == (2, 100)
    assert dataset.contents["impressions"].sum() == 100


def test_a_log_and_its_dataset_in_a_bucket(one_cpu, bucket, tmp_path):
    """An `s3://` prefix of logs becomes an `s3://` dataset with the same counts."""
    parts = [events(300, seed) for seed in range(2)]
    for number, part in enumerate(parts):
        storage.write_bytes(f"{bucket}/log/{number}.csv", part.to_csv(index=False).encode())

    dataset, _ = aggregate([f"{bucket}/log"], f"{bucket}/out", SPEC)

    expected = pd.concat(parts).groupby(["ad", "device"])["clicked"].agg(["size", "sum"])
    assert dataset.contents[["impressions", "clicks"]].values.tolist() == expected.values.tolist()
    assert json.loads(storage.read_bytes(f"{bucket}/out/aggregation.json"))["rows"] == 600
    assert storage.read_bytes(f"{bucket}/out/rejects.csv").split() == [b"file,line,reason"]
    with pytest.raises(DatasetError, match="already there"):
        aggregate([f"{bucket}/log"], f"{bucket}/out", SPEC)


def test_spec_and_creatives_in_a_bucket(bucket, tmp_path):
    """Paths of a spec are relative to its place, in a bucket as well."""
    creatives = {"table": "creatives.csv", "key": "id", "text": ["slogan"]}
    meaning = {"name": "ads", "content": "ad", "clicked": "clicked", "min_impressions": 1}
    text = yaml.safe_dump(meaning | {"creatives": creatives})
    storage.write_bytes(f"{bucket}/specs/log.yaml", text.encode())
    storage.write_bytes(f"{bucket}/specs/creatives.csv", b"id,slogan\nad1,Free tea\n")
    (tmp_path / "log.csv").write_text("ad,clicked\nad1,1\nad2,0\n")
    words = ["aggregate", str(tmp_path / "log.csv"), str(tmp_path / "out")]

    CliRunner().invoke(
        command, [*words, "--spec", f"{bucket}/specs/log.yaml"], catch_exceptions=False
    )

    assert Dataset.open(tmp_path / "out").contents["slogan"].tolist() == ["Free tea"]


def test_rejects_of_a_bucket_go_beside_the_dataset(bucket, tmp_path):
    """Too many bad rows leave the list of them in the bucket, and nothing else."""
    storage.write_bytes(f"{bucket}/log.csv", b"ad,device,clicked\na,phone,1\na,phone,7\n")

    with pytest.raises(DatasetError, match=r"out\.rejects\.csv"):
        aggregate([f"{bucket}/log.csv"], f"{bucket}/out", SPEC)

    assert storage.list_files(bucket) == ["log.csv", "out.rejects.csv"]
    assert b"log.csv,3,clicked must be 0 or 1" in storage.read_bytes(f"{bucket}/out.rejects.csv")


def test_bad_rows_are_set_aside_with_file_and_line(tmp_path):
    """Each kind of bad row is told by its line in the file, and the others count."""
    log = tmp_path / "log.csv"
    log.write_text(
        "ad,device,clicked,time\n"  # 1
        "a,phone,1,2024-01-01T10:00:00\n"  # 2
        "a,phone,2,0\n"  # 3: clicked
        "a,phone\n"  # 4: columns
        ",phone,0,5\n"  # 5: no ad
        "a,phone,0,-1\n"  # 6: negative
        "a,phone,0,yesterday\n"  # 7: no time
        "a,phone,x,1\n"  # 8: clicked
        "a,phone,0,1700000000.5\n"  # 9
    )
    dataset, report = aggregate(
        [str(log)], str(tmp_path / "out"), spec(time="time", max_rejected=0.8)
    )

    rejects = pd.read_csv(tmp_path / "out/rejects.csv").sort_values("line")
    assert rejects["line"].tolist() == [3, 4, 5, 6, 7, 8]
    assert rejects["reason"].tolist() == [
        "clicked must be 0 or 1 (is '2')",
        "has 2 columns, not 4",
        "ad is empty",
        "time is negative",
        "time is no time: yesterday",
        "clicked must be 0 or 1 (is 'x')",
    ]
    assert set(rejects["file"]) == {str(log)}
    assert (report.rows, report.rejected) == (8, 6)
    assert dataset.contents[["impressions", "clicks"]].values.tolist() == [[2, 1]]
    assert json.loads((tmp_path / "out/aggregation.json").read_text())["rejected"] == 6


def test_too_many_bad_rows_stop_and_leave_only_the_rejects(tmp_path):
    """Above the declared share nothing is written but the list of bad rows."""
    log = tmp_path / "log.csv"
    log.write_text("ad,device,clicked\na,phone,1\na,phone,7\n")

    with pytest.raises(DatasetError, match=r"1 of 2 are, such as line 3"):
        aggregate([str(log)], str(tmp_path / "out"), SPEC)

    assert not (tmp_path / "out").exists()
    assert "clicked must be 0 or 1" in (tmp_path / "out.rejects.csv").read_text()


def test_lines_stay_right_over_blocks(tmp_path, monkeypatch):
    """Broken lines in a block before do not shift the numbers of later ones."""
    from ni_platform.data.click_log import texts as module

    monkeypatch.setattr(module, "_BYTES_AT_ONCE", 64)
    lines = ["ad,device,clicked"] + ["a,phone,0"] * 100
    for broken in (7, 8, 40, 41, 42, 99):
        lines[broken - 1] = "a,phone"
    for wrong in (6, 9, 43, 98, 101):
        lines[wrong - 1] = "a,phone,9"
    lines[49] = ""
    log = tmp_path / "log.csv"
    log.write_text("\n".join(lines) + "\n")

    aggregate([str(log)], str(tmp_path / "out"), spec(max_rejected=1.0))

    found = pd.read_csv(tmp_path / "out/rejects.csv").sort_values("line")["line"].tolist()
    assert found == [6, 7, 8, 9, 40, 41, 42, 43, 50, 98, 99, 101]


COUNTS = pd.DataFrame(
    {
        "age": ["10s", "20s", "30s", "40s"],
        "impressions": [10, 100, 20, 200],
        "clicks": [5, 10, 9, 20],
    }
)


def test_rare_levels_join_the_nearest_success_rate():
    """10s (0.5) is nearest to 30s (0.45); together 30 impressions at 0.47 join 20s (0.1)."""
    names, merges = merge_rare_levels(COUNTS, "age", 50)

    assert [(merge.level, merge.into) for merge in merges] == [
        ("10s", "30s"),
        ("10s + 30s", "40s"),
    ]
    assert COUNTS["age"].map(names).tolist() == [
        "10s + 30s + 40s",
        "20s",
        "10s + 30s + 40s",
        "10s + 30s + 40s",
    ]


def test_ordered_levels_join_a_neighbour():
    """10s can only join 20s; then 30s (0.45) joins the nearer of 10s + 20s (0.14) and 40s (0.1)."""
    order = ("10s", "20s", "30s", "40s")
    names, merges = merge_rare_levels(COUNTS, "age", 50, order)

    assert [(merge.level, merge.into) for merge in merges] == [("10s", "20s"), ("30s", "10s + 20s")]
    assert COUNTS["age"].map(names).tolist() == ["10s + 20s + 30s"] * 3 + ["40s"]
    with pytest.raises(DatasetError, match="40s"):
        merge_rare_levels(COUNTS, "age", 50, order[:3])


def test_the_order_of_files_decides_nothing(tmp_path):
    """Levels b and c are as near to a and as large: the tie goes by name, not by who comes first.

    Least 5: a (4 impressions) joins b, in whatever order the files are counted.
    """
    for name, devices in {"1": "cccccc", "2": "bbbbbb", "3": "aaaa"}.items():
        rows = [{"ad": "x", "device": device, "clicked": 0} for device in devices]
        pd.DataFrame(rows).to_csv(tmp_path / f"{name}.csv", index=False)
    merging = spec(min_level_impressions=5)
    tables = []
    for order in ("123", "321"):
        logs = [str(tmp_path / f"{name}.csv") for name in order]
        dataset, report = aggregate(logs, str(tmp_path / order), merging)
        assert report.levels == {"device": {"a + b": 10, "c": 6}}
        tables.append(dataset.contents)

    assert tables[0].equals(tables[1])


def test_creatives_and_pictures_make_a_checked_dataset(tmp_path):
    """The command writes a dataset with pictures and texts; unknown creatives are left out."""
    events(800).to_parquet(tmp_path / "log.parquet")
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(tmp_path / f"pictures/{number}.png")
    pd.DataFrame(
        {
            "id": ["ad0", "ad1", "ad2"],
            "file": ["0.png", "1.png", "2.png"],
            "slogan": ["one", "two", None],
        }
    ).to_csv(tmp_path / "creatives.csv", index=False)
    (tmp_path / "log.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "ads",
                "content": "ad",
                "clicked": "clicked",
                "categorical": ["device"],
                "min_impressions": 10,
                "min_level_impressions": 0,
                "creatives": {
                    "table": "creatives.csv",
                    "key": "id",
                    "image": "file",
                    "images": "pictures",
                    "text": ["slogan"],
                },
            }
        )
    )
    words = ["aggregate", str(tmp_path / "log.parquet"), str(tmp_path / "out")]
    result = CliRunner().invoke(
        command, [*words, "--spec", str(tmp_path / "log.yaml"), "--json"], catch_exceptions=False
    )

    assert result.exit_code == 0
    report = json.loads(result.stdout.strip().splitlines()[-1])
    assert (report["contents"], report["without_creative"]) == (6, 2)
    dataset = Dataset.open(tmp_path / "out")
    assert set(dataset.contents["slogan"].dropna()) == {"one", "two"}
    assert all(uri.endswith(".png") for uri in dataset.image_uri)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("content: ad", "name"),
        ("{name: x, content: ad, clicked: c, drops: []}", "drops"),
        ("{name: x, content: ad, clicked: c, drop: [{column: b}]}", "needs a condition"),
        ("{name: x, content: ad, clicked: c, drop: [{column: b, equal: z}]}", "equal"),
        ("{name: x, content: ad, clicked: c, time_parts: [hour]}", "name its column"),
        ("{name: x, content: ad, clicked: ad}", "one role"),
        ("{name: x, content: ad, clicked: c, drop: [{column: b, matches: '('}]}", "expression"),
        ("{name: x, content: ad, clicked: c, categorical: [clicks]}", "what is counted"),
        ("{name: x, content: ad, clicked: c, min_impressions: -1}", "0 or more, but is -1"),
        (
            "{name: x, content: ad, clicked: c, creatives: {table: t, key: k, text: [ad]}}",
            "columns of the creatives",
        ),
        ("[1, 2]", "mapping"),
    ],
)
def test_a_wrong_spec_is_one_message(text, message, tmp_path):
    """Unknown keys, missing ones and contradictions are named."""
    path = tmp_path / "log.yaml"
    path.write_text(text)

    with pytest.raises(NiError, match=message):
        LogSpec.load(path)


def test_files_that_are_no_log(tmp_path):
    """A missing column, a broken file and an empty folder each get one message."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no log"):
        aggregate([str(tmp_path / "empty")], str(tmp_path / "out"), SPEC)
    (tmp_path / "log.parquet").write_bytes(b"not parquet")
    with pytest.raises(DatasetError, match="not a readable log"):
        aggregate([str(tmp_path / "log.parquet")], str(tmp_path / "out"), SPEC)
    (tmp_path / "log.csv").write_text("ad,devise,clicked\na,b,1\n")
    with pytest.raises(DatasetError, match="did you mean 'devise'"):
        aggregate([str(tmp_path / "log.csv")], str(tmp_path / "out"), SPEC)
    with gzip.open(tmp_path / "log.csv.gz", "wt") as file:
        file.write("ad,device,clicked\n")
    with pytest.raises(DatasetError, match="no event left"):
        aggregate([str(tmp_path / "log.csv.gz")], str(tmp_path / "out"), SPEC)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/log.txt").write_text("ad,device,clicked\na,b,1\n")
    with pytest.raises(DatasetError, match=r"must end in \.csv"):
        aggregate([str(tmp_path / "texts")], str(tmp_path / "out"), SPEC)
    (tmp_path / "log.csv").write_text("ad,device,clicked,clicked\na,b,1,0\n")
    with pytest.raises(DatasetError, match=r"header of .*log\.csv has 'clicked' more than once"):
        aggregate([str(tmp_path / "log.csv")], str(tmp_path / "out"), SPEC)
    pd.DataFrame({"ad": ["a"], "device": [["b"]], "clicked": [1]}).to_parquet(
        tmp_path / "log.parquet"
    )
    with pytest.raises(DatasetError, match="one value per row in 'device', but it holds list"):
        aggregate([str(tmp_path / "log.parquet")], str(tmp_path / "out"), SPEC)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(ConfigError, match="several"):
        spec(categorical=("device", "device"))


def test_files_that_are_passed_over_are_told(tmp_path):
    """Hidden files, unfinished ones and other kinds in a folder do not count, and are listed."""
    for name in ("a.csv", "sub/b.csv", "_temporary/c.csv", ".d.csv"):
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_text("ad,device,clicked\na,phone,1\n")
    (tmp_path / "logs/_SUCCESS").write_text("")
    (tmp_path / "logs/notes.txt").write_text("not a log")

    dataset, report = aggregate([str(tmp_path / "logs")], str(tmp_path / "out"), SPEC)

    assert dataset.contents["impressions"].tolist() == [2]
    assert [Path(name).name for name in report.passed_over] == [
        ".d.csv",
        "_SUCCESS",
        "c.csv",
        "notes.txt",
    ]


def test_a_file_named_twice_is_refused(tmp_path):
    """A file that a folder holds, or that a link leads to, would count twice."""
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs/log.csv"
    log.write_text("ad,device,clicked\na,phone,1\n")
    (tmp_path / "link.csv").symlink_to(log)

    for again in (log, tmp_path / "link.csv"):
        with pytest.raises(DatasetError, match="name it once"):
            aggregate([str(tmp_path / "logs"), str(again)], str(tmp_path / "out"), SPEC)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("bom.csv", lambda text: b"\xef\xbb\xbf" + text),
        ("crlf.csv", lambda text: text.replace(b"\n", b"\r\n")),
        ("upper.CSV.GZ", gzip.compress),
        ("b.csv.bz2", bz2.compress),
    ],
)
def test_csv_as_others_write_it(tmp_path, name, pack):
    """Byte order marks, other line ends, compression, quotes and other scripts change nothing."""
    text = 'ad,device,clicked\n"a, ""b""",電話,1\n"a, ""b""",電話,0\n広告,,1\nNA,null,x\n'
    (tmp_path / name).write_bytes(pack(text.encode()))

    dataset, _ = aggregate([str(tmp_path / name)], str(tmp_path / "out"), spec(max_rejected=0.5))

    rows = dataset.contents.astype(object).where(dataset.contents.notna(), None)
    assert rows[["ad", "device", "impressions", "clicks"]].to_numpy().tolist() == [
        ['a, "b"', "電話", 2, 1],
        ["広告", None, 1, 1],
    ]
    assert pd.read_csv(tmp_path / "out/rejects.csv")["line"].tolist() == [5]


def test_parquet_files_may_differ_in_types_and_order_of_columns(tmp_path):
    """Ads 1 and 2 are the same whether they are stored as integers, floats, texts or categories."""
    device = ["p", None]
    frames = [
        pd.DataFrame({"ad": [1, 2], "device": device, "clicked": [0, 1]}),
        pd.DataFrame({"clicked": ["0", "true"], "device": device, "ad": ["1", "2"]}),
        pd.DataFrame({"clicked": [0.0, 1.0], "ad": [1.0, 2.0], "device": device}),
        pd.DataFrame({"device": pd.Categorical(device), "ad": [1, 2], "clicked": [False, True]}),
        pd.DataFrame({"ad": ["1"], "device": ["p"], "clicked": [None]}),
    ]
    for number, frame in enumerate(frames):
        frame.to_parquet(tmp_path / f"{number}.parquet")

    dataset, report = aggregate([str(tmp_path)], str(tmp_path / "out"), spec(max_rejected=0.2))

    rows = dataset.contents.astype(object).where(dataset.contents.notna(), None)
    assert rows[["ad", "device", "impressions", "clicks"]].to_numpy().tolist() == [
        ["1", "p", 4, 0],
        ["2", None, 4, 4],
    ]
    assert report.rejected == 1


def test_a_content_column_named_content_id(tmp_path):
    """The log's own `content_id` stays; combinations are then named by `combination_id`."""
    (tmp_path / "log.csv").write_text("content_id,device,clicked\na,phone,1\na,desk,0\n")

    dataset, _ = aggregate(
        [str(tmp_path / "log.csv")], str(tmp_path / "out"), spec(content="content_id")
    )

    assert dataset.contents["content_id"].tolist() == ["a", "a"]
    assert dataset.content_id.name == "combination_id"
    assert dataset.content_id.is_unique


def test_ids_do_not_depend_on_what_else_is_in_the_log(tmp_path):
    """A combination has the same id in the log of another day, a null level included."""
    (tmp_path / "1.csv").write_text("ad,device,clicked\na,phone,1\na,,0\n")
    (tmp_path / "2.csv").write_text("ad,device,clicked\nb,desk,0\na,,0\na,phone,1\n")
    ids = []
    for day in ("1", "2"):
        dataset, _ = aggregate([str(tmp_path / f"{day}.csv")], str(tmp_path / day), SPEC)
        found = dataset.contents
        ids.append(found.loc[found["ad"] == "a", "content_id"].tolist())

    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_attributes_with_more_levels_than_a_number_can_tell(tmp_path):
    """Eight keys of 300 levels (6.6e19 combinations are thinkable) are counted as pandas does."""
    rng = np.random.default_rng(0)
    keys = [f"k{number}" for number in range(8)]
    rows = pd.DataFrame(rng.integers(0, 300, (400, 8)).astype(str), columns=keys)
    log = pd.concat([rows, rows[:100], rows[:10]]).assign(clicked=1)
    log.to_parquet(tmp_path / "log.parquet")

    dataset, _ = aggregate(
        [str(tmp_path / "log.parquet")],
        str(tmp_path / "out"),
        spec(content="k0", categorical=tuple(keys[1:])),
    )

    expected = log.groupby(keys).size()
    assert dataset.contents.set_index(keys)["impressions"].to_dict() == expected.to_dict()
    assert dataset.contents[keys].apply(tuple, axis=1).is_monotonic_increasing


def test_a_killed_run_leaves_nothing(tmp_path):
    """A process that is killed when half of the files are counted has written nothing."""
    for number in range(2):
        events(100).to_parquet(tmp_path / f"{number}.parquet")
    program = """
import os, signal, sys
from ni_platform.data.click_log import LogSpec, aggregate
spec = LogSpec(name="ads", content="ad", clicked="clicked", min_impressions=1)
aggregate([sys.argv[1]], sys.argv[1] + "/out", spec,
          on_file=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.parquet", "1.parquet"]
