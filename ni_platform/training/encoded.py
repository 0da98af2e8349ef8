"""Outputs of frozen encoders, computed once per dataset and encoder and kept in a folder.

A folder `KEY` holds one encoder's outputs for all rows of a dataset. The key is a SHA-256 of all
that decides them, so a folder is right or it is not found: nothing is ever out of date.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from ni_platform.data.dataset import Dataset
from ni_platform.data.loading import BatchSource, Loader, Request
from ni_platform.models.saved_folder import new_folder
from ni_platform.models.scorer import NetworkConfig, Scorer
from ni_platform.narrowing import of_kind
from ni_platform.training.config import TrainingConfig
from ni_platform.training.prediction import on_device
from ni_platform.training.worker import inputs_of_stage
from ni_platform.training.workers import precision_on

_FORMAT = 2
"""Raised whenever outputs may change though no config, weight or cell does."""
_OUTPUTS, _DESCRIPTION = "outputs.npy", "encoded.json"
_ROWS_AT_ONCE = 64
_READERS = 4
"""Threads that read contents ahead of the encoder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """One encoder's outputs for all N rows of a dataset.

    It travels between processes, and from files, without being copied.
    """

    values: np.ndarray
    """[N, width], or [N, C, H', W'] of a picture's map; may be read-only. The bits of bfloat16
    numbers, which NumPy does not know, stand in int16."""
    bfloat16: bool
    columns: np.ndarray | None = None
    """Positions of the numbers of an embedding that count; None: all."""

    @property
    def width(self) -> int:
        """What the network's stand-in is told: the embedding's width, or the map's channels."""
        return int(self.values.shape[1]) if self.columns is None else len(self.columns)

    def only(self, columns: np.ndarray) -> Encoded:
        """Return these outputs with some numbers of each embedding, by their positions."""
        return replace(self, columns=columns)

    def rows(self, rows: np.ndarray) -> Tensor:
        """Outputs [B, ...] of dataset rows, in the type that the encoder gave."""
        chosen = self.values[rows]
        values = torch.from_numpy(chosen if self.columns is None else chosen[:, self.columns])
        return values.view(torch.bfloat16) if self.bfloat16 else values


def encodable(model: NetworkConfig, training: TrainingConfig) -> tuple[str, ...]:
    """Modalities whose encoders give the same output for a content in every step of a stage."""
    against = reasons_against(model, training)
    return tuple(name for name in model.modalities if name not in against)


def reasons_against(model: NetworkConfig, training: TrainingConfig) -> dict[str, str]:
    """Say for each other modality why its outputs cannot be computed once, for the log."""
    reasons = {name: _reason_against(name, model, training) for name in model.modalities}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason_against(name: str, model: NetworkConfig, training: TrainingConfig) -> str | None:
    part = model.parts[name]
    if not part.encodes:
        return f"{model.kind} has no encoder of it"
    if name not in training.frozen:
        return f"its encoder is trained (training.frozen does not name {name})"
    if part.crops and training.image_crop is not None:
        return f"pictures are cropped at random (training.image_crop={training.image_crop})"
    if name in model.conditioned:
        return (
            "conditional batch normalization inside its network depends on the other modalities "
            "and is trained (model.low_level)"
        )
    return None


def encode_once(
    scorer: Scorer,
    name: str,
    dataset: Dataset,
    training: TrainingConfig,
    folder: str | Path,
    *,
    progress: Callable[[int], None] = lambda rows: None,
) -> Encoded:
    """Outputs of one frozen encoder for all rows of a dataset: found in `folder`, or computed.

    Memory does not grow with the dataset. Several processes may do this at once: each computes,
    the first to finish is kept.

    Args:
        scorer: holds the encoder with its final weights, on the device that computes.
        name: one of `encodable`.
        dataset: what is encoded; contents that no stage reads as well.
        training: of the stage that will read the outputs; decides the precision.
        folder: where outputs of all encoders and datasets are kept, such as `.ni/encoded`.
        progress: called with the number of rows of each batch when it is done; not at all if the
            outputs are found.

    Raises:
        NiError: a content cannot be read; names it.

    """
    dtype = precision_on(scorer.device, training)
    place = Path(folder) / key(scorer, name, dataset, dtype)
    if not place.exists():
        with new_folder(place, keep=True) as scratch:
            _compute(scorer, name, dataset, dtype, scratch, progress)
    description = json.loads((place / _DESCRIPTION).read_text(encoding="utf-8"))
    # A plain array, though of a mapped file: only those are pickled without a copy.
    values = np.asarray(np.load(place / _OUTPUTS, mmap_mode="r"))
    return Encoded(values=values, bfloat16=description["bfloat16"])


def key(scorer: Scorer, name: str, dataset: Dataset, dtype: torch.dtype) -> str:
    """Hexadecimal SHA-256 of the encoder, what it reads and how, the dataset and the precision."""
    description = {
        "format": _FORMAT,
        "kind": scorer.config.kind,
        "modality": name,
        "config": asdict(getattr(scorer.config, name)),
        "reader": scorer.inputs.readers[name].describe(),
        "dataset": dataset.fingerprint(),
        "precision": str(dtype),
    }
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for part, tensor in sorted(scorer.model.encoders[name].state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{part} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _compute(
    scorer: Scorer,
    name: str,
    dataset: Dataset,
    dtype: torch.dtype,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    values: np.ndarray | None = None
    kind = torch.float32
    start = 0
    with closing(_outputs(scorer, name, dataset, dtype)) as outputs:
        for output in outputs:
            if values is None:
                kind = output.dtype
            output = output.to(kind)
            part = (output.view(torch.int16) if kind == torch.bfloat16 else output).numpy()
            if values is None:
                shape = (len(dataset), *part.shape[1:])
                values = open_memmap(folder / _OUTPUTS, "w+", part.dtype, shape)
            values[start : start + len(part)] = part
            start += len(part)
            progress(len(part))
    of_kind(values, np.memmap).flush()  # a dataset has rows
    (folder / _DESCRIPTION).write_text(
        json.dumps({"bfloat16": kind == torch.bfloat16}), encoding="utf-8"
    )


def _outputs(
    scorer: Scorer, name: str, dataset: Dataset, dtype: torch.dtype
) -> Generator[Tensor, None, None]:
    """The encoder's outputs batch by batch, computed as a stage computes those of a frozen one."""
    encoder, device = scorer.model.encoders[name], scorer.device
    loader = Loader(BatchSource(dataset, inputs_of_stage(scorer.inputs, name)), threads=_READERS)
    every = np.arange(len(dataset))
    requests = [
        Request(rows=every[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(every), _ROWS_AT_ONCE)
    ]
    training = encoder.training
    encoder.eval()
    try:
        with closing(loader.iterate(requests)) as batches:
            for batch in batches:
                with (
                    torch.inference_mode(),
                    torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
                ):
                    output = scorer.model.encode(name, on_device(batch.inputs, device))
                yield output.cpu().contiguous()
    finally:
        encoder.train(training)
