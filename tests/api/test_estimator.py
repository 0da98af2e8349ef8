"""scikit-learn's own checks of an estimator, and what they do not ask."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import ni_platform as ni
from ni_platform.tracking.run_queries import read_run
from ni_platform.tracking.store import open_store
from tests.api.tables import HEADLINES

NOT_APPLYING = {
    "check_sample_weight_equivalence_on_dense_data": "impressions are the precision of a rate, not "
    "a number of rows: a content that stands there twice is two contents, which may be held out "
    "apart when the penalty is chosen, and whose noise beyond the clicks counts twice",
}


@pytest.fixture(autouse=True)
def store(ni_home) -> None:
    """Each fit is a run."""


@parametrize_with_checks(
    [ni.SuccessRateRegressor(bounds=None)],
    expected_failed_checks=lambda estimator: NOT_APPLYING,
)
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    """Those that fail are expected to, for a reason."""
    check(estimator)


def test_it_predicts_rates_of_a_table_with_texts():
    """Cross-validated by A/B test, in scikit-learn's way."""
    X = HEADLINES[["headline", "device", "test_id"]]
    y = HEADLINES["clicked"] / HEADLINES["shown"]
    model = ni.SuccessRateRegressor(text=["headline"], ab_test="test_id")
    scores = cross_val_score(model, X, y, groups=X["test_id"], cv=GroupKFold(3))
    assert scores.min() > 0.5
    fitted = clone(model).fit(X, y, sample_weight=HEADLINES["shown"])
    assert fitted.feature_names_in_.tolist() == ["headline", "device", "test_id"]
    run = read_run(open_store(), fitted.run_id_)
    assert run.status == "FINISHED"
    assert run.tags["ni.experiment"] == "baselines.glm"
    assert fitted.predict(X).shape == (len(X),)


def test_rates_outside_of_their_bounds_are_told():
    """With what to set."""
    X, y = np.arange(6.0)[:, None], np.arange(6.0)
    with pytest.raises(ValueError, match="but goes from 0 to 5: give rates"):
        ni.SuccessRateRegressor().fit(X, y)
    predicted = ni.SuccessRateRegressor(bounds=(0, 10)).fit(X, y).predict(X)
    assert predicted.min() > -1
    assert np.all(np.diff(predicted) > 0)


@pytest.mark.usefixtures("two_cpus")
def test_a_network_is_fitted_and_can_be_pickled():
    """With the epochs that its experiment says, on all rows."""
    import pickle

    X = HEADLINES[["headline"]]
    y = HEADLINES["clicked"] / HEADLINES["shown"]
    changes = {"training": {"epochs": 2}, "pretraining": {"text": None}}
    model = ni.SuccessRateRegressor(
        "neural_insights.quickstart", text=["headline"], changes=changes
    ).fit(X, y, sample_weight=HEADLINES["shown"])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert pd.Series(model.predict(X)).between(0, 1).all()
