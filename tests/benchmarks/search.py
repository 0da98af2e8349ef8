"""What suggesting costs, and what it finds: ours beside Optuna's TPE and random search.

    python -m tests.benchmarks.search cost --trials 20000
    python -m tests.benchmarks.search quality --seeds 5 --trials 1000

Cost is processor time of one thread for asking and telling with 12 parameters and three epochs,
the sweep's log included, as a mean over 100 trials.

Quality is the best true value after the trials, on three objectives of 12 parameters, lower is
better. The margin was stated before anything was measured: on each objective, the median over
seeds of ours is not worse than that of Optuna's TPE (full history, default settings) by more than
5 % of the distance between the medians of random search and Optuna's TPE.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import BaseTrial

from ni_platform.tuning.files.trial_log import TrialLog
from ni_platform.tuning.search.samplers import load_sampler
from ni_platform.tuning.search.suggestions import Search, Space

MARGIN = 0.05


def ellipsoid(trial: BaseTrial) -> dict[str, float]:
    """Six floats, three rates and three widths in one valley: interactions, unequal scales."""
    places = [trial.suggest_float(f"x{i}", -5, 5) / 5 for i in range(6)]
    for i in range(3):
        rate = trial.suggest_float(f"rate{i}", 1e-6, 1e-1, log=True)
        places.append((np.log10(rate) + 3.5) / 2.5)
    places += [(trial.suggest_int(f"width{i}", 1, 256) - 128) / 128 for i in range(3)]
    # A fixed rotation of neighbours, so that no parameter can be chosen by itself.
    away = np.array(places) - np.linspace(-0.6, 0.6, 12)
    turned = away + 0.5 * np.roll(away, 1)
    true = float(np.sum(np.logspace(0, 1, 12) * turned**2))
    return {"true": true, "seen": true}


def modules(trial: BaseTrial) -> dict[str, float]:
    """A network whose fusion modules are on or off, each with a width and a depth of its own."""
    loss = 0.3 * (np.log10(trial.suggest_float("rate", 1e-5, 1e-1, log=True)) + 2.7) ** 2
    loss += 2 * (trial.suggest_float("dropout", 0, 0.7) - 0.25) ** 2
    loss += {"mse": 0.3, "binomial": 0.0, "pairwise": 0.15}[
        trial.suggest_categorical("loss", ["mse", "binomial", "pairwise"])
    ]
    gains = {"low": (0.9, 6.2, 2), "norm": (0.5, 7.4, 1), "attention": (1.2, 8.1, 3)}
    for name, (gain, width, depth) in gains.items():
        if trial.suggest_categorical(name, [False, True]):
            wide = np.log2(trial.suggest_int(f"{name}.width", 8, 1024, log=True))
            deep = trial.suggest_int(f"{name}.depth", 1, 5)
            # A module helps only when it is built about right, and hurts otherwise.
            loss += -gain + 0.25 * (wide - width) ** 2 + 0.2 * (deep - depth) ** 2
    # Two modules at once ask for a smaller dropout: branches interact with the trunk.
    both = float(trial.params["low"] and trial.params["attention"])
    loss += both * 3 * (trial.params["dropout"] - 0.1) ** 2
    return {"true": float(loss), "seen": float(loss)}


def training(trial: BaseTrial) -> dict[str, float]:
    """A validation loss with noise, where four of the twelve parameters decide."""
    rate = np.log10(trial.suggest_float("rate", 1e-6, 1.0, log=True))
    decay = np.log10(trial.suggest_float("decay", 1e-8, 1e-1, log=True))
    batch = np.log2(trial.suggest_int("batch", 8, 1024, log=True))
    schedule = trial.suggest_categorical("schedule", ["constant", "cosine", "linear"])
    ignored = [trial.suggest_float(f"ignored{i}", 0, 1) for i in range(5)]
    ignored += [trial.suggest_int(f"unread{i}", 1, 64) for i in range(3)]
    best_rate = -3.2 + 0.3 * (batch - 6)
    speed = np.exp(-((rate - best_rate) ** 2) / 0.5)
    floor = (
        0.2 + 0.02 * (decay + 4) ** 2 + {"constant": 0.05, "cosine": 0.0, "linear": 0.02}[schedule]
    )
    true = float(floor + 0.8 * np.exp(-3 * speed) + (0.5 if rate > best_rate + 1.5 else 0))
    noise = np.random.default_rng([trial.number, int(1e6 * ignored[0])]).normal(0, 0.02)
    return {"true": true, "seen": true + float(noise)}


OBJECTIVES = {"ellipsoid": ellipsoid, "modules": modules, "training": training}
Objective = Callable[[BaseTrial], dict[str, float]]


class Sweep:
    """A log and a search on it, asked and told as a keeper does it."""

    def __init__(self, space: Space, path: Path, sampler: str = "tpe", seed: int = 0) -> None:
        self.log = TrialLog(path, name="benchmark", lower_is_better=True)
        begun = len(self.log.study.get_trials(deepcopy=False))
        self.log.study.sampler = load_sampler(sampler)(seed, begun)
        self._search = Search(space, self.log.study)

    def ask(self) -> dict[str, float]:
        """Return what the space returned for the next trial."""
        return self._search.ask().overrides

    def tell(self, number: int, *values: float) -> None:
        """Complete a trial with so many epochs."""
        self.log.begin(number)
        for epoch, value in enumerate(values, start=1):
            metrics = {"epoch": epoch, "train_loss": value, "rmse": value, "loss": value}
            self.log.epoch(number, metrics, value, epoch)
        self.log.end(number, "complete")


def ours(objective: Objective, trials: int, seed: int, sampler: str = "tpe") -> float:
    """The best true value."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(objective, Path(folder) / "study.log", sampler, seed)
        return best_of(
            trials, ask=lambda n: sweep.ask(), tell=lambda n, _, seen: sweep.tell(n, seen)
        )


