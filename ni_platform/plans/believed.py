"""What a model believes of drafts: their rates, and how its errors of these go together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ni_platform.beliefs.past_errors import PastErrors, recorded_past_errors
from ni_platform.beliefs.prior import FEWEST_TESTS
from ni_platform.errors import ConfigError
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.regressor import Regressor
from ni_platform.models.uncertainty import (
    Z_95,
    is_gaussian_process,
    joint_logits,
    rates_with_intervals,
)
from ni_platform.narrowing import of_kind
from ni_platform.prediction_log.keys import prediction_keys
from ni_platform.registry.model_source import run_of_model
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Believed:
    """Of N drafts as arms of one A/B test."""

    logit_N: np.ndarray
    """Predicted logits of their rates."""
    covariance_NN: np.ndarray
    """Of the true logits about these, the level of the test left out."""
    own: float
    """The part of each variance that an arm has for itself, whatever it says."""
    overdispersion: float
    """Variance of observed rates in units of the binomial one."""
    rates: pd.DataFrame
    """prediction, low and high (95 % interval of the rate, the level of the test unknown)."""


def believe(model: Regressor, frame: pd.DataFrame, errors: PastErrors | None) -> Believed:
    """Ask a model of N drafts, each encoded once.

    A Gaussian process says itself how sure it is. Of another model validation tests say it
    (`PastErrors`): its errors of two drafts are independent then, unless they are the same input.

    Args:
        model: Of any kind.
        frame: Inputs of N drafts, as `Regressor.predict` takes them.
        errors: Of the model on past tests; not looked at for a Gaussian process.

    Raises:
        ConfigError: Nobody knows how sure the model is.
        DatasetError: A cell cannot be read.
    """
    if is_gaussian_process(model):
        network = of_kind(model.model, GaussianProcess)
        mean, of_test = joint_logits(model, frame, np.zeros(len(frame), dtype=np.int64))
        own = float(network.residual)
        covariance = of_test[0] + own * np.eye(len(frame))
        return Believed(
            logit_N=mean,
            covariance_NN=covariance,
            own=own,
            overdispersion=float(network.overdispersion),
            rates=rates_with_intervals(network, mean, covariance.diagonal()),
        )
    if errors is None:
        raise ConfigError(
            "A plan needs a model that says how sure it is of differences: a ranker does (one of "
            "`ni experiments` that begins with ranker), any other where the run that trained it "
            f"has validation predictions of at least {FEWEST_TESTS} randomised A/B tests of clicks."
        )
    raw = logit(model.predict(frame))
    mean = raw.mean() + errors.prior.slope * (raw - raw.mean()) + errors.shift
    key = prediction_keys(frame, model.roles)
    reach = Z_95 * errors.deviation
    return Believed(
        logit_N=mean,
        covariance_NN=errors.prior.deviation**2 * (key[:, None] == key[None, :]),
        own=0.0,
        overdispersion=errors.prior.overdispersion,
        rates=pd.DataFrame(
            {"prediction": expit(mean), "low": expit(mean - reach), "high": expit(mean + reach)}
        ),
    )


def past_errors_of(store: Store | None, uri: str) -> PastErrors | None:
    """Errors of a model on the validation tests of its run; None where nobody knows them.

    Args:
        store: Where models and runs are; None of a model in a folder.
        uri: A run id, `models:/NAME@champion` or another model URI.
    """
    return None if store is None else recorded_past_errors(store, run_of_model(store, uri))
