"""The cluster's side of the preflight: a small job that looks around and prints what it saw.

`python -m ni_platform.tuning.cluster.cluster_probe JSON` runs on the head and sends one task to
every node. It judges nothing; `preflight.py` does, on the side that knows what was wanted.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any
from uuid import uuid4

import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ni_platform.data import storage
from ni_platform.errors import TrackingError
from ni_platform.ray_cluster import start_ray
from ni_platform.version import __version__

MARK = "ni-preflight: "
"""Begins the one line that counts."""

PACKAGES = ("ray", "torch", "optuna", "mlflow")
NODE_SECONDS = 60
"""How long a node may take to answer."""


def versions() -> dict[str, str]:
    """Return the versions of this Python and of what a sweep's two sides exchange records with.

    Python's without its last number, packages' without their build (`+cpu`).
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "ni_platform": __version__}
    return found | {name: metadata.version(name).split("+")[0] for name in PACKAGES}


def probe(folder: str, data: str | None) -> dict[str, Any]:
    """Look at the cluster that this process belongs to.

    Returns:
        `versions`; `environment`, the names of variables that are set; `nodes`, each with
        `name`, `host`, `resources` and `problems` (what does not work there, and why);
        `autoscales`, whether nodes may be added; `locks`, whether the storage keeps two drivers
        apart.

    """
    start_ray()
    stamp = storage.join(folder, f".ni-preflight-{uuid4().hex}")
    alive = [node for node in ray.nodes() if node["Alive"]]
    problems = _problems({"storage": lambda: storage.write_bytes(stamp, b"driver")})
    try:
        nodes = _ask_nodes(alive, stamp, data)
    finally:
        _problems({"storage": lambda: storage.delete(stamp)})
    remote = storage.is_remote(folder) and not problems
    head = {"name": "the driver's node", "host": None, "resources": {}, "problems": problems}
    return {
        "versions": versions(),
        "environment": sorted(os.environ),
        "nodes": [*([head] if problems else []), *nodes],
        "autoscales": _autoscales(),
        "locks": storage.keeps_conditions(folder) if remote else True,
    }


def _ask_nodes(alive: list[dict], stamp: str, data: str | None) -> list[dict[str, Any]]:
    tasks = {
        _look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(stamp, data): node
        for node in alive
    }
    done, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=NODE_SECONDS)
    return [
        {
            "name": node["NodeManagerAddress"],
            "host": node["NodeManagerHostname"],
            "resources": node["Resources"],
            "problems": _answer(task, task in done),
        }
        for task, node in tasks.items()
    ]


def _answer(task: Any, done: bool) -> dict[str, str]:
    if not done:
        return {"node": f"starts no process within {NODE_SECONDS} s: look at its raylet's log"}
    try:
        answer: dict[str, str] = ray.get(task)
    except ray.exceptions.RayError as error:
        return {"node": str(error).strip().splitlines()[-1]}
    return answer


@ray.remote(num_cpus=0, max_retries=0)
def _look(stamp: str, data: str | None) -> dict[str, str]:
    """Try from this node all that a trial or the driver would do; return what fails."""
    checks: dict[str, Callable[[], Any]] = {
        "storage": lambda: _try_storage(stamp),
        "tracking": _try_tracking,
    }
    if data is not None:
        checks["data"] = lambda: _try_data(data)
    return _problems(checks)


def _problems(checks: dict[str, Callable[[], Any]]) -> dict[str, str]:
    found = {}
    for name, check in checks.items():
        try:
            check()
        except Exception as error:  # noqa: BLE001  whatever it is, it would end the sweep
            found[name] = " ".join(str(error).split()) or type(error).__name__
    return found


def _try_storage(stamp: str) -> None:
    own = f"{stamp}-{socket.gethostname()}-{os.getpid()}"
    storage.write_bytes(own, b"worker")
    try:
        storage.read_bytes(own)
    finally:
        storage.delete(own)
    # A folder of the same name on another disk would have passed so far.
    storage.read_bytes(stamp)


def _try_data(data: str) -> None:
    from ni_platform.data.dataset import Dataset

    Dataset.open(data)


def _try_tracking() -> None:
    from ni_platform.tracking.store import open_store

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise TrackingError(
            "MLFLOW_TRACKING_URI is set neither in the shell that submits nor on the cluster: set "
            "it to the tracking server that the team uses"
        )
    open_store()


def _autoscales() -> bool:
    """Whether an autoscaler tells the cluster what it does; what it can start is its own affair."""
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    return int(status.stats.autoscaler_version or 0) > 0


if __name__ == "__main__":
    print(MARK + json.dumps(probe(**json.loads(sys.argv[1]))))  # noqa: T201  the job's answer
