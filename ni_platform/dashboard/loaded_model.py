"""A loaded regressor that scores one content at a time, quickly after the first."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ni_platform.models.ensemble import Explainable
from ni_platform.models.mixing import mixed
from ni_platform.models.modalities.image import ImageReader
from ni_platform.models.outputs import rates
from ni_platform.models.scorer import Scorer
from ni_platform.registry.model_source import pinned_uri, run_of_model
from ni_platform.scoring import network_of
from ni_platform.tracking.store import Store

_PICTURES = 16
"""Encoded pictures that are kept: those of the contents that one is working on."""


class LoadedModel:
    """A network or an ensemble of them, and what they made of the last pictures.

    Not for several threads at once: the dashboard asks it from one.
    """

    def __init__(
        self, scorer: Explainable, name: str, uri: str | None = None, run: str | None = None
    ) -> None:
        """Hold the scorer.

        Args:
            scorer: what predicts.
            name: the URI that it was asked for by.
            uri: the one that stays its own when an alias moves; the name if there is none.
            run: that trained it; None if it is not known.
        """
        self.scorer = scorer
        self.name = name
        self.uri = uri or name
        self.run = run
        networks = [scorer] if isinstance(scorer, Scorer) else scorer.networks.values()
        self._networks = [_Network(network) for network in networks]
        self._weights = [1.0] if isinstance(scorer, Scorer) else list(scorer.weights.values())

    @classmethod
    def load(cls, store: Store, uri: str) -> LoadedModel:
        """Load a model by run id, model URI or folder; raises what `network_of` does."""
        pinned = pinned_uri(store, uri)
        return cls(network_of(store, pinned), uri, pinned, run_of_model(store, pinned))

    def copy_of_scorer(self) -> Explainable:
        """A scorer of its own for explanations, whose hooks must not see other predictions."""
        if isinstance(self.scorer, Scorer):
            return _copy(self.scorer)
        return self.scorer.with_networks(_copy)

    def rate(self, frame: pd.DataFrame, picture_key: str | None) -> float:
        """Predicted success rate of the one row of `frame`, in (0, 1).

        Args:
            frame: as `InputEncoder.encode` takes it.
            picture_key: what the picture is known by; its embedding is kept under it. None: the
                picture is encoded for this once.

        Raises:
            ImageError: the picture cannot be decoded.
        """
        rates = [np.array([network.rate(frame, picture_key)]) for network in self._networks]
        return float(mixed(rates, self._weights)[0])

    def rates_of(self, frame: pd.DataFrame, progress: Any = None) -> np.ndarray:
        """Predicted success rates, float64 [N]."""
        return self.scorer.predict(frame, progress=progress)


def _copy(scorer: Scorer) -> Scorer:
    return Scorer(scorer.config, copy.deepcopy(scorer.model), scorer.inputs)


class _Network:
    """A network, and the embeddings of the last pictures, so that a typed text costs a text."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._pictures: OrderedDict[str, Tensor] = OrderedDict()
        scorer.model.eval()

    def rate(self, frame: pd.DataFrame, picture_key: str | None) -> float:
        """As `LoadedModel.rate`."""
        scorer = self.scorer
        read = scorer.inputs.find(ImageReader)
        with torch.inference_mode():
            if read is None or picture_key is None or read[0] in scorer.config.conditioned:
                inputs = scorer.inputs.encode(frame).to(scorer.device)
            else:
                name, reader = read
                # Without the cell nothing is decoded; the embedding stands for it.
                rest = frame.assign(**{reader.column: pd.Series([None], dtype=object)})
                encoded = {name: self._embedding(name, frame, picture_key)}
                inputs = replace(scorer.inputs.encode(rest).to(scorer.device), encoded=encoded)
            rate_B, _ = rates(scorer.model(inputs), scorer.buckets)
        return float(rate_B[0])

    def _embedding(self, name: str, frame: pd.DataFrame, key: str) -> Tensor:
        if key not in self._pictures:
            inputs = self.scorer.inputs.encode(frame).to(self.scorer.device)
            self._pictures[key] = self.scorer.model.encode(name, inputs)
            while len(self._pictures) > _PICTURES:
                self._pictures.popitem(last=False)
        self._pictures.move_to_end(key)
        return self._pictures[key]
