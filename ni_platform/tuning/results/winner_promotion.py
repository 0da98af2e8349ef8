"""Promotion of a sweep's winner: trained again with the validation part, judged once on test."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ni_platform.claims import claimed
from ni_platform.data.dataset import Dataset
from ni_platform.errors import ConfigError
from ni_platform.experiment import train
from ni_platform.fitting import OnEvent
from ni_platform.metrics.best_of import BestOfMany
from ni_platform.metrics.catalogue import lower_is_better
from ni_platform.metrics.evaluation import estimate_in
from ni_platform.metrics.intervals import Estimate
from ni_platform.opened import open_experiment
from ni_platform.registry.gates_config import gates_in_use
from ni_platform.registry.promotion import PromotionReport, promote
from ni_platform.tracking.metric_table import read_metrics
from ni_platform.tracking.run_claim import interrupted_run
from ni_platform.tracking.run_queries import finished_run, read_run
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.state import state_folder
from ni_platform.tracking.store import Store
from ni_platform.training.worker_count import Workers
from ni_platform.tuning.engine.exchanged_weights import fetch_encoders
from ni_platform.tuning.files.mirrored_folder import send
from ni_platform.tuning.results.finding import find_sweep
from ni_platform.tuning.results.winner import Winner, estimated_optimism, optimism_to_json

FILE_NAME = "promotion.json"
"""In the folder of the sweep, and in the run of the winner."""


@dataclass(frozen=True, kw_only=True)
class WinnerPromotion:
    """A winner that was trained again, what it promised, what it kept, and what the gates said."""

    winner: Winner
    run_id: str
    reused: bool
    """Whether this winner had been trained again and judged before."""
    test: Estimate
    """`winner.metric` on the test part."""
    in_domain: Estimate | None
    """The same on test contents of known domains, as validation contents are; None where that is
    the whole test part."""
    optimism: BestOfMany | str
    """Estimate, or why there is none."""
    gates: PromotionReport

    @property
    def shortfall(self) -> float:
        """How much worse the metric is on test than it was on validation."""
        sign = 1 if lower_is_better(self.winner.metric) else -1
        return sign * (self.test.value - self.winner.validation)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        winner = self.winner
        return {
            "sweep": winner.sweep.name,
            "sweep_run": winner.run_id,
            "trial": winner.trial.number,
            "rank": winner.rank,
            "trials": winner.trials,
            "run_id": self.run_id,
            "reused": self.reused,
            "objective": winner.sweep.objective,
            "objective_on_validation": winner.trial.value,
            "metric": winner.metric,
            "validation": winner.validation,
            "test": asdict(self.test),
            "in_domain": None if self.in_domain is None else asdict(self.in_domain),
            "shortfall": self.shortfall,
            "optimism": optimism_to_json(self.optimism),
            "parameters": winner.trial.parameters,
            "promotion": self.gates.to_json(),
        }


def promote_winner(
    store: Store,
    name: str,
    model: str,
    *,
    trial: int | None = None,
    storage: str | Path | None = None,
    workers: Workers | None = None,
    force: str | None = None,
    allow_failed_checks: bool = False,
    on_event: OnEvent = lambda event: None,
) -> WinnerPromotion:
    """Train a sweep's winner on train and validation rows, judge it on test, and promote it.

    The winner is the best trial on validation. A winner that was trained again before is not
    trained and judged a second time: its run goes through the gates once more. An interrupted
    retraining goes on. The run gets the artifact `promotion.json`, tags `ni.sweep`,
    `ni.sweep_run` and `ni.sweep_trial`, and metrics `sweep/validation`, `sweep/shortfall`,
    `sweep/optimism` and `sweep/trials`.

    Args:
        store: Where runs and models are.
        name: The sweep.
        model: Registered model.
        trial: Number of another trial to promote.
        storage: Where sweeps are kept; as `find_sweep` takes it.
        workers: As `train` takes them.
        force: Reason to promote although a gate fails.
        allow_failed_checks: As `train` takes it.
        on_event: Told what happens.

    Raises:
        ConfigError: There is no such sweep or trial, the dataset is another one now, or
            `gates.yaml` cannot be used.
        BusyError: Another process trains or promotes a winner of this sweep.

    """
    gates_in_use()  # one that cannot be read is better told of before hours of training
    winner = Winner.of(find_sweep(name, storage), trial)
    claim = state_folder() / "locks" / f"winner-{winner.run_id}.lock"
    with claimed(claim, f"The winner of sweep {name}"):
        return _promote(store, winner, model, workers, force, allow_failed_checks, on_event)


def _promote(
    store: Store,
    winner: Winner,
    model: str,
    workers: Workers | None,
    force: str | None,
    allow_failed_checks: bool,
    on_event: OnEvent,
) -> WinnerPromotion:
    """Do all that only one process may do with a sweep's winner at a time."""
    fetch_encoders(winner.folder)
    dataset = Dataset.open(winner.sweep.data)
    _require_same_data(store, winner, dataset)
    tags = {
        "ni.sweep": winner.sweep.name,
        "ni.sweep_run": winner.run_id,
        "ni.sweep_trial": str(winner.trial.number),
    }
    of_winner = tags | {"ni.level": "run"}
    finished = finished_run(store, of_winner)
    if finished is not None:
        run_id = finished.run_id
        on_event(f"trial {winner.trial.number} was trained again before: run {run_id}")
    else:
        on_event(f"training trial {winner.trial.number} again, with the validation part")
        run_id = train(
            store,
            open_experiment(winner.retrained(), dataset),
            workers=workers,
            name=f"{winner.sweep.name}, winner {winner.trial.number}",
            parent=winner.run_id,
            tags=tags,
            resume=interrupted_run(store, of_winner),
            allow_failed_checks=allow_failed_checks,
            on_event=on_event,
        ).run_id
    on_event("estimating how lucky the best trial was")
    optimism = estimated_optimism(winner, dataset)
    gates = promote(store, run_id, model, force=force, on_event=on_event)
    figures = read_metrics(store, run_id)
    test = estimate_in(figures, f"test/{winner.metric}")
    if test is None:
        raise ConfigError(
            f"the winner is compared by {winner.metric}, but it is not defined on the test part of "
            f"{winner.sweep.data}; see run {run_id}, which `ni promote` can promote"
        )
    promotion = WinnerPromotion(
        winner=winner,
        run_id=run_id,
        reused=finished is not None,
        test=test,
        in_domain=estimate_in(figures, f"in_domain/{winner.metric}"),
        optimism=optimism,
        gates=gates,
    )
    _record(store, promotion)
    return promotion


def _require_same_data(store: Store, winner: Winner, dataset: Dataset) -> None:
    """Refuse data on which the validation part may be another one."""
    then = read_run(store, winner.run_id).tags.get("ni.dataset_fingerprint")
    if then is not None and then != dataset.fingerprint():
        raise ConfigError(
            f"a winner is trained again on the data that it was chosen on, but {dataset.root} has "
            f"changed since sweep {winner.sweep.name}; restore it, or start a new sweep"
        )


def _record(store: Store, promotion: WinnerPromotion) -> None:
    winner, content = promotion.winner, promotion.to_json()
    record = RunRecord.existing(store, promotion.run_id)
    figures = {
        "sweep/trials": winner.trials,
        "sweep/validation": winner.validation,
        "sweep/shortfall": promotion.shortfall,
    }
    if isinstance(promotion.optimism, BestOfMany):
        figures["sweep/optimism"] = promotion.optimism.optimism
    record.log_metrics(figures)
    record.log_json(content, FILE_NAME)
    path = winner.folder.path / FILE_NAME
    path.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    send(winner.folder, path)
