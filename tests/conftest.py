"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Libraries that ask the network for news or weights must not do so in a test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# Pictures from a test's S3 are not for the user's own cache.
os.environ.setdefault("NI_CACHE_GB", "0")

# Tensors are tiny here: a second thread costs more than it gives, and the more so where tests
# and Ray's processes share two cores. A worker of Ray Train sets its own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where the developer's own runs go is no place for a test's.
_STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
for variable in _STORES:
    os.environ.pop(variable, None)

_DEFINITIONS = ("experiments.", "tune_spaces.", "data_checks.")
_ROOT = str(Path(__file__).parents[1])


_LONGEST = ("test_end_to_end.py", "training/", "tuning/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes, so that no process waits for another at the end."""
    here = Path(__file__).parent
    items.sort(key=lambda item: not str(item.path.relative_to(here)).startswith(_LONGEST))


@pytest.fixture(autouse=True)
def forget_the_tracking_store() -> Iterator[None]:
    """MLflow exports the store it was told of: the next test's processes must not inherit it."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        for variable in _STORES:  # set_registry_uri(None) leaves its own
            os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def forget_the_users_project() -> Iterator[None]:
    """Definitions of a project that a test worked in are no part of the next test's."""
    before = list(sys.path)
    yield
    sys.path[:] = before
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(_DEFINITIONS) and file and not file.startswith(_ROOT):
            del sys.modules[name]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    import mlflow

    from ni_platform.tracking.store import connect

    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NI_HOME", str(folder))
        connect()
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3 server that speaks real HTTP, on a free port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The S3 server, as boto3 finds it in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return s3_server
