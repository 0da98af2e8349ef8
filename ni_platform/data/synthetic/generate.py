"""Generation of a planted dataset."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ni_platform.data import storage
from ni_platform.data.dataset import Dataset
from ni_platform.data.dataset_writer import write_dataset
from ni_platform.data.disk import explained_disk_errors
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.data.synthetic.banners import Box, Layout, render
from ni_platform.data.synthetic.campaigns import (
    MAX_TESTS,
    Arm,
    CampaignConfig,
    domain_names,
    draw_test,
)
from ni_platform.data.synthetic.effects import CATEGORICAL, PICTURE_ELEMENTS, Effects, draw_effects
from ni_platform.data.synthetic.truth import Truth
from ni_platform.errors import DatasetError

_IMAGES = "images"
_CLICKS = 0xC11C  # keeps the stream of clicks apart from those of the contents
Progress = Callable[[int, int], None]
"""Called with the number of A/B tests done and their total."""


def make_synthetic(
    out: str | Path,
    *,
    tests: int = 150,
    contents_per_test: tuple[int, int] = (2, 5),
    domains: int = 6,
    impressions: tuple[int, int] = (2000, 8000),
    base_rate: float = 0.05,
    changes: tuple[int, int] = (2, 5),
    test_level: float = 0.0,
    missing: float = 0.0,
    image_size: int = 128,
    seed: int = 0,
    effects_seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Make a dataset of marketing contents whose success rates follow known effects.

    Args:
        out: New folder, or `s3://` prefix.
        tests: Number of A/B tests; each has one control and treatments.
        contents_per_test: Smallest and largest number of arms.
        domains: Number of domains; each A/B test runs in one.
        impressions: Smallest and largest average impressions per arm of a test.
        base_rate: Success rate of a content whose effects sum to zero.
        changes: Smallest and largest number of elements that a treatment changes.
        test_level: Standard deviation (log odds) of a level per A/B test that no input explains.
        missing: Probability that a picture, slogan or attribute is missing. A missing cell
            contributes no effect; a content keeps its picture or its slogan.
        image_size: Width and height of the pictures in pixels.
        seed: Contents and clicks. The same seed gives the same dataset.
        effects_seed: Which words, elements and so on work. Datasets that share it share the truth.
        progress: Called as A/B tests are rendered.

    Returns:
        The dataset; `read_truth` reads the effects written beside it. Raises `DatasetError` for
        a parameter out of range or a folder in use.

    """
    parameters = {k: v for k, v in locals().items() if k not in ("out", "progress")}
    _check(parameters)
    effects = draw_effects(effects_seed, base_rate)
    config = CampaignConfig(
        contents_per_test=contents_per_test,
        impressions=impressions,
        changes=changes,
        domains=domain_names(domains, seed),
        test_level=test_level,
        missing=missing,
    )
    with (
        explained_disk_errors(out),
        tempfile.TemporaryDirectory(**_beside(out)) as scratch,
    ):
        drawn = _draw(config, effects, parameters, Path(scratch), progress)
        truth = Truth(effects=effects, parameters=parameters, contents=pd.DataFrame(drawn.truths))
        return _write(out, pd.DataFrame(drawn.rows), drawn.pictures, truth, Path(scratch))


@dataclass
class _Drawn:
    """What has been drawn so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    truths: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, Path] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    """Of the pictures' pixels."""


def _draw(
    config: CampaignConfig,
    effects: Effects,
    parameters: dict[str, Any],
    folder: Path,
    progress: Progress | None,
) -> _Drawn:
    tests, seed = parameters["tests"], parameters["seed"]
    drawn = _Drawn()
    rng = np.random.default_rng([seed, _CLICKS])
    for number in range(tests):
        for arm in draw_test(number, config, seed):
            name, boxes = _draw_picture(arm, parameters["image_size"], drawn.digests, folder, seed)
            if name is not None:
                drawn.pictures[name] = folder / name
            drawn.truths.append(_truth_row(arm, effects, boxes))
            clicks = rng.binomial(arm.impressions, drawn.truths[-1]["success_rate"])
            drawn.rows.append(_row(arm, name, int(clicks)))
        if progress is not None:
            progress(number + 1, tests)
    return drawn


