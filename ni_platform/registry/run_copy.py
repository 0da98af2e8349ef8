"""A run and its children, copied to another tracking server, each once.

A copy is begun with the tag that names its original, and ends with the tag `ni.synced_at`: one
without it is gone on with. All that is written between may be written again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import LoggedModelInput, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ni_platform.registry.copied_ids import CopiedIds, original_of, runs_like
from ni_platform.registry.model_copy import copy_models, missing_files, sizes
from ni_platform.tracking.limits import chunks
from ni_platform.tracking.run_claim import HELD_BY
from ni_platform.tracking.store import Store, sent_once, utc_now

SYNCED_AT = "ni.synced_at"
_OWN_TAGS = {MLFLOW_PARENT_RUN_ID, HELD_BY}
"""Tags that say something of the original alone."""


@dataclass(frozen=True, kw_only=True)
class RunCopier:
    """Copies runs from one store to another."""

    source: Store
    target: Store
    ids: CopiedIds
    on_event: Callable[[str], None]

    def copy(self, run: Run) -> bool:
        """Copy a run that has no parent; return False if it was there, whole, already.

        Raises:
            TrackingError: One of the stores does not answer, or does not permit it.
        """
        with self.target.errors(f"copy run {run.info.run_id}"):
            found = self.ids.run(run.info.run_id)
            known = None if found is None else self.target.client.get_run(found)
            if known is not None and is_whole(known):
                return False
            name = self.source.client.get_experiment(run.info.experiment_id).name
            self._copy(run, self._experiment(run.info.experiment_id, name), None, known)
        return True

    def _experiment(self, experiment_id: str, name: str) -> str:
        """Return the experiment of the same name, with the tags that it lacks."""
        there = self.target.experiment_id(name)
        present = self.target.client.get_experiment(there).tags
        for tag, text in self.source.client.get_experiment(experiment_id).tags.items():
            if tag not in present:
                self.target.client.set_experiment_tag(there, tag, text)
        return there

    def _copy(self, run: Run, experiment: str, parent: str | None, known: Run | None) -> None:
        copy = known or self._begin(run, experiment, parent)
        run_id = copy.info.run_id
        self.ids.note(run.info.run_id, run_id)
        self._copy_figures(run, run_id)
        self._copy_artifacts(run, run_id)
        copy_models(self.source, self.target, self.ids, run, copy)
        self._copy_inputs(run, run_id)
        self._copy_children(run, copy)
        tags = {
            tag: self.ids.rewritten(text)
            for tag, text in run.data.tags.items()
            if tag not in _OWN_TAGS
        }
        for chunk in chunks([RunTag(*item) for item in tags.items()], 100):
            self.target.client.log_batch(run_id, tags=chunk)
        if run.info.status != "RUNNING":
            with sent_once():
                self.target.client.set_terminated(run_id, run.info.status, run.info.end_time)
        self.target.client.set_tag(run_id, SYNCED_AT, utc_now())

    def _begin(self, run: Run, experiment: str, parent: str | None) -> Run:
        tags = self.ids.tag(run.info.run_id)
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = parent
        with sent_once():
            return self.target.client.create_run(
                experiment, run.info.start_time, tags, run.info.run_name
            )

    def _copy_figures(self, run: Run, copy: str) -> None:
        params = [Param(key, self.ids.rewritten(text)) for key, text in run.data.params.items()]
        for few in chunks(params, 100):
            self.target.client.log_batch(copy, params=few)
        points = [
            point
            for key in run.data.metrics
            for point in self.source.client.get_metric_history(run.info.run_id, key)
        ]
        for some in chunks(points, 1000):
            self.target.client.log_batch(copy, metrics=some)

    def _copy_inputs(self, run: Run, copy: str) -> None:
        if run.inputs is None:
            return
        models = [
            LoggedModelInput(known)
            for known in (self.ids.model(one.model_id) for one in run.inputs.model_inputs)
            if known is not None
        ]
        if run.inputs.dataset_inputs or models:
            self.target.client.log_inputs(copy, run.inputs.dataset_inputs, models)

    def _copy_artifacts(self, run: Run, copy: str) -> None:
        source, client = self.source.client, self.target.client
        if not source.list_artifacts(run.info.run_id):
            return
        there = sizes(lambda path: client.list_artifacts(copy, path))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(source.download_artifacts(run.info.run_id, "", scratch))
            for file in missing_files(folder, there):
                parent = file.parent.relative_to(folder).as_posix()
                client.log_artifact(copy, str(file), None if parent == "." else parent)

    def _copy_children(self, run: Run, copy: Run) -> None:
        children = runs_like(self.source, _children_of(run), run.info.experiment_id)
        if not children:
            return
        there = {
            original_of(one): one
            for one in runs_like(self.target, _children_of(copy), copy.info.experiment_id)
        }
        for number, child in enumerate(children, start=1):
            known = there.get(child.info.run_id)
            if known is not None and is_whole(known):
                self.ids.note(child.info.run_id, known.info.run_id)
                continue
            if number % 100 == 0:
                self.on_event(f"{run.info.run_name}: child {number} of {len(children)}")
            self._copy(child, copy.info.experiment_id, copy.info.run_id, known)


def is_whole(copy: Run) -> bool:
    """Whether all of the original is there."""
    return SYNCED_AT in copy.data.tags


def _children_of(run: Run) -> str:
    return f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.info.run_id}'"
