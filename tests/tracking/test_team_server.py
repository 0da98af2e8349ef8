"""The team's server as infra/mlflow starts it: real PostgreSQL, real S3 endpoint, accounts."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
import requests
import yaml
from mlflow.exceptions import MlflowException

from ni_platform.data.synthetic import make_synthetic
from ni_platform.errors import TrackingError
from ni_platform.registry.model_source import resolve_model
from ni_platform.registry.promotion import promote
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from tests.command import ni
from tests.webhook_receiver import SECRET, receiving

INFRA = Path(__file__).parents[2] / "infra" / "mlflow"
ADMIN = ("keeper", "the-keepers-password")
ALICE = ("alice", "alice-may-train-1")
BOB = ("bob", "bob-only-looks-1")
FAST = [
    *(f"--set=model.{name}=null" for name in ("image", "text", "domain")),
    *(f"--set=pretraining.{name}=null" for name in ("image", "text", "domain", "attributes")),
    "--set=training.epochs=1",
    "--set=evaluation.glm=false",
    "--set=evaluation.replicates=20",
]


@pytest.fixture(scope="module")
def store(s3_server: str) -> dict[str, str]:
    """An S3 endpoint with the bucket `team`, and the credentials that only the server gets."""
    credentials = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "server-key",
        "AWS_SECRET_ACCESS_KEY": "server-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    bucket_client(credentials).create_bucket(Bucket="team")
    return credentials


@pytest.fixture(scope="module")
def process(
    serve: Callable[[list[str], str], subprocess.Popen],
    database: dict[str, str],
    store: dict[str, str],
) -> tuple[str, subprocess.Popen]:
    """The server that serve.sh starts, with the accounts that account.py makes; its address."""
    pytest.importorskip("flask_wtf", reason="MLflow's accounts need Flask-WTF: mlflow[auth]")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {
        "MLFLOW_HOST": "127.0.0.1",
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://team/mlflow",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},tracking.example.com",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://tracking.example.com",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "signs-forms",
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        # The test's receiver is on this machine.
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (database | store | settings).items():
            patch.setenv(name, value)
        started = serve(["sh", str(INFRA / "serve.sh")], f"{url}/health")
    for (name, password), options in ((ALICE, ()), (BOB, ("--reads-only",))):
        made = account(url, ADMIN, name, *options, password=password)
        assert made.returncode == 0, made.stderr
    return url, started


@pytest.fixture
def server(process: tuple[str, subprocess.Popen], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server; the client has no AWS credentials and is Alice."""
    for name in os.environ:
        if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", process[0])
    log_in(monkeypatch, ALICE)
    return process[0]


def log_in(monkeypatch: pytest.MonkeyPatch, person: tuple[str, str]) -> None:
    """Let this process be `person`."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", person[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", person[1])


def account(
    url: str, by: tuple[str, str], *words: str, password: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run account.py as `by`; the new account's password comes through a pipe."""
    client = {"MLFLOW_TRACKING_URI": url}
    client |= {"MLFLOW_TRACKING_USERNAME": by[0], "MLFLOW_TRACKING_PASSWORD": by[1]}
    return subprocess.run(
        [sys.executable, str(INFRA / "account.py"), *words],
        input=f"{password}\n",
        env=os.environ | client,
        capture_output=True,
        text=True,
    )


def bucket_client(credentials: dict[str, str]) -> boto3.client:
    """A client of the S3 endpoint with the server's credentials."""
    return boto3.client(
        "s3",
        endpoint_url=credentials["AWS_ENDPOINT_URL"],
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        region_name=credentials["AWS_DEFAULT_REGION"],
    )


def objects(credentials: dict[str, str]) -> dict[str, bytes]:
    """Every object of the bucket `team`."""
    client = bucket_client(credentials)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="team")
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: client.get_object(Bucket="team", Key=key)["Body"].read() for key in keys}


