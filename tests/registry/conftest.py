"""Recorded models in a store of each test, as `tests/tracking` has them, and a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tracking.conftest import (  # noqa: F401
    dataset,
    finished_run,
    port,
    scorer,
    scorer_folder,
    serve,
    state,
)


@pytest.fixture(scope="module")
def tracking_server(
    serve: Callable[[list[str], str], subprocess.Popen],  # noqa: F811
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The address of a real tracking server over SQLite; its webhooks may go to this machine.

    Its artifacts lie in the folder `artifacts` beside its database.
    """
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        free = listener.getsockname()[1]
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    words += ["--artifacts-destination", str(folder / "artifacts"), "--port", str(free)]
    url = f"http://127.0.0.1:{free}"
    settings = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        serve([sys.executable, "-m", "mlflow", "server", *words], f"{url}/health")
    return url
