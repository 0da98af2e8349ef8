"""What all trials of a sweep have in common: done once, before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch

from ni_platform.errors import ConfigError
from ni_platform.fitting import pretrain
from ni_platform.opened import OpenedExperiment
from ni_platform.overrides import with_values
from ni_platform.ray_cluster import start_ray
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.training.encoded import reasons_against
from ni_platform.training.shared_stage import SharedStage
from ni_platform.training.workers import precision_name, precision_on
from ni_platform.tuning.config import SweepConfig, SweepFolder
from ni_platform.tuning.engine.distributed_trial import DistributedTraining
from ni_platform.tuning.engine.exchanged_weights import (
    encoders_at_hand,
    fetch_encoders,
    send_encoders,
)
from ni_platform.tuning.engine.lanes import MakeTrain
from ni_platform.tuning.engine.trial import shared_training


def prepare(
    config: SweepConfig,
    opened: OpenedExperiment,
    record: RunRecord,
    folder: SweepFolder,
    on_event: Callable[[Any], None],
) -> MakeTrain:
    """Do what all trials have in common: train encoders, and encode with those that stand still.

    Returns what makes, in a lane's process, the function that trains a trial.

    Raises:
        ConfigError: Machines of the cluster would have to exchange files, but share no folder.
    """
    start_ray()
    config = in_one_precision(config, record, on_event)
    experiment = config.experiment
    machines = sum(node["Alive"] for node in ray.nodes())
    if folder.mirror is not None and machines > 1 and experiment.pretraining.stages:
        raise ConfigError(
            "encoders that are trained before the trials exchange checkpoints in a folder that "
            f"all {machines} machines of the cluster mount, but --storage is {folder.mirror}: name "
            "such a folder by --storage, or leave pretraining out"
        )
    fetch_encoders(folder)
    opened = replace(opened, config=experiment)
    initial, states = pretrain(opened, record, folder.encoders, on_event)
    send_encoders(folder)
    train_rows, validation_rows = opened.splits.rows("train"), opened.splits.rows("validation")
    if config.workers_per_trial > 1:
        on_event("nothing is encoded once: trials of several workers are Ray Train runs")
        shown = validation_rows[opened.dataset.impressions[validation_rows] > 0]
        train = DistributedTraining(
            config=config,
            train_rows=train_rows,
            validation_rows=shown,
            states=states,
            folder=folder.path / "distributed",
        )
        return lambda _: train
    for modality, reason in reasons_against(experiment.network, experiment.training).items():
        on_event(f"{modality} is not encoded once: {reason}")
    encode = partial(
        _prepared,
        folder,
        initial,
        opened.dataset,
        experiment.training,
        train_rows,
        validation_rows,
        state_folder() / "encoded",
        states=states,
    )
    if config.gpus_per_trial:
        on_event("encoding the data on a GPU")
        shared = ray.remote(encode).options(num_gpus=1).remote()
        ray.wait([shared])
    else:
        shared = ray.put(encode(progress=_Counted(len(opened.dataset), on_event)))
    return partial(shared_training, experiment=experiment, shared=[shared])


def in_one_precision(
    config: SweepConfig, record: RunRecord, on_event: Callable[[Any], None]
) -> SweepConfig:
    """Decide once what `precision: auto` is, so that trials of different machines compare.

    A sweep that goes on, perhaps on another machine, keeps what it began with.
    """
    # Workers of one trial take GPUs wherever there are any.
    gpus = config.gpus_per_trial or (
        config.workers_per_trial > 1 and ray.cluster_resources().get("GPU", 0)
    )
    device = torch.device("cuda" if gpus else "cpu")
    chosen = read_run(record.store, record.run_id).tags.get("ni.precision") or precision_name(
        precision_on(device, config.experiment.training)
    )
    record.set_tags({"ni.precision": chosen})
    on_event(f"trials are trained in {chosen}")
    decided = with_values(config.experiment, [("training.precision", chosen)])
    return replace(config, experiment=decided)


def _prepared(
    folder: SweepFolder, initial: Path, *rest: Any, states: Mapping[str, Path], **given: Any
) -> SharedStage:
    """Encode, on a machine that may lack the driver's disk; arguments as SharedStage.prepare's."""
    with encoders_at_hand(folder) as encoders:
        here = {name: encoders / path.relative_to(folder.encoders) for name, path in states.items()}
        initial = encoders / initial.relative_to(folder.encoders)
        return SharedStage.prepare(initial, *rest, states=here, **given)


class _Counted:
    """Tells of the encoding, a line per quarter."""

    def __init__(self, total: int, on_event: Callable[[Any], None]) -> None:
        self._total = total
        self._on_event = on_event
        self._done: dict[str, int] = {}

    def __call__(self, modality: str, rows: int) -> None:
        before = self._done.get(modality, 0)
        self._done[modality] = before + rows
        if before * 4 // self._total < self._done[modality] * 4 // self._total:
            share = self._done[modality] / self._total
            self._on_event(f"encoding {modality} once for all trials: {share:.0%}")
