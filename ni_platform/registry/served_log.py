"""The log of a served model: which predictions it gave, and what a challenger would have given.

A server of a model logs where its environment says so: `NI_LOG_PREDICTIONS` is a folder or an
`s3://` prefix, `NI_SHADOW_MODEL` a model that scores the same inputs, which nobody sees.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import pandas as pd
import pyarrow as pa

from ni_platform.errors import ConfigError
from ni_platform.models.regressor import Regressor, load_regressor
from ni_platform.prediction_log.asked import asked
from ni_platform.prediction_log.table import SCHEMA, log_table
from ni_platform.prediction_log.writer import PredictionWriter, Request
from ni_platform.registry.model_source import (
    pinned_uri,
    read_model,
    resolve_model,
    run_of_model,
    store_of_model,
)

VARIABLE = "NI_LOG_PREDICTIONS"
SHADOW = "NI_SHADOW_MODEL"
_AGAIN_SECONDS = 60.0

_log = logging.getLogger(__name__)


class ServedLog:
    """Logs what a served model predicts; no request waits for it or fails by it."""

    def __init__(
        self, place: str, regressor: Regressor, folder: Path, shadow: str | None = None
    ) -> None:
        """Start nothing yet.

        Args:
            place: Folder or `s3://` prefix of the log.
            regressor: What is served.
            folder: Of the logged model that it came from, which says its run and id.
            shadow: URI of a model that scores the same inputs.
        """
        known = read_model(folder)
        served = _Logged(
            regressor=regressor,
            run=known.run_id,
            uri=None if known.model_id is None else f"models:/{known.model_id}",
        )
        self._writers = [
            PredictionWriter(place, lambda request: served.rows(request, request.predictions))
        ]
        if shadow is not None:
            # A queue and a thread of its own: what takes it long delays no row of the model in use.
            self._writers.append(PredictionWriter(place, _Shadow(shadow).rows))

    @classmethod
    def of_environment(
        cls, regressor: Regressor, folder: Path, environment: Mapping[str, str] = os.environ
    ) -> ServedLog | None:
        """Open the log that the environment names; None where it names none.

        From then on SIGTERM lets this process write what has gathered before it ends.

        Raises:
            ConfigError: A variable holds what it cannot.
        """
        place, shadow = environment.get(VARIABLE, ""), environment.get(SHADOW, "")
        if shadow and not place:
            raise ConfigError(
                f"{SHADOW} names a model whose predictions are only logged, but {VARIABLE} is not "
                f"set ({SHADOW} is {shadow!r}): set {VARIABLE} to a folder or s3://BUCKET/PREFIX."
            )
        if not place:
            return None
        _check(place)
        log = cls(place, regressor, folder, shadow or None)
        main = threading.current_thread() is threading.main_thread()
        # Where MLflow starts several workers, they have their own way to stop, which must stay.
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, log._end)
        return log

    def add(self, frame: pd.DataFrame, predictions: np.ndarray) -> None:
        """Log N inputs and their rates [N], later; drops and counts them where it cannot."""
        request = Request(frame=frame, predictions=predictions)
        for writer in self._writers:
            writer.put(request)

    def close(self) -> None:
        """Write what is left, within ten seconds for each model."""
        for writer in self._writers:
            writer.close()

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Write what is left, and end as from SIGTERM."""
        # MLflow's command ends by the same signal, whereupon the system sends its child another.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.close()
        raise SystemExit(128 + number)


@dataclass(frozen=True, kw_only=True)
class _Logged:
    """A model, and what the log calls it."""

    regressor: Regressor
    run: str | None
    uri: str | None

    def rows(self, request: Request, predictions: np.ndarray, *, shadow: bool = False) -> pa.Table:
        """Rows of what it predicted for a request."""
        frame = request.frame.reset_index(drop=True)
        rows = asked(frame, self.regressor.roles, self.regressor.levels)
        of_request = {
            "time": request.time,
            "source": "served",
            "request": request.identity,
            "model_run": self.run,
            "model": self.uri,
            "shadow": shadow,
        }
        same = {name: [value] * len(frame) for name, value in of_request.items()}
        return log_table({**rows, **same, "prediction": predictions.tolist()})


class _Shadow:
    """A challenger: loaded with the first request, and again a minute after that failed."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._model: _Logged | None = None
        self._load_after = self._warn_after = 0.0

    def rows(self, request: Request) -> pa.Table:
        """Rows of what it would have answered; none, and a warning, where it cannot."""
        try:
            if self._model is None:
                if time.monotonic() < self._load_after:
                    return SCHEMA.empty_table()
                self._load_after = time.monotonic() + _AGAIN_SECONDS
                self._model = _loaded(self._uri)
            predictions = self._model.regressor.predict(request.frame)
            return self._model.rows(request, predictions, shadow=True)
        except Exception as error:  # noqa: BLE001  # the rows of the model in use must not suffer
            if time.monotonic() >= self._warn_after:
                self._warn_after = time.monotonic() + _AGAIN_SECONDS
                _log.warning(
                    "The model %s of %s predicts nothing (%s: %s), so its rows are missing in the "
                    "log.", self._uri, SHADOW, type(error).__name__, error,
                )  # fmt: skip
            return SCHEMA.empty_table()


def _loaded(uri: str) -> _Logged:
    store = store_of_model(uri)
    pinned = uri if store is None else pinned_uri(store, uri)
    return _Logged(
        regressor=load_regressor(resolve_model(store, pinned)),
        run=run_of_model(store, pinned),
        uri=pinned,
    )


def _check(place: str) -> None:
    """Raise ConfigError for a place that cannot be a log."""
    reason = "it is neither"
    if re.match(r"s3://[^/]+(/|$)", place):
        return
    if os.path.isabs(place):
        try:
            os.makedirs(place, exist_ok=True)
            if os.access(place, os.W_OK | os.X_OK):
                return
            reason = "nothing may be written there"
        except OSError as error:
            reason = str(error.strerror)
    raise ConfigError(
        f"{VARIABLE} must name an absolute folder that can be written to, or s3://BUCKET/PREFIX, "
        f"but is {place!r} ({reason}): correct it, or unset it to log nothing."
    )
