"""Fields of `ray.io/v1` that our manifests may use, read from KubeRay v1.7.0's API reference.

Only the parts that we use are spelled out; every object refuses fields that are not listed, as
`kubectl apply --validate=strict` does. Core Kubernetes parts are any object here and are checked
against Kubernetes' own schema.
"""

from __future__ import annotations

from typing import Any

ANY = {"type": "object"}
STRING = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
STRINGS = {"type": "object", "additionalProperties": STRING}


def _object(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


AUTH_OPTIONS = _object(
    mode={"enum": ["disabled", "token"]}, secretName=STRING, enableK8sTokenAuth=FLAG
)
AUTOSCALER_OPTIONS = _object(
    resources=ANY,
    image=STRING,
    imagePullPolicy=STRING,
    securityContext=ANY,
    idleTimeoutSeconds=COUNT,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    version={"enum": ["v1", "v2"]},
    env={"type": "array"},
    envFrom={"type": "array"},
    volumeMounts={"type": "array"},
)
HEAD_GROUP = _object(
    ("template",),
    template=ANY,
    headService=ANY,
    enableIngress=FLAG,
    resources=STRINGS,
    labels=STRINGS,
    rayStartParams=STRINGS,
    serviceType=STRING,
)
WORKER_GROUP = _object(
    ("groupName", "template"),
    groupName=STRING,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    priority={"type": "integer"},
    resources=STRINGS,
    labels=STRINGS,
    rayStartParams=STRINGS,
    template=ANY,
)
CLUSTER_SPEC = _object(
    ("headGroupSpec",),
    authOptions=AUTH_OPTIONS,
    autoscalerOptions=AUTOSCALER_OPTIONS,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=ANY,
    headGroupSpec=HEAD_GROUP,
    headServiceAnnotations=STRINGS,
    rayVersion=STRING,
    suspend=FLAG,
    workerGroupSpecs={"type": "array", "items": WORKER_GROUP},
)
JOB_SPEC = _object(
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER_SPEC,
    submitterPodTemplate=ANY,
    metadata=STRINGS,
    clusterSelector=STRINGS,
    submitterConfig=_object(backoffLimit=COUNT),
    entrypoint=STRING,
    runtimeEnvYAML=STRING,
    jobId=STRING,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    entrypointResources=STRING,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    ttlSecondsAfterFinished=COUNT,
    preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)


def _kind(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "ray.io/v1"},
        kind={"const": name},
        metadata=ANY,
        spec=spec,
    )


SCHEMAS = {"RayCluster": _kind("RayCluster", CLUSTER_SPEC), "RayJob": _kind("RayJob", JOB_SPEC)}
