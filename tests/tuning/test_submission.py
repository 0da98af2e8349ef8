"""Sweeps sent to a real cluster that asks for a token."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from token_cluster import ROOT, TOKEN, Cable, token_cluster

from ni_platform.cli.sweep.logs import command as logs_command
from ni_platform.cli.sweep.submit import command as submit_command
from ni_platform.data.synthetic import make_synthetic
from ni_platform.data.transfer import push
from ni_platform.errors import ClusterError, ConfigError
from ni_platform.tuning.cluster import preflight
from ni_platform.tuning.cluster.cluster_probe import versions
from ni_platform.tuning.cluster.shipping import staged
from ni_platform.tuning.cluster.submission import (
    SweepJob,
    job_logs,
    job_status,
    read_submission,
    stop_job,
    submit,
)

DRIVER = """
import os, pathlib, signal, sys, time

records = pathlib.Path(sys.argv[1]) / "records"
before = records.read_text().split() if records.exists() else []

def close(*_):
    time.sleep(4)  # longer than Ray waits if it is not told otherwise
    records.write_text("closed")
    sys.exit(0)

signal.signal(signal.SIGTERM, close)
if before:
    print("goes on after", before[0])
    sys.exit(0)
print("begins with", os.environ["PLANTED"])
while True:
    time.sleep(0.1)
"""

SPACE = '''
def rates(trial):
    """One rate."""
    return {"training.learning_rate": trial.suggest_categorical("rate", [0.125])}
'''


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all tests of this file."""
    with token_cluster() as started:
        yield started


@pytest.fixture
def job(cluster, tmp_path, monkeypatch) -> SweepJob:
    """A job that could run, sent from a project folder; this shell knows the token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token_file))
    monkeypatch.setenv("NI_HOME", str(tmp_path / "home"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / "project"
    (project / "data_checks").mkdir(parents=True)
    (project / "data_checks" / "driver.py").write_text(DRIVER)
    storage = tmp_path / "storage"
    storage.mkdir()
    return SweepJob(
        name=tmp_path.name.replace("_", "-"),
        entry=("python", "data_checks/driver.py", str(storage)),
        address=cluster.address,
        storage=str(storage),
        project=str(project),
    )


def _refusal(job: SweepJob, **options) -> list[str]:
    """The lines of a preflight that fails."""
    with staged(job.project) as shipment, pytest.raises(ClusterError) as refused:
        preflight.check(job, shipment, **options)
    assert TOKEN not in str(refused.value)
    return str(refused.value).splitlines()[1:]


def test_a_job_is_followed_stopped_gently_and_sent_again(job, cluster, monkeypatch, tmp_path):
    """The driver closes its records when it is stopped; sent again, it is a new job."""
    monkeypatch.setenv("PLANTED", "a value of this shell")
    # Ray's own variable for `ray.init` must not win over the address that was given.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    job = dataclasses.replace(job, env=("PLANTED",))
    with staged(job.project) as shipment:
        first = submit(job, shipment)
        assert first.job_id == f"ni-{job.name}-1"
        assert read_submission(job.name) == first
        cable = Cable(cluster.address)
        elsewhere = dataclasses.replace(job, address=cable.address)
        chunks = job_logs(dataclasses.replace(first, job=elsewhere), follow=True)
        seen = ""
        while "begins with a value of this shell" not in seen:
            seen += next(chunks)
        cable.cut()
        with pytest.raises(ClusterError, match=r"was lost .*; the job does not need it\. Repeat"):
            list(chunks)
        assert job_status(first).status == "RUNNING"
        with pytest.raises(ClusterError, match=f"{first.job_id} .* is RUNNING: stop it by"):
            submit(job, shipment)
    assert stop_job(first).status == "STOPPED"
    assert (tmp_path / "storage" / "records").read_text() == "closed"

    with staged(job.project) as shipment:
        second = submit(job, shipment)
    assert second.job_id == f"ni-{job.name}-2"
    assert "goes on after closed" in "".join(job_logs(second, follow=True))
    assert job_status(second).status == "SUCCEEDED"
    printed = CliRunner().invoke(logs_command, [job.name, "--lines", "1"])
    assert printed.output == "goes on after closed\n"

    remembered = (tmp_path / "home" / "sweeps" / job.name / "submission.json").read_text()
    assert "PLANTED" in remembered
    assert "a value of this shell" not in remembered
    assert TOKEN not in remembered
    # Nor in what Ray writes of a job's environment, which holds the values that were passed on.
    texts = [path.read_text(errors="replace") for path in cluster.logs.iterdir() if path.is_file()]
    assert [text for text in texts if "a value of this shell" in text]
    assert not [text for text in texts if TOKEN in text]


def test_a_forgotten_job_is_said_to_be_forgotten(job, monkeypatch):
    """As after a restart of the cluster."""
    with staged(job.project) as shipment:
        sent = submit(dataclasses.replace(job, entry=("true",)), shipment)
    gone = dataclasses.replace(sent, job_id="ni-other-7")
    with pytest.raises(ClusterError, match="knows no job ni-other-7: it was started anew"):
        job_status(gone)
    with pytest.raises(ConfigError, match="'other' was not sent to a cluster from here"):
        read_submission("other")


def test_every_reason_is_told_at_once(job, tmp_path, monkeypatch, unused_port):
    """Storage, tracking, data, resources and versions, each with its remedy; nothing is left."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused_port}")
    broken = dataclasses.replace(
        job, storage=str(tmp_path / "file" / "sweeps"), data=str(tmp_path), gpus_per_trial=2.5
    )
    lines = _refusal(broken, expected=versions() | {"torch": "1.0.0"})
    expected = [
        r"more than one GPU can only be taken whole, but --gpus-per-trial is 2.5: round it",
        r"torch is 1.0.0 here and \d.* on the cluster: install one version on both sides",
        r"storage, from the driver's node, .*: .*Not a directory. Check the path",
        r"tracking, from .*: The tracking server .* does not answer within 5 s. Start it",
        r"data, from .*: .* is not a dataset folder",
        r"a trial needs 1 CPUs and 2.5 GPUs on one node, which none has .*2 CPUs, 0 GPUs.*: lower",
    ]
    for words in expected:
        assert any(re.search(words, line) for line in lines), words
    assert len(lines) == len(expected)
    assert not (tmp_path / "home").exists()


