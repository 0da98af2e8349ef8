"""A sweep whose driver is a job of a Ray cluster: sent, followed, stopped and sent again.

The driver runs on the head, so it outlives the shell that sent it. What it needs to go on is in
the sweep's storage; this machine remembers only where the job is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ni_platform.data.storage import write_bytes
from ni_platform.errors import ClusterError, ConfigError
from ni_platform.overrides import from_dict
from ni_platform.tuning.cluster.job_client import connect, explained, send_job
from ni_platform.tuning.cluster.shipping import Shipment
from ni_platform.tuning.config import SweepFolder

JobStatus = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]

STOP_SECONDS = 60
"""How long a driver that was asked to stop may take to close its records before it is killed."""

ALWAYS_PASSED = ("MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
"""Variables that the job gets whenever they are set here: places, not secrets."""

_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_POLL_SECONDS = 0.3
_FILE = "submission.json"


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """A command that drives a sweep on a cluster, and what it needs there."""

    name: str
    """The sweep's."""
    entry: tuple[str, ...]
    """The command, as words."""
    address: str
    """Of the head's dashboard: `http://HEAD:8265`."""
    storage: str
    """Folder that all machines mount, or `s3://`."""
    data: str | None = None
    """Dataset folder, as the machines of the cluster see it."""
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    env: tuple[str, ...] = ()
    """Names of this shell's variables that the job gets. Their values are kept nowhere here, but
    whoever may ask the cluster about its jobs can read them."""
    project: str
    """Folder whose definitions are shipped."""

    def __post_init__(self) -> None:
        for name in _TOKENS:
            if name in self.env:
                raise ConfigError(
                    f"a job does not get the cluster's token, but --env names {name}: leave it "
                    "out, as every process of the cluster has it"
                )

    def runtime_env(self, shipment: Shipment) -> dict[str, Any]:
        """Return what Ray sets up for the job: its working folder and its variables."""
        names = dict.fromkeys((*ALWAYS_PASSED, *self.env))
        values = {name: os.environ[name] for name in names if name in os.environ}
        values["RAY_JOB_STOP_WAIT_TIME_S"] = str(STOP_SECONDS)
        return {"working_dir": str(shipment.folder), "env_vars": values}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job that was sent."""

    job: SweepJob
    job_id: str
    """`ni-NAME-COUNT`; every time that a sweep is sent again is a new job."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What the cluster says of a job."""

    status: JobStatus
    message: str
    started: float | None
    """Unix seconds."""
    ended: float | None
    """Unix seconds; None while it runs."""

    @property
    def is_over(self) -> bool:
        """Whether the status is final."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


def submit(job: SweepJob, shipment: Shipment) -> Submission:
    """Send a job and remember it in the sweep's local folder; returns before the job runs.

    Raises:
        ClusterError: The cluster cannot be reached or refuses, or a job of this sweep is not
            over: two drivers would write one sweep's records.

    """
    client = connect(job.address)
    with explained(job.address):
        jobs = {str(known.submission_id): str(known.status) for known in client.list_jobs()}
    pattern = re.compile(rf"ni-{re.escape(job.name)}-(\d+)")
    sent = {name: match for name in jobs if (match := pattern.fullmatch(name))}
    for name in sent:
        if jobs[name] in ("PENDING", "RUNNING"):
            raise ClusterError(
                f"A sweep has one driver at a time, but {name} of {job.address} is "
                f"{jobs[name]}: stop it by `ni sweep stop {job.name}`, or choose another --name."
            )
    number = 1 + max((int(match[1]) for match in sent.values()), default=0)
    submission = Submission(job=job, job_id=f"ni-{job.name}-{number}")
    send_job(
        client,
        job.address,
        entrypoint=shlex.join(job.entry),
        submission_id=submission.job_id,
        runtime_env=job.runtime_env(shipment),
        metadata={"ni.sweep": job.name, "ni.storage": job.storage},
    )
    _remember(submission)
    return submission


def read_submission(name: str) -> Submission:
    """Return the last submission of the sweep `name` from this folder.

    Raises:
        ConfigError: None was sent from here.

    """
    submission = find_submission(name)
    if submission is None:
        raise ConfigError(
            f"the sweep {name!r} was not sent to a cluster from here: {_path(name)} is missing. "
            "Send it by `ni sweep submit`, from the folder that you work in"
        )
    return submission


def find_submission(name: str) -> Submission | None:
    """Return the last submission of the sweep `name` from this folder; None without any."""
    path = _path(name)
    return (
        from_dict(Submission, json.loads(path.read_text(encoding="utf-8")))
        if path.exists()
        else None
    )


def list_submissions() -> list[str]:
    """Return the names of the sweeps that were sent from this folder."""
    return sorted(path.parent.name for path in _path("x").parents[1].glob(f"*/{_FILE}"))


def job_status(submission: Submission) -> JobState:
    """Ask the cluster how a job stands.

    Raises:
        ClusterError: The cluster cannot be reached, or does not know the job (any more).

    """
    return _state(_client_that_knows(submission), submission)


def job_logs(submission: Submission, *, follow: bool = False) -> Iterator[str]:
    """Yield what the job has printed so far, and with `follow` what it prints until it is over.

    Raises:
        ClusterError: The cluster cannot be reached, or does not know the job (any more).

    """
    client = _client_that_knows(submission)
    with explained(submission.job.address):
        if not follow:
            yield client.get_job_logs(submission.job_id)
            return
    yield from _followed(client.tail_job_logs(submission.job_id), submission)


def stop_job(submission: Submission) -> JobState:
    """Ask a job to stop (SIGTERM), wait until it is over, and say how it ended.

    It has `STOP_SECONDS` to close its records, then Ray kills it. A job that is over stays so.
    """
    client = _client_that_knows(submission)
    with explained(submission.job.address):
        client.stop_job(submission.job_id)
    return wait_until_over(client, submission, STOP_SECONDS + 30)


def wait_until_over(client: Any, submission: Submission, seconds: float) -> JobState:
    """Wait for the end of a job, at most so many seconds, and return how it stands then."""
    until = time.monotonic() + seconds
    while not (state := _state(client, submission)).is_over and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return state


def _client_that_knows(submission: Submission) -> Any:
    job = submission.job
    client = connect(job.address)
    with explained(job.address):
        known = {known.submission_id for known in client.list_jobs()}
    if submission.job_id not in known:
        raise ClusterError(
            f"The cluster {job.address} knows no job {submission.job_id}: it was started anew "
            f"since. `ni sweep resume {job.name}` goes on from {job.storage}."
        )
    return client


def _state(client: Any, submission: Submission) -> JobState:
    with explained(submission.job.address):
        found = client.get_job_info(submission.job_id)
    return JobState(
        status=str(found.status),  # type: ignore[arg-type]
        message=found.message or "",
        started=found.start_time / 1000 if found.start_time else None,
        ended=found.end_time / 1000 if found.end_time else None,
    )


def _followed(chunks: Any, submission: Submission) -> Iterator[str]:
    from aiohttp import ClientError

    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(chunks))
            except StopAsyncIteration:
                return
            except (ClientError, RuntimeError, OSError) as error:
                raise ClusterError(
                    f"The connection to {submission.job.address} was lost ({error}); the job does "
                    f"not need it. Repeat the command, or ask `ni sweep status "
                    f"{submission.job.name}`."
                ) from error
    finally:
        loop.run_until_complete(chunks.aclose())
        loop.close()


def _path(name: str) -> Path:
    return SweepFolder.named(name).path / _FILE


def _remember(submission: Submission) -> None:
    content = json.dumps(asdict(submission), indent=1)
    write_bytes(_path(submission.job.name), content.encode())
