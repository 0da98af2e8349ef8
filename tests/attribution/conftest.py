"""Contents of every modality under both networks, and an attributor's features of each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pictured import M2FN, NI, write_pictured

from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.ensemble import EnsembleContents
from ni_platform.attribution.explain import contents_of, features_of
from ni_platform.attribution.features import Features
from ni_platform.data.dataset import Dataset
from ni_platform.models.encoders.mlp import MLPConfig
from ni_platform.models.ensemble import Ensemble
from ni_platform.models.gaussian_process.config import GaussianProcessConfig
from ni_platform.models.gaussian_process.network import GaussianProcess
from ni_platform.models.modalities.attributes import OneHotAttributes
from ni_platform.models.modalities.domain import HashedDomain
from ni_platform.models.modalities.wording import NamedWording, WordingEncoderConfig
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.training.at_once import fit_at_once

ROWS = np.array([0, 1, 2, 3, 4, 10])
"""Row 3 has no title, 4 and 10 no picture, 2 and 10 no domain, 1, 4 and 10 a subtitle."""

NETWORKS = {
    "neural_insights": NI,
    "neural_insights of wording": dataclasses.replace(
        NI,
        image=None,
        text=None,
        domain=None,
        wording=WordingEncoderConfig(mlp=MLPConfig(hidden=(8,))),
    ),
    "m2fn": M2FN,
    "m2fn without low-level fusion": dataclasses.replace(M2FN, low_level=(False,) * 5),
    "gaussian_process": GaussianProcessConfig(
        image=NI.image,
        text=NI.text,
        wording=NamedWording(),
        domain=HashedDomain(),
        attributes=OneHotAttributes(),
    ),
}
MODALITIES = ("image", "text", "wording", "domain", "attributes")
CASES = [
    (network, modality)
    for network, config in NETWORKS.items()
    for modality in MODALITIES
    if modality in config.modalities
] + [("ensemble", modality) for modality in MODALITIES]


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> Dataset:
    """Contents of every modality, some of them missing."""
    return write_pictured(tmp_path_factory.mktemp("attribution") / "pictured")


@pytest.fixture(scope="session")
def scorers(pictured, tmp_path_factory) -> dict[str, Scorer | Ensemble]:
    """Each network with weights that make every modality count, and an ensemble of some."""
    found = {}
    for name, config in NETWORKS.items():
        scorer = build_scorer(config, pictured, np.arange(50), seed=3)
        found[name] = scorer
        if isinstance(scorer.model, GaussianProcess):
            keys = np.arange(len(pictured)).astype(str)
            fit_at_once(scorer, pictured, keys, np.arange(50), tmp_path_factory.mktemp("encoded"))
            for term in scorer.model.terms.values():
                term.variance += 0.2  # each modality counts
            continue
        with torch.no_grad():
            for weight in scorer.model.parameters():
                weight += 0.05 * torch.randn(weight.shape, generator=torch.manual_seed(0))
            scorer.model.output.weight *= 20
    # Pictures of two sizes and grids, texts of 24 and 7 tokens, and a member without a domain.
    short = dataclasses.replace(NI, text=dataclasses.replace(NI.text, max_tokens=7))
    cut = build_scorer(short, pictured, np.arange(50), seed=4)
    members = {"m2fn": found["m2fn"], "cut": cut, "ranker": found["gaussian_process"]}
    found["ensemble"] = Ensemble(members, {"m2fn": 0.2, "cut": 0.3, "ranker": 0.5})
    return found


@pytest.fixture(scope="session")
def contents(scorers, pictured) -> dict[str, Contents | EnsembleContents]:
    """The contents of `ROWS` under each network, and under an ensemble."""
    return {name: contents_of(s, pictured.inputs(ROWS)) for name, s in scorers.items()}


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def features(request, contents) -> Features:
    """The features of one modality under one network."""
    network, modality = request.param
    return features_of(contents[network], modality, AttributionConfig(grid=3))
