"""What a sweep is, and the folder it lives in."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ni_platform.data.manifest import nearest
from ni_platform.data.storage import is_remote, join, list_files, write_bytes
from ni_platform.errors import ConfigError
from ni_platform.experiment_config import ExperimentConfig
from ni_platform.metrics.catalogue import lower_is_better
from ni_platform.overrides import from_dict, to_dict
from ni_platform.seeds import check_seed
from ni_platform.tracking.state import state_folder

Objective = Literal["loss", "rmse", "pairwise_accuracy", "pairwise_within"]
SchedulerName = Literal["asha", "hyperband", "none"]

SPACES = "tune_spaces"
"""The folder of search spaces and of users' own samplers."""

_FORMAT = 3
"""Of a sweep's folder: in the first, journal.jsonl was the account of the trials."""
LONGEST_NAME = 200
"""Characters of a sweep's name, which is that of a folder and begins those of runs."""
_CHOSEN = {
    "objective": Objective,
    "scheduler": SchedulerName,
}
_LEAST = {"trials": 1, "grace_epochs": 1, "reduction_factor": 2, "workers_per_trial": 1}
_LEAST |= {"keep": 0, "retries": 0, "cpus_per_trial": 0, "gpus_per_trial": 0}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """What decides a sweep; kept in its folder, so that it can be resumed by name."""

    name: str
    space: str
    """`FILE.FUNCTION` of the folder `tune_spaces`."""
    experiment: ExperimentConfig
    """What a trial's settings are changes to; fitted to the dataset."""
    data: str
    """Dataset folder, local or `s3://`."""
    trials: int
    objective: Objective
    """Validation metric that trials are compared by, at the epoch whose weights they keep."""
    sampler: str = "tpe"
    """Of Optuna, by name, or `FILE.FUNCTION` of the folder `tune_spaces`; see `load_sampler`."""
    seed: int = 0
    scheduler: SchedulerName = "asha"
    """How hopeless trials are found and stopped, by their objective after so many epochs."""
    grace_epochs: int = 1
    """Epochs before a trial may be stopped."""
    reduction_factor: int = 3
    """Of so many trials that reach a rung, one goes on."""
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    workers_per_trial: int = 1
    """More than one: each trial is a Ray Train run of its own, which costs seconds."""
    concurrent: int | None = None
    """Trials at a time (None: as many as the cluster has room for)."""
    retries: int = 2
    """How often a trial whose process died is started again."""
    keep: int = 3
    """Trials, the best ones, whose models are recorded."""

    def __post_init__(self) -> None:
        self._check_words()
        for field, lowest in _LEAST.items():
            value = getattr(self, field)
            if not lowest <= value < math.inf:
                raise ConfigError(
                    f"{field} must be at least {lowest} and finite, but is {value}; see "
                    f"--{field.replace('_', '-')}"
                )
        check_seed("seed", self.seed)
        if self.concurrent is not None and self.concurrent < 1:
            raise ConfigError(f"concurrent must be at least 1, or null, but is {self.concurrent}")
        self._check_resources()

    def _check_words(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"a sweep's name is the name of a folder: letters, digits, '.', '_' and '-', but "
                f"it is {self.name!r}"
            )
        if len(self.name) > LONGEST_NAME:
            raise ConfigError(
                f"a sweep's name has at most {LONGEST_NAME} characters, but it has {len(self.name)}"
            )
        for field, kind in _CHOSEN.items():
            value, known = getattr(self, field), get_args(kind)
            if value not in known:
                raise ConfigError(
                    f"{field} must be one of {', '.join(known)}, but is {value!r}"
                    f"{nearest(str(value), list(known))}"
                )

    def _check_resources(self) -> None:
        for field in ("cpus_per_trial", "gpus_per_trial"):
            value = getattr(self, field)
            if value > 1 and value != int(value):
                raise ConfigError(
                    f"{field} must be a part of one or a whole number, as Ray shares them out, but "
                    f"is {value}"
                )
        if not self.cpus_per_trial and not self.gpus_per_trial:
            raise ConfigError(
                "a trial must ask for something, or as many would be started as there are, but "
                "cpus_per_trial and gpus_per_trial are 0; give it a part of a CPU, such as 0.5"
            )

    @property
    def lower_is_better(self) -> bool:
        """Whether the objective is an error."""
        return lower_is_better(self.objective)

    def is_better(self, value: float, than: float) -> bool:
        """Whether one value of the objective beats another."""
        return value < than if self.lower_is_better else value > than


