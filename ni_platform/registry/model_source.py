"""From the name of a model (run id, `models:/` URI, folder) to the folder of its Scorer."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import yaml
from mlflow.models import Model

from ni_platform.errors import TrackingError
from ni_platform.narrowing import given
from ni_platform.registry import signature
from ni_platform.registry.versions import named_version
from ni_platform.tracking.run_queries import get_run, logged_model_uri
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store, open_store

SCORER_ARTIFACT = "scorer"
"""Name of the folder, inside a logged model, that `load_regressor` reads."""

_RUN_ID = re.compile(r"[0-9a-f]{32}")


def model_uri_of(store: Store, run_id: str) -> str:
    """Return the `models:/m-...` URI of the model that the run logged.

    Raises:
        TrackingError: There is no such run, or it logged no model.
    """
    run = get_run(store, run_id)
    uri = logged_model_uri(run)
    if uri is None:
        raise TrackingError(
            f"Run {run_id} ({run.info.run_name}, {run.info.status}) logged no model."
            " Name a finished run of `ni train`; a stage's model is in its parent run."
        )
    return uri


def logged_uri(store: Store, uri: str) -> str | None:
    """Return the `models:/m-...` URI of a model that is named otherwise; None for a local folder.

    Raises:
        TrackingError: There is no such model.
    """
    return None if Path(uri).is_dir() else f"models:/{_model_id(store, uri)}"


def pinned_uri(store: Store | None, uri: str) -> str:
    """Return a URI that names the same model for good: `models:/NAME/VERSION`, not an alias.

    A model that is not named by a registered one is `models:/m-...`; a folder stays a folder.

    Raises:
        TrackingError: There is no such model.
    """
    if Path(uri).is_dir():
        return uri
    store = given(store)
    version = named_version(store, uri)
    return f"models:/{_model_id(store, uri)}" if version is None else version.uri


def run_of_model(store: Store | None, uri: str) -> str | None:
    """Return the id of the run that logged the model; None for a folder that does not say.

    Raises:
        TrackingError: There is no such model.
    """
    local = Path(uri)
    if local.is_dir():
        return read_model(local).run_id if (local / "MLmodel").is_file() else None
    store = given(store)
    model_id = _model_id(store, uri)
    with store.errors(f"find the run of {uri}"):
        return store.client.get_logged_model(model_id).source_run_id


def store_of_model(uri: str) -> Store | None:
    """Open the store that a model is in; None for a local folder, which is read without one.

    Raises:
        TrackingError: The store does not answer.
    """
    return None if Path(uri).is_dir() else open_store()


def resolve_model(store: Store | None, uri: str) -> Path:
    """Return the local folder of a Scorer, ready for `load_regressor`.

    Args:
        store: Where the model is; None only where `uri` is a local folder.
        uri: A run id, `models:/NAME@champion`, `models:/NAME/VERSION`, `models:/m-...`,
            `runs:/RUN_ID/model`, or a local folder (an MLflow model or a saved Scorer). A model
            on a server is downloaded once and kept in the state folder.

    Raises:
        TrackingError: There is no such model, it was not logged by this package, or the signature
            that `NI_VERIFY_KEY` asks for is missing or does not fit.
    """
    folder = model_folder(store, uri)
    if signature.is_asked_for():
        if store is not None and store.is_server and not Path(uri).is_dir():
            _fetch_signature(store, _model_id(store, uri), folder)
        signature.verify(folder, uri)
    return scorer_folder(folder, uri)


def model_folder(store: Store | None, uri: str) -> Path:
    """Return the local folder of a model, whoever signed it; arguments and errors as above."""
    local = Path(uri)
    if local.is_dir():
        return local
    store = given(store)
    model_id = _model_id(store, uri)
    kept = state_folder() / "models" / model_id
    if kept.is_dir():
        return kept
    with store.errors(f"read the model {uri}"):
        location = store.client.get_logged_model(model_id).artifact_location
        if location.startswith(("file://", "/")):
            # A local store: the files are where they are. MLflow would unquote the path twice.
            return _present(_path_of(location), uri)
        _download(store, model_id, kept)
    return kept


def _fetch_signature(store: Store, model_id: str, kept: Path) -> None:
    """Bring the signature of a kept model up to date: it may have been signed since."""
    with store.errors(f"read the signature of the model {model_id}"):
        there = [file.path for file in store.client.list_logged_model_artifacts(model_id)]
        if signature.SIGNATURE not in there:
            return
        location = store.client.get_logged_model(model_id).artifact_location
        content = fetched(store, f"{location}/{signature.SIGNATURE}")
        scratch = kept.with_name(f".{model_id}-{os.getpid()}.sig")  # no file of the model
        scratch.write_bytes(content)
        os.replace(scratch, kept / signature.SIGNATURE)


def read_model_file(store: Store, uri: str, name: str) -> bytes:
    """Return what one file of a Scorer's folder holds; of a model on a server, no other is fetched.

    Raises:
        TrackingError: There is no such model or file.
    """
    model_id = _model_id(store, uri)
    with store.errors(f"read {name} of the model {uri}"):
        location = store.client.get_logged_model(model_id).artifact_location
        if location.startswith(("file://", "/")):
            return (scorer_folder(_present(_path_of(location), uri), uri) / name).read_bytes()
        model = Model.from_dict(yaml.safe_load(fetched(store, f"{location}/MLmodel")))
        return fetched(store, f"{location}/{_scorer_path(model, uri)}/{name}")


def fetched(store: Store, uri: str) -> bytes:
    """Return what a file of the artifact store holds; nothing of it stays on this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        file = mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=scratch, tracking_uri=store.uri
        )
        return Path(file).read_bytes()


