"""Attributes of a dataset's pictures and texts, extracted and written into its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ni_platform.data.attributes.columns import (
    DerivedColumn,
    Role,
    check_writable,
    write_columns,
)
from ni_platform.data.attributes.dominant_colour import DominantColour
from ni_platform.data.attributes.extraction import Extraction, available_workers, run_extractor
from ni_platform.data.attributes.extractor import Extractor
from ni_platform.data.attributes.ocr import Ocr
from ni_platform.data.attributes.store import AttributeStore
from ni_platform.data.dataset import Dataset
from ni_platform.data.images import read_encoded
from ni_platform.data.manifest import nearest
from ni_platform.errors import ConfigError, DatasetError
from ni_platform.models.modalities.text import TextEncoderConfig
from ni_platform.models.text_embedding import TextEmbedding
from ni_platform.narrowing import given

OCR, DOMINANT_COLOUR = "ocr", "dominant_colour"
"""Names of columns; an embedding's is that of its text with `_embedding` behind."""

_TEXTS_AT_ONCE = 64

OnItem = Callable[[str, int, int], None]
"""Told of a column how many of its pictures or texts are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class AttributesConfig:
    """Which attributes are computed, and how."""

    ocr: Ocr | None = None
    """The text in the pictures, column `ocr`, a text."""
    dominant_colour: DominantColour | None = None
    """Column `dominant_colour`, categorical."""
    embed: tuple[str, ...] = ()
    """Text columns, and `ocr`, whose embeddings become columns `NAME_embedding`, vectors."""
    # Mean, because nothing trains the first token's state to say anything of the whole text.
    encoder: TextEncoderConfig = field(default_factory=lambda: TextEncoderConfig(pooling="mean"))
    workers: int | None = None
    """Processes that read pictures; None: one per processor."""

    def __post_init__(self) -> None:
        if self.ocr is None and self.dominant_colour is None and not self.embed:
            raise ConfigError(
                "There is no attribute to compute: name at least one of --ocr, --dominant-colour "
                "and --embed COLUMNS."
            )
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers must be at least 1, but is {self.workers}.")


def add_attributes(
    folder: str | Path,
    config: AttributesConfig,
    store_folder: str | Path,
    *,
    on_item: OnItem = lambda column, done, total: None,
) -> tuple[Dataset, dict[str, dict[str, Any]]]:
    """Compute attributes and write them into the dataset `folder`; return it and a report.

    Values come from the store in `store_folder` where the same bytes were given to the same
    version of an extractor before. The folder gets the columns, their declaration in
    `dataset.yaml`, and the report per column in `attributes.json`; nothing is written before all
    is computed.

    Raises:
        ConfigError: A column to embed is not a text column of the dataset.
        DatasetError: The dataset is remote, has no pictures to read, or has a column of the same
            name that is not ours.
        WeightsError: The encoder's weights cannot be reached.
    """
    dataset = Dataset.open(folder)
    embeddings = {f"{name}_embedding": name for name in dict.fromkeys(config.embed)}
    _check(dataset, config)
    asked: dict[str, Extractor | None] = {OCR: config.ocr, DOMINANT_COLOUR: config.dominant_colour}
    of_pictures = {name: extractor for name, extractor in asked.items() if extractor is not None}
    check_writable(dataset, [*of_pictures, *embeddings])
    encoder = TextEmbedding(
        config=config.encoder, device="cuda" if torch.cuda.is_available() else "cpu"
    )
    if embeddings:
        encoder.version  # noqa: B018  unreachable weights are told before an hour of OCR
    columns: list[DerivedColumn] = []
    with AttributeStore(store_folder) as store:
        for name, extractor in of_pictures.items():
            pictures = _picture_names(dataset)
            found = run_extractor(
                extractor,
                list(pictures.dropna().unique()),
                read_encoded,
                store,
                workers=config.workers or available_workers(),
                on_item=partial(on_item, name),
            )
            role: Role = "text" if name == OCR else "categorical"
            columns.append(_column(name, role, pictures, found, dataset))
        for name, source in embeddings.items():
            texts = _texts(dataset, source, columns)
            found = run_extractor(
                encoder,
                # Texts of like length are embedded together, so that little is padding.
                sorted(texts.dropna().unique(), key=lambda text: (len(text), text)),
                str.encode,
                store,
                batch_size=_TEXTS_AT_ONCE,
                on_item=partial(on_item, name),
            )
            columns.append(_column(name, "vector", texts, found, dataset))
    return write_columns(dataset, columns), {column.name: dict(column.report) for column in columns}


def _check(dataset: Dataset, config: AttributesConfig) -> None:
    if (config.ocr or config.dominant_colour) and dataset.image_uri is None:
        raise DatasetError(
            f"Text and colours are read from pictures, but {dataset.root} declares no image "
            "column: leave --ocr and --dominant-colour out, or import the pictures."
        )
    known = [*dataset.manifest.columns.text, *([OCR] if config.ocr is not None else [])]
    for name in config.embed:
        if name not in known:
            hint = " (add --ocr)" if name == OCR else nearest(name, known)
            raise ConfigError(
                f"--embed takes text columns of the dataset, {known}, but got {name!r}{hint}."
            )


def _picture_names(dataset: Dataset) -> pd.Series:
    return given(dataset.image_uri)  # checked before anything starts


def _texts(dataset: Dataset, source: str, columns: list[DerivedColumn]) -> pd.Series:
    """Stripped texts, None where null or blank; of a column computed just now, if it is one."""
    fresh = [column.cells for column in columns if column.name == source]
    cells = fresh[0] if fresh else dataset.contents[source]
    return pd.Series(
        [None if pd.isna(cell) else str(cell).strip() or None for cell in cells], dtype=object
    )


def _column(
    name: str, role: Role, items: pd.Series, found: Extraction, dataset: Dataset
) -> DerivedColumn:
    cells = [None if item is None else found.values[item] for item in items]
    prefix = f"{dataset.images_root.rstrip('/')}/"
    report = {
        "version": found.version,
        "rows": len(cells),
        "rows_with_a_value": sum(cell is not None for cell in cells),
        "computed": found.computed,
        "from_store": found.from_store,
        "seconds": round(found.seconds, 3),
        "unreadable": {
            item.removeprefix(prefix): reason for item, reason in found.unreadable.items()
        },
    }
    return DerivedColumn(name=name, role=role, cells=cells, report=report)
