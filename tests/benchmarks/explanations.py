"""Explanations a second: ours beside Captum's own, of the same network, masks and threads.

    python -m tests.benchmarks.explanations DATA --contents 32 --image-size 96

An untrained network of every modality (`neural_insights.quickstart`) explains contents of DATA.
Captum is called as its manual says, one content at a time, on vectors that say which features are
present; its forward function builds the contents and runs the whole network. It is timed with one
perturbation at a time, its default, and with batches of 8, 32 and 128, of which the fastest counts;
integrated gradients with all points at once, its default, and 8 at a time; GradCAM, of pictures,
has no such setting.
Captum goes first, with memory as glibc manages it by default; ours keeps freed memory, which would
speed Captum up as well. Each way's evaluations of the network and the largest difference of the
results are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import torch
from captum.attr import FeatureAblation as CaptumFeatureAblation
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import KernelShap as CaptumKernelShap
from captum.attr import LayerGradCam

from experiments.neural_insights import quickstart
from ni_platform.attribution.cells import Cells
from ni_platform.attribution.contents import Contents
from ni_platform.attribution.feature_ablation import FeatureAblation
from ni_platform.attribution.features import Features, counts
from ni_platform.attribution.grad_cam import GradCam, chosen_layer
from ni_platform.attribution.integrated_gradients import IntegratedGradients
from ni_platform.attribution.kernel_shap import Coalitions, KernelShap, coalitions
from ni_platform.attribution.words import Words
from ni_platform.data.batch import ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.memory import keep_freed_memory
from ni_platform.models.scorer import build_scorer
from ni_platform.overrides import set_values

SAMPLES = 128
STEPS = 32
SETTINGS = {
    "feature_ablation": (1, 8, 32, 128),
    "kernel_shap": (1, 8, 32, 128),
    "integrated_gradients": (STEPS, 8),
    "grad_cam": (1,),
}
"""What Captum evaluates together, its default first."""


class Forward:
    """The whole network on contents with some features switched off, as a user would write it."""

    def __init__(self, features: Features) -> None:
        self.features, self.row, self.evaluations = features, 0, 0

    def __call__(self, present: torch.Tensor) -> torch.Tensor:
        self.evaluations += len(present)
        contents, kept = self.features.contents, present.bool().numpy()
        inputs = contents.scorer.inputs.encode(contents.frame.iloc[[self.row] * len(kept)])
        if isinstance(self.features, Words):
            texts = [self.features._slots[self.row][0].without(row) for row in kept]
            ids = [np.frombuffer(text, dtype=np.int64) for text in texts]
            tokens = torch.zeros(len(ids), max(1, *(len(row) for row in ids)), dtype=torch.int64)
            mask = torch.zeros_like(tokens)
            for place, row in enumerate(ids):
                tokens[place, : len(row)] = torch.from_numpy(row.copy())
                mask[place, : len(row)] = 1
            read = ModalityInputs(tensors=(tokens, mask), present_B=mask.any(1))
            inputs = inputs.with_modality("text", read)
        elif isinstance(self.features, Cells):
            read = inputs.modalities["image"]
            labels = self.features._labels[tuple(read.tensors[0].shape[2:])]
            shown = torch.from_numpy(kept)[:, labels].unsqueeze(1)
            pixels = torch.where(shown, read.tensors[0].float(), self.features.baseline)
            inputs = inputs.with_modality("image", replace(read, tensors=(pixels,)))
        with torch.no_grad():
            logits = contents.network(inputs)
        return torch.sigmoid(logits.double())


class ForwardAt(Forward):
    """The whole network at points on the way from nothing to a content."""

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        self.evaluations += len(points)
        features, contents = self.features, self.features.contents
        inputs = contents.scorer.inputs.encode(contents.frame.iloc[[self.row] * len(points)])
        if isinstance(features, Words):
            mask = features.tokens([self.row]).expand(len(points), -1, -1).flatten(0, 1)
            embedded, _ = features._encoder.embed_vectors(points.flatten(0, 1), mask)
            inputs = replace(inputs, encoded={"text": embedded.view(len(points), -1)})
        else:
            read = replace(inputs.modalities["image"], tensors=(points,))
            inputs = inputs.with_modality("image", read)
        return torch.sigmoid(contents.network(inputs).double())


class SameMasks(CaptumKernelShap):
    """Captum's Kernel SHAP on coalitions that are given."""

    def __init__(self, forward: Forward, drawn: Coalitions) -> None:
        super().__init__(forward)
        self.drawn = drawn
        self.perturb_func = self.masks
        self.similarity_func = self.weight

    def masks(self, original: torch.Tensor, **about: object):
        features = original.shape[1]
        self.position = -2
        yield torch.ones(1, features)
        yield torch.zeros(1, features)
        for row in self.drawn.present:
            yield torch.tensor(row, dtype=torch.float32).unsqueeze(0)

    def weight(self, _: object, __: object, sample: torch.Tensor, **about: object) -> torch.Tensor:
        self.position += 1
        if self.position <= 0:  # all and none
            return torch.tensor([self.inf_weight])
        return torch.tensor([self.drawn.weights[self.position - 1]])


