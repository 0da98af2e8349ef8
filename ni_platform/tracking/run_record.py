"""One MLflow run per command and one child run per stage, marked truthfully however they end."""

from __future__ import annotations

import json
import logging
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from mlflow.utils.validation import (
    MAX_METRICS_PER_BATCH,
    MAX_PARAMS_TAGS_PER_BATCH,
)

from ni_platform.errors import NiError, TrackingError
from ni_platform.termination import unwind_on_sigterm
from ni_platform.tracking.limits import (
    check_name,
    check_run_name,
    chunks,
    parameter_texts,
    tag_texts,
)
from ni_platform.tracking.run_claim import held, require_unheld
from ni_platform.tracking.run_queries import writable_run
from ni_platform.tracking.store import Store, equals
from ni_platform.tracking.views import prepare_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)


class RunRecord:
    """The record of one run; a context manager that says how the run ended.

    Leaving the block normally marks the run FINISHED, an error FAILED (tag `ni.error`, and for a
    defect its traceback as `error.txt`), Ctrl-C or SIGTERM KILLED. What was logged stays, and
    `start(resume=RUN_ID)` goes on with it. Within the block no other process can work on the run
    (`run_claim.py`). Thread-safe: MLflow's client is.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self.store = store
        self._children: list[RunRecord] = []
        self._open = True
        self._held = ExitStack()
        self.run_id: str = run.info.run_id
        self.run_name: str = run.info.run_name
        self.experiment_id: str = run.info.experiment_id

    @classmethod
    def start(
        cls,
        store: Store,
        experiment_name: str,
        run_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        parent: str | None = None,
        resume: str | None = None,
    ) -> RunRecord:
        """Start a run, or go on with the run id `resume` when it was interrupted.

        `parameters` may be nested; they are flattened to dotted names. With the run id `parent`
        the run stands below that one in the MLflow UI, in its experiment.

        Raises:
            TrackingError: The store does not answer, a name is none that it takes, or the resumed
                run was deleted or started with other parameters.
            BusyError: A living process works on the resumed run.
        """
        store.require_answer()
        if resume is not None:
            record = cls(store, writable_run(store, resume))
            require_unheld(store, resume)
            record.log_parameters(parameters or {})
            record._reopen()
        else:
            own_tags = {"ni.level": "run"}
            if parent is not None:
                own_tags[MLFLOW_PARENT_RUN_ID] = parent
            experiment = store.experiment_id(experiment_name)
            prepare_views(store, experiment)
            record = cls._create(store, experiment, run_name, own_tags, parameters or {})
        record.set_tags({"ni.status": "running", **(tags or {})})
        return record

    @classmethod
    def existing(cls, store: Store, run_id: str) -> RunRecord:
        """Return the record of a run, to add to it: how it stands, or ended, is not changed.

        Not to be entered as a context manager, which would end the run.

        Raises:
            TrackingError: There is no such run, or it was deleted.

        """
        store.require_answer()
        return cls(store, writable_run(store, run_id))

    def alone(self) -> AbstractContextManager[None]:
        """Let no other process work on this run, for the time of use; it is not ended.

        Raises:
            BusyError: A living process works on it.
        """
        require_unheld(self.store, self.run_id)
        return held(self.store, self.run_id)

    @classmethod
    def _create(
        cls,
        store: Store,
        experiment: str,
        run_name: str | None,
        tags: dict[str, str],
        parameters: Mapping[str, Any],
    ) -> RunRecord:
        check_run_name(run_name)
        with store.errors("start a run"):
            run = store.client.create_run(experiment, tags=resolve_tags(tags), run_name=run_name)
        record = cls(store, run)
        try:
            record.log_parameters(parameters)
        except TrackingError as error:
            record._close("FAILED", "failed", str(error))
            raise
        return record

    def _reopen(self) -> None:
        with self.store.errors(f"resume run {self.run_id}"):
            self.store.client.update_run(self.run_id, status="RUNNING")
            if "ni.error" in self.store.client.get_run(self.run_id).data.tags:
                self.store.client.delete_tag(self.run_id, "ni.error")

    def child(self, name: str, parameters: Mapping[str, Any] | None = None) -> RunRecord:
        """Start the child run of a stage or trial; a resumed run goes on with its own child."""
        with self.store.errors(f"start the stage '{name}'"):
            known = self.store.client.search_runs(
                [self.experiment_id],
                f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.run_id}'"
                f" AND {equals('attributes.run_name', name)}",
            )
        known = [run for run in known if run.info.run_name == name]
        if known:
            record = RunRecord(self.store, known[0])
            record.log_parameters(parameters or {})
            record._reopen()
        else:
            record = self._create(
                self.store,
                self.experiment_id,
                name,
                {"ni.level": "stage", MLFLOW_PARENT_RUN_ID: self.run_id},
                parameters or {},
            )
        record.set_tags({"ni.status": "running"})
        self._children.append(record)
        return record

    # What is logged

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log the parameters that the run does not have yet.

        MLflow keeps 6,000 characters of a value; the whole value is in the run's config.yaml.

        Raises:
            TrackingError: A parameter already has another value.
        """
        flat = parameter_texts(parameters)
        for name in flat:
            check_name(name)
        if not flat:
            return
        with self.store.errors(f"log parameters of run {self.run_id}"):
            known = self.store.client.get_run(self.run_id).data.params
            changed = sorted(name for name in flat if known.get(name, flat[name]) != flat[name])
            if changed:
                name = changed[0]
                raise TrackingError(
                    f"Run {self.run_id} was started with {name} = {known[name]}, now it is"
                    f" {flat[name]}: a run keeps its parameters. Resume it with the same, or start"
                    " a new run."
                )
            params = [Param(name, value) for name, value in flat.items() if name not in known]
            for chunk in chunks(params, MAX_PARAMS_TAGS_PER_BATCH):
                self.store.client.log_batch(self.run_id, params=chunk)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; None is left out, a long value is cut at MLflow's 8,000 characters."""
        entities = [RunTag(name, text) for name, text in tag_texts(tags).items()]
        with self.store.errors(f"set tags of run {self.run_id}"):
            for chunk in chunks(entities, MAX_PARAMS_TAGS_PER_BATCH):
                self.store.client.log_batch(self.run_id, tags=chunk)

    def describe(self, text: str) -> None:
        """Set the description that MLflow shows on the run's page, in Markdown."""
        self.set_tags({MLFLOW_RUN_NOTE: text})

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        *,
        model_uri: str | None = None,
        dataset: tuple[str, str] | None = None,
    ) -> None:
        """Log metrics of one step.

        MLflow shows them beside the logged model `model_uri` as well (`models:/m-...`), and links
        them to the input of the run that has the name and digest `dataset`.
        """
        now = int(time.time() * 1000)
        model_id = None if model_uri is None else model_uri.removeprefix("models:/")
        name, digest = dataset or (None, None)
        entities = [
            Metric(key, float(value), now, step, model_id, name, digest, self.run_id)
            for key, value in metrics.items()
        ]
        with self.store.errors(f"log metrics of run {self.run_id}"):
            for chunk in chunks(entities, MAX_METRICS_PER_BATCH):
                self.store.client.log_batch(self.run_id, metrics=chunk)

    def log_artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Store one local file in the run, inside `folder`."""
        with self.store.errors(f"store {Path(path).name} in run {self.run_id}"):
            self.store.client.log_artifact(self.run_id, str(path), folder)

    def log_artifacts(self, path: str | Path, folder: str | None = None) -> None:
        """Store the files of a local folder in the run, inside `folder`."""
        with self.store.errors(f"store {Path(path).name} in run {self.run_id}"):
            self.store.client.log_artifacts(self.run_id, str(path), folder)

    def log_table(self, table: pd.DataFrame, path: str) -> None:
        """Store a table as the artifact `path`, which ends in .parquet or .csv."""
        with self._artifact_file(path) as file:
            if path.endswith(".csv"):
                table.to_csv(file, index=False)
            else:
                table.to_parquet(file, index=False)

    def log_figure(self, figure: Figure, path: str) -> None:
        """Store a matplotlib figure as the artifact `path` (.png, .svg or .pdf)."""
        with self._artifact_file(path) as file:
            figure.savefig(file, bbox_inches="tight", dpi=150)

    def log_json(self, value: Any, path: str) -> None:
        """Store a JSON document as the artifact `path`."""
        self.log_text(json.dumps(value, indent=2, default=str, ensure_ascii=False), path)

    def log_text(self, text: str, path: str) -> None:
        """Store a text, such as an HTML page, as the artifact `path`."""
        with self._artifact_file(path) as file:
            file.write_text(text, encoding="utf-8")

    @contextmanager
    def _artifact_file(self, path: str) -> Iterator[Path]:
        """Give a place to write the artifact to, and store it once it is whole."""
        folder, _, name = path.rpartition("/")
        with self.store.errors(f"write {path}"), tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            yield file
            self.log_artifact(file, folder or None)

    # How it ends

    def __enter__(self) -> RunRecord:
        self._held.enter_context(held(self.store, self.run_id))
        self._previous_handler = unwind_on_sigterm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._held:
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._close("FINISHED", "finished")
            return
        killed = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        try:
            if killed:
                self._close("KILLED", "interrupted", f"interrupted ({type(error).__name__})")
            else:
                if not isinstance(error, NiError):
                    self.log_text("".join(traceback.format_exception(error)), "error.txt")
                words = "" if isinstance(error, NiError) else f"{type(error).__name__}: "
                self._close("FAILED", "failed", f"{words}{error}")
        except TrackingError as second:
            # The first error is what the user must see.
            _log.warning("The run could not be marked as ended: %s", second)

    def _close(self, status: str, word: str, reason: str | None = None) -> None:
        if not self._open:
            return
        for child in self._children:
            child._close(status, word, reason)
        self.set_tags({"ni.status": word, "ni.error": reason})
        with self.store.errors(f"end run {self.run_id}"):
            self.store.client.set_terminated(self.run_id, status)
        self._open = False
