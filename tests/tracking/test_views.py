"""How MLflow's pages open."""

import json

from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.tracking.views import experiment_page, experiment_pages, prepare_views


def test_an_experiment_has_its_kind_and_a_view(ni_home):
    """The first run of an experiment gives it both; what a team changes in the view stays."""
    store = open_store()
    record = RunRecord.start(store, "planted")
    with record:
        pass
    tags = store.client.get_experiment(record.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.ni"])
    assert view["name"] == "Compare models"
    assert "metrics.`test/pairwise_within`" in json.loads(view["state"])["selectedColumns"]
    changed = json.dumps(view | {"name": "Ours"})
    store.client.set_experiment_tag(record.experiment_id, "mlflow.sharedViewState.ni", changed)
    prepare_views(store, record.experiment_id)
    tags = store.client.get_experiment(record.experiment_id).tags
    assert json.loads(tags["mlflow.sharedViewState.ni"])["name"] == "Ours"


def test_experiments_are_linked_in_that_view(ni_home):
    """`ni ui` prints the page of each experiment that has it, and no other."""
    store = open_store()
    with RunRecord.start(store, "planted") as record:
        pass
    assert experiment_pages(store, 5001) == {"planted": experiment_page(record.experiment_id, 5001)}
    assert ":5001/#/experiments/" in experiment_page(record.experiment_id, 5001)


def test_pages_open_in_the_menu_for_model_training(ni_home, monkeypatch):
    """MLflow takes the menu from the address, on this machine and on a team's server."""
    assert experiment_page("7") == (
        "http://127.0.0.1:5000/#/experiments/7/runs"
        "?viewStateShareKey=ni&workflowType=machine_learning"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@team.example")
    assert experiment_page("7").startswith("https://team.example/#/experiments/7/")
