"""A selection carried out, written into the dataset folder and recorded as a run."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import FILE_NAME, Columns
from ni_platform.errors import DatasetError
from ni_platform.overrides import to_dict
from ni_platform.provenance import provenance
from ni_platform.selection.config import SelectionConfig
from ni_platform.selection.plots import effect_figure, level_figure
from ni_platform.selection.selection import (
    Selection,
    attribute_table,
    level_table,
    select_attributes,
)
from ni_platform.tracking.metric_table import COLUMNS, add_metrics
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store

SUMMARY_FILE = "selection.json"
ATTRIBUTES_FILE = "selection.csv"
LEVELS_FILE = "selection_levels.csv"
PLOTS = "plots/selection"
BACKUP_FILE = f"{FILE_NAME}.before-selection"


@dataclass(frozen=True, kw_only=True)
class RecordedSelection:
    """A selection, and where it is written down."""

    selection: Selection
    run_id: str
    files: tuple[str, ...]
    """Relative to the dataset folder."""
    backup: str | None
    """Where the manifest from before went, if the selection was applied."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return _summary(self.selection, self.run_id, self.files) | {"backup": self.backup}


def select(
    store: Store, data: str | Path, config: SelectionConfig, *, apply: bool = False
) -> RecordedSelection:
    """Select the attributes of the dataset in `data`; with `apply` declare only the kept ones.

    Writes `selection.json`, `selection.csv`, `selection_levels.csv` and `plots/selection/*.png`
    into the dataset folder, and the same into a run of the experiment `data`. `apply` keeps the
    manifest from before as `dataset.yaml.before-selection`; the columns stay in the table.

    Raises:
        DatasetError: There is nothing to test, or nothing would be left to learn from.

    """
    dataset = Dataset.open(data)
    selection = select_attributes(dataset, config)
    if apply:
        _check_inputs_left(dataset, selection)
    with tempfile.TemporaryDirectory() as scratch:
        files = _render(selection, Path(scratch))
        with RunRecord.start(
            store,
            "data",
            run_name=f"select {dataset.manifest.name}",
            parameters=to_dict(config),
            tags={
                **provenance(),
                "ni.dataset": dataset.root,
                "ni.dataset_fingerprint": dataset.fingerprint(),
            },
        ) as record:
            record.log_artifacts(scratch)
            record.log_metrics(_metrics(selection))
            add_metrics(record, _figures(selection))
            # The summary comes last: whoever finds it finds what it names.
            summary = _summary(selection, record.run_id, files)
            record.log_json(summary, SUMMARY_FILE)
            for name in files:
                storage.write_bytes(
                    storage.join(dataset.root, name), (Path(scratch) / name).read_bytes()
                )
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            storage.write_bytes(storage.join(dataset.root, SUMMARY_FILE), text.encode())
            backup = _apply(dataset, selection) if apply else None
    return RecordedSelection(
        selection=selection, run_id=record.run_id, files=(*files, SUMMARY_FILE), backup=backup
    )


def plot_names(names: Sequence[str]) -> dict[str, str]:
    """Return attribute -> name that a file and a metric may have, each one once."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._") or "attribute"
        used = {item.lower() for item in found.values()}
        candidates = (plain, *(f"{plain}-{number}" for number in range(2, len(names) + 2)))
        found[name] = next(item for item in candidates if item.lower() not in used)
    return found


def _render(selection: Selection, folder: Path) -> tuple[str, ...]:
    """Write tables and figures into a folder; return their names."""
    attribute_table(selection).to_csv(folder / ATTRIBUTES_FILE, index=False)
    level_table(selection).to_csv(folder / LEVELS_FILE, index=False)
    (folder / PLOTS).mkdir(parents=True)
    names = plot_names(["effects", *(item.name for item in selection.verdicts)])
    figures = {item.name: level_figure(item, selection.overall_rate) for item in selection.verdicts}
    plots = [f"{PLOTS}/{names['effects']}.png"]
    effect_figure(selection).savefig(folder / plots[0], dpi=150)
    for name, figure in figures.items():
        plots.append(f"{PLOTS}/{names[name]}.png")
        figure.savefig(folder / plots[-1], dpi=150)
    return (ATTRIBUTES_FILE, LEVELS_FILE, *plots)


def _metrics(selection: Selection) -> dict[str, float]:
    return {
        "kept": len(selection.kept),
        "dropped": len(selection.dropped),
        "contents": selection.contents,
        "groups": selection.groups,
    }


def _figures(selection: Selection) -> pd.DataFrame:
    """Rows of the run's table: the attribute in the place of the slice."""
    rows = [
        (item["attribute"], name, item[name], item.get(f"{name}_low"), item.get(f"{name}_high"))
        for item in attribute_table(selection).to_dict("records")
        for name in ("omega_squared", "anova_p_corrected", "logistic_p_corrected")
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS[:-1]]).assign(n=float(selection.contents))
    return table.astype({"value": float, "low": float, "high": float})


def _summary(selection: Selection, run_id: str, files: Sequence[str]) -> dict[str, Any]:
    return _plain(
        {
            "dataset": selection.dataset,
            "run_id": run_id,
            "config": dataclasses.asdict(selection.config),
            "contents": selection.contents,
            "groups": selection.groups,
            "mean_success_rate": selection.overall_rate,
            "kept": selection.kept,
            "dropped": selection.dropped,
            "attributes": attribute_table(selection).to_dict("records"),
            "notes": selection.notes,
            "files": files,
        }
    )


def _plain(value: Any) -> Any:
    """Values that JSON has; a figure that is not defined becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_inputs_left(dataset: Dataset, selection: Selection) -> None:
    if not set(dataset.manifest.columns.inputs) - set(selection.dropped):
        raise DatasetError(
            f"A dataset needs something to learn from, but every input of {dataset.root} would "
            f"be dropped ({', '.join(selection.dropped)}): leave --apply out, or bring more "
            "contents or attributes."
        )


def _apply(dataset: Dataset, selection: Selection) -> str | None:
    """Declare only the kept attributes; return where the manifest from before is."""
    if not selection.dropped:
        return None
    columns = dataset.manifest.columns
    kept = dataclasses.replace(dataset.manifest, columns=_without(columns, set(selection.dropped)))
    place = storage.join(dataset.root, FILE_NAME)
    candidates = (BACKUP_FILE, *(f"{BACKUP_FILE}-{number}" for number in range(2, 1000)))
    backup = next(
        item for item in candidates if not storage.exists(storage.join(dataset.root, item))
    )
    storage.write_bytes(storage.join(dataset.root, backup), storage.read_bytes(place))
    kept.save(place)
    return backup


def _without(columns: Columns, dropped: set[str]) -> Columns:
    return dataclasses.replace(
        columns,
        categorical=tuple(name for name in columns.categorical if name not in dropped),
        numeric=tuple(name for name in columns.numeric if name not in dropped),
    )
