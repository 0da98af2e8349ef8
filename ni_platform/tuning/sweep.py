"""A sweep from its definition to its end: the one place where its parts are assembled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ray
from ray.actor import ActorHandle

from ni_platform.errors import ConfigError, TrackingError, TrainingError
from ni_platform.opened import OpenedExperiment, open_experiment
from ni_platform.run_start import record_start, run_parameters
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store
from ni_platform.training.events import Event
from ni_platform.training.worker_count import Workers
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.best_models import record_models
from ni_platform.tuning.engine.keeper import SweepProgress
from ni_platform.tuning.engine.keeper_actor import ask_keeper, start_keeper
from ni_platform.tuning.engine.lanes import Lanes, MakeTrain, count_lanes
from ni_platform.tuning.engine.preparation import prepare
from ni_platform.tuning.files.lease import leased
from ni_platform.tuning.files.locks import driving
from ni_platform.tuning.files.mirrored_folder import fetch, send
from ni_platform.tuning.files.trial_log import TrialRecord, ranked, read_trials
from ni_platform.tuning.results.report import record_report, report_sweep
from ni_platform.tuning.results.status import sweep_tags
from ni_platform.tuning.search.spaces import check_search

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STOP = 60.0
"""How long trials under way have to come to the end of an epoch, when the sweep is stopped."""
SECONDS_TO_WRITE = 60.0
"""How long the last results have to come to MLflow, when the sweep ends."""

OnEvent = Callable[[Event | SweepProgress | str], None]
"""Told what the training of encoders does, how far the sweep is, and in words what else happens."""


@dataclass(frozen=True, kw_only=True)
class FinishedSweep:
    """A sweep whose trials have all ended."""

    config: SweepConfig
    folder: SweepFolder
    run_id: str
    trials: dict[int, TrialRecord]
    unwritten: bool
    """Whether results wait to be written; `on_event` was told why."""

    @property
    def best(self) -> list[TrialRecord]:
        """Trials with a value, the best first."""
        return ranked(self.trials, self.config.lower_is_better)


def run_sweep(
    store: Store,
    config: SweepConfig,
    *,
    storage: str | None = None,
    allow_failed_checks: bool = False,
    on_event: OnEvent = lambda event: None,
) -> FinishedSweep:
    """Start a sweep, or go on with one of the same name and config.

    Runs on the Ray cluster that `RAY_ADDRESS` names, else on a local one. Ctrl-C and SIGTERM let
    the trials under way come to the end of an epoch; whatever ends the process, `run_sweep` with
    the same name goes on with what its folder holds.

    Args:
        store: Where the sweep is recorded.
        config: What to sweep; modalities that the dataset does not have are left out.
        storage: Folder of sweeps, shared by the cluster's machines, or `s3://`; `.ni/sweeps` if
            None.
        allow_failed_checks: Sweep although data checks failed.
        on_event: Told what happens.

    Raises:
        ConfigError: The space does not fit the experiment, a sweep of that name is running or
            has another config or other data, or no machine can hold a trial.
        DatasetError: A part of the split has no content.
        ChecksFailedError: A data check failed.
        TrackingError: The tracking server cannot be reached when the sweep starts.
        TrainingError: Lanes could not work, or the keeper died.

    """
    _ = config.experiment.network  # what is fitted at once is not swept
    opened = open_experiment(config.experiment, config.data, chosen_by_validation=True)
    config = _completed(config, opened)
    opened = replace(opened, config=config.experiment)
    check_search(config)
    folder = SweepFolder.named(config.name, storage)
    _require_shared_folder(config, folder)
    with driving(folder), leased(folder, on_event):
        return _drive(store, config, opened, folder, storage, allow_failed_checks, on_event)


def _drive(
    store: Store,
    config: SweepConfig,
    opened: OpenedExperiment,
    folder: SweepFolder,
    storage: str | None,
    allow_failed_checks: bool,
    on_event: OnEvent,
) -> FinishedSweep:
    """Do all that only one process may do at a time."""
    resumed = _resumed_run(folder, config)
    tags = opened.tags()
    if resumed is not None:
        _require_same_data(store, config.name, resumed, tags)
        folder.create(config, resumed)  # there may be more trials than before
    record = RunRecord.start(
        store,
        config.experiment.name.partition(".")[0],
        run_name=config.name,
        parameters=_parameters(config, opened),
        tags=tags | sweep_tags(config, folder),
        resume=resumed,
    )
    written = True
    try:
        with record:
            if resumed is None:
                record_start(record, opened, allow_failed_checks, on_event)
                folder.create(config, record.run_id)
            send(folder, folder.definition)
            make_train = prepare(config, opened, record, folder, on_event)
            written = _run_trials(config, folder, record, make_train, on_event)
            trials = read_trials(folder.log)
            if written:
                on_event(f"recording the models of the best {config.keep} trials")
                best = ranked(trials, config.lower_is_better)
                record_models(store, config, folder, record.run_id, best, opened, on_event)
                on_event("drawing the report")
                record_report(store, report_sweep(config.name, storage=storage))
    except TrackingError:
        if written:
            raise
        # The sweep is over but for its records; whoever resumes it writes them.
    return FinishedSweep(
        config=config,
        folder=folder,
        run_id=record.run_id,
        trials=trials,
        unwritten=not written,
    )


def _require_shared_folder(config: SweepConfig, folder: SweepFolder) -> None:
    """Refuse trials whose workers exchange files, where machines share none."""
    if folder.mirror is not None and config.workers_per_trial > 1:
        raise ConfigError(
            f"workers of one trial exchange checkpoints in a folder that all machines mount, but "
            f"--workers-per-trial is {config.workers_per_trial} and --storage {folder.mirror}: "
            "name such a folder by --storage, or train each trial with one worker"
        )


def _completed(config: SweepConfig, opened: OpenedExperiment) -> SweepConfig:
    """Return the config with the experiment fitted to the data; its objective picks the epoch."""
    training = replace(opened.config.training, monitor=config.objective)
    experiment = replace(opened.config, training=training)
    return replace(config, data=opened.dataset.root, experiment=experiment)


def _resumed_run(folder: SweepFolder, config: SweepConfig) -> str | None:
    """Return the run of a sweep that exists; only more trials may be asked for than before."""
    fetch(folder)
    if not folder.definition.exists():
        return None
    before, run_id = folder.read()
    same = replace(before, trials=config.trials, concurrent=config.concurrent)
    if same != config or config.trials < before.trials:
        raise ConfigError(
            f"there is a sweep {config.name!r} with other settings in {folder.path}; go on with "
            f"it by `ni sweep resume {config.name}`, or choose another --name"
        )
    return run_id


def _require_same_data(store: Store, name: str, run_id: str, tags: Mapping[str, str]) -> None:
    """Trials can only be compared on the same contents."""
    before = read_run(store, run_id).tags
    for tag in ("ni.dataset_fingerprint", "ni.splits_fingerprint"):
        if before.get(tag) != tags[tag]:
            raise ConfigError(
                f"the trials of a sweep are compared on the same data, but {tags['ni.dataset']} "
                f"has changed since {name!r} began; restore it, or start a sweep of another name"
            )


def _parameters(config: SweepConfig, opened: OpenedExperiment) -> dict[str, object]:
    """What stands in MLflow as the sweep's parameters; `trials` may grow, so it does not."""
    values = asdict(config)
    own = {k: v for k, v in values.items() if k not in ("experiment", "trials", "concurrent")}
    return {"sweep": own} | run_parameters(opened, Workers(count=config.workers_per_trial))


