"""The logged model's code: MLflow runs this file when it loads or serves a model.

It goes into the model as text ("models from code") beside the Scorer's safetensors, so that a
model holds no pickle and loading one runs nothing but this package.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from ni_platform.errors import NiError
from ni_platform.models.regressor import load_regressor

_IMAGE_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"RIFF",  # WebP
    b"BM",  # BMP
    b"II*\x00",  # TIFF
    b"MM\x00*",
)


class ScoringModel(PythonModel):
    """Predicts success rates from a table of contents."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the Scorer that lies in the model."""
        self._scorer = load_regressor(Path(context.artifacts["scorer"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Return one rate in (0, 1) per row.

        The columns are the model's signature; an empty cell is a missing modality. A picture is
        bytes, a path, an `s3://` URI, or (over HTTP) base64 text with or without a `data:` prefix.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE (HTTP 400), with what is wrong and the remedy.
        """
        image = self._scorer.schema.image
        if image is not None and image in model_input.columns:
            cells = [picture(cell) for cell in model_input[image]]
            model_input = model_input.assign(
                **{image: pd.Series(cells, index=model_input.index, dtype=object)}
            )
        try:
            return self._scorer.predict(model_input)
        except NiError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def picture(cell: object) -> object:
    """Return the bytes of a base64 picture; any other cell (bytes, path, URI, None) unchanged.

    Text is base64 only if it decodes to the first bytes of a picture, so that a path never is.
    """
    if not isinstance(cell, str):
        return cell
    text = cell.split(",", 1)[1] if cell.startswith("data:") and "," in cell else cell
    compact = "".join(text.split())
    try:
        decoded = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        return cell
    return decoded if decoded.startswith(_IMAGE_MAGIC) else cell


set_model(ScoringModel())
