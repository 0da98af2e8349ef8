"""Patches of pictures that raise or lower the success rate: what NI Section 4.3 recommends.

The windows of each picture with the highest and lowest contributions are cut out, embedded by the
image network and clustered; clusters are scored as words are, and patches are sampled from the best
and the worst.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.features import PIXELS_AT_ONCE
from ni_platform.data.batch import Inputs, ModalityInputs
from ni_platform.insights.config import PatchConfig, SupportConfig
from ni_platform.insights.pairs import Arms
from ni_platform.insights.rank_scores import (
    rank_scores,
    supported,
    top_and_bottom,
    with_past_agreement,
)
from ni_platform.models.ensemble import Explainable, network_with
from ni_platform.models.modalities.image import ImageReader
from ni_platform.narrowing import given

SHOWN = 10
"""Clusters that patches are sampled from, and patches that are shown, of each direction."""

_STARTS = 10
"""Random starts of K-means, of which the best counts."""

PictureOf = Callable[[int], Image.Image]
"""The picture of a content, by its position among those explained; read when it is asked for."""
Embed = Callable[[Sequence[Image.Image]], np.ndarray]
"""Embeddings [P, width] of P patches."""


@dataclass(frozen=True)
class Patch:
    """A window of a content's picture."""

    row: int
    """Position of the content among those explained."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of its picture."""
    contribution: float
    """Raw contributions inside, summed: a change of the success rate."""
    cluster: int = 0
    """Number of its cluster, 1 for the one with the highest score."""


@dataclass(frozen=True, eq=False)
class PatchInsights:
    """Clusters of patches, and what is recommended of them."""

    clusters: pd.DataFrame
    """The highest score first: cluster, score, low, high, contents, tests, agreed, of,
    agreed_tests; see `rank_scores` and `with_past_agreement`."""
    positive: list[Patch]
    """Equally many of each of the best clusters that rest on enough; the best cluster first."""
    negative: list[Patch]
    """Of the worst; the worst first."""
    patches: list[Patch]
    """All that were clustered."""


def patch_insights(
    attributions: Sequence[Attribution],
    picture_of: PictureOf,
    embed: Embed,
    arms: Arms,
    tests: np.ndarray,
    held_out: np.ndarray,
    support: SupportConfig,
    config: PatchConfig,
) -> PatchInsights:
    """Cut out, cluster, score and sample patches (NI Section 4.3, image recommendation).

    A cluster's score is Eq. 6 with a cluster as the feature: the mean over the contents that have
    a patch of it, each with the mean contribution of its patches. Positive and negative patches are
    clustered together, so that what raises the rate here and lowers it there scores near zero.

    Pictures are read one after the other, twice where patches are to be shown: memory holds their
    boxes and embeddings only.

    Args:
        attributions: maps over the pictures of N contents, of any size; a content without a picture
            has an empty one.
        picture_of: its picture, asked only for contents that have one.
        embed: as `patch_embeddings` with a scorer.
        arms: outcomes and pairs of the N contents.
        tests: number of the A/B test of each content, int64 [N], or one of its own.
        held_out: contents that the model did not learn from, bool [N]; the pairs of others do not
            count for past agreement.
        support: what a cluster must rest on for its patches to be shown.
        config: how.
    """
    patches: list[Patch] = []
    embeddings: list[np.ndarray] = []
    for row, attribution in enumerate(attributions):
        if attribution.raw.size:
            picture = picture_of(row)
            found = patches_of(row, attribution, picture.size, config)
            if found:
                patches += found
                embeddings.append(embed([picture.crop(patch.box) for patch in found]))
    if not patches:
        return PatchInsights(_no_clusters(), [], [], [])
    labels = cluster(np.concatenate(embeddings), most=config.clusters, seed=config.seed)
    patches, scores = _scored(patches, labels, arms, tests, held_out)
    named = supported(scores, support).rename(columns={"cluster": "feature"})
    best, worst = (part["feature"].tolist() for part in top_and_bottom(named, SHOWN))
    rng = np.random.default_rng(config.seed)
    positive, negative = sampled(patches, best, 1, rng), sampled(patches, worst, -1, rng)
    return PatchInsights(scores, positive, negative, patches)