def _path_of(location: str) -> Path:
    return Path(location if location.startswith("/") else url2pathname(urlsplit(location).path))


def _present(folder: Path, uri: str) -> Path:
    if not folder.is_dir():
        raise TrackingError(
            f"The files of the model {uri} are gone: {folder} is missing. Restore that folder, or"
            " train the model again."
        )
    return folder


def _download(store: Store, model_id: str, kept: Path) -> None:
    """Download a model into the folder `kept`, which is complete or not there at all."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=kept.parent, prefix=f".{model_id}-"))
    try:
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{model_id}", dst_path=str(scratch), tracking_uri=store.uri
        )
        os.chmod(scratch, 0o755)  # noqa: S103  mkdtemp's 0700 would lock out a team
        try:
            os.replace(scratch, kept)
        except OSError:
            if not kept.is_dir():  # else another process has just downloaded the same
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _model_id(store: Store, uri: str) -> str:
    if _RUN_ID.fullmatch(uri):
        uri = model_uri_of(store, uri)
    elif uri.startswith("runs:/"):
        uri = model_uri_of(store, uri.removeprefix("runs:/").split("/")[0])
    if not uri.startswith("models:/"):
        raise TrackingError(
            f"'{uri}' names no model: it is no folder here, no run id (32 hexadecimal digits), and"
            " does not start with models:/ or runs:/. Example: models:/NAME@champion."
        )
    name = uri.removeprefix("models:/").strip("/")
    if name.startswith("m-") and "/" not in name and "@" not in name:
        return name
    if "@" not in name and "/" not in name:
        raise TrackingError(
            f"'{uri}' names no version. Write {uri}@champion or {uri}/1 (`ni ui` shows them)."
        )
    source = given(named_version(store, uri)).source
    if not source.startswith("models:/m-"):
        raise TrackingError(
            f"{uri} was registered without a logged model, so not by `ni promote`. Load it with"
            " mlflow.pyfunc.load_model."
        )
    return source.removeprefix("models:/")


def read_model(folder: Path) -> Model:
    """Return what the MLmodel file of a logged model's folder says."""
    # Model.load would take the path for an URI, and a `%20` in it for a blank.
    return Model.from_dict(yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")))


def scorer_folder(model_folder: Path, uri: str) -> Path:
    """Return the folder of the Scorer inside of a model's local folder.

    Raises:
        TrackingError: The model was not logged by this package.
    """
    if not (model_folder / "MLmodel").is_file():
        return model_folder
    return model_folder / _scorer_path(read_model(model_folder), uri)


def _scorer_path(model: Model, uri: str) -> str:
    artifacts = model.flavors.get("python_function", {}).get("artifacts", {})
    if SCORER_ARTIFACT not in artifacts:
        raise TrackingError(
            f"{uri} is an MLflow model that this package did not log (it has no"
            f" '{SCORER_ARTIFACT}'). Load it with mlflow.pyfunc.load_model."
        )
    return str(artifacts[SCORER_ARTIFACT]["path"])
