"""Models that were trained: what they predict, why, and how good they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ni_platform.api.data import Dataset, open_dataset
from ni_platform.api.display import Part, cell
from ni_platform.api.explanations import Explanations, explain_frame
from ni_platform.api.frames import as_pandas
from ni_platform.api.monitor import Health, make_health
from ni_platform.api.notebook import in_notebook, show
from ni_platform.api.plans import TestPlan
from ni_platform.api.progress import ScoringProgress, say
from ni_platform.api.value import Value, make_value
from ni_platform.errors import DatasetError
from ni_platform.insights.said import recorded_said
from ni_platform.models.regressor import Regressor
from ni_platform.plans.believed import past_errors_of
from ni_platform.plans.drafts import read_drafts, texts_of
from ni_platform.plans.past import Past
from ni_platform.plans.plan import PlanConfig, make_plan
from ni_platform.plans.record import Planner, record_plan
from ni_platform.registry.model_source import resolve_model, store_of_model
from ni_platform.registry.promotion import PromotionReport, promote
from ni_platform.reporting.page import Table
from ni_platform.scoring import network_of, predicted
from ni_platform.tracking.store import Store, open_store

if TYPE_CHECKING:
    from ni_platform.models.ensemble import Explainable


@dataclass(frozen=True, kw_only=True, repr=False)
class Model:
    """A model of a run or of the registry; it is read when it is first used."""

    uri: str
    """A run id, `models:/NAME@champion`, `models:/NAME/VERSION` or a folder."""
    store: Store | None
    """Where it is; None for a folder."""
    promotion: PromotionReport | None = None
    """What the gates said, if it was promoted just now."""

    @cached_property
    def _planner(self) -> Planner:
        # Both at once: the alias may move before a plan is made.
        return Planner.load(self.store, self.uri)

    @property
    def regressor(self) -> Regressor:
        """What predicts, in memory."""
        return self._planner.regressor

    @property
    def columns(self) -> dict[str, str]:
        """The columns that it reads, and what they are: text, image, categorical, ..."""
        return dict(self.regressor.roles)

    @property
    def gates(self) -> pd.DataFrame:
        """A row per promotion gate: gate, passed, explanation; none if it was not promoted now."""
        gates = [] if self.promotion is None else self.promotion.gates
        rows = [(gate.name, gate.passed, gate.explanation) for gate in gates]
        return pd.DataFrame(rows, columns=["gate", "passed", "explanation"])

    def predict(self, frame: Any, *, ab_test: str | None = None) -> pd.DataFrame:
        """Return the predicted success rate of N contents, with the index of `frame`.

        Args:
            frame: A table of any library with the columns of `columns`; others are not read. A
                picture is a path, an `s3://` URI or bytes; an empty cell is a missing modality.
            ab_test: Column with the A/B test of each content, for a ranker's `chance_best`.

        Returns:
            Column `prediction`, in (0, 1); of a ranker also `low` and `high`, the 95 % interval of
            the rate, and `chance_best`, the probability to be the best of its A/B test.

        Raises:
            DatasetError: A column is missing, or a cell cannot be read.
            TrackingError: There is no such model.
        """
        contents = as_pandas(frame)
        if ab_test is not None and ab_test not in contents:
            raise DatasetError(
                f"ab_test names a column, but {ab_test!r} is none of {list(contents.columns)}"
            )
        tests = contents[ab_test] if ab_test is not None else pd.Series([None] * len(contents))
        with ScoringProgress() as progress:
            table = predicted(
                self.regressor,
                contents.reset_index(drop=True),
                tests.reset_index(drop=True),
                on_scored=progress,
                say=say,
            )
        return table.set_index(contents.index)

    def plan(
        self,
        drafts: Any,
        data: str | Path | Dataset,
        *,
        control: str | None = None,
        traffic: int | None = None,
        arms: int = 4,
        record: bool = True,
    ) -> TestPlan:
        """Return which of N drafts to test, with how much traffic, and what that brings.

        The plan is recorded as a run of the experiment `plans`, to be compared with the test's
        outcome: ids, keys and predictions of the drafts, nothing of what they say.

        Args:
            drafts: A table of any library, or the path of one, with an id in the column `id`, else
                the index, and the columns of `columns`; one that is not there counts as missing.
            data: Dataset that the model learned from.
            control: Draft that is shown today.
            traffic: Impressions that the whole test may have.
            arms: Of the test, the control included.
            record: Whether the plan is recorded.

        Raises:
            ConfigError: The model is no ranker and its run has too few validation A/B tests to say
                how sure it is, or the control is no draft.
            DatasetError: Too few drafts, or a cell cannot be read.
        """
        past = Past(dataset=open_dataset(data).stored)
        if isinstance(drafts, str | os.PathLike):
            table = read_drafts(os.fspath(drafts), self.regressor, say=say)
        else:
            table = as_pandas(drafts)
            table = table.set_index("id") if "id" in table else table
            table = table[[name for name in table if name in self.regressor.roles]]
        config = PlanConfig(control=control, traffic=traffic, arms=arms)
        errors = past_errors_of(self.store, self.uri)
        plan = make_plan(self.regressor, table, past, config, errors)
        said = recorded_said(self.store, self.uri, texts_of(table, self.regressor))
        run_id = None
        if record:
            place = open_store() if self.store is None else self.store
            run_id = record_plan(place, plan, table, self._planner, past.dataset)
        return TestPlan(plan=plan, said=said, run_id=run_id)

    def explain(self, frame: Any, **settings: Any) -> Explanations:
        """Return what each word, picture region and attribute contributes to predictions.

        Args:
            frame: As `predict` takes it, such as `Dataset.sample(5)`.
            **settings: Of `AttributionConfig`: `methods` (grad_cam, integrated_gradients,
                kernel_shap, which is the default, feature_ablation, and pca, the consensus of at
                least two others), `samples`, `steps`, `grid`, `seed`.

        Raises:
            ConfigError: The model is no network, or a method does not fit it.
            DatasetError: As `predict`.
        """
        network: Explainable = network_of(self.store, self.uri)
        return explain_frame(network, frame, settings)

    def value(self, data: Dataset | str | Path, *, replicates: int = 200) -> Value:
        """Return what the model is worth in clicks, by replaying A/B tests that happened.

        Those of `data` that it did not learn from. It is recorded: in the run that made the model,
        or for another dataset in one of its own.

        Args:
            data: A dataset, or its folder.
            replicates: Replays of each test.

        Raises:
            DatasetError: There is no randomised A/B test to replay, or its target is not clicks.
            ConfigError: `replicates` is below 1.
            BusyError: Another process works on the run.
        """
        return make_value(self.store, self.uri, open_dataset(data).folder, replicates)

    def monitor(self, data: Dataset | str | Path, *, log: str | Path | None = None) -> Health:
        """Return whether the model still does what it was promoted for, and what is to be done.

        By the contents of `data` that came since it was trained. It is recorded in a run of its
        own; a registered version that the model was opened by is tagged `ni.health`.

        Args:
            data: A later version of the dataset that it was trained on, with days; or its folder.
            log: Folder or `s3://` prefix of logged predictions; `NI_LOG_PREDICTIONS` if None.

        Raises:
            DatasetError: The dataset has no days, or the run's contents with other inputs; or the
                log cannot be read.
            TrackingError: The model was not made by a run.
        """
        place = None if log is None else str(log)
        return make_health(self.store, self.uri, open_dataset(data).folder, place)

    def __repr__(self) -> str:
        return f"Model {self.uri}"

    def _repr_html_(self) -> str:
        parts = [] if self.promotion is None else gates_shown(self.promotion)
        return cell(repr(self), *parts, Part(note="predict(TABLE), explain(TABLE)"))


def open_model(uri: str) -> Model:
    """Open a model: a run id, `models:/NAME@champion`, another model URI, or a folder.

    Raises:
        TrackingError: There is no such model, or the store does not answer.
    """
    store = store_of_model(uri)
    resolve_model(store, uri)
    return Model(uri=uri, store=store)


def gates_shown(report: PromotionReport) -> list[Part]:
    """Return the gates as a notebook shows them, red where one refused."""
    rows = [
        (gate.name, "pass" if gate.passed else "FAIL", gate.explanation) for gate in report.gates
    ]
    marks = ["passed" if gate.passed else "failed" for gate in report.gates]
    now = "is champion" if report.promoted else "stays challenger"
    heading = f"{report.model_name} version {report.version} {now}"
    table = Table.of(("gate", "result", "figures"), rows, marks=marks)
    return [Part(heading=heading, table=table)]


@dataclass(frozen=True, kw_only=True, repr=False)
class _Refused:
    """Gates that are shown although no model comes of them."""

    report: PromotionReport

    def _repr_html_(self) -> str:
        return cell("", *gates_shown(self.report))


def promoted_model(
    store: Store, run_id: str, name: str, force: str | None, gates: str | Path | None
) -> Model:
    """Register a run's model and make it champion; see `Run.promote`."""
    # MLflow registers in the store that was opened last, which may have been another one.
    store = open_store(store.uri)
    report = promote(store, run_id, name, force=force, gates=gates, on_event=say)
    return model_of(store, report)


def model_of(store: Store, report: PromotionReport) -> Model:
    """Return the champion that a promotion made; shows the gates and raises where it made none."""
    if not report.promoted and in_notebook():
        show(_Refused(report=report))
    report.require()
    return Model(uri=report.model_uri, store=store, promotion=report)