def test_what_the_cluster_lacks_of_this_shell_is_named(job, bucket):
    """Keys that are here but not there, and a tracking server that nobody has named."""
    place = f"s3://{bucket}"
    lines = _refusal(dataclasses.replace(job, storage=place, data=f"{place}/ads"))
    tracking, *others = sorted(lines, key=lambda line: "MLFLOW_TRACKING_URI" not in line)
    assert "MLFLOW_TRACKING_URI is set neither in the shell that submits nor on" in tracking
    assert {line.split(",")[0] for line in others} == {"  - storage", "  - data"}
    for line in others:
        assert "(Set here, but not on the cluster: AWS_ACCESS_KEY_ID, AWS_SECRET_ACC" in line
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in line


def test_the_command_ships_tries_and_sends(job, bucket, tmp_path, monkeypatch):
    """The cluster reads data from S3 and draws from a space that only this folder has."""
    data = f"s3://{bucket}/ads"
    push(make_synthetic(tmp_path / "data", tests=8, image_size=32).root, data)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(job.project)
    spaces = Path(job.project) / "tune_spaces"
    spaces.mkdir()
    (spaces / "only_here.py").write_text(SPACE)
    options = ["only_here.rates", "--experiment", "neural_insights.quickstart", "--trials", "9"]
    options += ["--data", data, "--name", job.name, "--storage", job.storage, "--dry-run"]
    passed = ["--env", "AWS_ACCESS_KEY_ID", "--env", "AWS_SECRET_ACCESS_KEY"]
    sending = [*options, "--address", job.address, *passed, "--yes"]
    result = CliRunner().invoke(submit_command, sending, catch_exceptions=False)
    assert "Ships 2 files, 0.00 MiB (data_checks, tune_spaces)" in result.output
    assert f"Sent as ni-{job.name}-1." in result.output
    sent = read_submission(job.name)
    assert sent.job.entry == ("ni", "sweep", "run", *options)
    assert (sent.job.data, sent.job.storage) == (data, job.storage)
    printed = "".join(job_logs(sent, follow=True))
    assert printed.count("training.learning_rate = 0.125") == 3
    assert os.listdir(job.storage) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trails", "9"], "No such option '?--trails"),
        ([], "a mounted folder such as /shared/sweeps or s3://BUCKET/sweeps, but it is not"),
        (["--storage", "/shared", "--experiment", "neural_insights.quick"], "neural_insights.qui"),
    ],
)
def test_what_run_would_refuse_is_refused_here(options, words):
    """Before a cluster is asked."""
    given = ["fusion.neural_insights", "--address", "http://127.0.0.1:1", "--name", "n"]
    given += ["--trials", "9", "--data", "/d", "--experiment", "neural_insights.quickstart"]
    result = CliRunner().invoke(submit_command, [*given, *options])
    assert result.exit_code != 0
    assert re.search(words, f"{result.output}{result.exception}")


