"""Regressors on handcrafted features, as NI Table 1 and M2FN Table 7 compare with.

They read texts (lengths, marks, words), domain and attributes; `--set model.text=null` and the
like take a modality away. They are fitted within seconds to minutes, without stages.
"""

from ni_platform.experiment_config import ExperimentConfig
from ni_platform.models.baselines.tabular import TabularConfig


def glm() -> ExperimentConfig:
    """Binomial regression with a ridge penalty: the reference of NI Table 1."""
    return ExperimentConfig(name="baselines.glm", model=TabularConfig(estimator="glm"))


def linear() -> ExperimentConfig:
    """Linear regression of the rate (M2FN Table 7)."""
    return ExperimentConfig(name="baselines.linear", model=TabularConfig(estimator="linear"))


def svr_rbf() -> ExperimentConfig:
    """Support vector regression, Gaussian kernel (M2FN Table 7); up to some ten thousand rows."""
    return ExperimentConfig(name="baselines.svr_rbf", model=TabularConfig(estimator="svr_rbf"))


def svr_poly() -> ExperimentConfig:
    """Support vector regression, cubic kernel (M2FN Table 7); up to some ten thousand rows."""
    return ExperimentConfig(name="baselines.svr_poly", model=TabularConfig(estimator="svr_poly"))


def xgboost() -> ExperimentConfig:
    """Boosted trees (NI Table 1); held-out A/B tests decide how many."""
    return ExperimentConfig(name="baselines.xgboost", model=TabularConfig(estimator="xgboost"))
