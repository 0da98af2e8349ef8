"""What a sweep's bookkeeping costs per trial, beside Ray Tune's and Optuna's own.

The objective needs no time: 12 parameters are drawn, three epochs are reported. Each way runs in
a process of its own, on two lanes, writing to an MLflow store of its own (SQLite, as on a laptop):

- ours: lanes, keeper, Optuna study and MLflow records, as `ni sweep run`;
- tune-random: Ray Tune with random search, reused actors, and no logging: what the aim refers to;
- tune-optuna: Ray Tune with OptunaSearch and MLflowLoggerCallback, as their manuals combine them;
- optuna-mlflow: a loop over Optuna's ask and tell with MLflow's calls, in one process.

    python -m tests.benchmarks.sweep ours 1000
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARAMETERS = tuple(f"p{n}" for n in range(12))
EPOCHS = 3
LANES = 2


def quality(parameters: dict[str, float]) -> float:
    """A bowl: the mean squared distance from (0.3, ..., 0.3)."""
    return sum((parameters[name] - 0.3) ** 2 for name in PARAMETERS) / len(PARAMETERS)


def space(trial: Any) -> dict[str, Any]:
    """The space of all ways."""
    return {f"training.{name}": trial.suggest_float(name, 0.0, 1.0) for name in PARAMETERS}


def write_space(folder: Path) -> None:
    """Make the space one of a user's project."""
    (folder / "tune_spaces").mkdir()
    (folder / "tune_spaces/bench.py").write_text(
        "from tests.benchmarks.sweep import space as _space\n\n\n"
        "def space(trial):\n    return _space(trial)\n"
    )


class Toy:
    """A trial that reports three epochs at once."""

    def __call__(self, overrides: dict[str, Any], on_epoch: Any) -> Any:
        from ni_platform.tuning.engine.lane import TrialDone

        value = quality({path.removeprefix("training."): v for path, v in overrides.items()})
        for epoch in range(1, EPOCHS + 1):
            now = value + (EPOCHS - epoch) * 0.1
            metrics = {"epoch": float(epoch), "rmse": now, "loss": now, "train_loss": now}
            on_epoch(metrics, now, epoch, epoch == EPOCHS)
        return TrialDone(value=value, predictions=None, save=lambda folder: None)


class Clock:
    """Prints what trials cost by their number, and the driver's memory."""

    def __init__(self, way: str) -> None:
        self.way, self.then, self.done = way, time.perf_counter(), 0

    def __call__(self, done: int, memory: float | None = None) -> None:
        now = time.perf_counter()
        if done > self.done:
            each = (now - self.then) / (done - self.done) * 1e3
            held = f"{memory or resident():7.1f} MiB"
            print(
                f"{self.way:14} {self.done:6}-{done:6}  {each:7.2f} ms a trial  {held}", flush=True
            )
        self.then, self.done = now, done


def resident(pid: int | None = None) -> float:
    """MiB that a process holds."""
    pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def marks(trials: int) -> list[int]:
    """Where the clock is read: windows of 500 trials that end at round numbers, and the rest."""
    edges = {100, 600, 1000, 1500, 4500, 5000, 9500, 10_000, 19_500, 20_000, trials}
    return sorted(edge for edge in edges if edge <= trials)