def captum(features: Features, method: str, batch: int) -> tuple[list[np.ndarray], int]:
    """Every content by Captum; results and evaluations."""
    gradients = method in ("grad_cam", "integrated_gradients")
    forward, found = (ForwardAt if gradients else Forward)(features), []
    for row, size in enumerate(counts(features)):
        forward.row = row
        if gradients:
            point, baseline = (pixels.contiguous() for pixels in features.points([row]))
            if method == "grad_cam":
                layer = chosen_layer(features.contents.network, None)
                values = LayerGradCam(forward, layer).attribute(point.requires_grad_())
                found.append(values.detach().double()[0, 0].numpy())
                continue
            values = CaptumIntegratedGradients(forward).attribute(
                point, baseline, n_steps=STEPS, internal_batch_size=batch
            )
            found += features.collect(values, [row])
            continue
        whole = torch.ones(1, int(size))
        if method == "feature_ablation":
            way: Callable = CaptumFeatureAblation(forward).attribute
            values = way(whole, perturbations_per_eval=batch)
        else:
            drawn = coalitions(int(size), SAMPLES, 0)
            values = SameMasks(forward, drawn).attribute(
                whole, n_samples=len(drawn.weights) + 2, perturbations_per_eval=batch
            )
        found.append(values[0].numpy())
    return found, forward.evaluations


@dataclass(frozen=True)
class Theirs:
    """Captum's explanations of one modality by one method."""

    values: list[np.ndarray]
    evaluations: int
    seconds: dict[int, float]
    """By what is evaluated together."""

    @classmethod
    def of(cls, features: Features, method: str) -> Theirs:
        """Each setting in turn."""
        seconds = {}
        for batch in SETTINGS[method]:
            seconds[batch], (values, asked) = timed(lambda b=batch: captum(features, method, b))
        return cls(values, asked, seconds)


def timed(work: Callable) -> tuple[float, object]:
    """Seconds, and what it gave."""
    then = time.perf_counter()
    result = work()
    return time.perf_counter() - then, result


def main(data: str, number: int, size: int) -> None:
    """Compare."""
    dataset = Dataset.open(data)
    model = set_values(quickstart(), [f"model.image.input.size={size}"]).model
    scorer = build_scorer(model, dataset, np.arange(min(200, len(dataset))), 0)
    frame = dataset.inputs(np.arange(len(dataset)))
    whole = frame[frame[scorer.inputs.columns("text")].notna().all(axis=1)]
    whole = whole[whole[scorer.inputs.image].notna()].iloc[:number]
    perturbing = [FeatureAblation(), KernelShap(samples=SAMPLES)]
    gradients = [IntegratedGradients(steps=STEPS)]
    with patch("ni_platform.attribution.contents.keep_freed_memory"):
        contents = Contents(scorer, whole)
    cases = [
        (kind, method)
        for kind in (Words, Cells)
        for method in [*perturbing, *gradients, *([GradCam()] if kind is Cells else [])]
    ]

    def features(kind: type[Words | Cells]) -> Words | Cells:
        return Words(contents, "text") if kind is Words else Cells(contents, "image", grid=8)

    theirs: list[Theirs] = []
    for kind, method in cases:
        print(f"Captum: {kind.__name__}, {method.name}", flush=True)
        theirs.append(Theirs.of(features(kind), method.name))
    keep_freed_memory()
    for (kind, method), captum_s in zip(cases, theirs):
        asked = features(kind)
        ours, values = timed(lambda m=method, f=asked: m.attribute(f))
        away = max(np.abs(a.ravel() - b.ravel()).max() for a, b in zip(values, captum_s.values))
        best = min(captum_s.seconds, key=lambda batch: captum_s.seconds[batch])
        usual, fastest = captum_s.seconds[SETTINGS[method.name][0]], captum_s.seconds[best]
        print(
            f"{kind.__name__:6} {method.name:20} ours {number / ours:7.1f} a second, "
            f"{asked.evaluations} evaluations; Captum by default {number / usual:6.1f} "
            f"({usual / ours:.1f} times as long), by {best} {number / fastest:6.1f} "
            f"({fastest / ours:.1f} times), {captum_s.evaluations} evaluations; differ by "
            f"{away:.1e} of {max(np.abs(v).max() for v in values):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--contents", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=96)
    given = parser.parse_args()
    main(given.data, given.contents, given.image_size)