@dataclass(frozen=True, kw_only=True)
class SweepFolder:
    """Where a sweep keeps what it needs to go on: every file is written once or only grows."""

    path: Path
    mirror: str | None = None
    """Place in S3 that gets all of it (`mirror.py`); `path` is this machine's copy then."""

    @classmethod
    def named(cls, name: str, storage: str | Path | None = None) -> SweepFolder:
        """Return the folder of a sweep: below `storage`, or `.ni/sweeps` without one.

        That of an `s3://` storage is a copy below `.ni/mirrored`, which `mirror.fetch` brings up
        to date.
        """
        if storage is not None and is_remote(storage):
            place = str(storage).rstrip("/")
            copies = state_folder() / "mirrored" / place.partition("://")[2]
            return cls(path=copies / name, mirror=join(place, name))
        root = Path(storage) if storage is not None else state_folder() / "sweeps"
        return cls(path=root.absolute() / name)

    @property
    def place(self) -> str:
        """Where the sweep lasts: what `--storage` named, and its name."""
        return self.mirror or str(self.path)

    @property
    def definition(self) -> Path:
        """The sweep's config, its run in MLflow and where trials find what is computed once."""
        return self.path / "sweep.json"

    @property
    def log(self) -> Path:
        """All that happened: an Optuna study in a journal of Optuna's (`trial_log.py`)."""
        return self.path / "study.log"

    @property
    def predictions(self) -> Path:
        """What complete trials predict for the validation contents."""
        return self.path / "validation.predictions"

    @property
    def encoders(self) -> Path:
        """Encoders that are trained once, before the trials."""
        return self.path / "encoders"

    def weights(self, trial: int) -> Path:
        """Trained weights of a trial that is, or was when it ended, among the best."""
        return self.path / "trials" / f"{trial:05d}"

    def create(self, config: SweepConfig, run_id: str) -> None:
        """Write the definition; the sweep exists from then on."""
        values = asdict(config) | {"experiment": to_dict(config.experiment)}
        content = json.dumps({"format": _FORMAT, "config": values, "run_id": run_id}, indent=1)
        write_bytes(self.definition, content.encode())

    def read(self) -> tuple[SweepConfig, str]:
        """Return the sweep's config and the id of its run in MLflow.

        Raises:
            ConfigError: There is no such sweep, or an older version made it.

        """
        if not self.definition.exists():
            raise ConfigError(_no_sweep(self))
        content: dict[str, Any] = json.loads(self.definition.read_text(encoding="utf-8"))
        if content.get("format") != _FORMAT:
            raise ConfigError(
                f"this version reads sweeps of format {_FORMAT}, but {self.definition} is of "
                f"format {content.get('format', 1)}; use the version of ni_platform that made the "
                "sweep, or start it again under another name"
            )
        return from_dict(SweepConfig, content["config"]), content["run_id"]


def list_sweeps(storage: str | Path | None = None) -> list[str]:
    """Return the names of the sweeps below `storage` (None: `.ni/sweeps`)."""
    if storage is not None and is_remote(storage):
        parts = [name.split("/") for name in list_files(storage)]
        return sorted(part[0] for part in parts if part[1:] == ["sweep.json"])
    root = SweepFolder.named("x", storage).path.parent
    return sorted(path.parent.name for path in root.glob("*/sweep.json"))


def _no_sweep(folder: SweepFolder) -> str:
    root = folder.place.removesuffix(f"/{folder.path.name}")
    known = ", ".join(list_sweeps(root)) or "none"
    return (
        f"there is no sweep {folder.path.name!r} in {root}; there are: {known}. "
        "Start one with `ni sweep run`, or name its --storage"
    )
