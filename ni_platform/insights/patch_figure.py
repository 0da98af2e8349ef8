"""The figure of recommended patches (NI Figure 4): what raises the rate above what lowers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ni_platform.insights.evidence import short
from ni_platform.insights.patches import SHOWN, PatchInsights, PictureOf

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

# Two colours of Okabe and Ito's palette, which the colour-blind tell apart.
_RAISES, _LOWERS = "#0072B2", "#D55E00"
_SIDE = 128
"""Pixels that a patch is shrunk to."""


def patch_figure(insights: PatchInsights, picture_of: PictureOf, in_points: bool) -> Figure:
    """Two rows of ten patches, each with its cluster's score and support.

    A row that nothing is recommended in says so. `in_points` says whether scores are changes of
    the success rate; if not, they have a unit of their own.
    """
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    support = {
        number: _support(cluster, in_points) for number, cluster in _by_cluster(insights).items()
    }
    rows = (
        ("raises the predicted rate", insights.positive, _RAISES),
        ("lowers the predicted rate", insights.negative, _LOWERS),
    )
    for line, (title, patches, colour) in enumerate(rows):
        for place in range(SHOWN):
            axes = figure.add_subplot(2, SHOWN, line * SHOWN + place + 1)
            axes.set(xticks=[], yticks=[])
            if place < len(patches):
                patch = patches[place]
                cut = picture_of(patch.row).crop(patch.box)
                _draw(axes, cut, support[patch.cluster], colour)
            else:
                axes.axis("off")
            if place == 0:
                axes.set_title(title, loc="left", color=colour, fontsize=10)
                if not patches:
                    # Outside the layout, which would widen the column for it.
                    axes.text(0, 0.5, "no cluster rests on enough").set_in_layout(False)
    return figure


def _draw(axes: Axes, cut: Image.Image, support: str, colour: str) -> None:
    cut.thumbnail((_SIDE, _SIDE), reducing_gap=3.0)
    axes.imshow(cut)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)
    axes.set_xlabel(support, fontsize=7)


def _by_cluster(insights: PatchInsights) -> dict[int, Any]:
    return {line["cluster"]: line for line in insights.clusters.to_dict("records")}


def _support(cluster: Mapping[str, Any], in_points: bool) -> str:
    """A cluster's score, and what it rests on."""
    number, unit = _number_and_unit(in_points)
    lines = [
        number(cluster["score"]) + unit,
        f"[{number(cluster['low'])}, {number(cluster['high'])}]",
        f"{cluster['contents']:,.0f} contents, {cluster['tests']:,.0f} tests",
    ]
    if cluster["of"]:
        lines.append(f"held in {cluster['agreed']:.0%} of {cluster['of']:,.0f} pairs")
    lines.append(short(cluster["evidence"]))
    return "\n".join(lines)


def _number_and_unit(in_points: bool) -> tuple[Callable[[float], str], str]:
    if in_points:
        return lambda score: f"{100 * score:+.2f}", " percentage points"
    return lambda score: f"{score:+.2g}", " in the method's unit"


def patch_alt_text(insights: PatchInsights, in_points: bool) -> str:
    """What the figure shows, in words."""
    number, unit = _number_and_unit(in_points)
    by_cluster = _by_cluster(insights)
    parts = []
    for verb, patches in (("raise", insights.positive), ("lower", insights.negative)):
        clusters = list(dict.fromkeys(patch.cluster for patch in patches))
        if not clusters:
            parts.append(f"No cluster of patches that {verb}s the predicted rate rests on enough.")
            continue
        scores = ", ".join(number(by_cluster[cluster]["score"]) for cluster in clusters)
        one = len(clusters) == 1
        parts.append(
            f"{len(patches)} patches of {len(clusters)} cluster{'' if one else 's'} that "
            f"{verb}{'s' if one else ''} the predicted rate, by {scores}{unit}."
        )
    return " ".join(parts)
