"""Insights of an ensemble, held against those of its networks."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ni_platform.insights.insights import make_insights
from ni_platform.insights.patches import patch_embeddings
from ni_platform.insights.sanity import shuffled_scorer
from ni_platform.models.ensemble import Ensemble
from tests.insights.test_insights import CONFIG, subject  # noqa: F401


def test_an_ensemble_of_equals_has_the_insights_of_its_network(subject):  # noqa: F811
    """Attributions, their agreement with outcomes, and the sanity check on shuffled weights."""
    dataset, scorer, parts = subject
    twice = Ensemble({"a": scorer, "b": scorer}, {"a": 0.5, "b": 0.5})
    alone, together = (make_insights(model, dataset, parts, CONFIG) for model in (scorer, twice))
    np.testing.assert_array_equal(together.rows, alone.rows)
    keys = ["modality", "method", "first", "second", "ab_test"]
    assert together.pairs[keys].equals(alone.pairs[keys])
    for method, own in alone.pairs.groupby("method"):
        tolerance = (2e-2 if method == "pca" else 1e-3) * own["attribution_difference"].abs().max()
        np.testing.assert_allclose(
            together.pairs.loc[own.index, "attribution_difference"],
            own["attribution_difference"],
            atol=tolerance,
        )
    assert together.patches is not None


def test_patches_are_embedded_by_the_heaviest_network_that_sees(subject):  # noqa: F811
    """Whichever stands first."""
    _, scorer, _ = subject
    other = shuffled_scorer(scorer, 0)
    patches = [Image.new("RGB", (16, 16), (200, 10, 10))]
    expected = patch_embeddings(scorer, patches)
    assert not np.allclose(patch_embeddings(other, patches), expected)
    both = Ensemble({"a": other, "b": scorer}, {"a": 0.4, "b": 0.6})
    np.testing.assert_allclose(patch_embeddings(both, patches), expected, rtol=1e-5)


def test_each_network_is_shuffled(subject):  # noqa: F811
    """Its weights are the same numbers in another order, and the trained ones stay."""
    _, scorer, _ = subject
    before = [weight.clone() for weight in scorer.model.parameters()]
    shuffled = shuffled_scorer(Ensemble({"a": scorer, "b": scorer}, {"a": 0.5, "b": 0.5}), 0)
    assert list(shuffled.members) == ["a", "b"]
    for member in shuffled.members.values():
        for weight, trained in zip(member.model.parameters(), before):
            assert torch.equal(weight.flatten().sort()[0], trained.flatten().sort()[0])
    assert all(torch.equal(a, b) for a, b in zip(scorer.model.parameters(), before))
