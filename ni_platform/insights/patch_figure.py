"""The figure of recommended patches (NI Figure 4): what raises the rate above what lowers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ni_platform.insights.patches import SHOWN, Patch, PatchInsights, PictureOf, as_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Two colours of Okabe and Ito's palette, which the colour-blind tell apart.
_RAISES, _LOWERS = "#0072B2", "#D55E00"
_SIDE = 128
"""Pixels that a patch is shrunk to."""


def patch_figure(insights: PatchInsights, picture_of: PictureOf) -> Figure:
    """Two rows of ten patches, each with its cluster's score and support.

    A row that nothing is recommended in says so.
    """
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    by_cluster = _by_cluster(insights)
    rows = (
        ("raises the success rate", insights.positive, _RAISES),
        ("lowers the success rate", insights.negative, _LOWERS),
    )
    for line, (title, patches, colour) in enumerate(rows):
        for place in range(SHOWN):
            axes = figure.add_subplot(2, SHOWN, line * SHOWN + place + 1)
            axes.set(xticks=[], yticks=[])
            if place < len(patches):
                _draw(axes, patches[place], by_cluster, picture_of, colour)
            else:
                axes.axis("off")
            if place == 0:
                axes.set_title(title, loc="left", color=colour, fontsize=10)
                if not patches:
                    # Outside the layout, which would widen the column for it.
                    axes.text(0, 0.5, "no cluster rests on enough").set_in_layout(False)
    return figure


def _draw(
    axes: Axes, patch: Patch, by_cluster: dict[int, Any], picture_of: PictureOf, colour: str
) -> None:
    cut = as_image(picture_of(patch.row)).crop(patch.box)
    cut.thumbnail((_SIDE, _SIDE), reducing_gap=3.0)
    axes.imshow(cut)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)
    axes.set_xlabel(_support(by_cluster[patch.cluster]), fontsize=7)


def _by_cluster(insights: PatchInsights) -> dict[int, Any]:
    return {line["cluster"]: line for line in insights.clusters.to_dict("records")}


def _support(cluster: Mapping[str, Any]) -> str:
    """A cluster's score in percentage points, and what it rests on."""
    score, low, high = (100 * cluster[name] for name in ("score", "low", "high"))
    lines = [
        f"{score:+.2f} percentage points",
        f"[{low:+.2f}, {high:+.2f}]",
        f"{cluster['contents']:,.0f} contents, {cluster['tests']:,.0f} tests",
    ]
    if cluster["of"]:
        lines.append(f"held in {cluster['agreed']:.0%} of {cluster['of']:,.0f} pairs")
    return "\n".join(lines)


def patch_alt_text(insights: PatchInsights) -> str:
    """What the figure shows, in words."""
    by_cluster = _by_cluster(insights)
    parts = []
    for verb, patches in (("raise", insights.positive), ("lower", insights.negative)):
        clusters = list(dict.fromkeys(patch.cluster for patch in patches))
        if not clusters:
            parts.append(f"No cluster of patches that {verb}s the success rate rests on enough.")
            continue
        scores = ", ".join(f"{100 * by_cluster[number]['score']:+.2f}" for number in clusters)
        one = len(clusters) == 1
        parts.append(
            f"{len(patches)} patches of {len(clusters)} cluster{'' if one else 's'} that "
            f"{verb}{'s' if one else ''} the success rate, by {scores} percentage points."
        )
    return " ".join(parts)