def _scored(
    patches: Sequence[Patch],
    labels: np.ndarray,
    arms: Arms,
    tests: np.ndarray,
    held_out: np.ndarray,
) -> tuple[list[Patch], pd.DataFrame]:
    """Score clusters, int64 [P], and number them by their scores; see `PatchInsights.clusters`."""
    occurrences = pd.DataFrame(
        {
            "row": [patch.row for patch in patches],
            "feature": labels,
            "contribution": [patch.contribution for patch in patches],
        }
    )
    occurrences = occurrences.groupby(["row", "feature"], as_index=False).agg(
        contribution=("contribution", "mean")
    )
    scores = with_past_agreement(rank_scores(occurrences, tests), occurrences, arms, held_out)
    number_of = {label: place + 1 for place, label in enumerate(scores["feature"])}
    numbered = [
        replace(patch, cluster=number_of[label]) for patch, label in zip(patches, labels.tolist())
    ]
    scores["feature"] = scores["feature"].map(number_of)
    return numbered, scores.drop(columns="domain").rename(columns={"feature": "cluster"})


def _no_clusters() -> pd.DataFrame:
    columns = ("cluster", "score", "low", "high", "contents", "tests", "agreed", "of",
               "agreed_tests")  # fmt: skip
    numbers = ("score", "low", "high", "agreed")
    types = {name: "float64" if name in numbers else "int64" for name in columns}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def patches_of(
    row: int, attribution: Attribution, size: tuple[int, int], config: PatchConfig
) -> list[Patch]:
    """The top-K positive and top-K negative windows of a picture, best first.

    Args:
        row: of the content.
        attribution: its map [H, W], which covers the picture.
        size: width and height of the picture in pixels.
        config: how many, how large, how distinct.
    """
    values, lengths = attribution.raw, size[::-1]
    side = config.share * sqrt(lengths[0] * lengths[1])
    down, across = (
        min(cells, max(1, round(side * cells / length)))
        for cells, length in zip(values.shape, lengths)
    )
    found = []
    for sign in (1, -1):
        for top, left in top_windows(
            sign * values, (down, across), count=config.per_picture, overlap=config.overlap
        ):
            y0, y1 = _pixels(top, down, values.shape[0], lengths[0])
            x0, x1 = _pixels(left, across, values.shape[1], lengths[1])
            inside = float(values[top : top + down, left : left + across].sum())
            found.append(Patch(row, (x0, y0, x1, y1), inside))
    return found


def _pixels(first: int, count: int, cells: int, length: int) -> tuple[int, int]:
    """Where cells of a map begin and end in pixels; a map may be finer than its picture."""
    start = first * length // cells
    return start, max(start + 1, round((first + count) * length / cells))


def top_windows(
    values: np.ndarray, shape: tuple[int, int], *, count: int, overlap: float
) -> list[tuple[int, int]]:
    """Windows with the highest positive means, by greedy non-maximum suppression.

    Args:
        values: contributions, float64 [H, W].
        shape: height and width of a window, at most H and W.
        count: most windows.
        overlap: a window whose intersection over union with one already taken is larger than this
            is suppressed.

    Returns:
        Top and left of each, the highest mean first; of equal ones the first by row and column.
    """
    down, across = shape
    # Summed-area table: the sum inside any window is a difference of four of its corners.
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    means = (
        table[down:, across:] - table[:-down, across:] - table[down:, :-across]
        + table[:-down, :-across]
    ) / (down * across)  # fmt: skip
    # Differences of large sums leave rounding where contributions are zero.
    negligible = 1e-12 * np.abs(values).sum()
    tops, lefts = np.indices(means.shape)
    found: list[tuple[int, int]] = []
    while len(found) < count:
        top, left = (int(place) for place in np.unravel_index(means.argmax(), means.shape))
        if not means[top, left] > negligible:
            break
        found.append((top, left))
        common = np.clip(down - np.abs(tops - top), 0, None) * np.clip(
            across - np.abs(lefts - left), 0, None
        )
        means[common / (2 * down * across - common) > overlap] = -np.inf
        means[top, left] = -np.inf
    return found


