"""A run's model as a version that is judged later, or never."""

from __future__ import annotations

from collections.abc import Callable

from ni_platform.registry import versions
from ni_platform.registry.card_facts import CardFacts
from ni_platform.registry.model_card import write_card
from ni_platform.registry.model_history import write_history
from ni_platform.tracking.store import Store


def register(
    store: Store,
    model_name: str,
    run_id: str,
    model_uri: str,
    on_wait: Callable[[str], None] = lambda text: None,
) -> versions.Version:
    """Register the model of a run, with its card and without an alias, which only `promote` gives.

    Raises as `versions.locked`.
    """
    facts = CardFacts.read(store, run_id, model_uri)
    with versions.locked(store, model_name, on_wait):
        version = versions.ensure_version(store, model_name, run_id, model_uri)
        versions.tag_version(store, model_name, version.version, {"ni.run_id": run_id})
        write_card(store, model_name, version.version, facts)
        write_history(store, model_name)
    return version
