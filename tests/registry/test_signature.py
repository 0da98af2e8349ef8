"""Signed versions: what verifies, what is refused, here and in MLflow's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError, NiError, TrackingError
from ni_platform.registry.model_source import model_folder, resolve_model
from ni_platform.registry.promotion import promote
from ni_platform.registry.signature import SIGNATURE, VERIFY_KEY
from ni_platform.tracking.store import open_store
from tests.command import ni

Record = Callable[..., str]

MODEL = "signed"
CHAMPION = f"models:/{MODEL}@champion"
RIGHT = np.tile([0.1, 0.2, 0.3], 40)


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private key; the public one is what models are verified by."""
    private = make_key(tmp_path, "key")
    monkeypatch.setenv(VERIFY_KEY, str(private.with_suffix(".pub")))
    return private


def make_key(folder: Path, name: str) -> Path:
    """Write a key pair, NAME.pem and NAME.pub."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private


def test_a_signed_champion_is_used(finished_run: Record, key: Path, dataset: Dataset) -> None:
    """Commands and MLflow load it; the version says when it was signed."""
    run_id = finished_run(RIGHT)
    signed = ni("promote", run_id, f"--model={MODEL}", f"--sign={key}")
    assert signed.code == 0, signed.stderr
    frame = dataset.inputs([0, 1])
    rates = mlflow.pyfunc.load_model(CHAMPION).predict(frame)
    assert len(rates) == 2
    # After MLflow has left its notes beside the files.
    assert (resolve_model(open_store(), CHAMPION) / "regressor.json").is_file()
    assert "ni.signed_at" in open_store().client.get_model_version(MODEL, "1").tags


@pytest.mark.parametrize("name", ["weights.safetensors", "regressor.json", "MLmodel"])
def test_a_changed_byte_is_one_error(
    finished_run: Record, key: Path, dataset: Dataset, name: str
) -> None:
    """Any changed file is named, in the command's process and in MLflow's."""
    promote(open_store(), finished_run(RIGHT), MODEL, sign=str(key))
    folder = model_folder(open_store(), CHAMPION)
    file = next(folder.rglob(name))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1 if name.startswith("weights") else ord("\n") ^ ord(" ")
    file.write_bytes(content)
    refused = ni("predict", CHAMPION, f"--data={dataset.root}", "--output=p.csv")
    assert refused.code == 1
    assert "The signature of models:/signed@champion does not fit its files" in refused.stderr
    assert name in refused.stderr
    assert "Traceback" not in refused.stderr
    with pytest.raises(TrackingError, match="does not fit its files"):
        mlflow.pyfunc.load_model(CHAMPION)


def test_another_file_is_refused(finished_run: Record, key: Path) -> None:
    """A file that was laid beside the signed ones is no part of the model."""
    promote(open_store(), finished_run(RIGHT), MODEL, sign=str(key))
    (model_folder(open_store(), CHAMPION) / "more.py").write_text("print('hello')")
    with pytest.raises(TrackingError, match=r"does not fit.*more\.py"):
        resolve_model(open_store(), CHAMPION)


def test_unsigned_models_and_other_keys_are_refused(
    finished_run: Record, key: Path, tmp_path: Path
) -> None:
    """Without a signature, or with that of a stranger, a model is not used; signing mends it."""
    run_id = finished_run(RIGHT)
    promote(open_store(), run_id, MODEL)
    with pytest.raises(TrackingError, match="is not signed, and NI_VERIFY_KEY asks"):
        resolve_model(open_store(), CHAMPION)
    with pytest.raises(TrackingError, match="is not signed"):
        mlflow.pyfunc.load_model(CHAMPION)
    promote(open_store(), run_id, MODEL, sign=str(make_key(tmp_path, "stranger")))
    with pytest.raises(TrackingError, match=r"does not fit its files and the key .*key\.pub"):
        resolve_model(open_store(), CHAMPION)
    assert promote(open_store(), run_id, MODEL, sign=str(key)).already_champion
    resolve_model(open_store(), CHAMPION)


def test_a_refused_challenger_is_not_signed(finished_run: Record, key: Path) -> None:
    """Only what becomes champion bears a signature."""
    promote(open_store(), finished_run(RIGHT), MODEL, sign=str(key))
    refused = finished_run(RIGHT[::-1])
    assert not promote(open_store(), refused, MODEL, sign=str(key)).promoted
    assert not (model_folder(open_store(), refused) / SIGNATURE).exists()


def test_a_key_that_is_none(
    finished_run: Record, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file, a public key to sign with and a private one to verify with are told."""
    run_id = finished_run(RIGHT)
    with pytest.raises(ConfigError, match=r"--sign names nowhere\.pem, which is no file"):
        promote(open_store(), run_id, MODEL, sign="nowhere.pem")
    with pytest.raises(ConfigError, match="--sign must name a private key"):
        promote(open_store(), run_id, MODEL, sign=str(key.with_suffix(".pub")))
    assert open_store().client.search_registered_models() == []
    promote(open_store(), run_id, MODEL, sign=str(key))
    monkeypatch.setenv(VERIFY_KEY, str(key))
    with pytest.raises(ConfigError, match="NI_VERIFY_KEY must name a public key"):
        resolve_model(open_store(), CHAMPION)


def test_signed_through_a_server(
    finished_run: Record,
    serve: Callable,
    port: int,
    key: Path,
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signature travels with the model; one that was made after a download is fetched."""
    database = tmp_path / "served.db"
    database.write_bytes(empty_database.read_bytes())
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    words = ["--backend-store-uri", f"sqlite:///{database}", "--port", str(port), "--workers", "1"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts")]
    url = f"http://127.0.0.1:{port}"
    serve([sys.executable, "-m", "mlflow", "server", *words], f"{url}/health")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    run_id = finished_run(RIGHT)
    promote(open_store(), run_id, MODEL)
    with pytest.raises(NiError, match="is not signed"):
        resolve_model(open_store(), CHAMPION)
    promote(open_store(), run_id, MODEL, sign=str(key))
    resolve_model(open_store(), CHAMPION)
    assert mlflow.pyfunc.load_model(CHAMPION) is not None
    weights = next((tmp_path / "artifacts").rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(TrackingError, match="does not fit its files"):
        mlflow.pyfunc.load_model(CHAMPION)