def optunas(objective: Objective, trials: int, seed: int) -> float:
    """The same with Optuna's TPE in memory."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    asked = {}

    def ask(number: int) -> dict[str, float]:
        asked[number] = study.ask()
        return objective(asked[number])

    return best_of(trials, ask, lambda n, _, seen: study.tell(asked.pop(n), seen))


def best_of(trials: int, ask, tell) -> float:
    """Run trials one after another; return the lowest true value."""
    best = np.inf
    for number in range(trials):
        values = ask(number)
        best = min(best, values["true"])
        tell(number, values, values["seen"])
    return best


SEARCHES = {
    "random": partial(ours, sampler="random"),
    "ours": ours,
    "optuna": optunas,
}


def quality(trials: int, seeds: int, searches: list[str], objectives: list[str]) -> None:
    """Print the medians, and whether the margin holds."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for objective in objectives:
        medians = {}
        for search in searches:
            start = time.process_time()
            found = [SEARCHES[search](OBJECTIVES[objective], trials, s) for s in range(seeds)]
            medians[search] = float(np.median(found))
            spent = (time.process_time() - start) / seeds
            shown = " ".join(f"{value:.4f}" for value in sorted(found))
            print(
                f"{objective:10} {search:8} {medians[search]:.4f}  [{shown}]  {spent:.0f} s",
                flush=True,
            )
        if {"random", "ours", "optuna"} <= medians.keys():
            distance = abs(medians["random"] - medians["optuna"])
            behind = medians["ours"] - medians["optuna"]
            print(
                f"{objective:10} ours behind by {behind:+.4f}, allowed {MARGIN * distance:.4f}: "
                f"{'within' if behind <= MARGIN * distance else 'OUTSIDE'} the margin",
                flush=True,
            )


def twelve(trial: BaseTrial) -> dict[str, float]:
    """Twelve parameters of every kind."""
    values = [trial.suggest_float(f"x{i}", -5, 5) for i in range(5)]
    values += [trial.suggest_float(f"rate{i}", 1e-5, 1e-1, log=True) for i in range(3)]
    values += [trial.suggest_int(f"width{i}", 1, 256) for i in range(2)]
    for i in range(2):
        trial.suggest_categorical(f"kind{i}", ["a", "b", "c"])
    return {"seen": sum(value**2 for value in values[:5])}


def cost(trials: int) -> None:
    """Print milliseconds a trial and memory as trials end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.log"
        sweep = Sweep(twelve, file)
        asking, telling = [], []
        for number in range(trials):
            started = time.process_time()
            seen = sweep.ask()["seen"]
            asked = time.process_time()
            sweep.tell(number, seen + 2, seen + 1, seen)
            asking.append(asked - started)
            telling.append(time.process_time() - asked)
            if number + 1 in {100, 300, 1_000, 2_000, 5_000, 10_000, 20_000}:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"trial {number + 1:6}: ask {1e3 * np.mean(asking[-100:]):.2f} ms, "
                    f"tell {1e3 * np.mean(telling[-100:]):.2f} ms, peak {peak:.0f} MiB",
                    flush=True,
                )
        sweep.log.close()
        print(f"file: {file.stat().st_size / trials:.0f} bytes a trial")
        started = time.process_time()
        Sweep(twelve, file)
        print(
            f"opened again in {time.process_time() - started:.1f} s, peak "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
        )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=["cost", "quality"])
    options.add_argument("--trials", type=int, default=1_000)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--searches", nargs="+", default=list(SEARCHES))
    options.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    chosen = options.parse_args()
    if chosen.what == "cost":
        cost(chosen.trials)
    else:
        quality(chosen.trials, chosen.seeds, chosen.searches, chosen.objectives)


if __name__ == "__main__":
    main()