def _write(
    out: str | Path, contents: pd.DataFrame, pictures: dict[str, Path], truth: Truth, scratch: Path
) -> Dataset:
    # The truth comes before the manifest or before the folder itself: a dataset that looks
    # complete has its truth.
    if storage.is_remote(out):
        truth.save(out)
        return write_dataset(out, _manifest(), contents, pictures)
    staged = scratch / "dataset"
    write_dataset(staged, _manifest(), contents, pictures)
    truth.save(staged)
    target = Path(out).absolute()
    os.replace(staged, target)
    return Dataset.open(target)


def _beside(out: str | Path) -> dict[str, Any]:
    """Arguments of a temporary folder on the same disk as `out`, which must be free."""
    if storage.is_remote(out):
        return {}
    target = Path(out).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{out} is already there: choose another folder, or delete it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    return {"dir": target.parent, "prefix": f".{target.name}.partial-"}


def _draw_picture(
    arm: Arm, size: int, seen: set[bytes], folder: Path, seed: int
) -> tuple[str | None, dict[str, Box | None]]:
    """Render and save the arm's picture, unlike every picture in `seen`."""
    if arm.banner is None:
        return None, dict.fromkeys(PICTURE_ELEMENTS)
    banner = arm.banner
    rng = np.random.default_rng([seed, len(seen)])
    while True:
        picture, boxes = render(banner, size)
        digest = hashlib.sha256(picture.tobytes()).digest()
        if digest not in seen:
            break
        banner = replace(banner, layout=Layout.draw(rng))
    seen.add(digest)
    name = f"{arm.content_id}.png"
    picture.save(folder / name)
    return name, boxes


def _row(arm: Arm, image: str | None, clicks: int) -> dict[str, Any]:
    return {
        "content_id": arm.content_id,
        "ab_test": arm.ab_test,
        "arm": arm.arm,
        "domain": arm.domain,
        "image": image,
        "slogan": arm.slogan,
        **arm.attributes,
        "price": np.nan if arm.price is None else float(arm.price),
        "impressions": arm.impressions,
        "clicks": clicks,
    }


def _truth_row(arm: Arm, effects: Effects, boxes: dict[str, Box | None]) -> dict[str, Any]:
    parts = arm.contributions(effects)
    log_odds = effects.intercept + sum(parts.values())
    found: dict[str, Any] = {
        "content_id": arm.content_id,
        "success_rate": 1 / (1 + np.exp(-log_odds)),
        "log_odds": log_odds,
        **{f"{modality}_effect": value for modality, value in parts.items()},
        "text_in_image": None if arm.banner is None else arm.banner.written,
    }
    for element, box in boxes.items():
        level = None if arm.banner is None else getattr(arm.banner, element)
        found[element] = level
        found[f"{element}_effect"] = effects.of(element, level)
        found[f"{element}_box"] = None if box is None else list(box)
    return found


def _manifest() -> Manifest:
    return Manifest(
        name="synthetic",
        description="Planted marketing contents with known effects; see truth.json.",
        images=_IMAGES,
        columns=Columns(
            content_id="content_id",
            ab_test="ab_test",
            arm="arm",
            domain="domain",
            image="image",
            text=("slogan",),
            categorical=tuple(CATEGORICAL),
            numeric=("price",),
        ),
        target=Target(impressions="impressions", clicks="clicks"),
        assignment="randomised",
        assignment_reason="The generator shares each A/B test's viewers out at random.",
    )


def _check(parameters: dict[str, Any]) -> None:
    limits: dict[str, tuple[float, float]] = {
        "tests": (1, MAX_TESTS),
        "contents_per_test": (2, 20),
        "impressions": (1, 10**9),
        "changes": (1, 10),
        "test_level": (0, 10),
        "missing": (0, 1),
        "image_size": (32, 4096),
        "base_rate": (1e-6, 1 - 1e-6),
        "seed": (0, 2**32 - 1),
        "effects_seed": (0, 2**32 - 1),
    }
    for name, (low, high) in limits.items():
        value = parameters[name]
        values = value if isinstance(value, tuple) else (value,)
        if not all(low <= item <= high for item in values) or list(values) != sorted(values):
            rising = ", the first not above the second" if isinstance(value, tuple) else ""
            raise DatasetError(
                f"{name} must lie between {low} and {high}{rising}, but got {value}: change it."
            )
