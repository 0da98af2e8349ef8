"""Retraining of a champion, from Python."""

from __future__ import annotations

from pathlib import Path

from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.models import Model, model_of
from ni_platform.api.progress import TrainingProgress
from ni_platform.tracking.store import open_store


def retrain(
    model: str,
    data: Dataset | str | Path | None = None,
    *,
    storage: str | None = None,
    force: str | None = None,
) -> Model:
    """Train the experiment of a model's champion on a dataset as it is now, and promote it.

    On data that have not changed nothing is trained.

    Args:
        model: Registered name.
        data: Dataset, or its folder; the champion's own if None, as it is now.
        storage: As `train` takes it.
        force: Reason to promote although a gate fails.

    Raises:
        ConfigError: The model has no champion that a run has made.
        ChecksFailedError: A data check failed.
        PromotionRefusedError: A gate failed; the new model stays challenger.
    """
    # What trains takes seconds to import.
    from ni_platform.retraining import retrain as run_again

    store = open_store()
    folder = None if data is None else open_dataset(data).folder
    with TrainingProgress() as progress:
        found = run_again(store, model, folder, storage=storage, force=force, on_event=progress)
    return model_of(store, found.promotion)
