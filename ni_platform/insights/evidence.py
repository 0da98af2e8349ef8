"""What stands behind a recommendation: randomised A/B tests, or something that proves less."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ni_platform.data.assignment import EVIDENCE, KINDS


def with_evidence(
    scores: pd.DataFrame, occurrences: pd.DataFrame, kinds: np.ndarray, key: str = "feature"
) -> pd.DataFrame:
    """Add the column `evidence`, one of `data.assignment.KINDS`.

    It is randomised where pairs of arms of held-out randomised A/B tests bear on the feature, of
    which one has it and the other has not; else platform, where contents with it were delivered by
    a platform; else observational.

    Args:
        scores: as `with_past_agreement` gives them.
        occurrences: the contents (row) that have each feature.
        kinds: `Dataset.evidence` of each content [N].
        key: column of both that names the feature.
    """
    delivered = occurrences[key][kinds[occurrences["row"]] == "platform"]
    weaker = np.where(scores[key].isin(delivered), "platform", "observational")
    return scores.assign(evidence=np.where(scores["of"] > 0, "randomised", weaker))


def recorded_evidence(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the column to scores of a run of an earlier version, which took all for randomised."""
    if "evidence" in scores or "of" not in scores:
        return scores
    return scores.assign(evidence=np.where(scores["of"] > 0, "randomised", "observational"))


def short(kind: str) -> str:
    """The class of evidence, without what it means."""
    return EVIDENCE[kind].partition(":")[0]


def explained(kinds: Iterable[str]) -> list[str]:
    """What the classes mean that do not say what works, each once."""
    found = set(kinds)
    return [EVIDENCE[kind] for kind in KINDS[1:] if kind in found]
