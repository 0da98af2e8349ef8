"""Figures of a sweep: Optuna's own, on as many of its trials as a figure can show."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.study import Study

MAX_CURVES = 20
MAX_TRIALS = 1000
MAX_PARAMETERS = 12
FEWEST_FOR_IMPORTANCES = 50
MOST_FOR_IMPORTANCES = 2000
EVALUATOR = "PED-ANOVA of Optuna: what the best tenth of the completed trials has in common"
_FEW = 20
_WORST = 0.05
"""Share of many trials that is left out, or one that diverged would squeeze all others."""


def importances(study: Study) -> dict[str, float] | None:
    """Return each parameter's share in what makes completed trials good, the largest first.

    At most 2,000 trials, drawn at random; shares add up to 1. None with fewer than 50 completed
    trials, or without parameters.
    """
    from optuna.importance import get_param_importances

    some = completed(study, MOST_FOR_IMPORTANCES)
    trials = some.get_trials(deepcopy=False)
    if len(trials) < FEWEST_FOR_IMPORTANCES or not any(trial.params for trial in trials):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental parts, and of none that a user chose
        return get_param_importances(some)


def history_figure(study: Study, objective: str) -> Figure:
    """Objective of each completed trial in the order of their numbers, and the best so far."""
    from optuna.visualization.matplotlib import plot_optimization_history

    figure = _drawn(plot_optimization_history, study, target_name=objective)
    shown = completed(study, MAX_TRIALS, without_worst=True).get_trials(deepcopy=False)
    values = [trial.value for trial in shown if trial.value is not None]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    figure.axes[0].set_ylim(low - margin, high + margin)
    return _sized(figure, 9, 4.2)


def curves_figure(study: Study, best: list[int], objective: str) -> Figure:
    """Objective after each epoch, of these trials; at most twenty."""
    from optuna.visualization.matplotlib import plot_intermediate_values

    trials = study.get_trials(deepcopy=False)
    shown = _in_memory(study, [trials[number] for number in best[:MAX_CURVES]])
    figure = _drawn(plot_intermediate_values, shown)
    (axes,) = figure.axes
    axes.set(xlabel="epoch", ylabel=objective)
    # Optuna calls them by their place in the study that it is given.
    for line, number in zip(axes.get_lines(), best):
        line.set_label(f"trial {number}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axes.locator_params(axis="x", integer=True)
    return _sized(figure, 9, 4.8)


def importances_figure(study: Study) -> Figure:
    """Share of each parameter, the largest on top."""
    from optuna.visualization.matplotlib import plot_param_importances

    figure = _drawn(plot_param_importances, completed(study, MOST_FOR_IMPORTANCES))
    bars = len(figure.axes[0].patches)
    return _sized(figure, 9, 1.2 + 0.3 * bars)


def parallel_figure(study: Study, shares: Mapping[str, float], objective: str) -> Figure:
    """A line per completed trial through its objective and its parameters."""
    from optuna.visualization.matplotlib import plot_parallel_coordinate

    shown, names = _with_parameters(study, shares)
    figure = _drawn(plot_parallel_coordinate, shown, names, target_name=objective)
    return _sized(figure, max(7.0, 1.6 * (len(names) + 1)), 5.2)


def slices_figure(study: Study, shares: Mapping[str, float], objective: str) -> Figure:
    """Objective of completed trials against each parameter."""
    from optuna.visualization.matplotlib import plot_slice

    shown, names = _with_parameters(study, shares)
    figure = _drawn(plot_slice, shown, names, target_name=objective)
    return _sized(figure, max(5.0, 2.2 * len(names)), 3.6)


def completed(study: Study, most: int, *, without_worst: bool = False) -> Study:
    """Return a study in memory of completed trials with a finite value, in their order.

    At most so many, drawn at random; of many without the worst twentieth, if that is asked for.
    """
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    trials = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.value is not None and np.isfinite(trial.value)
    ]
    if without_worst and len(trials) > _FEW:
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        losses = np.array([sign * trial.value for trial in trials if trial.value is not None])
        bound = np.quantile(losses, 1 - _WORST)
        trials = [trial for trial, loss in zip(trials, losses) if loss <= bound]
    if len(trials) > most:
        drawn = np.random.default_rng(0).choice(len(trials), most, replace=False)
        trials = [trials[place] for place in np.sort(drawn)]
    return _in_memory(study, trials)


def _with_parameters(study: Study, shares: Mapping[str, float]) -> tuple[Study, list[str]]:
    """Return the trials that are shown, and names of parameters, the most important first."""
    shown = completed(study, MAX_TRIALS, without_worst=True)
    names = dict.fromkeys(n for t in shown.get_trials(deepcopy=False) for n in t.params)
    ordered = sorted(names, key=lambda name: -shares.get(name, 0.0))
    return shown, ordered[:MAX_PARAMETERS]


def _in_memory(study: Study, trials: list[Any]) -> Study:
    import optuna

    from ni_platform.tuning.search.quiet import quiet

    with quiet():
        shown = optuna.create_study(direction=study.direction)
        shown.add_trials(trials)
    return shown


def _drawn(plot: Callable[..., Any], *arguments: Any, **options: Any) -> Figure:
    """Let Optuna draw, and keep its style and its figure to ourselves."""
    import matplotlib as mpl
    from matplotlib import pyplot

    with mpl.rc_context(), warnings.catch_warnings():
        # Of experimental parts, and of axes of parameters that have one value.
        warnings.simplefilter("ignore")
        chosen = mpl.get_backend()
        pyplot.switch_backend("agg")  # Optuna measures labels, which other backends cannot
        try:
            axes = np.ravel(plot(*arguments, **options))[0]
            figure: Figure = axes.get_figure()
            figure.set_layout_engine("none")  # what lies outside of the axes is seen when saved
            pyplot.close(figure)
        finally:
            pyplot.switch_backend(chosen)
    return figure


def _sized(figure: Figure, width: float, height: float) -> Figure:
    """Return the figure with this size in inches."""
    figure.set_size_inches(width, height)
    return figure
