"""The generalized linear model that NI Table 1 compares with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError
from ni_platform.models.baselines.tabular import TabularConfig, TabularRegressor
from tests.models.conftest import make_dataset


def glm(dataset: Dataset, rows: np.ndarray) -> TabularRegressor:
    """The GLM with all that the dataset has."""
    return TabularRegressor.fit(TabularConfig(estimator="glm"), dataset, rows)


EFFECTS = {"free": 0.8, "shoes": -0.5, "today": 0.3, "why": -0.7}


def planted(root: Path, contents: int = 600) -> tuple[Dataset, np.ndarray]:
    """Rates that follow known effects of words, a level, a domain and a number."""
    rng = np.random.default_rng(0)
    has_word = rng.random((contents, len(EFFECTS))) < 0.5
    day, place = rng.choice(["mon", "sun"], contents), rng.choice(["home", "cart"], contents)
    price = rng.normal(20, 5, contents)
    logit = -3 + has_word @ list(EFFECTS.values())
    logit += 0.6 * (day == "sun") - 0.4 * (place == "cart") + 0.05 * (price - 20)
    rate = expit(logit)
    frame = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(contents)],
            "title": [" ".join(np.array(list(EFFECTS))[row]) + " now" for row in has_word],
            "day": day,
            "place": place,
            "price": price,
            "shown": 5000,
            "clicks": rng.binomial(5000, rate),
        }
    )
    columns = Columns(
        content_id="id", text=("title",), categorical=("day",), numeric=("price",), domain="place"
    )
    target = Target(impressions="shown", clicks="clicks")
    return write_dataset(root, Manifest(name="p", columns=columns, target=target), frame), rate


def test_planted_effects_are_recovered(tmp_path: Path):
    """On unseen contents the predicted logit follows the true one."""
    dataset, rate = planted(tmp_path / "planted")
    model = glm(dataset, np.arange(400))
    predicted = model.predict(dataset.inputs(np.arange(400, 600)))
    truth = rate[400:]
    error = np.log(predicted / (1 - predicted)) - np.log(truth / (1 - truth))
    assert np.sqrt((error**2).mean()) < 0.1
    assert predicted.shape == (200,)


def test_words_effects(tmp_path: Path):
    """The coefficient of a word is its planted effect."""
    dataset, _ = planted(tmp_path / "planted")
    model = glm(dataset, np.arange(600))
    coefficients = model.estimator.coef_[0]
    found = dict(zip(model.features.words, coefficients[-len(model.features.words) :]))
    # Word counts and lengths take a part of each effect; differences of equally long words do not.
    assert found["today"] - found["shoes"] == pytest.approx(0.8, abs=0.1)


def test_missing_cells_and_unknown_levels(tmp_path: Path):
    """Null cells, blank texts and levels never seen still get a rate."""
    dataset = make_dataset(tmp_path / "tiny")
    model = glm(dataset, np.arange(12))
    frame = dataset.inputs()
    frame.loc[0, ["title", "description", "weekday", "location"]] = None
    frame.loc[1, "weekday"] = "never"
    frame.loc[2, "price"] = np.nan
    rates = model.predict(frame)
    assert rates.shape == (24,)
    assert ((rates > 0) & (rates < 1)).all()


def test_nothing_to_read(tmp_path: Path):
    """Without text or attributes the prediction is the weighted mean rate."""
    frame = pd.DataFrame({"id": ["a", "b", "c"], "shown": [100] * 3, "clicks": [10, 20, 30]})
    columns = Columns(content_id="id")
    manifest = Manifest(
        name="n", columns=columns, target=Target(impressions="shown", clicks="clicks")
    )
    dataset = write_dataset(tmp_path / "n", manifest, frame)
    rates = glm(dataset, np.arange(3)).predict(dataset.inputs())
    np.testing.assert_allclose(rates, 0.2, rtol=1e-3)


def test_only_training_rows_matter(tmp_path: Path):
    """Outcomes and cells of other rows do not change the model."""
    dataset = make_dataset(tmp_path / "one")
    changed = make_dataset(tmp_path / "two")
    changed.contents.loc[12:, "clicks"] = 0
    changed.contents.loc[12:, "title"] = "something else"
    frame = dataset.inputs()
    first, second = (glm(data, np.arange(12)) for data in (dataset, changed))
    assert np.array_equal(first.predict(frame), second.predict(frame))


def test_nothing_but_failures(tmp_path: Path):
    """Contents without a single click cannot be modelled, and the message says so."""
    dataset = make_dataset(tmp_path / "tiny")
    dataset.contents["clicks"] = 0
    with pytest.raises(DatasetError, match="all 0 or all 1"):
        glm(dataset, np.arange(12))
