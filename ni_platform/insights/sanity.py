"""Do explanations depend on what was learned? Those of networks with shuffled weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pandas as pd
import torch

from ni_platform.attribution.config import PCA
from ni_platform.attribution.explain import explain
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.correlation import Agreement, agreement, all_pairs
from ni_platform.insights.differences import Differences
from ni_platform.insights.pairs import Arms
from ni_platform.models.ensemble import Ensemble, Explainable
from ni_platform.models.scorer import Scorer

CONTENTS = 300
"""Most contents that a network with shuffled weights is explained on."""


def shuffled_agreements(
    scorer: Explainable,
    frame: pd.DataFrame,
    arms: Arms,
    config: InsightsConfig,
    on_event: Callable[[str], None],
    modality: str,
    method: str,
) -> list[Agreement]:
    """Agreement of `config.shuffles` networks of the same shape with shuffled weights.

    Args:
        scorer: the trained model.
        frame: the contents, as `InputEncoder.encode` takes them.
        arms: their outcomes and pairs.
        config: how they are explained.
        on_event: told in words which network is explained.
        modality: what is explained.
        method: of attribution.
    """
    methods = config.attribution.methods if method == PCA else (method,)
    agreed = []
    for number in range(config.shuffles):
        on_event(f"explaining {modality} with shuffled weights, {number + 1} of {config.shuffles}")
        found = explain(
            shuffled_scorer(scorer, config.seed + number),
            frame,
            replace(config.attribution, methods=methods),
            modalities=(modality,),
            with_maps=True,
        ).modalities[modality]
        differences = Differences(found, arms, config.similarity)
        agreed.append(
            agreement(
                arms,
                differences.of(found.by_method[method]),
                all_pairs(arms, differences.differ),
                replicates=0,
                permutations=0,
            )
        )
    return agreed


def shuffled_scorer(scorer: Explainable, seed: int) -> Explainable:
    """The same network, or networks, with the numbers inside each weight in another order.

    The sanity check of Adebayo et al. (2018): what it has learned is gone, sizes are kept.
    """
    if isinstance(scorer, Ensemble):
        return scorer.with_networks(partial(_shuffled, seed=seed))
    return _shuffled(scorer, seed)


def _shuffled(scorer: Scorer, seed: int) -> Scorer:
    network = copy.deepcopy(scorer.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return Scorer(scorer.config, network, scorer.inputs)
