"""Which contents are the same to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ni_platform.data import vectors
from ni_platform.data.dataset import Dataset


def content_keys(dataset: Dataset) -> NDArray[np.object_]:
    """Return a SHA-256 per content over what a model may read, pictures by their bytes.

    Two contents with equal keys are the same input to every model, whatever their ids; so a key
    tells whether a model has trained on a content of another dataset. What was derived from other
    inputs says nothing new and stays out, so that a content is known again after
    `ni data attributes`. Object array [N].
    """
    inputs = dataset.inputs()
    digests = dataset.image_digests
    if digests is not None:
        inputs = inputs.assign(**{str(dataset.manifest.columns.image): digests})
    for name in dataset.manifest.columns.vector:
        inputs[name] = vectors.digests(inputs[name])
    inputs = inputs[list(dataset.manifest.given(tuple(inputs.columns)))]
    # Sorted columns: a reordered manifest describes the same content.
    rows = inputs[sorted(inputs.columns)].astype(object).where(inputs.notna(), None)
    return np.array(
        [
            hashlib.sha256(repr(tuple(row)).encode()).hexdigest()
            for row in rows.itertuples(index=False)
        ],
        dtype=object,
    )


def input_keys(dataset: Dataset, columns: Collection[str]) -> NDArray[np.object_]:
    """Return a key per content [N], equal where these input columns are equal."""
    unread = [name for name in dataset.manifest.columns.inputs if name not in columns]
    read = dataset.without_inputs(unread)
    return content_keys(Dataset(read.root, replace(read.manifest, derived=()), read.contents))
