"""Estimators of success rates from a table of features, by scikit-learn and XGBoost.

Every one is fitted on rates weighted by their precision (`data/overdispersion.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp

from ni_platform.data.overdispersion import precision
from ni_platform.errors import DatasetError

# scikit-learn and skops are imported where they are used: every process of a run or a sweep knows
# this module, to read configs, and few of them fit anything.
if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

EstimatorName = Literal["glm", "linear", "svr_rbf", "svr_poly", "xgboost"]

INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Candidates for the inverse of the GLM's ridge penalty, where a content weighs 1 on average."""

_HELD_OUT = 0.2
_TREES = 1000
_PATIENCE = 30
_LOWEST = 1e-9
"""Rates are kept this far from 0 and 1."""
_TRUSTED = ["scipy.sparse._csr.csr_matrix"]
"""What a saved estimator may hold beside what skops knows to be harmless."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingTable:
    """Features and observed rates of N contents that were shown."""

    features_NF: sp.csr_matrix
    rate_N: np.ndarray
    impressions_N: np.ndarray
    groups_N: np.ndarray
    """Contents of one group (an A/B test) are held out together."""

    @cached_property
    def weights(self) -> np.ndarray:
        """Precision of each rate [N], 1 on average."""
        return precision(self.rate_N, self.impressions_N)

    def held_out(self, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Positions to fit on and to judge on; None for less than five groups."""
        if len(set(self.groups_N)) < 5:
            return None
        from sklearn.model_selection import GroupShuffleSplit

        split = GroupShuffleSplit(n_splits=1, test_size=_HELD_OUT, random_state=seed)
        fitted, judged = next(split.split(self.features_NF, groups=self.groups_N))
        return fitted, judged


def fit_estimator(name: EstimatorName, table: TrainingTable, seed: int) -> Any:
    """Fit the named estimator; what it needs to choose, a fifth of the groups decides."""
    if name == "glm":
        return _glm(table, seed)
    if name == "xgboost":
        return _boosted_trees(table, seed)
    if name == "linear":
        from sklearn.linear_model import LinearRegression

        regression: Any = LinearRegression()
    else:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR

        kernel = name.removeprefix("svr_")
        # Its tolerance is absolute, and rates of 2 % would all lie within it.
        regression = TransformedTargetRegressor(SVR(kernel=kernel), transformer=StandardScaler())
    return regression.fit(table.features_NF, table.rate_N, sample_weight=table.weights)


def predict_rates(name: EstimatorName, estimator: Any, features_NF: sp.csr_matrix) -> np.ndarray:
    """Predicted rates, float64 [N] in (0, 1)."""
    if name == "glm":
        rates = estimator.predict_proba(features_NF)[:, 1]
    elif name == "xgboost":
        from xgboost import DMatrix

        # Beyond the last tree that helped, trees only repeat the noise.
        rounds = (
            (0, estimator.best_iteration + 1)
            if "best_iteration" in estimator.attributes()
            else (0, 0)
        )
        rates = estimator.predict(DMatrix(features_NF), iteration_range=rounds)
    else:
        rates = estimator.predict(features_NF)
    return np.clip(np.asarray(rates, dtype=np.float64), _LOWEST, 1 - _LOWEST)


def save_estimator(name: EstimatorName, estimator: Any, folder: Path) -> None:
    """Write the estimator without pickles: XGBoost's JSON, or skops' zip of arrays and types."""
    if name == "xgboost":
        estimator.save_model(folder / _file(name))
    else:
        import skops.io

        skops.io.dump(estimator, folder / _file(name))


def load_estimator(name: EstimatorName, folder: Path) -> Any:
    """Read what `save_estimator` wrote; a file with any other type in it is a ValueError."""
    if name == "xgboost":
        from xgboost import Booster

        return Booster(model_file=folder / _file(name))
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(folder / _file(name), trusted=_TRUSTED)
    except UntrustedTypesFoundException as error:
        raise ValueError(str(error)) from error


def _file(name: EstimatorName) -> str:
    return "estimator.json" if name == "xgboost" else "estimator.skops"


def _glm(table: TrainingTable, seed: int) -> LogisticRegression:
    """Binomial regression with a ridge penalty."""
    penalty = 1.0
    parts = table.held_out(seed)
    if parts is not None:
        fitted, judged = parts
        observed_N, weight_N = table.rate_N[judged], table.weights

        def deviance(penalty: float) -> float:
            model = _binomial(
                table.features_NF[fitted], table.rate_N[fitted], weight_N[fitted], penalty
            )
            expected_N = predict_rates("glm", model, table.features_NF[judged])
            terms_N = observed_N * np.log(expected_N) + (1 - observed_N) * np.log(1 - expected_N)
            return -float(weight_N[judged] @ terms_N)

        penalty = min(INVERSE_PENALTIES, key=deviance)
    return _binomial(table.features_NF, table.rate_N, table.weights, penalty)


def _binomial(
    features_NF: sp.csr_matrix, rate_N: np.ndarray, weight_N: np.ndarray, inverse_penalty: float
) -> LogisticRegression:
    """Regression of rates: each content once as a success and once as a failure."""
    success = np.repeat([1, 0], len(rate_N))
    share = np.concatenate([weight_N * rate_N, weight_N * (1 - rate_N)])
    if not share[: len(rate_N)].any() or not share[len(rate_N) :].any():
        raise DatasetError(
            "A GLM is fitted on contents whose success rates are not all 0 or all 1, "
            "but these are. Check the outcome columns."
        )
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=inverse_penalty, max_iter=1000)
    # The optimizer's matrices are tiny: threads would wait for one another, and beside other work
    # take many times as long.
    with threadpool_limits(1, user_api="blas"):
        return model.fit(sp.vstack([features_NF, features_NF]), success, sample_weight=share)


def _boosted_trees(table: TrainingTable, seed: int) -> Any:
    """Trees on the logit of the rate, as many as help on held-out groups."""
    from xgboost import DMatrix, train

    settings = {
        "objective": "reg:logistic",
        "eval_metric": "logloss",
        "learning_rate": 0.05,
        "max_depth": 6,
        "subsample": 0.8,
        "seed": seed,
    }
    weight_N = table.weights

    def matrix(rows: Any) -> DMatrix:
        return DMatrix(table.features_NF[rows], label=table.rate_N[rows], weight=weight_N[rows])

    parts = table.held_out(seed)
    if parts is None:
        return train(settings, matrix(slice(None)), num_boost_round=_PATIENCE)
    return train(
        settings,
        matrix(parts[0]),
        num_boost_round=_TREES,
        evals=[(matrix(parts[1]), "held_out")],
        early_stopping_rounds=_PATIENCE,
        verbose_eval=False,
    )
