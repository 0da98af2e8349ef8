"""How far texts and pictures are from those that a model learned from, as its encoder sees them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ni_platform.data.dataset import Dataset
from ni_platform.metrics.scored import Floats
from ni_platform.models.ensemble import Ensemble
from ni_platform.models.modalities.image import ImageReader
from ni_platform.models.modalities.text import TextReader
from ni_platform.models.regressor import Regressor
from ni_platform.models.scorer import Scorer
from ni_platform.monitoring.config import MonitorConfig

_ROWS_AT_ONCE = 1_024
_LEAST_SPREAD = 1e-3
"""Of a dimension, in units of the widest one's."""


def encoders(model: Regressor) -> dict[str, Scorer]:
    """The network that encodes each modality of texts or pictures, of several the heaviest."""
    found: dict[str, Scorer] = {}
    members = model.members.values() if isinstance(model, Ensemble) else [model]
    for member in members:
        if isinstance(member, Scorer):
            for name, reader in member.inputs.readers.items():
                if isinstance(reader, TextReader | ImageReader):
                    found.setdefault(name, member)
    return found


def far(
    scorer: Scorer,
    name: str,
    dataset: Dataset,
    learned: NDArray[np.int64],
    judged: NDArray[np.int64],
    new: NDArray[np.int64],
    config: MonitorConfig,
) -> tuple[Floats, Floats]:
    """1 for contents that are far from all of a sample of training's, else 0, nan without any.

    Far is what lies farther from its nearest training content, in the encoder's embeddings, than
    `config.far_quantile` of the held-out contents `judged` (Sun et al., "Out-of-Distribution
    Detection with Deep Nearest Neighbors", ICML 2022).

    Returns:
        Of `new` and of `judged`, two [N].

    Raises:
        DatasetError: A cell cannot be read.
    """
    drawn = np.random.default_rng(config.seed).permutation(learned)[: config.training_sample]
    sample = embeddings(scorer, name, dataset.inputs(np.sort(drawn)))
    sample = sample[np.isfinite(sample).all(axis=1)]
    of_judged, of_new = (
        nearest(embeddings(scorer, name, dataset.inputs(rows)), sample) for rows in (judged, new)
    )
    if not np.isfinite(of_judged).any():
        return np.full(len(new), np.nan), np.full(len(judged), np.nan)
    limit = np.nanquantile(of_judged, config.far_quantile)
    of_both = [np.where(np.isnan(found), np.nan, found > limit) for found in (of_new, of_judged)]
    return of_both[0], of_both[1]


def embeddings(scorer: Scorer, name: str, frame: pd.DataFrame) -> NDArray[np.float32]:
    """What an encoder gives for N contents [N, width], nan for those without the modality.

    Of a map of a picture's features it is the mean over places.
    """
    alone = Scorer(scorer.config, scorer.model, scorer.inputs.only(name))
    found: list[NDArray[np.float32]] = []
    with alone.evaluating():
        for _, inputs in alone.read_ahead(frame):
            encoded = alone.model.encode(name, inputs.to(alone.device)).float()
            vectors = encoded.flatten(2).mean(dim=2) if encoded.dim() == 4 else encoded
            vectors[~inputs.modalities[name].present_B.to(vectors.device)] = torch.nan
            found.append(vectors.cpu().numpy())
    return np.concatenate(found) if found else np.empty((0, 1), dtype=np.float32)


def nearest(vectors: NDArray[np.float32], sample: NDArray[np.float32]) -> Floats:
    """Distance of each vector [N, W] to the nearest of a sample [S, W], all standardised.

    By the sample's mean and deviation in each dimension: embeddings of an encoder share a large
    common part, beside which cosines of texts that have nothing in common are 1. nan of a vector
    that is nan, and of all where there is no sample.
    """
    found = np.full(len(vectors), np.nan)
    if not len(sample):
        return found
    centre, spread = sample.mean(axis=0), sample.std(axis=0)
    # What is left of a dimension without any spread is rounding.
    scale = np.maximum(spread, max(_LEAST_SPREAD * float(spread.max()), 1e-12))
    ends = (sample - centre) / scale
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        begins = (vectors[rows] - centre) / scale
        squares = (begins**2).sum(axis=1)[:, None] + (ends**2).sum(axis=1) - 2 * begins @ ends.T
        found[rows] = np.sqrt(np.maximum(squares.min(axis=1), 0))
    return found
