"""Rivals on handcrafted features: one contract for all, and what each must find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ni_platform.data.importers.table import import_table
from ni_platform.errors import ConfigError
from ni_platform.models.baselines.estimators import EstimatorName
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from ni_platform.models.regressor import load_regressor
from tests.models.test_glm import planted

ESTIMATORS = get_args(EstimatorName)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Planted contents, and their true rates."""
    return planted(tmp_path_factory.mktemp("planted") / "data", contents=900)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_contract(data, estimator, tmp_path: Path):
    """Fitted on training rows it ranks unseen ones, and a saved copy predicts the same."""
    dataset, rate = data
    config = TabularConfig(estimator=estimator)
    model = TabularRegressor.fit(config, dataset, np.arange(600))
    frame = dataset.inputs(np.arange(600, 900))
    done: list[int] = []
    predicted = model.predict(frame, progress=done.append)

    assert sum(done) == 300
    assert predicted.dtype == np.float64
    assert ((predicted > 0) & (predicted < 1)).all()
    assert pd.Series(predicted).corr(pd.Series(rate[600:]), method="spearman") > 0.7

    model.save(tmp_path / "model")
    loaded = load_regressor(tmp_path / "model")
    assert isinstance(loaded, TabularRegressor)
    assert (loaded.config, loaded.features) == (config, model.features)
    np.testing.assert_allclose(loaded.predict(frame), predicted, rtol=1e-6)
    assert not [p for p in (tmp_path / "model").iterdir() if p.suffix in (".pkl", ".bin", ".pt")]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_missing_cells_and_unknown_levels(data, estimator):
    """Null cells, blank texts and levels never seen still get a rate."""
    dataset, _ = data
    model = TabularRegressor.fit(TabularConfig(estimator=estimator), dataset, np.arange(100))
    frame = dataset.inputs(np.arange(3))
    frame.loc[0, ["title", "day", "place"]] = None
    frame.loc[1, "day"] = "never"
    frame.loc[2, "price"] = np.nan
    assert np.isfinite(model.predict(frame)).all()
    assert len(model.predict(frame.iloc[:0])) == 0


def test_modalities_that_are_not_read_do_not_matter(data):
    """Without texts and domain, only the attributes change a prediction."""
    dataset, _ = data
    config = TabularConfig(estimator="xgboost", text=None, domain=None)
    model = TabularRegressor.fit(config, dataset, np.arange(600))
    frame = dataset.inputs(np.arange(2)).assign(day="mon", price=20.0)
    assert model.roles == {"day": "categorical", "price": "numeric"}
    assert np.ptp(model.predict(frame)) == 0
    assert np.ptp(model.predict(frame.assign(day=["mon", "sun"]))) > 0


def test_a_regressor_of_format_2(data, tmp_path):
    """Its features were told by a flat schema, in which the domain is a category."""
    dataset, _ = data
    model = TabularRegressor.fit(TabularConfig(), dataset, np.arange(600))
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "regressor.json"
    description = json.loads(path.read_text())
    del description["columns"]
    features = description["features"]
    text = features.pop("text")
    del features["domain"]
    features["schema"] = {"image": None, "text": text, "domain": None, **features.pop("attributes")}
    path.write_text(json.dumps(description | {"format": 2, "schema": features["schema"]}))
    loaded = TabularRegressor.load(tmp_path / "model")
    frame = dataset.inputs()
    assert set(loaded.roles) == set(model.roles)
    assert np.array_equal(loaded.predict(frame), model.predict(frame))


def test_linear_regression_is_weighted_least_squares(data):
    """Statsmodels' weighted least squares on the same features gives the same rates."""
    dataset, _ = data
    rows = np.arange(600)
    config = TabularConfig(estimator="linear", text=None)
    model = TabularRegressor.fit(config, dataset, rows)
    features = sm.add_constant(model.features.transform(dataset.inputs(rows)).toarray())
    rate, shown = dataset.success_rate[rows], dataset.impressions[rows]
    mean = rate.mean()
    excess = ((rate - mean) ** 2).mean() / (mean * (1 - mean)) - (1 / shown).mean()
    fitted = sm.WLS(rate, features, weights=1 / (1 / shown + max(0, excess))).fit()
    np.testing.assert_allclose(model.predict(dataset.inputs(rows)), fitted.fittedvalues, rtol=1e-6)


def test_a_foreign_type_in_the_file_is_refused(data, tmp_path: Path):
    """A saved estimator that holds a type which could run code does not load."""
    import skops.io

    dataset, _ = data
    TabularRegressor.fit(TabularConfig(), dataset, np.arange(50)).save(tmp_path / "model")
    skops.io.dump(Path("harmful"), tmp_path / "model" / "estimator.skops")
    with pytest.raises(ConfigError, match=r"does not load.*Path"):
        load_regressor(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "regressor.json").read_text())
    del description["features"]
    (tmp_path / "model" / "regressor.json").write_text(json.dumps(description))
    with pytest.raises(ConfigError, match="damaged"):
        load_regressor(tmp_path / "model")


def test_a_measure_that_never_varied_says_nothing(tmp_path: Path):
    """One word in five is a name in all texts: a text with another share is no reason for 1e-9.

    The spread of equal numbers is rounding, by which nothing may be divided.
    """
    words = ["Anna", "Berta", "Clara"]
    frame = pd.DataFrame({"id": range(120), "shown": 100, "clicks": 10})
    frame["title"] = [f"{words[row % 3]} likes to eat apples" for row in range(120)]
    frame["clicks"] += frame.index % 3
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    columns = {"content_id": "id", "impressions": "shown", "clicks": "clicks"}
    dataset = import_table(path, tmp_path / "d", text=["title"], **columns)
    model = TabularRegressor.fit(TabularConfig(), dataset, np.arange(120))
    found = model.predict(pd.DataFrame({"title": ["Anna likes Berta", "nobody eats"]}))
    assert ((found > 0.01) & (found < 0.5)).all()
