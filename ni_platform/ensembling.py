"""From finished runs to an ensemble of their models: what may be mixed, and with what weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ni_platform.errors import ConfigError, TrackingError
from ni_platform.experiment_config import ExperimentConfig, of_run
from ni_platform.models.ensemble import Ensemble, EnsembleConfig, load_member
from ni_platform.models.mixing import fit_weights
from ni_platform.opened import OpenedExperiment, open_experiment
from ni_platform.registry.model_source import model_uri_of, resolve_model
from ni_platform.registry.versions import check_model_name
from ni_platform.tracking.run_queries import RunSummary, read_run, read_table_artifact
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

WEIGHTS = "ni.ensemble_weights"
"""Tag of an ensemble's run: weight by run id of its members, as JSON."""
_ONE = {"ni.dataset_fingerprint": "dataset", "ni.splits_fingerprint": "split"}
"""Tags in which all members agree, and what they tell."""


def open_ensemble(
    store: Store, run_ids: Sequence[str], name: str, data: str | None = None
) -> OpenedExperiment:
    """Open the experiment of mixing the models of finished runs, ready for `experiment.train`.

    Args:
        store: Where the runs are.
        run_ids: Two or more, which were trained on one dataset and one split.
        name: Of the registered model that is to come of it.
        data: Where the dataset is; where the first run found it if None.

    Raises:
        ConfigError: The runs cannot be mixed.
        DatasetError: The dataset cannot be read.
        TrackingError: A run is not there, did not finish or has no model, or the name is none.
    """
    check_model_name(name)
    model = EnsembleConfig(members=tuple(run_ids))
    first, place = of_run(store, run_ids[0])
    if data is None and place is None:
        raise ConfigError(f"Run {run_ids[0]} does not tell its dataset: name it with --data DIR.")
    config = ExperimentConfig(
        name=f"ensemble.{name}",
        model=model,
        splits=first.splits,
        evaluation=first.evaluation,
        min_impressions=first.min_impressions,
        train_share=first.train_share,
    )
    experiment = open_experiment(config, str(data or place))
    _members(store, model, experiment.tags())
    return experiment


def fit_ensemble(experiment: OpenedExperiment, record: RunRecord) -> Ensemble:
    """Mix the models of an opened ensemble by what they predicted for the validation part.

    The run gets the weights as a tag, and beside the members' names as `tables/members.csv`.

    Raises:
        As `open_ensemble`.
    """
    config, store = experiment.config.model, record.store
    if not isinstance(config, EnsembleConfig):
        raise ConfigError(f"{experiment.config.name} is no ensemble: use `ni ensemble`.")
    members = _members(store, config, experiment.tags())
    outcomes = members[0].validation
    weights = fit_weights(
        [member.validation["prediction"].to_numpy(np.float64) for member in members],
        outcomes["clicks"].to_numpy(np.float64),
        outcomes["impressions"].to_numpy(np.float64),
        outcomes["ab_test"].to_numpy(object),
    )
    by_run = dict(zip(config.members, weights.tolist()))
    record.set_tags({WEIGHTS: json.dumps(by_run)})
    names = [member.run.run_name for member in members]
    table = pd.DataFrame({"run_id": list(by_run), "run_name": names, "weight": weights})
    record.log_table(table, "tables/members.csv")
    kept = {run: weight for run, weight in by_run.items() if weight > 0}
    return Ensemble({run: load_member(resolve_model(store, run)) for run in kept}, kept)


def read_weights(store: Store, run_id: str) -> dict[str, float]:
    """Return the weights of an ensemble's members by their run ids; 0 for one that is left out."""
    weights: dict[str, float] = json.loads(read_run(store, run_id).tags[WEIGHTS])
    return weights


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A run whose model may be a member."""

    run: RunSummary
    validation: pd.DataFrame
    """Its predictions of the validation part, by content_id."""


def _members(store: Store, config: EnsembleConfig, tags: Mapping[str, str]) -> list[_Trained]:
    """Read the runs; their validation predictions are in one order.

    Raises:
        ConfigError: One was trained otherwise than `tags` of the ensemble say.
        TrackingError: One is not there, or lacks something.
    """
    found: list[_Trained] = []
    for run_id in config.members:
        run = read_run(store, run_id)
        label = f"{run_id} ({run.run_name})"
        if run.status != "FINISHED":
            raise TrackingError(
                f"Run {label} is {run.status}, and an ensemble mixes FINISHED runs: resume it with "
                "`ni train --resume`, or leave it out."
            )
        model_uri_of(store, run_id)
        _require_mixable(label, of_run(store, run_id)[0])
        for tag, what in _ONE.items():
            if run.tags.get(tag) != tags[tag]:
                raise ConfigError(
                    f"Members of an ensemble share one dataset and one split, but the {what} of "
                    f"run {label} is {str(run.tags.get(tag))[:12]} and not {tags[tag][:12]}, as "
                    f"that of the first run on {tags['ni.dataset']}: train it again on that, with "
                    "the first run's settings of splits, min_impressions and train_share, or leave "
                    "it out."
                )
        table = read_table_artifact(store, run_id, "predictions/validation.parquet")
        found.append(_Trained(run=run, validation=table.set_index("content_id").sort_index()))
        if not found[-1].validation.index.equals(found[0].validation.index):
            raise ConfigError(
                f"Run {label} predicted other validation contents than run {config.members[0]}: "
                "train it again, or leave it out."
            )
    return found


def _require_mixable(label: str, config: ExperimentConfig) -> None:
    """Raise ConfigError for a run that itself is an ensemble, or learned from validation rows."""
    if isinstance(config.model, EnsembleConfig):
        raise ConfigError(f"Run {label} is an ensemble itself: name its members instead.")
    if config.train_on_validation:
        raise ConfigError(
            f"Run {label} was trained on its validation part as well (train_on_validation), so "
            "nothing is left to fit its weight on: name a run that was not, or train one with "
            f"`ni train --from-run {label.split()[0]} --set train_on_validation=false`."
        )
