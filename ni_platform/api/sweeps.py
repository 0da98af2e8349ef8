"""Sweeps: settings of an experiment searched, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd

from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.definitions import Changes, Experiment, experiment_config
from ni_platform.api.display import Page, Part, cell
from ni_platform.api.models import Model, model_of
from ni_platform.api.progress import TrainingProgress, say
from ni_platform.api.sweep_progress import SweepDisplay
from ni_platform.function_source import standalone_source
from ni_platform.overrides import to_dict
from ni_platform.reporting.page import Table
from ni_platform.tracking.store import Store, open_store
from ni_platform.tuning.config import SPACES, SweepConfig
from ni_platform.tuning.files.trial_log import read_trials
from ni_platform.tuning.results.finding import find_sweep
from ni_platform.tuning.results.page import best_rows, figure_text
from ni_platform.tuning.results.summary import SweepSummary, summarize, trial_table

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Space = str | Callable[["BaseTrial"], Mapping[str, Any]]
"""A name of `ni.spaces`, or your own function: called with an Optuna trial, it draws parameters and
returns config values by path."""

_SHOWN = 5
_DIGITS = 8


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """A sweep, running or over: its trials as a frame, its report, its winner."""

    name: str
    store: Store
    storage: str | None = None
    """Where sweeps are kept; `.ni/sweeps` if None."""

    @property
    def summary(self) -> SweepSummary:
        """Its config, trials, counts and the best, as its folder knows them now."""
        folder = find_sweep(self.name, self.storage)
        return summarize(folder.read()[0], read_trials(folder.log))

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial, by number.

        Columns: trial, status, rank, objective, best_epoch, epochs, seconds, reason (of a failure),
        then `parameter.NAME` and, of the kept epoch, `metric.NAME`.
        """
        return trial_table(self.summary)

    @property
    def best(self) -> dict[str, Any]:
        """The parameters of the best trial; none before a trial is complete."""
        best = self.summary.best
        return dict(best[0].parameters) if best else {}

    def report(self) -> Page:
        """Write the report with its plots, into the sweep's run too, and return the page."""
        from ni_platform.tuning.results.report import PAGE, record_report, report_sweep

        found = report_sweep(self.name, storage=self.storage)
        record_report(self.store, found)
        return Page(html=(found.folder / PAGE).read_text(encoding="utf-8"), height=800)

    def promote(
        self,
        model: str,
        *,
        trial: int | None = None,
        force: str | None = None,
        allow_failed_checks: bool = False,
    ) -> Model:
        """Train the winner again on training and validation rows, judge it on test, promote it.

        Args:
            model: Name of the registered model.
            trial: Number of another trial than the best.
            force: As `Run.promote` takes it.
            allow_failed_checks: As `train` takes it.

        Raises:
            PromotionRefusedError: A gate refused; names it and why.
            ConfigError: No trial is complete, or the dataset is another one now.
        """
        from ni_platform.tuning.results.winner_promotion import promote_winner

        # MLflow registers in the store that was opened last, which may have been another one.
        store = open_store(self.store.uri)
        with TrainingProgress() as progress:
            promotion = promote_winner(
                store,
                self.name,
                model,
                trial=trial,
                storage=self.storage,
                force=force,
                allow_failed_checks=allow_failed_checks,
                on_event=progress,
            )
        return model_of(store, promotion.gates)

    def __repr__(self) -> str:
        found = self.summary
        counts = ", ".join(f"{count} {status}" for status, count in found.counts.items() if count)
        return f"Sweep {self.name}: {len(found.trials)} of {found.sweep.trials} trials ({counts})"

    def _repr_html_(self) -> str:
        found = self.summary
        heads, rows = best_rows(found.best[:_SHOWN])
        parts = [Part(table=Table.of(heads, rows, figure_text))] if rows else []
        failed = [(group.trials, group.reason) for group in found.failures]
        if failed:
            table = Table.of(("trials", "failed because"), failed, marks=["failed"] * len(failed))
            parts.append(Part(table=table))
        note = f"Best by validation {found.sweep.objective}. .trials, .report(), .promote(MODEL)"
        return cell(repr(self), *parts, Part(note=note))


