"""Optuna without its news of studies that are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.logging import WARNING, get_verbosity, set_verbosity


@contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna print warnings only, for the time of use: our caller knows the rest."""
    before = get_verbosity()
    set_verbosity(max(before, WARNING))
    try:
        yield
    finally:
        set_verbosity(before)
