"""What a recorded model is worth on A/B tests that happened: the assembly point of `ni value`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from ni_platform.beliefs.arms import SizedTests, gathered
from ni_platform.beliefs.past_errors import past_tests, recorded_validation
from ni_platform.beliefs.prior import Prior
from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import ab_test_codes
from ni_platform.data.overdispersion import dataset_overdispersion
from ni_platform.data.splits import TEST_PARTS
from ni_platform.errors import DatasetError
from ni_platform.held_out import own_run, unseen_contents
from ni_platform.models.ensemble import Ensemble
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.models.scorer import Scorer
from ni_platform.models.uncertainty import joint_logits
from ni_platform.registry.model_source import resolve_model, run_of_model
from ni_platform.registry.run_evaluation import RunEvaluation
from ni_platform.run_note import describe_run
from ni_platform.scoring import OnScored
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store
from ni_platform.value.figures import figures
from ni_platform.value.record import Valued, record_value
from ni_platform.value.replay import ReplayConfig, replay

VALUED_RUN = "ni.valued_run"
"""Tag of a run of what a model is worth on another dataset than its own: the run that made it."""
_ANY_DEVIATION = 1.0
"""Of arms of a test, in logits, where no past test shows it: wide."""


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """A model, and the contents of a dataset that it did not learn from."""

    model: Regressor
    dataset: Dataset
    on_scored: OnScored | None

    @property
    def explainable(self) -> bool:
        """Whether the model can be asked for insights."""
        ensemble = isinstance(self.model, Ensemble) and bool(self.model.networks)
        return ensemble or isinstance(self.model, Scorer)

    def tests(self, rows: np.ndarray) -> list[SizedTests]:
        """A/B tests of some rows, with what the model predicts of their arms.

        Those that `Dataset.randomised_test` counts, with at least two arms that were shown.
        """
        label = self.dataset.randomised_test.iloc[rows].reset_index(drop=True)
        shown = pd.Series(self.dataset.impressions[rows] > 0)
        arms = label.where(shown).groupby(label).transform("count")
        kept = (shown & (arms > 1)).to_numpy()
        chosen, code = rows[kept], ab_test_codes(label[kept])
        if not len(chosen):
            return []
        progress = (
            (lambda done: None)
            if self.on_scored is None
            else partial(self.on_scored, total=len(chosen))
        )
        inputs = self.dataset.inputs(chosen)
        predicted, covariance = joint_logits(self.model, inputs, code, progress=progress)
        clicks, impressions = self.dataset.clicks[chosen], self.dataset.impressions[chosen]
        return gathered(code, clicks, impressions, predicted, covariance)


def value_model(
    store: Store,
    uri: str,
    data: str,
    config: ReplayConfig,
    *,
    on_scored: OnScored | None = None,
) -> tuple[str, Valued]:
    """Replay the A/B tests of `data` that a model did not learn from, and record what comes out.

    On the dataset that the model was trained on it goes into the run that made it, otherwise into a
    run of its own.

    Args:
        store: Where runs and models are.
        uri: A run id, `models:/NAME@champion` or another model URI.
        data: Dataset folder.
        config: How tests are replayed.
        on_scored: Told about progress of scoring.

    Returns:
        The run that holds it, and what was found.

    Raises:
        DatasetError: There is no test to replay, or its target is not clicks.
        BusyError: A living process works on the run.
    """
    model = load_regressor(resolve_model(store, uri))
    dataset = Dataset.open(data)
    run_id = run_of_model(store, uri)
    trained = None if run_id is None else RunEvaluation.load(store, run_id)
    same = trained is not None and (
        trained.run.tags.get("ni.dataset_fingerprint") == dataset.fingerprint()
    )
    unseen = unseen_contents(dataset, trained)
    judge = _Judge(model=model, dataset=dataset, on_scored=on_scored)
    rows, of_test = unseen["row"].to_numpy(), unseen["part"].isin(TEST_PARTS).to_numpy()
    tests = judge.tests(rows[of_test])
    if not tests:
        raise DatasetError(
            "The value of a model is judged by randomised A/B tests with the planned shares of "
            f"impressions that it did not learn from, but {dataset.root} has none with two arms "
            "that were shown: use a dataset that has some (`ni data check` says which do not count)"
        )
    every = np.arange(len(dataset))
    noise = dataset_overdispersion(dataset, np.setdiff1d(every, rows[of_test]) if same else every)
    if same:
        past = judge.tests(rows[~of_test]), noise
    else:
        recorded = recorded_validation(store, run_id)
        past = ([], 1.0) if recorded is None else past_tests(recorded)
    valued = _valued(tests, *past, noise, config)
    if same and run_id is not None:
        record = RunRecord.existing(store, run_id)
        with record.alone():
            record_value(record, valued)
            describe_run(record, explainable=judge.explainable)
        return record.run_id, valued
    with own_run(store, "value", uri, dataset, {VALUED_RUN: run_id}) as record:
        record_value(record, valued)
        describe_run(record, explainable=False)
    return record.run_id, valued


def _valued(
    tests: list[SizedTests],
    past: list[SizedTests],
    past_noise: float,
    noise: float,
    config: ReplayConfig,
) -> Valued:
    """Replay tests with what past ones teach; each have their overdispersion."""
    prior, without = (
        fitted and replace(fitted, overdispersion=noise)
        for fitted in (
            Prior.fit(past, past_noise, with_model=True),
            Prior.fit(past, past_noise, with_model=False),
        )
    )
    if without is None:
        without = Prior(slope=0.0, deviation=_ANY_DEVIATION, overdispersion=noise, with_model=False)
    found = figures(replay(tests, prior, without, config))
    return Valued(figures=found, prior=prior, without=without, config=config)
