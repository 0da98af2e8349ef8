"""Whether a sweep can run on a cluster, found out in seconds and before anything is started."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from ni_platform.data.storage import is_remote
from ni_platform.errors import ClusterError
from ni_platform.tuning.cluster.cluster_probe import MARK, versions
from ni_platform.tuning.cluster.job_client import connect, explained, send_job
from ni_platform.tuning.cluster.shipping import Shipment
from ni_platform.tuning.cluster.submission import Submission, SweepJob, wait_until_over
from ni_platform.tuning.files.lease import UNCONDITIONAL

PROBE_SECONDS = 150
"""How long the cluster may take to answer."""

_CREDENTIALS = {
    "storage": "AWS_",
    "data": "AWS_",
    "tracking": "MLFLOW_TRACKING_",
}
_LOG_LINES = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preflight that found nothing wrong has seen."""

    nodes: int
    """Machines that took part."""
    notes: tuple[str, ...]
    """What could not be checked, or will need a moment."""


def check(
    job: SweepJob, shipment: Shipment, *, expected: Mapping[str, str] | None = None
) -> Report:
    """Look whether `job` can run: on this side, then by a small job of the same environment.

    `expected` are the versions that the cluster must have (None: this side's). Nothing is left
    behind, here or there.

    Raises:
        ClusterError: It cannot; the message lists every reason with its remedy, one a line.

    """
    failures = _on_this_side(job)
    report = Report(nodes=0, notes=())
    try:
        seen = _ask_cluster(job, shipment)
    except ClusterError as error:
        failures.append(str(error))
    else:
        failures += judge(job, seen, expected or versions())
        report = Report(nodes=len(seen["nodes"]), notes=tuple(_notes(job, seen)))
    if failures:
        lines = "\n".join(f"  - {failure}" for failure in dict.fromkeys(failures))
        raise ClusterError(f"The sweep {job.name} was not sent to {job.address}:\n{lines}")
    return report


def _on_this_side(job: SweepJob) -> list[str]:
    failures = []
    for option, place in (("--storage", job.storage), ("--data", job.data)):
        if place is not None and not is_remote(place) and not os.path.isabs(place):
            failures.append(
                f"{option} {place} is a path of this machine's current folder: name an absolute "
                "path that all machines of the cluster mount, or s3://..."
            )
    if missing := [name for name in job.env if name not in os.environ]:
        failures.append(
            f"--env names {', '.join(missing)}, which this shell has not set: export it, or leave "
            "it out"
        )
    if job.gpus_per_trial > 1 and job.gpus_per_trial % 1:
        failures.append(
            f"more than one GPU can only be taken whole, but --gpus-per-trial is "
            f"{job.gpus_per_trial:g}: round it"
        )
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("sqlite") and not uri.partition(":///")[2].startswith("/"):
        failures.append(
            f"MLFLOW_TRACKING_URI ({uri}) is a file of the current folder, which the job lacks: "
            "name a tracking server"
        )
    return failures


def _ask_cluster(job: SweepJob, shipment: Shipment) -> dict[str, Any]:
    client = connect(job.address)
    asked = json.dumps({"folder": job.storage, "data": job.data})
    small = replace(job, entry=("python", "-m", "ni_platform.tuning.cluster.cluster_probe", asked))
    submission = Submission(job=small, job_id=f"ni-preflight-{uuid4().hex}")
    send_job(
        client,
        job.address,
        entrypoint=shlex.join(small.entry),
        submission_id=submission.job_id,
        runtime_env=small.runtime_env(shipment),
    )
    with explained(job.address):
        state = wait_until_over(client, submission, PROBE_SECONDS)
        if not state.is_over:
            client.stop_job(submission.job_id)
            raise ClusterError(
                f"The cluster did not come to the end of a small job within {PROBE_SECONDS} s: "
                "look at its dashboard; the head may be out of memory or lost"
            )
        log = client.get_job_logs(submission.job_id)
        client.delete_job(submission.job_id)
    return _read(log, state.message)