def _run_trials(
    config: SweepConfig,
    folder: SweepFolder,
    record: RunRecord,
    make_train: MakeTrain,
    on_event: OnEvent,
) -> bool:
    """Run the trials that are left; whether all of them stand in MLflow."""
    keeper = start_keeper(config, folder, record.run_id, record.store.uri)
    progress: SweepProgress = ask_keeper(keeper.progress.remote())
    left = config.trials - progress.ended
    try:
        if left:
            with tempfile.TemporaryDirectory() as scratch:
                lanes = Lanes(
                    config, folder, keeper, make_train, count_lanes(config, left), Path(scratch)
                )
                _follow(lanes, keeper, record, on_event)
        else:
            on_event(f"the sweep was finished already: its {config.trials} trials have ended")
    finally:
        try:
            written = bool(ray.get(keeper.finish.remote(SECONDS_TO_WRITE)))
            for trouble in ray.get(keeper.take_troubles.remote()):
                on_event(trouble)
            ray.kill(keeper)
        except ray.exceptions.RayError:
            written = False  # it died, which whoever asked it before has told
    return written


def _follow(lanes: Lanes, keeper: ActorHandle, record: RunRecord, on_event: OnEvent) -> None:
    """Start the lanes and tell how far they are until they have ended or are interrupted."""
    lanes.start()
    told = time.monotonic()
    try:
        while not lanes.wait(SECONDS_BETWEEN_LOOKS):
            progress: SweepProgress = ask_keeper(keeper.progress.remote())
            on_event(progress)
            for trouble in ask_keeper(keeper.take_troubles.remote()):
                on_event(trouble)
            if progress.gave_up is not None:
                lanes.wait(SECONDS_TO_STOP)
                break
            if time.monotonic() - told > 5:
                told = time.monotonic()
                _log_progress(record, progress)
    except (KeyboardInterrupt, SystemExit):
        with suppress(ray.exceptions.RayError):  # the same signal may have ended Ray's processes
            _stop(lanes, keeper, record, on_event)
        raise
    progress = ask_keeper(keeper.progress.remote())
    on_event(progress)
    _log_progress(record, progress)
    reason = progress.gave_up
    if reason is None and progress.ended < progress.trials:
        reason = f"its processes ended after {progress.ended} of {progress.trials} trials"
    if reason is not None:
        raise TrainingError(
            f"the sweep cannot go on: {reason}; what is done is kept, mend the cause and resume it"
        )


def _stop(lanes: Lanes, keeper: ActorHandle, record: RunRecord, on_event: OnEvent) -> None:
    """Let the trials under way come to the end of an epoch."""
    on_event("stopping: trials under way come to the end of an epoch, and are resumed later")
    ray.get(keeper.stop.remote())
    lanes.wait(SECONDS_TO_STOP)
    progress = ray.get(keeper.progress.remote())
    on_event(
        f"stopped after {progress.ended} of {progress.trials} trials; `ni sweep resume "
        f"{record.run_name}` goes on"
    )
    _log_progress(record, progress)


def _log_progress(record: RunRecord, progress: SweepProgress) -> None:
    """Let the MLflow UI show how far the sweep is; without an answer the log knows."""
    figures = {f"trials/{status}": float(count) for status, count in progress.counts.items()}
    if progress.best is not None and progress.best.value is not None:
        figures["best/objective"] = progress.best.value
    try:
        record.store.require_answer()
        record.log_metrics(figures, step=progress.ended)
    except TrackingError:
        return
