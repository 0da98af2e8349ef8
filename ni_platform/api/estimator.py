"""An experiment as an estimator of scikit-learn, for its pipelines and cross-validation."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from ni_platform.api.definitions import Experiment, experiment_config
from ni_platform.api.frames import as_arrow, as_pandas
from ni_platform.data.dataset import Dataset
from ni_platform.data.importers.table import import_table
from ni_platform.data.splits import SplitConfig, Splits, row_groups
from ni_platform.evaluation import EvaluationConfig
from ni_platform.experiment_config import ExperimentConfig, record_config
from ni_platform.fitting import fit_model
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.opened import OpenedExperiment, fitted_to
from ni_platform.run_start import run_parameters
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import open_store
from ni_platform.training.worker_count import Workers

_ID, _SHOWN, _CLICKED = "ni_content_id", "ni_impressions", "ni_clicks"
"""Columns of the dataset that are not of X."""


_FEWEST = 2
"""Contents with impressions that a model is fitted on."""


class SuccessRateRegressor(RegressorMixin, BaseEstimator):
    """An experiment with `fit`, `predict` and `score`.

    It is fitted on all rows, with the epochs that the experiment says: what to leave out and how
    to judge is scikit-learn's business here. Each fit is a run in MLflow (`run_id_`) without
    figures of a test part. `train` is the way to a model that can be promoted.

    Args:
        experiment: Name of `ni.experiments`, a config, or your own function that returns one.
        text: Columns of X that are texts.
        domain: Column of X that says where a content is shown.
        ab_test: Column of X that names the A/B test of a content; no input of the model.
        image: Column of X with pictures, as paths relative to `images`.
        images: Folder of the pictures; the current one if None.
        bounds: Smallest and largest possible value of y; the rate 0 and 1 stand for them. Those of
            y itself if None, as for ratings.
        changes: What differs from the experiment, as `train` takes it by keyword.

    Other columns of X are attributes: numeric ones numbers, all others categories.

    Attributes:
        regressor_: The fitted model.
        run_id_: Its run in MLflow.
        bounds_: `bounds`, or those of y.
        n_features_in_: Number of columns of X.
        feature_names_in_: Their names, where X has any.
    """

    def __init__(
        self,
        experiment: Experiment = "baselines.glm",
        *,
        text: Sequence[str] = (),
        domain: str | None = None,
        ab_test: str | None = None,
        image: str | None = None,
        images: str | Path | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment = experiment
        self.text = text
        self.domain = domain
        self.ab_test = ab_test
        self.image = image
        self.images = images
        self.bounds = bounds
        self.changes = changes

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on N contents.

        Args:
            X: Table of any library, or array [N, features] of numbers; nan is a missing value.
            y: Success rates [N] within `bounds`.
            sample_weight: Impressions behind each rate [N]; as many for each if None.

        Raises:
            ValueError: X or y has another shape, or y leaves `bounds`.
            NiError: The experiment does not fit the columns, or cannot be trained.
        """
        if y is None:
            raise ValueError("fit requires y to be passed, but the target y is None")
        X, y = self._validated(X, y)
        self.bounds_ = self._bounds_of(y)
        low, high = self.bounds_
        shown_N = _weights(sample_weight, len(y))
        table = self._frame(X)
        outcome = {_ID: np.arange(len(y)), _SHOWN: shown_N}
        outcome[_CLICKED] = np.minimum(shown_N * (y - low) / (high - low), shown_N)
        config = experiment_config(self.experiment, self.changes or {})
        with tempfile.TemporaryDirectory() as folder:
            dataset = import_table(
                as_arrow(table.assign(**outcome)),
                Path(folder) / "data",
                name="scikit-learn",
                content_id=_ID,
                impressions=_SHOWN,
                clicks=_CLICKED,
                counted=True,
                images=self.images if self.image is None else self.images or ".",
                **self._roles(table),
            )
            self.regressor_, self.run_id_ = _fitted(config, dataset, Path(folder) / "training")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted y of N contents, float64 [N].

        Raises:
            ValueError: X has other columns than in `fit`.
            NotFittedError: `fit` comes first.
        """
        check_is_fitted(self)
        X = self._validated(X)
        low, high = self.bounds_
        rates: np.ndarray = low + (high - low) * self.regressor_.predict(self._frame(X))
        return rates

    def __sklearn_tags__(self) -> Tags:
        """Say that a missing value is none to refuse, and that y may have bounds."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _validated(self, X: Any, y: Any = None) -> Any:
        """X as a frame or array, and y if given, checked as scikit-learn does."""
        fitting = y is not None
        given = {"y": y} if fitting else {}
        if isinstance(X, np.ndarray) or not hasattr(X, "columns"):
            rule: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
            if fitting:
                rule |= {"y_numeric": True, "ensure_min_samples": _FEWEST}
            return validate_data(self, X, **given, reset=fitting, **rule)
        X = as_pandas(X)
        if not fitting:
            validate_data(self, X, reset=False, skip_check_array=True)
            return X
        places = np.arange(len(X), dtype=np.float64)[:, None]
        _, y = validate_data(self, places, y, y_numeric=True, ensure_min_samples=_FEWEST)
        validate_data(self, X, reset=True, skip_check_array=True)
        return X, y

    def _frame(self, X: Any) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            texts = all(isinstance(name, str) for name in X.columns)
            names = list(X.columns) if texts else [f"x{n}" for n in range(X.shape[1])]
            return X.set_axis(names, axis=1).reset_index(drop=True)
        return pd.DataFrame(X, columns=[f"x{n}" for n in range(X.shape[1])])

    def _roles(self, table: pd.DataFrame) -> dict[str, Any]:
        """The columns of X as an importer names them."""
        named = {*self.text, self.domain, self.ab_test, self.image}
        others = [name for name in table.columns if name not in named]
        numeric = [name for name in others if _is_number(table[name])]
        return {
            "text": tuple(self.text),
            "domain": self.domain,
            "ab_test": self.ab_test,
            # Nothing is judged here, and all A/B tests train, however they were assigned.
            "assignment": None if self.ab_test is None else "observational",
            "image": self.image,
            "numeric": numeric,
            "categorical": [name for name in others if name not in numeric],
        }

    def _bounds_of(self, y: np.ndarray) -> tuple[float, float]:
        lowest, highest = float(y.min()), float(y.max())
        if self.bounds is None:
            # Of y that are all equal, any bounds around them do.
            return (lowest, highest) if lowest < highest else (lowest - 0.5, lowest + 0.5)
        low, high = self.bounds
        if not low <= lowest <= highest <= high or low == high:
            raise ValueError(
                f"y must lie within bounds, {low} to {high}, but goes from {lowest:.4g} to "
                f"{highest:.4g}: give rates, or set bounds (None takes those of y)"
            )
        return float(low), float(high)


