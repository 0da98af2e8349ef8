"""How MLflow's pages open: the view for model training, and a saved view with chosen columns.

MLflow keeps what a team saves of a page as tags of its experiment: a view's name, times and
state, which is the JSON of its columns, order and filter (`mlflow.sharedViewState.ID`). Which of
its two menus it shows it takes from the address.
"""

from __future__ import annotations

import json
from urllib.parse import quote

from ni_platform.tracking.address import LOCAL_PORT, page
from ni_platform.tracking.store import Store

_VIEW = "ni"
_TAG = f"mlflow.sharedViewState.{_VIEW}"
_KIND, _TRAINING = "mlflow.experimentKind", "custom_model_development"
_COLUMNS = (
    "attributes.`Dataset`",
    "params.`experiment`",
    "metrics.`test/pairwise_within`",
    "metrics.`test/ceiling_within`",
    "metrics.`test/pairwise_significant`",
    "metrics.`test/pairwise_accuracy`",
    "metrics.`test/spearman`",
    "metrics.`test/rmse`",
    "metrics.`test/calibration_slope`",
    "attributes.`Models`",
)
_WIDTH = 190
"""Pixels: MLflow's own width cuts the names of metrics."""
_VERSION = 1
"""Of the view: an experiment that has an earlier one gets it anew, else it stays as it is."""


def prepare_views(store: Store, experiment_id: str) -> None:
    """Give an MLflow experiment its kind and the view "Compare models", once.

    Raises:
        TrackingError: The store does not answer.
    """
    with store.errors(f"prepare the pages of MLflow's experiment {experiment_id}"):
        tags = store.client.get_experiment(experiment_id).tags
        known = json.loads(tags.get(_TAG, "{}"))
        if known.get("createdAt", 0) >= _VERSION:
            return
        if _KIND not in tags:
            store.client.set_experiment_tag(experiment_id, _KIND, _TRAINING)
        state = {
            "orderByKey": "attributes.start_time",
            "orderByAsc": False,
            "lifecycleFilter": "Active",
            "selectedColumns": list(_COLUMNS),
            "columnOrder": list(_COLUMNS),
            "columnWidths": dict.fromkeys(_COLUMNS, _WIDTH),
        }
        view = {
            "name": "Compare models",
            "createdAt": _VERSION,
            "updatedAt": _VERSION,
            "state": json.dumps(state),
        }
        store.client.set_experiment_tag(experiment_id, _TAG, json.dumps(view))


def experiment_page(experiment_id: str, port: int = LOCAL_PORT) -> str:
    """Return the address of an experiment's runs, in the view that `prepare_views` saved."""
    return page(f"experiments/{quote(experiment_id)}/runs", port=port, viewStateShareKey=_VIEW)


def experiment_pages(store: Store, port: int = LOCAL_PORT) -> dict[str, str]:
    """Return the pages of the experiments that have the view, by their names, the newest first.

    Raises:
        TrackingError: The store does not answer.
    """
    with store.errors("list the experiments"):
        found = store.client.search_experiments(order_by=["last_update_time DESC"])
    return {
        each.name: experiment_page(each.experiment_id, port) for each in found if _TAG in each.tags
    }


def comparison_page(run_ids: list[str], experiment_ids: list[str]) -> str:
    """Return the address of MLflow's comparison of some runs."""
    runs, experiments = (
        json.dumps(ids, separators=(",", ":")) for ids in (run_ids, experiment_ids)
    )
    return page("compare-runs", runs=runs, experiments=experiments)
