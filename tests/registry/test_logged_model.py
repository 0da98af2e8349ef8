"""The logged model: what is in it, and that it answers here and over HTTP."""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model

from ni_platform.data.dataset import Dataset
from ni_platform.errors import TrackingError
from ni_platform.models.modalities.attributes import AttributesEncoderConfig
from ni_platform.models.neural_insights import NeuralInsightsConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.registry.logged_model import log_model
from ni_platform.registry.model_source import resolve_model, run_of_model
from ni_platform.registry.served_pictures import VARIABLE
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store


@pytest.fixture
def logged(dataset: Dataset, scorer_folder: Path) -> tuple[str, str]:
    """Run id and model URI of a run that logged the tiny regressor."""
    with RunRecord.start(open_store(), "planted") as run:
        uri = log_model(
            run, scorer_folder, dataset.inputs([0, 1, 2, 3]), pictures=dataset.images_root
        )
    return run.run_id, uri


@pytest.fixture
def paths(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that loads the model lets it read the dataset's pictures."""
    monkeypatch.setenv(VARIABLE, dataset.images_root)


def test_safetensors_and_code_only(logged: tuple[str, str]) -> None:
    """The model's files are code, configuration and safetensors; no format that can hold code."""
    folder = Path(mlflow.artifacts.download_artifacts(logged[1]))
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".py", ".safetensors", ".txt", ".yaml"}
    assert ".safetensors" in suffixes
    for path in folder.rglob("*"):
        # Pickles of protocol 2 and later begin with 0x80, zipped torch files with PK.
        if path.is_file() and path.suffix != ".safetensors":
            assert path.read_bytes()[:1] not in (b"\x80", b"P")