def _fitted(config: ExperimentConfig, dataset: Dataset, folder: Path) -> tuple[Regressor, str]:
    """Train on all rows, as a run of its own; returns the model and the run."""
    config = replace(
        config, train_on_validation=True, insights=None, evaluation=EvaluationConfig(glm=False)
    )
    splits = Splits(
        part=np.full(len(dataset), "train", dtype="<U13"),
        group=row_groups(dataset, SplitConfig().near_duplicate_similarity),
        validation_trained=True,
    )
    opened = OpenedExperiment(config=fitted_to(config, dataset), dataset=dataset, splits=splits)
    workers = Workers()
    with RunRecord.start(
        open_store(),
        "scikit-learn",
        run_name=config.name,
        parameters=run_parameters(opened, workers),
        tags=opened.tags(),
    ) as record:
        record_config(record, opened.config)
        fitted = fit_model(opened, record, folder, workers, lambda event: None)
        fitted.save()
    return load_regressor(folder / "model"), record.run_id


def _weights(given: Any, count: int) -> np.ndarray:
    if given is None:
        return np.ones(count)
    weights = np.asarray(given, dtype=np.float64)
    fits = weights.shape == (count,) and np.isfinite(weights).all() and (weights >= 0).all()
    if not fits or np.count_nonzero(weights) < _FEWEST:
        raise ValueError(
            f"sample_weight, the impressions of each row, must be {count} numbers of 0 or more, at "
            f"least {_FEWEST} of them not zero, but got {np.count_nonzero(weights)} such in shape "
            f"{weights.shape}"
        )
    return weights


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
