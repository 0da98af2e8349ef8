"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ni_platform import termination

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


_LONGEST = (
    "training/test_stages.py",
    "test_end_to_end.py",
    "api/test_runs.py",
    "test_notebooks.py",
    "tuning/test_sweep.py",
    "tuning/test_lanes.py",
    "tuning/test_sweep_promotion.py",
    "tables/",
    "tracking/",
    "tuning/",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one at the end."""
    here = Path(__file__).parent
    order = {}
    for item in items:
        file = str(item.path.relative_to(here))
        first = (number for number, start in enumerate(_LONGEST) if file.startswith(start))
        order[item] = next(first, len(_LONGEST))
    items.sort(key=order.__getitem__)


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
def forget_the_signal() -> Iterator[None]:
    """What a test did to SIGTERM, or was stopped by, is no concern of the next one.

    Nor is what a fixture of a whole file did before it, such as one that calls the command line.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    termination.received = None
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


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

    from ni_platform.tracking.store import open_store

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all processes of this test run
    folder = root / "database"
    with FileLock(root / "database.lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "made").exists():
            patch.setenv("NI_HOME", str(folder))
            open_store()
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            (folder / "made").touch()
    return folder / "mlflow.db"


@pytest.fixture
def ni_home(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of this test, NI_HOME, without runs."""
    folder = tmp_path / "state folder"  # a blank in the name is a path like any other
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.setenv("NI_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def two_cpus() -> None:
    """A Ray that offers two CPUs, whatever the machine has; the tests of a process share it."""
    from ni_platform.ray_cluster import start_ray

    start_ray(cpus=2)


@pytest.fixture(scope="module")
def without_ray() -> Iterator[None]:
    """No Ray, before and after: the tests of this file start one of their own."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3 server that speaks real HTTP, on a free port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3_environment(s3_server: str) -> dict[str, str]:
    """What boto3 finds the S3 server by."""
    return {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def s3(s3_server: str, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The S3 server, as boto3 finds it in the environment."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def ranker_project(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A folder with planted tests (`data`), the id of a ranker's run (`run`) and drafts.

    The word "Free" doubles the rate. The run is in the state folder `.ni` below.
    """
    import ni_platform as ni
    from ni_platform.data.importers.exports.importing import import_export
    from ni_platform.data.importers.exports.rows import Wishes
    from tests import export_files
    from tests.test_exports_end_to_end import CONFIG

    folder = tmp_path_factory.mktemp("ranker")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NI_HOME", str(folder / ".ni"))
        (folder / ".ni").mkdir()
        shutil.copy(empty_database, folder / ".ni/mlflow.db")
        files = export_files.klaviyo(folder, tests=60)
        import_export(files, folder / "data", wishes=Wishes(success="clicks"))
        (folder / "drafts.csv").write_text(
            "id,subject\nold,Plain garden sale weekend shoes\n"
            "free,Free garden sale weekend shoes\nalso,Free garden sale weekend shoes!\n"
            "other,Plain letter lamp jacket river\nalien,Ωμέγα γράμμα\n"
        )
        run = ni.train(replace(CONFIG, insights=None), folder / "data")
        (folder / "run").write_text(run.run_id)
    return folder


@pytest.fixture
def ranker(ranker_project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The ranker of `ranker_project`, whose store is the one in use."""
    import ni_platform as ni

    monkeypatch.setenv("NI_HOME", str(ranker_project / ".ni"))
    return ni.open_run((ranker_project / "run").read_text()).model.regressor
