"""The Ray cluster that this process works with: one that runs already, or a quiet local one."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
from typing import Any

import ray

_DEFAULT_ENVIRONMENT = {
    # How often the controller looks at its workers: the default of 2 s would be waited for at
    # the end of every run, and at every second checkpoint that follows soon after the last.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def start_ray(cpus: int | None = None) -> None:
    """Connect to the cluster of RAY_ADDRESS, or start a quiet one on this machine.

    The latter offers `cpus` CPUs (None: the machine's). Does nothing where Ray runs already. May
    be called early, from a thread, to hide the seconds that it takes.
    """
    if ray.is_initialized():
        return
    for name, value in _DEFAULT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        # Nodes of one machine are not reclaimed with notice; the watcher is one more process.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        options |= {"include_dashboard": False, "num_cpus": cpus}
    if _is_here(address):
        options |= quoted_interpreter()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(**options)
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler ends the process before a run record can be closed as interrupted.
        signal.signal(signal.SIGTERM, on_sigterm)


def quoted_interpreter() -> dict[str, Any]:
    """Return what `ray.init` needs where the interpreter's folder has a blank in its name.

    Ray starts workers with settings of their own through a shell, and quotes no path.
    """
    quoted = shlex.quote(sys.executable)
    return {} if quoted == sys.executable else {"runtime_env": {"py_executable": quoted}}


def _is_here(address: str) -> bool:
    """Whether a cluster is on this machine, whose paths are known; one without address will be."""
    host = address.rpartition(":")[0].rpartition("/")[2]
    return not address or host in ("127.0.0.1", "localhost", ray.util.get_node_ip_address())
