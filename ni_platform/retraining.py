"""The champion's experiment trained again on a dataset as it is now, and through the gates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ni_platform.errors import ConfigError
from ni_platform.evaluation import FinishedRun
from ni_platform.experiment import train
from ni_platform.experiment_config import of_run
from ni_platform.fitting import OnEvent
from ni_platform.narrowing import given
from ni_platform.opened import open_experiment
from ni_platform.registry.gates_config import gates_in_use
from ni_platform.registry.promotion import PromotionReport, promote
from ni_platform.registry.versions import Version, champion
from ni_platform.tracking.run_queries import RunSummary, finished_run, read_run
from ni_platform.tracking.store import Store
from ni_platform.training.worker_count import Workers

RETRAINED = "ni.retrained"
"""Tag of a run: the run of the champion whose experiment it trained again."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What a retraining made of a champion."""

    champion: Version
    """That was trained again."""
    run: FinishedRun | None
    """None where the very same data had been trained on before."""
    promotion: PromotionReport
    run_id: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "champion": self.champion.version,
            "run_id": self.run_id,
            "trained": self.run is not None,
            "promotion": self.promotion.to_json(),
        }


def retrain(
    store: Store,
    name: str,
    data: str | Path | None = None,
    *,
    storage: str | None = None,
    workers: Workers | None = None,
    force: str | None = None,
    on_event: OnEvent = lambda event: None,
) -> Retraining:
    """Train the experiment of a model's champion on a dataset as it is now, and promote the model.

    The split keeps contents where they were, but for a few at its borders, so that the gates
    compare both models on contents that neither learned from. A dataset that was trained on so
    before is not trained on again: that run goes through the gates once more, so that a timer may
    call this daily.

    Args:
        store: Where runs and models are.
        name: Registered model, or `models:/NAME@champion`.
        data: Dataset folder; the one that the champion was trained on if None, as it is now.
        storage: As `train` takes it.
        workers: As `train` takes them.
        force: Reason to promote although a gate fails.
        on_event: Told what happens.

    Raises:
        ConfigError: The model has no champion, or none that says how it was trained, or
            `gates.yaml` cannot be used.
        ChecksFailedError: A data check failed.
    """
    gates_in_use()  # one that cannot be read is better told of before hours of training
    name = name.removeprefix("models:/").removesuffix("@champion")
    reigning = champion(store, name)
    if reigning is None or reigning.run_id is None:
        raise ConfigError(
            f"A retraining repeats the champion's experiment, but {name} has no champion that a "
            "run has made: `ni promote` one."
        )
    config, place = of_run(store, reigning.run_id)
    data = data or place
    if data is None:
        raise ConfigError(
            f"run {reigning.run_id} does not say which dataset it used: name it with --data DIR"
        )
    experiment = open_experiment(config, str(data))
    fingerprint = experiment.dataset.fingerprint()
    again = {RETRAINED: reigning.run_id}
    done: RunSummary | None = read_run(store, reigning.run_id)
    if done is not None and done.tags.get("ni.dataset_fingerprint") != fingerprint:
        done = finished_run(store, {**again, "ni.dataset_fingerprint": fingerprint})
    run = None
    if done is None:
        run = train(
            store, experiment, storage=storage, workers=workers, tags=again, on_event=on_event
        )
    run_id = given(run).run_id if done is None else done.run_id
    report = promote(store, run_id, name, force=force, on_event=on_event)
    return Retraining(champion=reigning, run=run, promotion=report, run_id=run_id)
