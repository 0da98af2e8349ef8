"""MLflow's webhooks, as infra/mlflow/README.md shows them: a champion changes, somebody is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ni_platform.registry.promotion import promote, rollback
from ni_platform.tracking.store import open_store
from tests.webhook_receiver import SECRET, receiving

MODEL = "announced"


def test_a_new_champion_is_told(
    tracking_server: str, finished_run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promotion and rollback send model, alias and version, signed with the shared secret."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    store = open_store()
    with receiving() as receiver:
        hook = store.client.create_webhook(
            "champions", receiver.url, ["model_version_alias.created"], secret=SECRET
        )
        try:
            for prediction in ([0.1, 0.3, 0.2], [0.1, 0.2, 0.3]):
                assert promote(store, finished_run(np.tile(prediction, 40)), MODEL).promoted
            rollback(store, MODEL)
            events = [receiver.next() for _ in range(6)]
        finally:
            store.client.delete_webhook(hook.webhook_id)
    assert {(e["entity"], e["action"]) for e in events} == {("model_version_alias", "created")}
    assert {e["data"]["name"] for e in events} == {MODEL}
    # Deliveries may overtake each other.
    told = sorted((e["data"]["alias"], e["data"]["version"]) for e in events)
    assert told == [
        ("challenger", "1"),
        ("challenger", "2"),
        ("champion", "1"),
        ("champion", "1"),
        ("champion", "2"),
        ("previous", "1"),
    ]
