"""A run's logged models, copied to another tracking server: entity, files and figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run

from ni_platform.registry.copied_ids import CopiedIds, every, original_of
from ni_platform.registry.model_source import model_folder
from ni_platform.tracking.limits import chunks
from ni_platform.tracking.store import Store, sent_once

_OF_THE_SERVER = {"mlflow.modelVersions"}
"""Tags of a model that a server writes itself: its versions there."""
_NO_FILES = {"registered_model_meta", "__pycache__"}
"""What MLflow and Python leave beside the files of a model that was loaded."""


def copy_models(source: Store, target: Store, ids: CopiedIds, run: Run, copy: Run) -> None:
    """Copy the models that a run gave; those that are whole already are left as they are.

    The files are the same bytes, `MLmodel` with its former ids among them: what was judged, and
    perhaps signed, is what is served.
    """
    outputs = run.outputs.model_outputs if run.outputs else []
    if not outputs:
        return
    there = copies_of_models(target, copy)
    linked = copy.outputs.model_outputs if copy.outputs else []
    for output in outputs:
        model = source.client.get_logged_model(output.model_id)
        if model.status != LoggedModelStatus.READY:
            continue
        known = there.get(model.model_id)
        if known is None or known.status != LoggedModelStatus.READY:
            known = _copy(source, target, ids, model, copy, known)
        if known.model_id not in {one.model_id for one in linked}:
            new = LoggedModelOutput(known.model_id, step=output.step)
            target.client.log_outputs(copy.info.run_id, [new])
        ids.note(model.model_id, known.model_id)
        _copy_figures(target, model, known, copy)


def copies_of_models(target: Store, copy: Run) -> dict[str, LoggedModel]:
    """Return the models of a run's copy by the ids of their originals."""
    found = every(
        target.client.search_logged_models,
        experiment_ids=[copy.info.experiment_id],
        filter_string=f"source_run_id = '{copy.info.run_id}'",
    )
    return {str(original_of(model)): model for model in found}


def missing_files(folder: Path, there: dict[str, int]) -> list[Path]:
    """Return the files of a folder that another place does not have as long as they are.

    An upload that was cut off leaves no file, or a shorter one.
    """
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not _NO_FILES & set(file.relative_to(folder).parts)
    ]
    return [
        file
        for file in files
        if there.get(file.relative_to(folder).as_posix()) != file.stat().st_size
    ]


def sizes(list_folder: Callable[[str | None], list]) -> dict[str, int]:
    """Return the size of each file below what MLflow's `list_folder` lists."""
    found: dict[str, int] = {}
    folders: list[str | None] = [None]
    while folders:
        for item in list_folder(folders.pop()):
            if item.is_dir:
                folders.append(item.path)
            else:
                found[item.path] = item.file_size
    return found


def _copy(
    source: Store,
    target: Store,
    ids: CopiedIds,
    model: LoggedModel,
    copy: Run,
    begun: LoggedModel | None,
) -> LoggedModel:
    client = target.client
    if begun is None:
        tags = {name: text for name, text in model.tags.items() if name not in _OF_THE_SERVER}
        with sent_once():
            begun = client.create_logged_model(
                copy.info.experiment_id,
                name=model.name,
                source_run_id=copy.info.run_id,
                tags=tags | ids.tag(model.model_id),
                params=dict(model.params),
                model_type=model.model_type,
            )
    model_id = begun.model_id
    folder = model_folder(source, f"models:/{model.model_id}")
    there = sizes(lambda path: client.list_logged_model_artifacts(model_id, path))
    for file in missing_files(folder, there):
        parent = file.parent.relative_to(folder).as_posix()
        client.log_model_artifact(model_id, str(file), None if parent == "." else parent)
    return client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _copy_figures(target: Store, model: LoggedModel, known: LoggedModel, copy: Run) -> None:
    """Link the figures of a model to its copy, as the page of models shows them."""
    figures = [
        Metric(
            figure.key,
            figure.value,
            figure.timestamp,
            figure.step,
            model_id=known.model_id,
            dataset_name=figure.dataset_name,
            dataset_digest=figure.dataset_digest,
            run_id=copy.info.run_id,
        )
        for figure in model.metrics or []
    ]
    for chunk in chunks(figures, 1000):
        target.client.log_batch(copy.info.run_id, metrics=chunk)