def test_train_promote_and_predict(
    two_cpus: None,
    server: str,
    store: dict[str, str],
    database: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The journey through the server alone; artifacts lie in S3, and no credential in a record."""
    make_synthetic(tmp_path / "data", tests=30, image_size=32, seed=3)
    monkeypatch.chdir(tmp_path)
    trained = ni("train", "neural_insights.quickstart", "--data=data", "--json", *FAST)
    run_id = trained.json["run_id"]
    promoted = ni("promote", run_id, "--model=journey", "--force=a test", "--json")
    assert promoted.code == 0, promoted.stderr
    predicted = ni("predict", "models:/journey@champion", "--data=data", "--output=p.csv")
    assert predicted.code == 0, predicted.stderr

    open_store()
    champion = mlflow.pyfunc.load_model("models:/journey@champion")
    dataset_inputs = pd.read_parquet(tmp_path / "data" / "contents.parquet")
    answered = np.asarray(champion.predict(dataset_inputs)).ravel()
    written = pd.read_csv(tmp_path / "p.csv")["prediction"]
    np.testing.assert_allclose(answered, written, rtol=1e-5)

    there = objects(store)
    assert any(key.endswith(f"{run_id}/artifacts/config.yaml") for key in there)
    assert any(key.endswith("weights.safetensors") for key in there)
    assert not (Path(os.environ["NI_HOME"]) / "artifacts").exists()
    run = read_run(open_store(), run_id)
    printed = trained.stdout + trained.stderr + promoted.stdout + predicted.stdout
    for secret in (ALICE[1], ADMIN[1], database["PGPASSWORD"], "server-secret", "signs-forms"):
        assert secret not in json.dumps([run.tags, run.parameters]) + printed
        assert [key for key, body in there.items() if secret.encode() in body] == []


@pytest.mark.parametrize("person", [("alice", "guessed-password"), ("mallory", ALICE[1]), ("", "")])
def test_a_wrong_password_is_one_message(
    server: str, person: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password, name or none is refused before training; the message names what to set."""
    log_in(monkeypatch, person)
    refused = ni("compare")
    assert refused.code == 1
    assert re.search("refuses this user .HTTP 401.*MLFLOW_TRACKING_USERNAME", refused.stderr)
    assert "MLFLOW_TRACKING_PASSWORD" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert ALICE[1] not in refused.stderr


def test_a_password_that_is_changed_while_a_run_goes_on(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server refuses in the midst of a run is told in the same words."""
    record = RunRecord.start(open_store(), "changed")
    log_in(monkeypatch, (ALICE[0], "not-any-more"))
    with pytest.raises(TrackingError, match=r"log metrics.*HTTP 401.*MLFLOW_TRACKING_PASSWORD"):
        record.log_metrics({"test/rmse": 1.0})


def test_who_has_no_grant_is_told_so(
    server: str, finished_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bob reads what Alice trained; recording and promoting name him and where to ask."""
    run_id = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    assert promote(open_store(), run_id, "guarded").promoted
    better = finished_run(np.tile([0.1, 0.2, 0.3], 40))

    log_in(monkeypatch, BOB)
    assert read_run(open_store(), run_id).status == "FINISHED"
    with pytest.raises(TrackingError, match=r"start a run.*permit that to bob.*administrator"):
        RunRecord.start(open_store(), "planted")
    with pytest.raises(TrackingError, match=r"as guarded.*permit that to bob.*administrator"):
        promote(open_store(), better, "guarded", force="mine")
    assert open_store().client.get_model_version_by_alias("guarded", "champion").version == "1"


def test_a_grant_is_enough_to_promote(
    server: str, finished_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`account.py NAME --promotes MODEL` lets a second person train, promote and roll back."""
    run_id = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    assert promote(open_store(), run_id, "shared").promoted
    made = account(server, ADMIN, "carol", "--promotes=shared", password="carol-promotes-1")
    again = account(server, ADMIN, "carol", "--promotes=shared")
    assert (made.returncode, again.returncode) == (0, 0), made.stderr + again.stderr

    log_in(monkeypatch, ("carol", "carol-promotes-1"))
    second = promote(
        open_store(), finished_run(np.tile([0.1, 0.2, 0.3], 40)), "shared", force="fresher"
    )
    assert (second.promoted, second.version, second.previous_champion) == (True, "2", "1")
    assert open_store().client.get_registered_model("shared").aliases == {
        "champion": "2",
        "previous": "1",
    }


def test_an_administrator_lets_a_receiver_be_told_of_champions(
    server: str, finished_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """serve.sh keeps the secret readable for its processes; Alice may not make a webhook."""
    first = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    events = ["model_version_alias.created"]
    with receiving() as receiver:
        with pytest.raises(MlflowException, match="403"):
            open_store().client.create_webhook("mine", receiver.url, events, secret=SECRET)
        log_in(monkeypatch, ADMIN)
        open_store().client.create_webhook("champions", receiver.url, events, secret=SECRET)
        log_in(monkeypatch, ALICE)
        promote(open_store(), first, "announced")
        told = [receiver.next()["data"] for _ in range(2)]
    assert {"name": "announced", "alias": "champion", "version": "1"} in told


def test_artifacts_pass_through_the_server(
    server: str,
    store: dict[str, str],
    finished_run: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client never calls S3 itself, as MLflow does where that is asked for."""
    run_id = finished_run(np.tile([0.1, 0.2, 0.3], 40))
    called: set[str] = set()
    send = requests.Session.send

    def noting(self: requests.Session, request: requests.PreparedRequest, **how: object) -> object:
        called.add("{0.scheme}://{0.netloc}".format(urlsplit(request.url)))
        return send(self, request, **how)

    monkeypatch.setattr(requests.Session, "send", noting)
    folder = resolve_model(open_store(), run_id)
    assert called == {server}
    shutil.rmtree(folder.parents[1])
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "true")
    resolve_model(open_store(), run_id)
    assert called == {server, store["AWS_ENDPOINT_URL"]}


def test_only_an_administrator_makes_accounts(server: str) -> None:
    """Alice cannot make an account, and a short password is refused with the rule."""
    refused = account(server, ALICE, "mallory", password="long-enough-password")
    assert (refused.returncode, "only an administrator" in refused.stderr) == (1, True)
    short = account(server, ADMIN, "dave", password="short")
    assert (short.returncode, "at least 12 characters" in short.stderr) == (1, True)


def test_unknown_names_and_pages_are_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host or a browser page that is not allowed gets 403; `ni` says which setting to mend."""
    search = f"{server}/api/2.0/mlflow/experiments/search"

    def answer(**headers: str) -> int:
        done = requests.post(
            search, json={"max_results": 1}, auth=ALICE, headers=headers, timeout=60
        )
        return done.status_code

    assert answer(Host="tracking.example.com") == 200
    assert answer(Host="evil.example.com") == 403
    assert answer(Origin="https://tracking.example.com") == 200
    assert answer(Origin="https://evil.example.com") == 403
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.replace("127.0.0.1", "localhost"))
    with pytest.raises(TrackingError, match=r"localhost.*by that name.*--allowed-hosts"):
        open_store()


def test_no_secret_stands_in_a_process_list(
    process: tuple[str, subprocess.Popen], database: dict[str, str]
) -> None:
    """Neither the database's password nor a key is an argument, where every user could read it."""
    parent = psutil.Process(process[1].pid)
    words = " ".join(" ".join(p.cmdline()) for p in [parent, *parent.children(recursive=True)])
    assert "uvicorn" in words
    for secret in (database["PGPASSWORD"], "server-secret", ADMIN[1], "signs-forms"):
        assert secret not in words


def test_a_missing_setting_is_named() -> None:
    """serve.sh starts nothing without its settings, and names the first that is missing."""
    for missing in required():
        rest = {name: "given" for name in required() if name != missing}
        done = subprocess.run(
            ["sh", str(INFRA / "serve.sh")], env=rest, capture_output=True, text=True
        )
        assert done.returncode != 0
        assert f"{missing}: set " in done.stderr


def test_compose_starts_the_same_command() -> None:
    """compose.yaml runs serve.sh, and .env.example with it gives every setting that it asks for."""
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    service = compose["services"]["tracking"]
    assert service["command"] == ["./serve.sh"]
    assert service["ports"] == ["127.0.0.1:5000:5000"]
    assert service["depends_on"] == {"database": {"condition": "service_healthy"}}
    account_of_database = compose["services"]["database"]["environment"]
    assert service["environment"]["PGUSER"] == account_of_database["POSTGRES_USER"]
    assert service["environment"]["PGDATABASE"] == account_of_database["POSTGRES_DB"]
    assert account_of_database["POSTGRES_PASSWORD"].startswith("${PGPASSWORD:?")

    example = re.findall(r"^(\w+)=", (INFRA / ".env.example").read_text(), flags=re.MULTILINE)
    given = {*service["environment"], *example}
    assert set(required()) | {"PGPASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD"} <= given
    image = (INFRA.parents[1] / service["build"]["dockerfile"]).read_text()
    copied = re.search(r"^COPY (.*) \./$", image, flags=re.MULTILINE)[1].split()
    assert {Path(name).name for name in copied} >= {"serve.sh", "basic_auth.ini", "account.py"}
    assert all((INFRA.parents[1] / name).is_file() for name in copied)


def required() -> list[str]:
    """The settings that serve.sh refuses to start without."""
    return re.findall(r"\$\{(\w+):\?", (INFRA / "serve.sh").read_text())
