"""A studio on a small dataset, with insights written by hand, and its application."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from fastapi.testclient import TestClient
from pictured import NI, write_pictured

from ni_platform.dashboard.app import dashboard_app
from ni_platform.dashboard.loaded_model import LoadedModel
from ni_platform.dashboard.opening import open_studio
from ni_platform.dashboard.protection import Protection
from ni_platform.dashboard.studio import Studio
from ni_platform.data.dataset import Dataset
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement
from ni_platform.insights.evidence import recorded_evidence
from ni_platform.insights.judging import ModalityInsights
from ni_platform.insights.record import StoredInsights
from ni_platform.insights.trust import Trust
from ni_platform.metrics.intervals import Estimate
from ni_platform.models.scorer import Scorer, build_scorer
from ni_platform.tracking.store import open_store

WORTH = "The model's first choice got +0.58 clicks per 1,000 impressions."
SCORES = (
    # kind, domain, feature, score, low, high, contents, tests, agreed, of, agreed_tests
    ("phrase", None, "last chance", 0.012, 0.006, 0.018, 40, 18, 0.75, 12, 9),
    ("phrase", None, "new home", -0.009, -0.014, -0.004, 31, 15, 0.8, 10, 7),
    ("phrase", "site1", "best sale", 0.02, 0.01, 0.03, 14, 8, 1.0, 3, 3),
    ("phrase", None, "only today", 0.03, -0.01, 0.07, 12, 6, np.nan, 0, 0),
    ("word", None, "free", 0.004, 0.001, 0.007, 50, 20, 0.6, 20, 11),
    ("attribute", None, "day = mon", 0.003, 0.001, 0.005, 60, 21, 0.55, 20, 12),
)


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> Dataset:
    """70 contents with every modality."""
    return write_pictured(tmp_path_factory.mktemp("dashboard") / "pictured")


@pytest.fixture(scope="session")
def model_folder(pictured, tmp_path_factory) -> str:
    """A saved scorer."""
    folder = tmp_path_factory.mktemp("dashboard") / "scorer"
    lively(pictured, seed=3).save(folder)
    return str(folder)


def lively(dataset: Dataset, seed: int) -> Scorer:
    """An untrained scorer whose weights make every modality count."""
    scorer = build_scorer(NI, dataset, np.arange(50), seed=seed)
    with torch.no_grad():
        for weight in scorer.model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.manual_seed(seed))
        scorer.model.output.weight *= 5
    return scorer


@pytest.fixture(scope="session")
def opened(model_folder, pictured) -> Studio:
    """Without insights."""
    return open_studio(open_store(), model_folder, pictured.root)


@pytest.fixture(scope="session")
def insights() -> StoredInsights:
    """Text that has earned some trust, pictures with too few tests; `SCORES`."""
    agreed = Agreement(
        correlation=Estimate(0.3, 0.2, 0.4), p_value=0.001, pairwise=Estimate(0.65, 0.6, 0.7),
        pairs=120, tests=60,
    )  # fmt: skip
    trust = Trust(score=34.0, correlation=0.2, direction=0.2, transfer=None, sanity=0.9, tests=60)
    summary = ModalityInsights(
        method="feature_ablation", trust=trust, all_pairs={"feature_ablation": agreed},
        control_against_best={},
    )  # fmt: skip
    columns = ["kind", "domain", "feature", "score", "low", "high", "contents", "tests", "agreed",
               "of", "agreed_tests"]  # fmt: skip
    unsure = dataclasses.replace(trust, score=None, tests=4)
    return StoredInsights(
        config=InsightsConfig(),
        modalities={"text": summary, "image": dataclasses.replace(summary, trust=unsure)},
        scores=recorded_evidence(pd.DataFrame(SCORES, columns=columns)),
        patches=None,
    )


@pytest.fixture(scope="session")
def studio(opened, pictured, insights) -> Studio:
    """With insights, and two further models."""
    others = [LoadedModel(lively(pictured, seed), f"other {seed}") for seed in (4, 5)]
    return Studio(
        opened.model, pictured, opened.past, insights=insights, ensemble=others, worth=WORTH
    )


@pytest.fixture
def client(studio) -> TestClient:
    """A visitor on loopback."""
    app = dashboard_app(studio, Protection(None, True))
    return TestClient(app, base_url="http://127.0.0.1:8050")