def cluster(embeddings: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """K-means clusters of embeddings [P, width], int64 [P]; their number by the elbow method."""
    from sklearn.cluster import KMeans  # takes a second

    distinct = len(np.unique(embeddings, axis=0))
    tried = [
        KMeans(count, n_init=_STARTS, random_state=seed).fit(embeddings)
        for count in range(1, min(most, distinct) + 1)
    ]
    # As many clusters as there are distinct embeddings leave nothing, and so do more.
    inertia = [float(found.inertia_) for found in tried] + [0.0] * (most - len(tried))
    labels: np.ndarray = tried[min(elbow(inertia), len(tried)) - 1].labels_.astype(np.int64)
    return labels


def elbow(inertia: Sequence[float]) -> int:
    """Number of clusters at the elbow of the curve of inertia by number of clusters (1, 2, ...).

    The curve is normalised to run from (0, 1) to (1, 0); the elbow is the point below the chord
    between these two that is farthest from it, and of equal ones the first. It depends on how many
    clusters were tried. 1 where more clusters help nothing.
    """
    curve = np.asarray(inertia, dtype=np.float64)
    drop = curve[0] - curve[-1]
    if len(curve) < 2 or drop <= 1e-12 * abs(curve[0]):
        return 1
    x = np.linspace(0, 1, len(curve))
    y = (curve - curve[-1]) / drop
    return int((1 - x - y).argmax()) + 1


def sampled(
    patches: Sequence[Patch], clusters: Sequence[int], sign: int, rng: np.random.Generator
) -> list[Patch]:
    """Equally many patches of each cluster, `SHOWN` in all at most, of different contents.

    Args:
        patches: all there are.
        clusters: from which to sample, in the order in which they are to be shown.
        sign: of the contributions that are wanted, 1 or -1: a cluster that raises the rate may have
            a patch that lowers it.
        rng: what is drawn follows from it.
    """
    if not clusters:
        return []
    drawn = []
    for number in clusters:
        own = [p for p in patches if p.cluster == number and np.sign(p.contribution) == sign]
        shuffled = [own[place] for place in rng.permutation(len(own))]
        drawn.append(list({patch.row: patch for patch in shuffled}.values()))
    each = min(SHOWN // len(clusters), *(len(found) for found in drawn))
    return [patch for found in drawn for patch in found[:each]]


def patch_embeddings(scorer: Explainable, patches: Sequence[Image.Image]) -> np.ndarray:
    """Embeddings [P, width], float64, of patches by the model's image encoder.

    Patches are resized to what the network reads; they keep their size if it reads any. Of M2FN it
    is the mean over the map without fusion.
    """
    scorer = given(network_with(scorer, ImageReader))
    name, reader = given(scorer.inputs.find(ImageReader))
    size = reader.input.size
    if size is not None:
        # The gap lets Pillow shrink by a cheap integer factor first.
        patches = [
            patch.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
            for patch in patches
        ]
    pixels = [torch.from_numpy(np.array(patch)).permute(2, 0, 1) for patch in patches]
    most = max(p.shape[1] * p.shape[2] for p in pixels)
    at_once = max(1, PIXELS_AT_ONCE // most)
    network, found = scorer.model.eval(), []
    with torch.inference_mode():
        for start in range(0, len(pixels), at_once):
            part = pixels[start : start + at_once]
            read = ModalityInputs(
                tensors=(part if size is None else torch.stack(part),),
                present_B=torch.ones(len(part), dtype=torch.bool),
                complete=True,
            )
            inputs = Inputs(size=len(part), modalities={name: read})
            encoded = network.encode(name, inputs.to(scorer.device))
            encoded = encoded.mean((2, 3)) if encoded.dim() == 4 else encoded
            found.append(encoded.double().cpu().numpy())
    return np.concatenate(found)
