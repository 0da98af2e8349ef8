"""Where a result comes from: commit, command and versions, as tags of a run."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ni_platform.version import __version__

PACKAGES = ("torch", "ray", "mlflow", "transformers", "great-expectations", "numpy", "pandas")


def provenance() -> dict[str, str]:
    """Return tags `ni.git_commit`, `ni.command`, `ni.machine` and `ni.versions`."""
    versions = [f"ni-platform=={__version__}", f"python=={platform.python_version()}"]
    versions += [f"{name}=={metadata.version(name)}" for name in PACKAGES]
    return {
        "ni.git_commit": _git_commit(),
        "ni.command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "ni.machine": f"{platform.machine()} {platform.system()}",
        "ni.versions": " ".join(versions),
    }


def _git_commit() -> str:
    """Return the commit of the current folder, with `+changes` if it was edited since."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "not in a git repository"


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], capture_output=True, text=True, check=True, timeout=5
    ).stdout.strip()