def sweep(
    space: Space,
    experiment: Experiment,
    data: Dataset | str | Path,
    *,
    trials: int,
    name: str | None = None,
    storage: str | None = None,
    allow_failed_checks: bool = False,
    settings: Mapping[str, Any] | None = None,
    **changes: Unpack[Changes],
) -> Sweep:
    """Search settings of an experiment; what its trials share is computed once.

    Ctrl-C, or the stop button of a notebook, is safe: the same call goes on, also with more trials.

    Args:
        space: Name of `ni.spaces`, or your own function; its source, with what it reads of the
            notebook, is kept in the sweep.
        experiment: As `train` takes it.
        data: Dataset, or its folder.
        trials: How many.
        name: Of the sweep; made of the settings if None, so that the same call goes on and another
            one is another sweep.
        storage: Folder of sweeps, shared by a cluster's machines, or `s3://`.
        allow_failed_checks: As `train` takes it.
        settings: Of `SweepConfig`, such as `{"sampler": "random", "scheduler": "none", "seed": 1,
            "objective": "rmse", "concurrent": 2, "gpus_per_trial": 0.25, "keep": 3}`.
        **changes: As `train` takes them, for all trials.

    Raises:
        ConfigError: The space does not fit the experiment, a sweep of that name has other settings,
            or no machine can hold a trial.
        ChecksFailedError: A data check failed.
    """
    config = _config(space, experiment, data, trials, dict(settings or {}), changes)
    config = replace(config, name=name or _name_of(config))
    return _run(config, storage, allow_failed_checks)


def open_sweep(name: str, *, storage: str | None = None) -> Sweep:
    """Open a sweep, running or over.

    Raises:
        ConfigError: There is no such sweep.
    """
    find_sweep(name, storage).read()
    return Sweep(name=name, store=open_store(), storage=storage)


def resume_sweep(
    name: str, *, storage: str | None = None, allow_failed_checks: bool = False
) -> Sweep:
    """Go on with a sweep, whatever ended it.

    Raises:
        ConfigError: There is no such sweep, or it runs already.
    """
    return _run(find_sweep(name, storage).read()[0], storage, allow_failed_checks)


def _run(config: SweepConfig, storage: str | None, allow_failed_checks: bool) -> Sweep:
    from ni_platform.tuning.sweep import run_sweep

    store = open_store()
    try:
        with SweepDisplay(config) as display:
            run_sweep(
                store,
                config,
                storage=storage,
                allow_failed_checks=allow_failed_checks,
                on_event=display,
            )
    except KeyboardInterrupt:
        say(f"interrupted; resume_sweep({config.name!r}), or the same call, goes on")
        raise
    return Sweep(name=config.name, store=store, storage=storage)


def _config(
    space: Space,
    experiment: Experiment,
    data: Dataset | str | Path,
    trials: int,
    settings: dict[str, Any],
    changes: Mapping[str, Any],
) -> SweepConfig:
    config = experiment_config(experiment, changes)
    named, source = _named(space)
    settings.setdefault("objective", config.training.monitor or "loss")
    return SweepConfig(
        name="unnamed",
        space=named,
        space_source=source,
        experiment=config,
        data=open_dataset(data).folder,
        trials=trials,
        **settings,
    )


def _named(space: Space) -> tuple[str, str | None]:
    """The name of a space, and its source where it is of no file of `tune_spaces/`."""
    if isinstance(space, str):
        return space, None
    module = getattr(space, "__module__", "")
    if module.startswith(f"{SPACES}."):
        return f"{module.removeprefix(f'{SPACES}.')}.{space.__name__}", None
    return space.__name__, standalone_source(space, "space")


def _name_of(config: SweepConfig) -> str:
    """A name that says what is searched, and is another one for other settings."""
    told = to_dict(replace(config, trials=1, concurrent=None))
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    return f"{config.space}-{config.experiment.name.rpartition('.')[2]}-{digest}"
