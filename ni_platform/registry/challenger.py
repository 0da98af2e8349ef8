"""The model that is judged, and the champion on test contents that neither learned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ni_platform.data.assignment import EVIDENCE
from ni_platform.data.dataset import Dataset
from ni_platform.errors import DatasetError, TrackingError
from ni_platform.metrics.scored import judged
from ni_platform.models.regressor import load_regressor
from ni_platform.registry.model_source import resolve_model
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.registry.versions import Version
from ni_platform.tracking.run_queries import RunSummary
from ni_platform.tracking.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Challenger:
    """A run's model that wants to be champion; what gates need of it is read once."""

    store: Store
    run: RunSummary
    model_uri: str
    metrics: pd.DataFrame
    """See `read_metrics`."""
    champion: Version | None

    @cached_property
    def evaluation(self) -> RunEvaluation:
        """What it predicted for its test part.

        Raises:
            TrackingError: That is not recorded.
        """
        return RunEvaluation.load(self.store, self.run.run_id)

    @cached_property
    def beside_champion(self) -> Comparison:
        """It and the champion, of which there is one.

        Raises:
            TrackingError: What one of them predicted or learned from is not recorded.
        """
        champion = self.champion
        if champion is None or not champion.run_id:
            raise TrackingError(
                "it was registered without a run, so what it learned from is unknown"
            )
        return Comparison(
            store=self.store,
            challenger=self.evaluation,
            reigning=RunEvaluation.load(self.store, champion.run_id),
            champion=champion,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Test contents of the challenger that neither model learned from, and both predictions.

    Whole A/B tests are left out if the champion learned from one of their contents.
    """

    store: Store
    challenger: RunEvaluation
    reigning: RunEvaluation
    champion: Version

    @cached_property
    def _spoilt(self) -> np.ndarray:
        """Which test contents the champion learned from, or from their A/B tests, bool [test]."""
        test = self.challenger.test
        known = self.reigning.learned_from(self.challenger)
        # One arm tells about the others.
        cluster = test["ab_test"].where(test["ab_test"].notna(), test["group"])
        return known | (cluster.notna() & cluster.isin(cluster[known].dropna())).to_numpy()

    @property
    def left_out(self) -> int:
        """How many test contents the champion learned from, or from their A/B tests."""
        return int(self._spoilt.sum())

    @cached_property
    def fair(self) -> pd.DataFrame:
        """The other test contents that figures count, with `RunEvaluation.test`'s columns [N]."""
        return judged(self.challenger.test[~self._spoilt])

    @property
    def ours(self) -> np.ndarray:
        """The challenger's rates of `fair` [N]."""
        return self.fair["prediction"].to_numpy(dtype=float)

    @cached_property
    def theirs(self) -> np.ndarray:
        """The champion's rates of `fair` [N]: its own records, else its model on the dataset.

        Raises:
            TrackingError: Some are not recorded, and the dataset is gone or another one now.
        """
        by = "content_id" if self.reigning.same_dataset(self.challenger) else "content_key"
        recorded = self.reigning.test.drop_duplicates(by).set_index(by)["prediction"]
        rates = np.array(self.fair[by].map(recorded), dtype=float)
        unknown = ~np.isfinite(rates)
        if unknown.any():
            rates[unknown] = self._score(self.fair.loc[unknown, "content_id"])
        return rates

    def _score(self, content_ids: pd.Series) -> np.ndarray:
        place = self.challenger.run.tags.get("ni.dataset")
        if place is None:
            raise TrackingError(
                "it has no prediction for some test contents and the challenger's run does not say"
                " which dataset it used (tag ni.dataset)"
            )
        try:
            dataset = Dataset.open(place)
        except DatasetError as error:
            raise TrackingError(
                f"it has no prediction for {len(content_ids)} test contents, and the dataset to"
                f" score them on cannot be opened: {error} Put it back at {place}."
            ) from error
        if dataset.fingerprint() != self.challenger.run.tags.get("ni.dataset_fingerprint"):
            raise TrackingError(
                f"it has no prediction for {len(content_ids)} test contents, and the dataset at"
                f" {place} has changed since the challenger was trained. Restore it, or train"
                " again."
            )
        ids = pd.Index(dataset.content_id.astype(str))
        scorer = load_regressor(resolve_model(self.store, self.champion.uri))
        rows = ids.get_indexer(pd.Index(content_ids.astype(str)))
        return np.asarray(scorer.predict(dataset.inputs(rows)), dtype=float)


def without_randomisation(evaluation: RunEvaluation) -> str:
    """Words for a test part without a randomised A/B test that counts."""
    evidence = evaluation.evidence
    if evidence in (None, "randomised"):
        return ""
    return f"; no randomised A/B test is among them, so that the evidence is {EVIDENCE[evidence]}"