def test_a_token_that_is_wrong_missing_or_unreadable_is_one_message(job, monkeypatch, tmp_path):
    """With the remedy, and before anything is sent."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    assert "the token sent is not its own. Set RAY_AUTH_TOKEN_PATH to a file" in _refusal(job)[0]
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    assert "none cannot be read ([Errno 2] No such file" in _refusal(job)[0]
    (tmp_path / "none").touch()
    assert "none is empty. Set RAY_AUTH_TOKEN_PATH" in _refusal(job)[0]
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "it asks for a token; none is set. Set RAY_AUTH_TOKEN_PATH" in _refusal(job)[0]
    with pytest.raises(ConfigError, match="a job does not get the cluster's token"):
        dataclasses.replace(job, env=("RAY_AUTH_TOKEN",))


def test_an_address_that_is_no_cluster_is_told(job, bucket, unused_port):
    """Nobody there, another server there, the port that nodes join by."""
    nobody = dataclasses.replace(job, address=f"http://127.0.0.1:{unused_port}")
    assert "Nothing answers at http://127.0.0.1:" in _refusal(nobody)[0]
    other = dataclasses.replace(job, address=os.environ["AWS_ENDPOINT_URL"])
    assert "does not answer as Ray's does" in _refusal(other)[0]
    assert (
        "reads http://HEAD:8265, but got 'head:6379'"
        in _refusal(dataclasses.replace(job, address="head:6379"))[0]
    )


def test_this_sides_mistakes_need_no_cluster(job, monkeypatch, unused_port):
    """Paths of this folder, variables that are not set, a database in the current folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    address = f"http://127.0.0.1:{unused_port}"
    lines = _refusal(
        dataclasses.replace(job, storage="out", data="data", env=("NOWHERE",), address=address)
    )
    assert [line.split(":")[0] for line in lines] == [
        "  - --storage out is a path of this machine's current folder",
        "  - --data data is a path of this machine's current folder",
        "  - --env names NOWHERE, which this shell has not set",
        "  - MLFLOW_TRACKING_URI (sqlite",
        "  - Nothing answers at http",
    ]


def test_only_what_a_sweep_needs_is_shipped(tmp_path):
    """Definitions, and the package from its own checkout; never history, environments or data."""
    for name in ("experiments/a.py", "tune_spaces/b/c.py", "data_checks/d.py", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for name in (".git/HEAD", ".venv/x.py", ".ni/mlflow.db", "data/big.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 1000)
    (tmp_path / "experiments" / "__pycache__").mkdir()
    (tmp_path / "experiments" / "__pycache__" / "a.pyc").touch()
    with staged(tmp_path) as shipment:
        copied = [p for p in shipment.folder.rglob("*") if p.is_file()]
        assert {p.relative_to(shipment.folder).as_posix() for p in copied} == set(shipment.sizes)
        assert set(shipment.sizes) == {"experiments/a.py", "tune_spaces/b/c.py", "data_checks/d.py"}
        assert shipment.size == len("experiments/a.py" + "tune_spaces/b/c.py" + "data_checks/d.py")
    assert not shipment.folder.exists()
    with staged(ROOT) as shipment:
        assert {"pyproject.toml", "ni_platform/__init__.py"} <= set(shipment.sizes)
        assert not [name for name in shipment.sizes if name.startswith("tests")]


def test_too_large_names_the_largest(tmp_path):
    """So that the user knows what to move."""
    (tmp_path / "experiments").mkdir()
    for name, mib in (("small.py", 0.1), ("weights.bin", 3), ("table.csv", 1)):
        (tmp_path / "experiments" / name).write_bytes(b"\0" * int(mib * 2**20))
    words = (
        r"may ship 4.00 MiB of .* hold 4.10 MiB; the largest files: experiments/weights.bin "
        r"\(3.00 MiB\), experiments/table.csv \(1.00 MiB\)"
    )
    with pytest.raises(ClusterError, match=words), staged(tmp_path, limit=4 * 2**20):
        pass


def test_a_trial_may_wait_for_a_node_that_the_autoscaler_starts(tmp_path):
    """What counts is the largest single node; twins on a host are refused."""
    job = SweepJob(
        name="n",
        entry=("true",),
        address="http://head:8265",
        storage="/shared",
        project=str(tmp_path),
        cpus_per_trial=4,
        gpus_per_trial=0.5,
    )
    large = {"name": "10.0.0.1", "host": "a", "resources": {"CPU": 8.0}, "problems": {}}
    fast = {"name": "10.0.0.2", "host": "b", "resources": {"CPU": 2, "GPU": 8}, "problems": {}}
    seen = {"versions": {}, "environment": [], "nodes": [large, fast], "locks": True}
    assert preflight.judge(job, seen | {"autoscales": True}, {}) == []
    seen["autoscales"] = False
    (unmet,) = preflight.judge(job, seen, {})
    assert "a trial needs 4 CPUs and 0.5 GPUs on one node, which none has" in unmet
    assert "(10.0.0.1: 8 CPUs, 0 GPUs; 10.0.0.2: 2 CPUs, 8 GPUs), and no autoscaler" in unmet
    both = fast | {"resources": {"CPU": 4, "GPU": 1}}
    assert preflight.judge(job, seen | {"nodes": [large, both]}, {}) == []
    (twins,) = preflight.judge(job, seen | {"nodes": [both, both]}, {})
    assert "the machine b runs 2 raylets" in twins


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def bucket(s3, monkeypatch, tmp_path) -> str:
    """A bucket of that endpoint, whose keys this shell has and the cluster has not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    name = tmp_path.name.replace("_", "-")
    boto3.client("s3").create_bucket(Bucket=name)
    return name
