"""How far a content's observed success rate can be trusted."""

import numpy as np


def precision(rate: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Weight of each content, 1 / (1 / n + rho), scaled to 1 on average; float64 [N].

    With n impressions a rate has binomial noise, and rates of different contents differ by more
    than that: overdispersion rho by moments (Williams 1982, "Extra-binomial variation in logistic
    linear models"). Without overdispersion the weights are the impressions.
    """
    mean = float(np.clip(rate.mean(), 1e-9, 1 - 1e-9))
    excess = ((rate - mean) ** 2).mean() / (mean * (1 - mean)) - (1 / impressions).mean()
    weight = 1 / (1 / impressions + max(0.0, float(excess)))
    return np.asarray(weight / weight.mean())


def empirical_logit(clicks: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Logits log((c + 1/2) / (n - c + 1/2)) of c clicks of n impressions, float64 [N]."""
    return np.asarray(np.log((clicks + 0.5) / (impressions - clicks + 0.5)))


def logit_noise(clicks: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Binomial variances 1 / (n p (1 - p)) of `empirical_logit`, p = (c + 1/2) / (n + 1), [N].

    Infinite without impressions.
    """
    rate = (clicks + 0.5) / (impressions + 1)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (impressions * rate * (1 - rate)))
