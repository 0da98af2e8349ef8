"""A Scorer as an MLflow model: safetensors and code, a signature and an example, no pickle."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from ni_platform.data.storage import read_bytes
from ni_platform.data.vectors import is_missing
from ni_platform.errors import NiError, TrackingError
from ni_platform.registry.model_source import SCORER_ARTIFACT
from ni_platform.registry.served_pictures import PICTURES
from ni_platform.tracking.run_record import RunRecord
from ni_platform.version import __version__

_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt"}
_PINNED = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "scikit-learn",
    "skops",
    "tokenizers",
    "torch",
    "transformers",
    "xgboost-cpu",
)
_EXAMPLE_ROWS = 3
_EXAMPLE_PICTURE_BYTES = 1_000_000


def log_model(
    record: RunRecord,
    folder: str | Path,
    input_example: pd.DataFrame,
    *,
    pictures: str | None = None,
) -> str:
    """Log the Scorer saved in `folder` as the model of a run; return its `models:/m-...` URI.

    `input_example` holds a few rows of its input columns; `pictures` is where those of its dataset
    are, which a notebook that loads it may read. The model is READY only once all its files are
    stored; a failure marks it FAILED.

    Raises:
        TrackingError: The folder holds pickled files or no Scorer, the example lacks a column, or
            the store fails.
    """
    folder = Path(folder)
    roles = _input_columns(folder)
    _refuse_pickles(folder)
    example = _self_contained(_example(input_example, roles), roles)
    client, run_id = record.store.client, record.run_id
    with record.store.errors("log the model"):
        logged = client.create_logged_model(
            record.experiment_id,
            name="model",
            source_run_id=run_id,
            model_type="success-rate regressor",
        )
        model_id = logged.model_id
        try:
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "model"
                model = Model(
                    artifact_path=logged.artifact_location,
                    run_id=run_id,
                    model_uuid=model_id,
                    model_id=model_id,
                )
                _save(path, model, folder, example, roles, pictures)
                client.log_model_artifacts(model_id, str(path))
            client.finalize_logged_model(model_id, LoggedModelStatus.READY)
        except BaseException:
            with suppress(MlflowException, OSError):  # the first error is what the user must see
                client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
            raise
    model_uri = f"models:/{model_id}"
    record.set_tags({"ni.model_uri": model_uri})
    return model_uri


def _save(
    path: Path,
    model: Model,
    folder: Path,
    example: pd.DataFrame,
    roles: dict[str, str],
    pictures: str | None,
) -> None:
    with _quiet():
        mlflow.pyfunc.save_model(
            path=str(path),
            mlflow_model=model,
            python_model=str(Path(__file__).with_name("scoring_model.py")),
            artifacts={SCORER_ARTIFACT: folder.absolute().as_uri()},  # of a path, `%20` is unquoted
            model_config={PICTURES: pictures} if pictures else None,
            signature=signature(roles, example),
            input_example=example,
            # Named here, because MLflow would otherwise load the model in a process of its own
            # to watch what it imports.
            pip_requirements=requirements(),
        )


def signature(roles: dict[str, str], example: pd.DataFrame) -> ModelSignature:
    """Return the model's signature: every column by name, rates out.

    A text is `string` where the example holds some. All other columns are `Any`, because MLflow's
    types are stricter than the model: `double` refuses a table of whole numbers, `string` refuses a
    level or domain that is sent as a number, and neither takes a picture as bytes and as a path.
    """
    columns = [
        ColSpec(
            DataType.string if role == "text" and _is_text(example[name]) else AnyType(), name=name
        )
        for name, role in roles.items()
    ]
    return ModelSignature(
        inputs=Schema(columns), outputs=Schema([ColSpec(DataType.double, name="success_rate")])
    )


def requirements() -> list[str]:
    """Return what loading a model needs: this package, and the versions it was logged with."""
    pinned = [f"ni-platform=={__version__}"]
    for name in _PINNED:
        try:
            # A local build ("2.13.0+cpu") is not what an index offers elsewhere.
            pinned.append(f"{name}=={version(name).split('+')[0]}")
        except PackageNotFoundError:
            continue
    return pinned


def _input_columns(folder: Path) -> dict[str, str]:
    """The columns that the regressor reads, and what they are."""
    try:
        return json.loads((folder / "regressor.json").read_text(encoding="utf-8"))["columns"]
    except (OSError, KeyError, ValueError) as error:
        raise TrackingError(
            f"{folder} is no saved Scorer (regressor.json with its columns is missing: {error})."
            " Pass the folder that Scorer.save wrote."
        ) from error


def _refuse_pickles(folder: Path) -> None:
    pickled = sorted(p.name for p in folder.rglob("*") if p.suffix.lower() in _PICKLES)
    if pickled:
        raise TrackingError(
            f"A logged model holds safetensors and code only, but {folder} holds"
            f" {', '.join(pickled)}: pickles run code when they are loaded. Save tensors with"
            " safetensors."
        )


def _example(table: pd.DataFrame, roles: dict[str, str]) -> pd.DataFrame:
    missing = [name for name in roles if name not in table.columns]
    if missing:
        raise TrackingError(
            f"The input example lacks {', '.join(missing)}, which the model reads. Pass rows of"
            " Dataset.inputs()."
        )
    example = table[list(roles)].head(_EXAMPLE_ROWS).reset_index(drop=True)
    # Lists are what JSON, in which the example is kept, gives back.
    return example.assign(
        **{
            name: pd.Series(
                [None if is_missing(cell) else np.asarray(cell).tolist() for cell in example[name]],
                dtype=object,
            )
            for name, role in roles.items()
            if role == "vector"
        }
    )


def _self_contained(example: pd.DataFrame, roles: dict[str, str]) -> pd.DataFrame:
    """Put the pictures themselves into the example, so that it works on any machine."""
    return example.assign(
        **{
            name: pd.Series([_picture_bytes(cell) for cell in example[name]], dtype=object)
            for name, role in roles.items()
            if role == "image"
        }
    )


def _picture_bytes(cell: object) -> object:
    if not isinstance(cell, str | Path):
        return cell if isinstance(cell, bytes) else None
    try:
        data = read_bytes(str(cell))
    except NiError:
        return None  # an example with a missing picture is an example still
    return data if len(data) <= _EXAMPLE_PICTURE_BYTES else None


def _is_text(values: pd.Series) -> bool:
    present = values.dropna()
    return len(present) > 0 and all(isinstance(value, str) for value in present)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's hints to itself while it saves; they are about what is decided above."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
