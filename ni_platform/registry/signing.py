"""Signing a version: a signature is made before anything is written, and stored with the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ni_platform.registry import signature
from ni_platform.registry.model_source import model_folder
from ni_platform.registry.versions import Version, tag_version
from ni_platform.tracking.store import Store, utc_now

SIGNED = "ni.signed_at"
"""Tag of a version: when its model was signed."""


@contextmanager
def signed(store: Store, model_uri: str, key: str | None) -> Iterator[Callable[[Version], None]]:
    """Sign a model, and give what stores the signature with a version; without a key, nothing does.

    Raises:
        ConfigError: The key cannot be used.
        TrackingError: The model's files cannot be read.
    """
    if key is None:
        yield lambda version: None
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / signature.SIGNATURE
        signature.sign(model_folder(store, model_uri), key, file)

        def store_with(version: Version) -> None:
            with store.errors(f"store the signature of {version.uri}"):
                model_id = model_uri.removeprefix("models:/")
                store.client.log_model_artifact(model_id, str(file))
            tag_version(store, version.model_name, version.version, {SIGNED: utc_now()})

        yield store_with
