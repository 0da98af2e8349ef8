"""The streams of a model: what it promised, by its own run, and what came since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ni_platform.metrics.scored import Floats, Observed
from ni_platform.models.regressor import Regressor
from ni_platform.monitoring.config import MonitorConfig
from ni_platform.monitoring.contents import Contents
from ni_platform.monitoring.distances import encoders, far
from ni_platform.monitoring.logged import Logged, named
from ni_platform.monitoring.streams import (
    Kind,
    Stream,
    Watched,
    per_test,
    promise,
    rank_measures,
    ranks,
    right_order,
    watched,
)
from ni_platform.prediction_log.asked import asked, modality_of
from ni_platform.scoring import OnScored

Measures = Mapping[tuple[Kind, str], Floats]
"""Observations per content [N] or day, by kind and subject; nan where there is nothing to see."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A model, what came since it was trained, and how it is watched."""

    model: Regressor
    contents: Contents
    logged: Logged | None
    config: MonitorConfig
    on_scored: OnScored | None = None
    notes: list[str] = field(default_factory=list)
    """What is not watched, and why."""

    def streams(self) -> list[Watched]:
        """Everything that is watched, with its course."""
        found = [*self._inputs(), *self._predictions(), *self._accuracy()]
        return watched(found, self.config.alpha)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """New contents, but of domains that the model never saw, which are told by themselves."""
        new = self.contents.new
        return new[~self.contents.never_seen[new]]

    @cached_property
    def _new(self) -> pd.DataFrame:
        return self._asked(self.rows)

    def _inputs(self) -> list[Stream]:
        contents, dataset = self.contents, self.contents.dataset
        judged = contents.judged
        if not len(judged):
            self.notes.append(
                "Inputs are not watched: the dataset has none of the contents that the model was "
                "judged on. Name a later version of the dataset that it was trained on."
            )
            return []
        now, before = self._seen(self._new), self._seen(self._asked(judged))
        coded = encoders(self.model)
        if coded and not len(contents.learned):
            self.notes.append(
                f"How far {' and '.join(coded)} are from training's is not watched: the dataset "
                "has none of the contents that the model was trained on."
            )
        for name, scorer in coded.items() if len(contents.learned) else ():
            now["far", name], before["far", name] = far(
                scorer, name, dataset, contents.learned, judged, self.rows, self.config
            )
        usual = {key: per_test(value, contents.test[judged]) for key, value in before.items()}
        return self._of_both(
            usual, now, lambda logged: self._seen(logged.rows), self.config.share_tolerance
        )

    def _asked(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """What the log's table would say of some contents' inputs."""
        frame = self.contents.dataset.inputs(rows)
        return pd.DataFrame(asked(frame, dict(self.model.roles), self.model.levels))

    def _seen(self, table: pd.DataFrame) -> dict[tuple[Kind, str], Floats]:
        """What is missing and never seen in N inputs, by rows as the log has them."""
        found: dict[tuple[Kind, str], Floats] = {}
        for name in dict.fromkeys(modality_of(dict(self.model.roles)).values()):
            found["missing", name] = named(table["missing"], name)
        for name in self.model.levels:
            found["unknown", name] = named(table["unknown"], name)
        return found

    def _predictions(self) -> list[Stream]:
        test = self.contents.trained.test
        own = test[test["part"] == "in_domain"]
        own = own if len(own) else test
        of_own = own["prediction"].to_numpy(dtype=np.float64)
        label = own["ab_test"].where(own["ab_test"].notna(), "content " + own["content_id"])
        usual = {
            key: per_test(value, label)
            for key, value in rank_measures(ranks(of_own, of_own)).items()
        }
        now = rank_measures(ranks(self.predicted, of_own))
        return self._of_both(
            usual,
            now,
            lambda logged: rank_measures(ranks(logged.predictions, of_own)),
            self.config.rank_tolerance,
        )

    @cached_property
    def predicted(self) -> Floats:
        """Predicted rates of `rows` [N]: from the log where it has them, else scored now."""
        known = np.full(len(self.rows), np.nan)
        frame = self.contents.dataset.inputs(self.rows)
        if self.logged is not None and len(self.logged.rows):
            found = self._new["input_key"].map(self.logged.by_key())
            known = found.to_numpy(np.float64, copy=True)
        left = np.flatnonzero(np.isnan(known))
        progress = None if self.on_scored is None else partial(self.on_scored, total=len(left))
        if len(left):
            rest = frame.iloc[left].reset_index(drop=True)
            known[left] = self.model.predict(rest, progress=progress)
        return known

    def _accuracy(self) -> list[Stream]:
        test, dataset, rows = self.contents.trained.test, self.contents.dataset, self.rows
        predicted = self.predicted
        observed = Observed(
            clicks=dataset.clicks[rows],
            impressions=dataset.impressions[rows],
            ab_test=dataset.randomised_test.to_numpy()[rows],
            inputs=self.contents.keys[rows],
            success_rate=dataset.success_rate[rows],
        )
        within = (test["part"] == "in_domain").to_numpy()
        within = within if within.any() else np.ones(len(test), dtype=bool)
        every = np.ones(len(rows), dtype=bool)
        found = [self._accuracy_of("", within, every, predicted, observed)]
        if dataset.domain is not None and "domain" in test:
            domain = dataset.domain.to_numpy()[rows]
            for name in sorted(test["domain"].dropna().unique()):
                own = (test["domain"] == name).to_numpy()
                found.append(self._accuracy_of(name, own, domain == name, predicted, observed))
        return [stream for stream in found if stream is not None]

    def _accuracy_of(
        self,
        domain: str,
        own: NDArray[np.bool_],
        new: NDArray[np.bool_],
        predicted: Floats,
        observed: Observed,
    ) -> Stream | None:
        """Accuracy overall or in a domain: of the run's test rows `own`, and of new contents."""
        table = self.contents.trained.test[own]
        usual = right_order(table["prediction"].to_numpy(), Observed.of(table))
        if domain and len(usual) < self.config.domain_tests:
            return None
        tolerance = self.config.accuracy_tolerance
        bound = promise("accuracy", usual.to_numpy(dtype=np.float64), tolerance)
        if bound is None:
            where = f" in {domain}" if domain else ""
            self.notes.append(f"Accuracy{where} is not watched: the run's test part shows none.")
            return None
        now = right_order(predicted[new], observed.rows(new))
        return self._stream("accuracy", domain, usual, bound, now, self.contents.dataset.ab_test)

    def _of_both(
        self,
        usual: Mapping[tuple[Kind, str], pd.Series],
        now: Measures,
        logged: Callable[[Logged], Measures],
        tolerance: float,
    ) -> list[Stream]:
        """Streams of contents and of logged predictions, against the same promises."""
        of_log = {} if self.logged is None else logged(self.logged)
        found = []
        for (kind, subject), own in usual.items():
            bound = promise(kind, own.to_numpy(dtype=np.float64), tolerance)
            if bound is None:
                continue  # what is always so cannot become more
            tests = self.contents.test
            means = per_test(now[kind, subject], tests[self.rows])
            found.append(self._stream(kind, subject, own, bound, means, pd.Series(tests)))
            if self.logged is not None and (kind, subject) in of_log:
                found.append(
                    Stream(
                        kind=kind,
                        subject=subject,
                        source="log",
                        usual=float(own.mean()),
                        promised=bound,
                        values=self.logged.per_day(of_log[kind, subject]),
                        days=self.logged.days,
                    )
                )
        return found

    def _stream(
        self, kind: Kind, subject: str, usual: pd.Series, bound: float, now: pd.Series, tests: Any
    ) -> Stream:
        """Observations of A/B tests, each on the first day of its new contents."""
        label = np.asarray(tests, dtype=object)[self.rows]
        first = pd.Series(self.contents.day[self.rows]).groupby(label).min()
        return Stream(
            kind=kind,
            subject=subject,
            usual=float(usual.mean()),
            promised=bound,
            values=now.to_numpy(dtype=np.float64),
            days=first.reindex(now.index).to_numpy().astype("datetime64[D]"),
        )
