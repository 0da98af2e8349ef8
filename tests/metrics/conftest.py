import numpy as np
import pytest


@pytest.fixture
def planted_tests():
    """Make contents in A/B tests with known true rates: f(tests, arms, impressions, effect)."""

    def make(tests=60, arms=4, impressions=3000, effect=None, seed=0):
        rng = np.random.default_rng(seed)
        ab_test = np.repeat(np.arange(tests), arms)
        size = tests * arms
        effects = rng.normal(0, 0.3, size) if effect is None else effect(rng, size)
        log_odds = rng.normal(-4, 0.5, tests)[ab_test] + effects
        rate = 1 / (1 + np.exp(-log_odds))
        seen = rng.integers(impressions // 2, impressions * 3 // 2, size)
        prediction = 1 / (1 + np.exp(-(log_odds + rng.normal(0, 0.4, size))))
        return {
            "rate": rate,
            "prediction": prediction,
            "clicks": rng.binomial(seen, rate),
            "impressions": seen,
            "ab_test": ab_test,
        }

    return make
