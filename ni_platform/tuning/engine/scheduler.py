"""Which trials are hopeless: Ray Tune's ASHA, asked from outside Ray Tune."""

from __future__ import annotations

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from ni_platform.tuning.config import SweepConfig


class Scheduler:
    """ASHA (Li et al. 2020), with several brackets as Hyperband has them, or none.

    What it decides follows from the trials' numbers and values and the order in which they are
    told; what it knows afterwards does not depend on the order, so that a log can be replayed.
    """

    def __init__(self, config: SweepConfig) -> None:
        self._seed = config.seed
        self._asha: AsyncHyperBandScheduler | None = None
        if config.scheduler == "none":
            return
        self._asha = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="objective",
            mode="min" if config.lower_is_better else "max",
            # A trial ends by itself: its own config says after how many epochs.
            max_t=max(config.experiment.training.epochs, config.grace_epochs + 1),
            stop_last_trials=False,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction_factor,
            brackets=3 if config.scheduler == "hyperband" else 1,
        )

    def add(self, trial: int) -> None:
        """Take in a trial that begins, or begins again."""
        if self._asha is None:
            return
        # Ray Tune draws a trial's bracket from the global generator; here it follows from the
        # trial's number, also when it begins again.
        np.random.seed([self._seed, trial])  # noqa: NPY002
        self._asha.on_trial_add(None, _Named(trial))

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Take in the objective after an epoch, from one; whether the trial is to end there."""
        if self._asha is None:
            return False
        result = {"epoch": epoch, "objective": value}
        decision = self._asha.on_trial_result(None, _Named(trial), result)
        return bool(decision == TrialScheduler.STOP)

    def remove(self, trial: int) -> None:
        """Forget a trial that ended, but not its values."""
        if self._asha is not None:
            self._asha.on_trial_remove(None, _Named(trial))


class _Named:
    """What Ray Tune's schedulers read of a trial."""

    def __init__(self, trial: int) -> None:
        self.trial_id = str(trial)