def _read(log: str, message: str) -> dict[str, Any]:
    for line in log.splitlines():
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return answer
    said = log.strip() or message.strip()
    if "No module named 'ni_platform" in said:
        raise ClusterError(
            "ni_platform is not installed where the cluster's `python` is: install it there with "
            "the versions of constraints.txt"
        )
    raise ClusterError(
        "the cluster ran no preflight to its end; its last words: "
        + " | ".join(said.splitlines()[-_LOG_LINES:])
    )


def judge(job: SweepJob, seen: Mapping[str, Any], expected: Mapping[str, str]) -> list[str]:
    """Return why `job` cannot run on the cluster that `cluster_probe.probe` has `seen`."""
    failures = []
    for name, here in expected.items():
        there = seen["versions"].get(name, "none")
        if there != here:
            failures.append(
                f"{name} is {here} here and {there} on the cluster: install one version on both "
                "sides (constraints.txt)"
            )
    failures += _node_failures(seen)
    failures += _twins(seen["nodes"])
    if not seen["autoscales"] and not _has_room(job, seen):
        failures.append(_unmet(job, seen))
    return failures


def _node_failures(seen: Mapping[str, Any]) -> list[str]:
    """One line per kind of problem and its words, with the nodes that have it."""
    where: dict[tuple[str, str], list[str]] = {}
    for node in seen["nodes"]:
        for kind, words in node["problems"].items():
            where.setdefault((kind, words), []).append(node["name"])
    return [
        f"{kind}, from {', '.join(names)}: {words}{_not_passed(kind, seen)}"
        for (kind, words), names in where.items()
    ]


def _not_passed(kind: str, seen: Mapping[str, Any]) -> str:
    prefix = _CREDENTIALS.get(kind)
    lacking = [
        name
        for name in sorted(os.environ)
        if prefix and name.startswith(prefix) and name not in seen["environment"]
    ]
    if not lacking:
        return ""
    return f" (Set here, but not on the cluster: {', '.join(lacking)}; pass on with --env NAME.)"


def _twins(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    # Raylets of one machine share the job's folder: the first to be done with it removes it.
    hosts = [node["host"] for node in nodes if node["host"]]
    return [
        f"the machine {host} runs {hosts.count(host)} raylets, which take the job's folder from "
        "each other: start one, with all of its CPUs and GPUs"
        for host in sorted({host for host in hosts if hosts.count(host) > 1})
    ]


def fits(job: SweepJob, offers: Sequence[Mapping[str, float]]) -> bool:
    """Whether one of the nodes offers what a trial asks for."""
    return any(
        offer.get("CPU", 0) >= job.cpus_per_trial and offer.get("GPU", 0) >= job.gpus_per_trial
        for offer in offers
    )


def _has_room(job: SweepJob, seen: Mapping[str, Any]) -> bool:
    return fits(job, [node["resources"] for node in seen["nodes"]])


def _unmet(job: SweepJob, seen: Mapping[str, Any]) -> str:
    offers = [
        f"{node['name']}: {node['resources'].get('CPU', 0):g} CPUs, "
        f"{node['resources'].get('GPU', 0):g} GPUs"
        for node in seen["nodes"]
        if node["resources"]
    ]
    return (
        f"a trial needs {job.cpus_per_trial:g} CPUs and {job.gpus_per_trial:g} GPUs on one node, "
        f"which none has ({'; '.join(offers)}), and no autoscaler adds nodes: lower "
        "--cpus-per-trial or --gpus-per-trial, or add such a node"
    )


def _notes(job: SweepJob, seen: Mapping[str, Any]) -> list[str]:
    notes = [] if seen["locks"] else [UNCONDITIONAL]
    if not _has_room(job, seen):
        notes.append(
            "no node that runs now has room for a trial; the sweep waits until the autoscaler "
            "starts one, if it can. Storage, tracking and data were tried only from the nodes that "
            "run."
        )
    return notes
