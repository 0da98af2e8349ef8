"""A lane of a sweep: one process that trains trial after trial.

To Ray Tune a lane is one trial: Tune gives it its share of a machine and starts it again when its
process dies. Starting a process for every trial would cost a second each, and Tune's own account
of a trial, in a reused process, twenty-five milliseconds that grow with their number; asking the
keeper for the next one takes a few (tests/benchmarks/RESULTS.md).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ni_platform.errors import NiError, in_words
from ni_platform.training.events import StopTraining
from ni_platform.tuning.engine.keeper import Assignment, Decision, Keeper
from ni_platform.tuning.engine.keeper_actor import KeeperLostError, RemoteKeeper

_LONGEST_REASON = 2000


@dataclass(frozen=True, kw_only=True)
class TrialDone:
    """A trial that was trained to its end."""

    value: float
    """The objective at the epoch whose weights are kept."""
    predictions: np.ndarray | None
    """Success rates of the validation contents, float32 [V]."""
    save: Callable[[Path], None]
    """Writes the trained weights into a folder."""


OnEpoch = Callable[[Mapping[str, float], float, int, bool], None]
"""Told after each epoch: its metrics, the objective so far, the best epoch, whether it is the last.

May raise `TrialEnded`.
"""


class TrialEnded(StopTraining):
    """A trial is not trained any further: it was stopped, or is not this lane's any more."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision


class Train(Protocol):
    """Trains one trial."""

    def __call__(self, overrides: Mapping[str, Any], on_epoch: OnEpoch) -> TrialDone:
        """Train the sweep's experiment with these values changed."""
        ...


def run_lane(
    lane: str, keeper: Keeper | RemoteKeeper, train: Train, weights: Callable[[int], Path]
) -> None:
    """Train trials until the keeper has no more.

    Args:
        lane: name of this lane.
        keeper: what hands out trials and is told of them.
        train: trains one.
        weights: where the weights of a trial are saved, if they are among the best.

    Raises:
        KeeperLostError: The keeper does not answer.
        AcceleratorError: The GPU refuses all that this process would do next.

    """
    while (trial := keeper.next(lane)) is not None:
        _run_trial(trial, keeper, train, weights)


def _run_trial(
    trial: Assignment, keeper: Keeper | RemoteKeeper, train: Train, weights: Callable[[int], Path]
) -> None:
    number, attempt = trial.number, trial.attempt

    def on_epoch(metrics: Mapping[str, float], value: float, best_epoch: int, last: bool) -> None:
        if not np.isfinite(value):
            raise StopTraining(f"its objective became {value} in epoch {int(metrics['epoch'])}")
        decision = keeper.epoch(number, attempt, metrics, value, best_epoch)
        if decision == "drop" or (decision == "stop" and not last):
            raise TrialEnded(decision)

    try:
        done = train(trial.overrides, on_epoch)
        if keeper.wants_weights(number, done.value):
            done.save(weights(number))
    except TrialEnded as ended:
        if ended.decision == "stop":
            keeper.end(number, attempt, "pruned")
    except (KeeperLostError, torch.AcceleratorError):
        raise  # what comes next can only be trained by another process
    except Exception as error:  # noqa: BLE001  # one failed trial is not a failed sweep
        keeper.end(number, attempt, "failed", reason_of(error))
    else:
        keeper.end(number, attempt, "complete", None, done.predictions)


def reason_of(error: Exception) -> str:
    """Return why a trial failed, in words for its record."""
    if isinstance(error, NiError):
        return str(error)[:_LONGEST_REASON]
    # One that another process raised has no traceback.
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(last.filename).name}:{last.lineno})" for last in frames)
    return f"{in_words(error)}{where}"[:_LONGEST_REASON]
