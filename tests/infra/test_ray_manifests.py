"""What a team applies: valid by published schemas, and in agreement with itself and the CLI."""

from __future__ import annotations

import copy
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kuberay_v1_7_0 import SCHEMAS
from ray.autoscaler._private.util import prepare_config, validate_config

from ni_platform.cli.main import group
from ni_platform.tuning.cluster.submission import STOP_SECONDS

ROOT = Path(__file__).parents[2]
RAY = ROOT / "infra" / "ray"
KUBERNETES = "1.34"
FILES = ("storage.yaml", "secrets.example.yaml", "cluster.yaml", "job.yaml")


def documents(*names: str) -> list[dict[str, Any]]:
    """All manifests of some files."""
    return [found for name in names for found in yaml.safe_load_all((RAY / name).read_text())]


def the(kind: str, name: str) -> dict[str, Any]:
    """The one manifest of a kind in a file."""
    (found,) = [item for item in documents(name) if item["kind"] == kind]
    return found


def cluster_spec(name: str) -> dict[str, Any]:
    """The cluster in cluster.yaml or job.yaml."""
    if name == "cluster.yaml":
        return the("RayCluster", name)["spec"]
    return the("RayJob", name)["spec"]["rayClusterSpec"]


def groups(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Head and workers."""
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def validate_pod(template: dict[str, Any]) -> None:
    """Check a pod template by Kubernetes' published schema; unknown fields are refused."""
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
    kubernetes_validate.validate(pod | {"template": template}, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", FILES)
def test_manifests_are_valid(name):
    """KubeRay's kinds by its API reference, everything else by Kubernetes' schema."""
    for item in documents(name):
        if schema := SCHEMAS.get(item["kind"]):
            jsonschema.validate(item, schema)
            for found in groups(cluster_spec(name)):
                validate_pod(found["template"])
        else:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_the_schemas_refuse_what_is_misspelt():
    """In KubeRay's part and in the pods."""
    wrong = copy.deepcopy(the("RayCluster", "cluster.yaml"))
    wrong["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(wrong, SCHEMAS["RayCluster"])
    template = copy.deepcopy(cluster_spec("job.yaml")["headGroupSpec"]["template"])
    template["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(jsonschema.ValidationError, match="volumeMount"):
        validate_pod(template)


def test_what_pods_refer_to_exists():
    """ConfigMap, secrets, keys, claims and volumes."""
    named = {(item["kind"], item["metadata"]["name"]): item for item in documents(*FILES[:2])}
    spec = cluster_spec("cluster.yaml")
    token = named["Secret", spec["authOptions"]["secretName"]]
    assert list(token["stringData"]) == ["auth_token"]  # the key that KubeRay reads
    for found in groups(spec):
        pod = found["template"]["spec"]
        claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"]}
        for container in pod["containers"]:
            for source in container["envFrom"]:
                kinds = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
                ((how, reference),) = source.items()
                assert (kinds[how], reference["name"]) in named
            for mount in container["volumeMounts"]:
                assert ("PersistentVolumeClaim", claims[mount["name"]]) in named
    claim = named["PersistentVolumeClaim", "ni-shared"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_no_secret_has_a_value():
    """An example that works as it is would be everybody's password."""
    secrets = [item for item in documents(*FILES) if item["kind"] == "Secret"]
    assert len(secrets) == 2
    assert not [value for item in secrets for value in item["stringData"].values() if value]
    assert "infra/ray/secrets.yaml" in (ROOT / ".gitignore").read_text().splitlines()


def test_job_and_cluster_describe_the_same_machines():
    """A RayJob cannot refer to a cluster's description, so it stands in both."""
    assert cluster_spec("job.yaml") == cluster_spec("cluster.yaml")


def test_a_cluster_asks_for_a_token_and_keeps_trials_off_its_head():
    """And its driver has the time to close its records that the code counts on."""
    spec = cluster_spec("cluster.yaml")
    assert spec["authOptions"]["mode"] == "token"
    head = spec["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    environment = head["template"]["spec"]["containers"][0]["env"]
    assert {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(STOP_SECONDS)} in environment
    workers = {found["groupName"]: found for found in spec["workerGroupSpecs"]}
    limits = workers["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def test_versions_are_those_of_the_package():
    """Image, manifests and constraints name one Ray; a client of another would be refused."""
    version = metadata.version("ray")
    assert f"ray=={version}\n" in (ROOT / "constraints.txt").read_text()
    assert cluster_spec("cluster.yaml")["rayVersion"] == version
    dockerfile = (RAY / "Dockerfile").read_text()
    assert dockerfile.count(f"rayproject/ray:{version}-py311") == 2
    for line in dockerfile.splitlines():
        if line.startswith("COPY"):
            *sources, _ = line.split()[2:]
            for source in sources:
                assert (ROOT / source).exists(), source


def test_the_jobs_command_is_one_of_ours():
    """Its options exist, and what it needs is given; it goes on where a retry finds a sweep."""
    job = the("RayJob", "job.yaml")["spec"]
    program, *words = shlex.split(job["entrypoint"])
    assert program == "ni"
    command: Any = group
    while hasattr(command, "get_command"):
        command = command.get_command(None, words.pop(0))
    context = command.make_context(command.name, words)
    mount = cluster_spec("job.yaml")["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert context.params["storage"].startswith(mount["volumeMounts"][0]["mountPath"] + "/")
    assert context.params["gpus_per_trial"] == 0.25
    assert job["backoffLimit"] > 0
    assert job["shutdownAfterJobFinishes"] is True


def test_plain_machines_by_rays_own_validation():
    """`ray up` reads the file so; and every machine asks for the token."""
    config = prepare_config(yaml.safe_load((RAY / "autoscaler.yaml").read_text()))
    validate_config(config)
    (node_type,) = config["available_node_types"].values()
    assert (node_type["min_workers"], node_type["max_workers"]) == (0, 3)
    head, worker = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    for start in (head, worker):
        assert "RAY_AUTH_MODE=token" in start
    assert "--num-cpus=0" in head
    assert "~/.ray/auth_token" in config["file_mounts"]
    with pytest.raises(jsonschema.ValidationError, match="workers_max"):
        validate_config(config | {"workers_max": 3})
