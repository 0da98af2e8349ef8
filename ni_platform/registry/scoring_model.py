"""The logged model's code: MLflow runs this file when it loads or serves a model.

It goes into the model as text ("models from code") beside the Scorer's safetensors, so that a
model holds no pickle and loading one runs nothing but this package.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from ni_platform.errors import NiError
from ni_platform.models.regressor import load_regressor
from ni_platform.registry import signature
from ni_platform.registry.served_log import ServedLog
from ni_platform.registry.served_pictures import PICTURES, ServedPictures

_SERVER = "mlflow.pyfunc.scoring_server.app"
"""The module that MLflow's server of a model runs, and nothing else."""


class ScoringModel(PythonModel):
    """Predicts success rates from a table of contents."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the Scorer that lies in the model; note what pictures may be read, and the log.

        Raises:
            ConfigError: A variable of the server holds what it cannot.
            TrackingError: The signature that `NI_VERIFY_KEY` asks for is missing or does not fit.
        """
        scorer = Path(context.artifacts["scorer"])
        folder = next((f for f in scorer.parents if (f / "MLmodel").is_file()), scorer)
        signature.verify(folder, f"the model in {folder}")
        self._scorer = load_regressor(scorer)
        config = context.model_config or {}
        served = _SERVER in sys.modules
        dataset = None if served else config.get(PICTURES)
        self._pictures = ServedPictures.of_environment(dataset=dataset)
        self._log = ServedLog.of_environment(self._scorer, folder) if served else None

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Return one rate in (0, 1) per row.

        The columns are the model's signature; an empty cell is a missing modality. A picture is
        bytes, or (over HTTP) base64 text with or without a `data:` prefix. Which paths and `s3://`
        URIs are read, `ServedPictures` says.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE (HTTP 400), with what is wrong and the remedy.
        """
        roles = self._scorer.roles
        try:
            for column in model_input.columns:
                if roles.get(column) == "image":
                    cells = [self._pictures.source(cell) for cell in model_input[column]]
                    model_input = model_input.assign(
                        **{column: pd.Series(cells, index=model_input.index, dtype=object)}
                    )
            rates = self._scorer.predict(model_input)
        except NiError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        if self._log is not None:
            self._log.add(model_input, rates)
        return rates


set_model(ScoringModel())