def ours(trials: int, folder: Path) -> None:
    """As `ni sweep run`, without a dataset."""
    import ray

    from ni_platform.experiment_config import load_experiment
    from ni_platform.ray_cluster import start_ray
    from ni_platform.tracking.run_queries import leaderboard
    from ni_platform.tracking.run_record import RunRecord
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.config import SweepConfig, SweepFolder
    from ni_platform.tuning.engine.keeper_actor import start_keeper
    from ni_platform.tuning.engine.lanes import Lanes

    config = SweepConfig(
        name="bench",
        space="bench.space",
        experiment=load_experiment("neural_insights.quickstart"),
        data="none",
        trials=trials,
        objective="rmse",
        scheduler=os.environ.get("SCHEDULER", "asha"),  # type: ignore[arg-type]
        grace_epochs=10,
    )
    write_space(folder)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    start_ray(LANES)
    clock, edges = Clock("ours"), marks(trials)
    store = open_store()
    with RunRecord.start(store, "bench", run_name="bench") as record:
        sweep = SweepFolder.named("bench", folder)
        sweep.create(config, record.run_id)
        keeper = start_keeper(config, sweep, record.run_id, store.uri)
        pid = ray.get(keeper.pid.remote())
        lanes = Lanes(config, sweep, keeper, lambda config: Toy(), LANES, folder / "scratch")
        lanes.start()
        while not lanes.wait(0.02):
            ended = ray.get(keeper.progress.remote()).ended
            if edges and ended >= edges[0]:
                clock(ended, resident(pid))
                edges.pop(0)
        then = time.perf_counter()
        ray.get(keeper.finish.remote(600))
        print(f"ours           MLflow was {time.perf_counter() - then:.1f} s behind at the end")
        then = time.perf_counter()
        best = leaderboard(store, record.run_id, "validation/rmse", lower_is_better=True, limit=20)
        print(f"ours           leaderboard of {len(best)}: {time.perf_counter() - then:.2f} s")


def tune_way(trials: int, folder: Path, optuna: bool) -> None:
    """Ray Tune as it comes."""
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray
    from ray import tune

    ray.init(
        num_cpus=LANES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )

    def train(config: dict[str, float]) -> None:
        value = quality(config)
        for epoch in range(1, EPOCHS + 1):
            now = value + (EPOCHS - epoch) * 0.1
            tune.report({"epoch": epoch, "rmse": now, "loss": now, "train_loss": now})

    clock, edges = Clock("tune-optuna" if optuna else "tune-random"), marks(trials)

    class Count(tune.Callback):
        ended = 0

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self.ended += 1
            if edges and self.ended >= edges[0]:
                clock(self.ended)
                edges.pop(0)

    callbacks: list[Any] = [Count()]
    search: Any = None
    space_of_tune: dict[str, Any] = {name: tune.uniform(0, 1) for name in PARAMETERS}
    if optuna:
        from ray.air.integrations.mlflow import MLflowLoggerCallback
        from ray.tune.search.optuna import OptunaSearch

        uri = f"sqlite:///{folder}/mlflow.db"
        callbacks.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name="bench"))
        search = OptunaSearch(metric="rmse", mode="min", seed=0)
    tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space_of_tune,
        tune_config=tune.TuneConfig(
            metric="rmse", mode="min", num_samples=trials, reuse_actors=True, search_alg=search,
            max_concurrent_trials=LANES if optuna else None,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=callbacks),
    ).fit()  # fmt: skip


def optuna_mlflow(trials: int, folder: Path) -> None:
    """Optuna and MLflow, each by its own manual."""
    import mlflow
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("bench")
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.TPESampler(seed=0)
    )
    clock, edges = Clock("optuna-mlflow"), marks(trials)
    for number in range(trials):
        trial = study.ask()
        space(trial)
        with mlflow.start_run():
            mlflow.log_params(trial.params)
            value = quality(trial.params)
            for epoch in range(1, EPOCHS + 1):
                now = value + (EPOCHS - epoch) * 0.1
                metrics = {"epoch": epoch, "rmse": now, "loss": now, "train_loss": now}
                mlflow.log_metrics(metrics, step=epoch)
                trial.report(now, epoch)
        study.tell(trial, value)
        if edges and number + 1 >= edges[0]:
            clock(number + 1)
            edges.pop(0)


def main(way: str, trials: int) -> None:
    """Run one way."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        folder = Path(scratch)
        os.environ["NI_HOME"] = str(folder / "ni")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if way == "ours":
            ours(trials, folder)
        elif way == "optuna-mlflow":
            optuna_mlflow(trials, folder)
        else:
            tune_way(trials, folder, optuna=way == "tune-optuna")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
