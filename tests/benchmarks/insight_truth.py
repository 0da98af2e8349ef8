"""Are explanations right? Every method against what planted data knows of itself.

    ni data synthesize planted --tests 600 --image-size 64
    ni train neural_insights.quickstart --data planted --set model.image.input.size=64
    python -m tests.benchmarks.insight_truth planted RUN [RUN ...] --contents 600 --image-size 64

`--modalities text` leaves pictures out, which take longest under a large image network.
For each run (of another seed, for instance), modality and method: scores against the planted
effects, the insight correlation of held-out pairs by the threshold of Algorithm 4, and both again
for the network with shuffled weights. Last, whether the correlation orders methods as the truth.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from ni_platform.attribution.attribution import Attribution
from ni_platform.attribution.config import AttributionConfig
from ni_platform.attribution.explain import ModalityExplained, explain
from ni_platform.data.dataset import Dataset
from ni_platform.data.synthetic import Truth, read_truth
from ni_platform.insights.correlation import agreement, all_pairs
from ni_platform.insights.differences import Differences
from ni_platform.insights.insights import HELD_OUT
from ni_platform.insights.pairs import Arms
from ni_platform.insights.rank_scores import rank_scores, word_occurrences
from ni_platform.insights.sanity import shuffled_scorer
from ni_platform.insights.truth import region_scores, word_scores
from ni_platform.models.scorer import Scorer
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.scoring import network_of
from ni_platform.tracking.store import open_store

CONFIG = AttributionConfig(samples=64, steps=8, grid=8)
THRESHOLDS = {"text": (0.9,), "image": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}
TRUTH = {"text": "word_effect_correlation", "image": "element_effect_correlation"}
"""Not the pointing accuracy: a network with shuffled weights points at what stands out, too."""


def held_out_rows(dataset: Dataset, run: str, number: int) -> np.ndarray:
    """The first contents of the test part, whole A/B tests as they stand together."""
    parts = RunEvaluation.load(open_store(), run).splits.set_index("content_id")["part"]
    part = dataset.content_id.astype(str).map(parts)
    return np.flatnonzero(part.isin(HELD_OUT))[:number]


def against_truth(
    modality: str,
    explained: ModalityExplained,
    attributions: list[Attribution],
    rows: np.ndarray,
    arms: Arms,
    truth: Truth,
    size: int,
) -> dict[str, float]:
    """Scores of one method."""
    if modality == "image":
        return region_scores(rows, attributions, truth, size)
    occurrences = word_occurrences(explained.words, attributions)
    return word_scores(rank_scores(occurrences, arms.test), truth)


def measured(
    scorer: Scorer, dataset: Dataset, rows: np.ndarray, modality: str, size: int
) -> pd.DataFrame:
    """One row per method."""
    frame, truth = dataset.inputs(rows), read_truth(dataset.root)
    ab_test = dataset.ab_test.iloc[rows].reset_index(drop=True)
    arms = Arms.of(dataset.success_rate[rows], ab_test, None)
    explained = explain(scorer, frame, CONFIG, modalities=(modality,), with_maps=True).modalities[
        modality
    ]
    differences = {
        threshold: Differences(explained, arms, threshold) for threshold in THRESHOLDS[modality]
    }
    found = []
    for method, attributions in explained.by_method.items():
        line = against_truth(modality, explained, attributions, rows, arms, truth, size)
        for threshold, difference in differences.items():
            agreed = agreement(
                arms,
                difference.of(attributions),
                all_pairs(arms, difference.differ),
                replicates=200,
                permutations=0,
            )
            rho = agreed.correlation
            line[f"rho at {threshold}"] = rho.value
            line[f"low at {threshold}"], line[f"high at {threshold}"] = rho.low, rho.high
        found.append({"method": method, **line})
    return pd.DataFrame(found).set_index("method")


def main(root: str, runs: list[str], modalities: list[str], number: int, size: int) -> None:
    """Measure and print."""
    dataset = Dataset.open(root)
    for modality in modalities:
        truth, tables = TRUTH[modality], []
        for run in runs:
            then = time.perf_counter()
            scorer, rows = network_of(open_store(), run), held_out_rows(dataset, run, number)
            table = measured(scorer, dataset, rows, modality, size)
            seconds = time.perf_counter() - then
            print(f"\n{modality}, run {run}, {len(rows)} contents, {seconds:.0f} s")
            print(table.round(3).to_string(), flush=True)
            shuffled = measured(shuffled_scorer(scorer, 0), dataset, rows[:200], modality, size)
            print(f"{modality}, run {run}, shuffled weights, {min(200, len(rows))} contents")
            print(shuffled.round(3).to_string(), flush=True)
            for threshold in THRESHOLDS[modality]:
                order = kendalltau(table[truth], table[f"rho at {threshold}"]).statistic
                print(f"order by {truth} and by rho at {threshold}: Kendall's tau {order:+.2f}")
            tables.append(table)
        mean = sum(tables) / len(tables)
        print(f"\n{modality}, mean of {len(runs)} runs\n{mean.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--modalities", nargs="+", choices=TRUTH, default=list(TRUTH))
    parser.add_argument("--contents", type=int, default=600)
    parser.add_argument("--image-size", type=int, default=64)
    given = parser.parse_args()
    main(given.data, given.runs, given.modalities, given.contents, given.image_size)