def test_model_names_what_it_needs(logged: tuple[str, str], dataset: Dataset) -> None:
    """Signature, input example and requirements are there; the example holds its pictures."""
    folder = Path(mlflow.artifacts.download_artifacts(logged[1]))
    model = Model.load(str(folder))
    inputs = {column.name: str(column.type) for column in model.get_input_schema()}
    assert inputs == {
        "headline": "DataType.string",
        "image": "Any",
        "location": "Any",
        "weekday": "Any",
        "price": "Any",
    }
    assert [column.name for column in model.get_output_schema()] == ["success_rate"]
    assert (folder / "requirements.txt").read_text().startswith("ni-platform==")
    example = model.load_input_example(str(folder))
    assert example["headline"].tolist() == dataset.contents["headline"][:3].tolist()
    rates = mlflow.pyfunc.load_model(logged[1]).predict(example)
    expected = Scorer.load(resolve_model(open_store(), logged[1])).predict(
        dataset.inputs([0, 1, 2])
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_vectors_in_the_example(dataset: Dataset, tmp_path: Path) -> None:
    """A model of vectors has them in its signature and example, and answers the example."""
    columns = replace(dataset.manifest.columns, vector=("embedding",), image=None)
    vectors = [None if row == 1 else np.full(4, row, np.float32) for row in range(len(dataset))]
    dataset = Dataset(
        dataset.root,
        replace(dataset.manifest, columns=columns, images=None),
        dataset.contents.assign(embedding=pd.Series(vectors, dtype=object)),
    )
    config = NeuralInsightsConfig(image=None, text=None, attributes=AttributesEncoderConfig())
    scorer = build_scorer(config, dataset, range(9), seed=0)
    scorer.save(tmp_path / "scorer")
    with RunRecord.start(open_store(), "planted") as run:
        uri = log_model(run, tmp_path / "scorer", dataset.inputs())
    model = mlflow.pyfunc.load_model(uri)
    assert [column.name for column in model.metadata.get_input_schema()][-1] == "embedding"
    example = model.input_example
    assert example["embedding"].tolist() == [[0.0] * 4, None, [2.0] * 4]
    np.testing.assert_allclose(
        model.predict(example), scorer.predict(dataset.inputs([0, 1, 2])), rtol=1e-6
    )


def test_one_model_per_run(logged: tuple[str, str]) -> None:
    """The run knows its model, and every way to name the model leads to the same files."""
    run_id, uri = logged
    client = open_store().client
    client.create_registered_model("planted")
    client.create_model_version("planted", uri, run_id, model_id=uri.removeprefix("models:/"))
    client.set_registered_model_alias("planted", "champion", "1")
    assert read_run(open_store(), run_id).model_uri == uri
    assert client.get_logged_model(uri.removeprefix("models:/")).status == "READY"
    names = [
        run_id,
        uri,
        f"runs:/{run_id}/model",
        "models:/planted/1",
        "models:/planted@champion",
        str(resolve_model(open_store(), uri).parents[1]),
    ]
    assert len({resolve_model(open_store(), name) for name in names}) == 1
    assert {run_of_model(open_store(), name) for name in names} == {run_id}
    assert run_of_model(open_store(), str(resolve_model(open_store(), uri))) is None
    assert resolve_model(open_store(), str(resolve_model(open_store(), uri))) == resolve_model(
        open_store(), uri
    )


def test_pictures_as_paths_or_bytes_or_text(
    logged: tuple[str, str], dataset: Dataset, paths: None
) -> None:
    """Paths, bytes, base64 and data URIs of the same pictures give the same rates."""
    frame = dataset.inputs([5, 6])
    data = [Path(path).read_bytes() for path in frame["image"]]
    text = [base64.b64encode(item).decode() for item in data]
    model = mlflow.pyfunc.load_model(logged[1])
    expected = model.predict(frame)
    assert expected.dtype == np.float64
    assert ((expected > 0) & (expected < 1)).all()
    uris = [f"data:image/png;base64,{item}" for item in text]
    for cells in (data, text, uris, [data[0], text[1]]):
        given = frame.assign(image=pd.Series(cells, dtype=object))
        np.testing.assert_array_equal(model.predict(given), expected)


def test_empty_cells_are_missing_modalities(
    logged: tuple[str, str], scorer: Scorer, dataset: Dataset, paths: None
) -> None:
    """None and NaN in any column are scored as a missing modality, as the Scorer itself does."""
    model = mlflow.pyfunc.load_model(logged[1])
    for column in ("image", "headline", "location", "weekday", "price"):
        frame = dataset.inputs([5, 6])
        frame[column] = frame[column].astype(object)
        frame.loc[0, column] = None
        np.testing.assert_allclose(model.predict(frame), scorer.predict(frame), rtol=1e-6)


def test_whole_and_broken_numbers(logged: tuple[str, str], dataset: Dataset, paths: None) -> None:
    """Numbers may be whole or not, categories numbers or text."""
    model = mlflow.pyfunc.load_model(logged[1])
    frame = dataset.inputs([5, 6])
    expected = model.predict(frame)
    for kind in (str, int, float):
        other = frame.assign(
            price=frame["price"].astype(float), weekday=frame["weekday"].astype(kind)
        )
        np.testing.assert_array_equal(model.predict(other), expected)


def test_missing_column_is_named(logged: tuple[str, str], dataset: Dataset) -> None:
    """A table without a column of the model is an error that names the column."""
    model = mlflow.pyfunc.load_model(logged[1])
    with pytest.raises(Exception, match="headline") as caught:
        model.predict(dataset.inputs([5]).rename(columns={"headline": "Headline"}))
    assert type(caught.value).__name__ == "MlflowException"


def test_serving_over_http(
    logged: tuple[str, str], dataset: Dataset, serve, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow models serve` scores base64 pictures, texts and attributes, and explains errors."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", open_store().uri)
    serve(
        [
            sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", logged[1],
            "--env-manager", "local", "--port", str(port), "--host", "127.0.0.1",
        ],
        f"http://127.0.0.1:{port}/health",
    )  # fmt: skip

    def ask(payload: dict) -> tuple[int, dict]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(payload).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    frame = dataset.inputs([7, 8])
    expected = Scorer.load(resolve_model(open_store(), logged[1])).predict(frame).tolist()
    by_path = json.loads(frame.to_json(orient="records"))
    frame["image"] = [base64.b64encode(Path(path).read_bytes()).decode() for path in frame["image"]]
    records = json.loads(frame.to_json(orient="records"))
    split = json.loads(frame.to_json(orient="split"))
    assert ask({"dataframe_records": records}) == (
        200,
        {"predictions": pytest.approx(expected, rel=1e-6)},
    )
    assert ask({"dataframe_split": split})[1]["predictions"] == pytest.approx(expected, rel=1e-6)
    status, answer = ask({"dataframe_records": [{**records[0], "image": None, "price": None}]})
    assert status == 200
    assert 0 < answer["predictions"][0] < 1
    status, answer = ask({"dataframe_records": [{**records[0], "image": "no-such-file.png"}]})
    assert status == 400
    assert "no-such-file.png" in answer["message"]
    # A picture that is there and one that is not are refused in the same words.
    for path in (by_path[0]["image"], "/no/such.png", "s3://bucket/a.png", "file:///etc/passwd"):
        status, answer = ask({"dataframe_records": [{**records[0], "image": path}]})
        assert status == 400
        assert f"but got {path!r}. A path or s3:// URI is read only" in answer["message"]
    del records[0]["headline"]
    status, answer = ask({"dataframe_records": records[:1]})
    assert status == 400
    assert "headline" in answer["message"]


def test_pickles_are_refused(dataset: Dataset, scorer_folder: Path, tmp_path: Path) -> None:
    """A folder with pickled weights is not logged."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in scorer_folder.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "optimizer.pt").write_bytes(b"\x80")
    with (
        pytest.raises(TrackingError, match=r"optimizer\.pt"),
        RunRecord.start(open_store(), "planted") as run,
    ):
        log_model(run, folder, dataset.inputs([0]))
    assert read_run(open_store(), run.run_id).model_uri is None


def test_model_that_cannot_be_stored_is_not_ready(
    dataset: Dataset, scorer_folder: Path, state: Path
) -> None:
    """A model whose files could not all be stored is FAILED, and so is its run."""
    run = RunRecord.start(open_store(), "planted")
    (state / "artifacts" / "planted").mkdir(parents=True)
    (state / "artifacts" / "planted" / "models").write_text("in the way of the folder")
    with pytest.raises(TrackingError, match="log the model"), run:
        log_model(run, scorer_folder, dataset.inputs([0]))
    client = open_store().client
    (model,) = client.search_logged_models([run.experiment_id])
    assert str(model.status) in ("FAILED", "LoggedModelStatus.FAILED")
    assert read_run(open_store(), run.run_id).status == "FAILED"
