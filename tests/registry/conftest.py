"""Recorded models in a store of each test, as `tests/tracking` has them."""

from tests.tracking.conftest import (  # noqa: F401
    dataset,
    finished_run,
    port,
    scorer,
    scorer_folder,
    serve,
    state,
)
