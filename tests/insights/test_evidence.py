import numpy as np
import pandas as pd

from ni_platform.insights.evidence import explained, recorded_evidence, short, with_evidence


def test_a_feature_rests_on_randomised_tests_only_where_their_pairs_bear_on_it():
    """Else on what a platform delivered, where it did; else on what was seen."""
    scores = pd.DataFrame({"feature": ["proven", "delivered", "seen"], "of": [3, 0, 0]})
    occurrences = pd.DataFrame(
        {"row": [0, 2, 1, 2, 3], "feature": ["proven", "proven", "seen", "delivered", "seen"]}
    )
    kinds = np.array(["randomised", "randomised", "platform", "observational"], dtype=object)
    found = with_evidence(scores, occurrences, kinds)
    assert found["evidence"].tolist() == ["randomised", "platform", "observational"]


def test_scores_of_earlier_runs_say_randomised_where_pairs_bear_on_them():
    """What is recorded stays; an empty table has nothing to say."""
    old = pd.DataFrame({"of": [2, 0]})
    assert recorded_evidence(old)["evidence"].tolist() == ["randomised", "observational"]
    new = old.assign(evidence="platform")
    assert recorded_evidence(new) is new
    assert "evidence" not in recorded_evidence(pd.DataFrame({"kind": []}))


def test_only_randomised_tests_need_no_explanation():
    """The class is short; what it does not prove is said once."""
    assert short("platform") == "platform delivery"
    assert short("randomised") == "randomised A/B tests"
    assert explained(["randomised", "platform", "platform"]) == [
        "platform delivery: what was delivered together with success, not what works"
    ]
