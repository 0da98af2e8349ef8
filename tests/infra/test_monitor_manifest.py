"""The daily look at a model: a valid manifest whose commands are ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ni_platform.cli.main import group
from ni_platform.cli.monitor import TO_DO

INFRA = Path(__file__).parents[2] / "infra"
MANIFEST = yaml.safe_load((INFRA / "monitor/cronjob.yaml").read_text())
POD = MANIFEST["spec"]["jobTemplate"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(SCRIPT,) = CONTAINER["args"]


def calls() -> list[list[str]]:
    """The words of each call of `ni`."""
    return [line.split("ni ", 1)[1].split() for line in SCRIPT.splitlines() if "ni " in line]


def test_the_manifest_is_valid():
    """By Kubernetes' published schema."""
    kubernetes_validate.validate(MANIFEST, "1.34", strict=True)


def test_its_commands_are_ours():
    """They parse as the command line does, on the same dataset and model."""
    monitor, retrain = calls()
    for name, *words in (monitor, retrain):
        command: Any = group.get_command(None, name)
        command.make_context(name, list(words))
    assert monitor[0] == "monitor"
    assert monitor[1] == f"models:/{retrain[1]}@champion"
    assert monitor[2:] == retrain[2:]


@pytest.mark.parametrize(("code", "ended", "retrained"), [(0, 0, 0), (TO_DO, 7, 1), (1, 1, 0)])
def test_it_trains_again_only_where_something_is_to_be_done(tmp_path, code, ended, retrained):
    """An error of `ni monitor` is the job's; the exit code of training is the job's, too."""
    program = tmp_path / "ni"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> calls\n[ "$1" = retrain ] && exit 7\nexit {code}\n'
    )
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    job = subprocess.run(
        [*CONTAINER["command"], SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert job.returncode == ended
    assert (tmp_path / "calls").read_text().split().count("retrain") == retrained


def test_what_the_pod_refers_to_is_in_the_clusters_files():
    """ConfigMap, secret and claim."""
    named = set()
    for name in ("storage.yaml", "secrets.example.yaml"):
        for item in yaml.safe_load_all((INFRA / "ray" / name).read_text()):
            named.add((item["kind"], item["metadata"]["name"]))
    config, secret = CONTAINER["envFrom"]
    assert ("ConfigMap", config["configMapRef"]["name"]) in named
    assert ("Secret", secret["secretRef"]["name"]) in named
    claim = POD["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in named
