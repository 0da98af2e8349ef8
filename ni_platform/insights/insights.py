"""From a trained network and a dataset to insights: attributions, their test, recommendations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
from PIL import Image

from ni_platform.attribution.explain import Explanations, explain
from ni_platform.data.dataset import Dataset
from ni_platform.data.images import decode
from ni_platform.data.splits import LEFT_OUT
from ni_platform.insights import sanity
from ni_platform.insights.config import InsightsConfig
from ni_platform.insights.differences import Differences, pair_table
from ni_platform.insights.evidence import with_evidence
from ni_platform.insights.judging import ModalityInsights, judged
from ni_platform.insights.pairs import Arms
from ni_platform.insights.patches import (
    PatchInsights,
    PictureOf,
    patch_embeddings,
    patch_insights,
)
from ni_platform.insights.rank_scores import (
    MODALITY_OF,
    level_occurrences,
    phrase_occurrences,
    rank_scores,
    with_past_agreement,
    word_occurrences,
)
from ni_platform.models.ensemble import Explainable
from ni_platform.models.modalities.modality import category

HELD_OUT = ("in_domain", "out_of_domain")
"""Parts of the split that attributions are judged on."""


@dataclass(frozen=True)
class Insights:
    """Everything that a run records of its insights."""

    rows: np.ndarray
    """Dataset rows that were explained, int64 [N]."""
    parts: np.ndarray
    """The split's part of each."""
    explanations: Explanations
    modalities: dict[str, ModalityInsights]
    ranked_right: tuple[float, int]
    """Of how many pairs of held-out arms with different rates the model predicts the better one,
    equal predictions counted half; and of how many pairs."""
    pairs: pd.DataFrame
    """The compared pairs of held-out arms: modality, method, first, second (counted in `rows`),
    ab_test, attribution_difference, rate_difference (second less first) and control_best, whether
    it is a control against its test's best treatment."""
    scores: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Kind (see `MODALITY_OF`) -> rank scores with their support and evidence; see `rank_scores`,
    `with_past_agreement` and `with_evidence`."""
    patches: PatchInsights | None = None
    """What is recommended of pictures, if they are explained; `Patch.row` counts in `rows`."""
    withheld: str | None = None
    """Why nothing is recommended: what the model reaches, where a coin does as well."""


def make_insights(
    scorer: Explainable,
    dataset: Dataset,
    parts: pd.DataFrame,
    config: InsightsConfig,
    on_event: Callable[[str], None] = lambda event: None,
) -> Insights:
    """Explain, judge against what happened in held-out A/B tests, and recommend.

    Args:
        scorer: the trained model.
        dataset: what is explained.
        parts: row and part of the split of each content that may be used; those of the part
            `left_out` are not.
        config: how.
        on_event: told in words what is being done.
    """
    chosen = _chosen(dataset, parts, config)
    rows, part = chosen["row"].to_numpy(dtype=np.int64), chosen["part"].to_numpy()
    done = 0

    def progress(contents: int) -> None:
        nonlocal done
        done += contents
        on_event(f"explained {done:,} of {len(rows):,} contents")

    frame = dataset.inputs(rows)
    explanations = explain(scorer, frame, config.attribution, with_maps=True, progress=progress)
    arms = _arms(dataset, rows, dataset.randomised_test)
    platform = _arms(dataset, rows, dataset.platform_test)
    held_out = np.isin(part, HELD_OUT)
    some = rows[held_out][: sanity.CONTENTS]
    shuffled = dataset.inputs(some), _arms(dataset, some, dataset.randomised_test)
    found, pairs = {}, []
    for name, explained in explanations.modalities.items():
        on_event(f"comparing {name} attributions with what happened")
        differences = Differences(explained, arms, config.similarity)
        found[name] = judged(
            explained, differences, arms, platform, held_out, part, config,
            partial(sanity.shuffled_agreements, scorer, *shuffled, config, on_event, name),
        )  # fmt: skip
        pairs += [
            pair_table(arms, differences, attributions, held_out).assign(
                modality=name, method=method
            )
            for method, attributions in explained.by_method.items()
        ]
    return Insights(
        rows=rows,
        parts=part,
        explanations=explanations,
        modalities=found,
        ranked_right=arms.ranked_right(explanations.predictions, held_out),
        pairs=pd.concat(pairs, ignore_index=True),
        scores=_scores(explanations, found, dataset, rows, arms, held_out),
        patches=_patches(scorer, explanations, found, dataset, rows, arms, held_out, config),
    )


def picture_of(dataset: Dataset, rows: np.ndarray) -> PictureOf:
    """What reads the picture of a content by its position in `rows`."""

    def read(position: int) -> Image.Image:
        cells = dataset.inputs([int(rows[position])])
        return decode(cells[dataset.manifest.columns.image].iloc[0])

    return read


def _patches(
    scorer: Explainable,
    explanations: Explanations,
    found_of: Mapping[str, ModalityInsights],
    dataset: Dataset,
    rows: np.ndarray,
    arms: Arms,
    held_out: np.ndarray,
    config: InsightsConfig,
) -> PatchInsights | None:
    if "image" not in found_of:
        return None
    found = patch_insights(
        explanations.modalities["image"].by_method[found_of["image"].method],
        picture_of(dataset, rows),
        partial(patch_embeddings, scorer),
        arms,
        _arms(dataset, rows, dataset.ab_test).clusters,
        held_out,
        config.support,
        config.patches,
    )
    of_cluster = pd.DataFrame(
        [(p.row, p.cluster) for p in found.patches], columns=["row", "cluster"]
    )
    kinds = dataset.evidence.to_numpy()[rows]
    return replace(found, clusters=with_evidence(found.clusters, of_cluster, kinds, "cluster"))


def _chosen(dataset: Dataset, parts: pd.DataFrame, config: InsightsConfig) -> pd.DataFrame:
    """Contents that are explained, those of one A/B test together; held-out tests first."""
    parts = parts[parts["part"] != LEFT_OUT]
    ab_test = dataset.ab_test
    rows = parts["row"].to_numpy(dtype=np.int64)
    test = pd.Series(np.full(len(rows), None) if ab_test is None else ab_test.to_numpy()[rows])
    own = pd.Series([f"\0{row}" for row in rows])
    label = test.where(test.notna(), own).astype(str)
    rng = np.random.default_rng(config.seed)
    order = pd.Series(rng.permutation(label.nunique()), index=label.unique())
    table = parts.assign(
        _late=~parts["part"].isin([*HELD_OUT, "validation"]), _order=label.map(order).to_numpy()
    ).sort_values(["_late", "_order", "row"], kind="stable")
    sizes = table.groupby("_order", sort=False)["row"].transform("size")
    ends = (table["_order"] != table["_order"].shift()).astype(int).mul(sizes).cumsum()
    kept = table[ends <= max(config.contents, int(ends.iloc[0]))]
    return kept.drop(columns=["_late", "_order"]).reset_index(drop=True)


def _arms(dataset: Dataset, rows: np.ndarray, ab_test: pd.Series) -> Arms:
    """Pair the contents `rows` of A/B tests, given for all contents of the dataset [N]."""

    def labels(column: pd.Series | None) -> pd.Series | None:
        return None if column is None else column.iloc[rows].reset_index(drop=True)

    return Arms.of(dataset.success_rate[rows], labels(ab_test), labels(dataset.arm))


def _scores(
    explanations: Explanations,
    found_of: Mapping[str, ModalityInsights],
    dataset: Dataset,
    rows: np.ndarray,
    arms: Arms,
    held_out: np.ndarray,
) -> dict[str, pd.DataFrame]:
    """Rank scores of each kind of feature, over all domains and within each."""
    found = {}
    # Contents of one A/B test are not independent, however its arms were assigned.
    clusters = _arms(dataset, rows, dataset.ab_test).clusters
    kinds = dataset.evidence.to_numpy()[rows]
    domains = domain_labels(dataset)[rows]
    occurrences = {}
    if "text" in found_of:
        explained = explanations.modalities["text"]
        attributions = explained.by_method[found_of["text"].method]
        occurrences["word"] = word_occurrences(explained.words, attributions)
        occurrences["phrase"] = phrase_occurrences(explained.words, attributions)
    for kind in ("attribute", "wording"):
        name = MODALITY_OF[kind]
        if name in found_of:
            explained = explanations.modalities[name]
            attributions = explained.by_method[found_of[name].method]
            occurrences[kind] = level_occurrences(explained.elements, attributions)
    for kind, table in occurrences.items():
        scores = rank_scores(table, clusters)
        if pd.notna(domains).any():
            scores = pd.concat([scores, rank_scores(table, clusters, domains)], ignore_index=True)
        scores = with_past_agreement(scores, table, arms, held_out, domains)
        found[kind] = with_evidence(scores, table, kinds)
    return found


def domain_labels(dataset: Dataset) -> np.ndarray:
    """The domain of each content as scores and pages name it, object [N]; None where unknown."""
    found = dataset.domain
    labels = [None] * len(dataset) if found is None else [category(cell) for cell in found]
    return np.array(labels, dtype=object)
