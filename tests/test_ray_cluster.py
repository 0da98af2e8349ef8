"""The Ray that this package starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
import ray
from ni_platform.ray_cluster import start_ray

start_ray(1)


@ray.remote(runtime_env={"env_vars": {"PLANTED": "yes"}})
def worker():
    return sys.executable, os.environ["PLANTED"]


print(*ray.get(worker.remote(), timeout=120), sep="|")
"""


def test_an_environment_in_a_folder_with_a_blank_has_workers(tmp_path):
    """Those of a training have settings of their own, and Ray starts such through a shell."""
    folder = tmp_path / "a blank's environment"
    folder.symlink_to(sys.prefix)
    python = folder / "bin" / Path(sys.executable).name
    done = subprocess.run(
        [python, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.splitlines()[-1:] == [f"{python}|yes"], done.stderr[-3000:]
