"""The figures of the concepts: `python docs/figures.py` draws docs/images/*.svg anew.

They are drawn with the platform's own metrics on drawn data, so they show what it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from ni_platform.data.overdispersion import overdispersion
from ni_platform.metrics.evaluation import evaluate_scored
from ni_platform.metrics.pairs import SIGNIFICANT_Z, two_proportion_z
from ni_platform.metrics.scored import Observed, ScoredContents

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREY = "#1d5f8a", "#c8590c", "#8a8a8a"
STYLE = {
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "svg.hashsalt": "ni_platform",  # the same file each time
    "svg.fonttype": "path",
}


def _scored(
    predicted: np.ndarray, clicks: np.ndarray, shown: np.ndarray, ab_test: np.ndarray
) -> ScoredContents:
    return ScoredContents.of(predicted, Observed(clicks=clicks, impressions=shown, ab_test=ab_test))


def pairs() -> Figure:
    """The six pairs of an A/B test of four arms, and which a model puts in the right order."""
    shown = np.array([2400, 2500, 2450, 2500])
    clicks = np.array([60, 95, 70, 66])
    predicted = np.array([0.026, 0.034, 0.024, 0.029])
    rate = clicks / shown
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    places = np.arange(4)
    error = SIGNIFICANT_Z * np.sqrt(rate * (1 - rate) / shown)
    left.errorbar(places, 100 * rate, 100 * error, fmt="o", color=BLUE, label="observed, 95 %")
    left.plot(places, 100 * predicted, "D", color=ORANGE, mfc="white", label="predicted")
    left.set_xticks(places, list("ABCD"))
    left.set(xlabel="arm", ylabel="clicks of 100 impressions", xlim=(-0.5, 3.5))
    left.legend(frameon=False, loc="upper right")
    scored = _scored(predicted, clicks, shown, np.zeros(4, dtype=int))
    for first in range(4):
        for second in range(first + 1, 4):
            z, _ = two_proportion_z(scored, np.array([first]), np.array([second]))
            right_order = (predicted[first] > predicted[second]) == (rate[first] > rate[second])
            sure = abs(z[0]) > SIGNIFICANT_Z
            right.add_patch(
                plt.Rectangle(
                    (first - 0.45, second - 0.45), 0.9, 0.9, ec="white",
                    fc=BLUE if right_order else ORANGE, alpha=1 if sure else 0.35,
                )
            )  # fmt: skip
            text = ("right" if right_order else "wrong") + ("\nsignificant" if sure else "")
            right.text(first, second, text, ha="center", va="center",
                       color="white" if sure else "black", fontsize=8)  # fmt: skip
    right.set(xlim=(-0.6, 2.6), ylim=(3.6, 0.4))
    right.set_xticks(range(3), list("ABC"))
    right.set_yticks(range(1, 4), list("BCD"))
    found = evaluate_scored(scored, replicates=0)
    right.set_title(
        f"pairwise, within tests: {found['pairwise_within'].value:.2f}\n"
        f"of significant pairs: {found['pairwise_significant'].value:.2f}", fontsize=9,
    )  # fmt: skip
    return figure


def ceiling() -> Figure:
    """How often an oracle is called right, by the clicks of an arm; estimated without it."""
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    spread, base = 0.2, -3.5
    per_arm = np.geomspace(10, 3000, 80)
    for noise, colour in ((1.0, BLUE), (1.8, ORANGE)):
        ratio = spread / np.sqrt(noise / per_arm)
        axes.plot(per_arm, 0.5 + np.arctan(ratio) / np.pi, color=colour,
                  label=f"noise {noise:g} times that of clicks")  # fmt: skip
    rng = np.random.default_rng(0)
    for clicks_each in (20, 60, 200, 600, 2000):
        logit = base + rng.normal(0, 0.3, 2000)[:, None] + rng.normal(0, spread, (2000, 2))
        rate = (1 / (1 + np.exp(-logit))).ravel()
        shown = np.full(4000, int(clicks_each / rate.mean()))
        clicks = rng.binomial(shown, rate)
        scored = _scored(rate, clicks, shown, np.repeat(np.arange(2000), 2))
        found = evaluate_scored(scored, replicates=0)
        axes.plot(clicks_each, found["ceiling_within"].value, "o", color=BLUE, mfc="white")
        axes.plot(clicks_each, found["pairwise_within"].value, "x", color="black")
    axes.plot([], [], "o", color=BLUE, mfc="white", label="estimated from clicks alone")
    axes.plot([], [], "x", color="black", label="what the oracle got right")
    axes.axhline(0.5, color=GREY, lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="clicks of an arm", ylabel="share of pairs", ylim=(0.48, 1))
    axes.legend(frameon=False, loc="lower right")
    return figure


def twins() -> Figure:
    """How far twins differ: as clicks alone would have it, and as they do."""
    rng = np.random.default_rng(1)
    shown = rng.integers(2000, 6000, (1500, 2))
    logit = -3.5 + rng.normal(0, 0.3, 1500)[:, None]
    rate = 1 / (1 + np.exp(-logit))
    extra = np.sqrt(0.8 / (shown * rate * (1 - rate))) * rng.normal(size=shown.shape)
    clicks = rng.binomial(shown, 1 / (1 + np.exp(-(logit + extra))))
    pair = np.repeat(np.arange(1500), 2)
    found = overdispersion(pair, clicks.ravel(), shown.ravel())
    scored = _scored(np.repeat(rate, 2), clicks.ravel(), shown.ravel(), pair)
    z, _ = two_proportion_z(scored, np.arange(0, 3000, 2), np.arange(1, 3000, 2))
    figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
    axes.hist(z, bins=np.arange(-5, 5.1, 0.25), density=True, color=GREY, alpha=0.45,
              label="1,500 pairs of twins")  # fmt: skip
    grid = np.linspace(-5, 5, 200)
    axes.plot(grid, norm.pdf(grid), color=BLUE, label="clicks alone")
    axes.plot(grid, norm.pdf(grid, scale=found**0.5), color=ORANGE,
              label=f"with overdispersion {found:.1f}")  # fmt: skip
    axes.set(xlabel="difference of the two rates, in standard errors of clicks", yticks=[])
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False)
    return figure


def trust() -> Figure:
    """Attribution against outcome, and what chance reaches."""
    rng = np.random.default_rng(2)
    outcome = rng.normal(0, 1, 120)
    attributed = 0.45 * outcome + rng.normal(0, 0.9, 120)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    agree = (attributed > 0) == (outcome > 0)
    left.axhline(0, color=GREY, lw=0.8)
    left.axvline(0, color=GREY, lw=0.8)
    left.scatter(attributed[agree], outcome[agree], s=14, color=BLUE, label="agree")
    left.scatter(attributed[~agree], outcome[~agree], s=14, color=ORANGE, marker="x",
                 label="disagree")  # fmt: skip
    left.set(xlabel="difference of attributions", ylabel="difference of observed rates",
             xticks=[], yticks=[])  # fmt: skip
    left.legend(frameon=False, loc="upper left")
    found = np.corrcoef(attributed, outcome)[0, 1]
    left.set_title(f"correlation {found:.2f}, direction right in {100 * agree.mean():.0f} %",
                   fontsize=9)  # fmt: skip
    chance = [np.corrcoef(attributed, rng.permutation(outcome))[0, 1] for _ in range(2000)]
    right.hist(chance, bins=40, color=GREY, alpha=0.45, label="outcomes shuffled")
    right.axvline(found, color=BLUE, label="as observed")
    right.set(xlabel="correlation", yticks=[])
    right.spines["left"].set_visible(False)
    right.legend(frameon=False, loc="upper center")
    return figure


def randomisation() -> Figure:
    """A word that helps in every test, and seems to harm over all of them."""
    rng = np.random.default_rng(3)
    base = np.concatenate([rng.uniform(4.0, 5.5, 8), rng.uniform(1.0, 2.0, 8)])
    lift = rng.uniform(0.2, 0.7, 16)
    with_word = np.arange(16) % 8 >= np.repeat([7, 1], 8)  # it was used most where nothing works
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8, 3), width_ratios=(2, 1), layout="constrained"
    )
    for place, (rate, more, has) in enumerate(zip(base, lift, with_word)):
        left.plot([place, place], [rate, rate + (more if has else 0)], color=GREY, lw=1)
        left.plot(place, rate, "o", color=ORANGE, mfc="white")
        if has:
            left.plot(place, rate + more, "o", color=BLUE)
    left.axvline(7.5, color=GREY, lw=0.8, ls=":")
    left.text(3.5, 6.6, "front page", ha="center")
    left.text(11.5, 6.6, "email", ha="center")
    left.plot([], [], "o", color=ORANGE, mfc="white", label="without the word")
    left.plot([], [], "o", color=BLUE, label="with it")
    left.set(xlabel="A/B tests", ylabel="clicks of 100 impressions", xticks=[], ylim=(0, 7))
    left.legend(frameon=False, loc="lower left")
    across = (base + lift)[with_word].mean() - base.mean()
    within = lift[with_word].mean()
    bars = right.bar(["across\ncontents", "within\ntests"], [across, within],
                     color=[ORANGE, BLUE], width=0.6)  # fmt: skip
    right.bar_label(bars, fmt="%+.1f")
    right.axhline(0, color="black", lw=0.8)
    right.set(ylabel="what the word seems to do", ylim=(-1.7, 1.0))
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "pairs": pairs,
    "ceiling": ceiling,
    "twins": twins,
    "trust": trust,
    "randomisation": randomisation,
}


def draw(folder: Path = IMAGES) -> None:
    """Draw all figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, figure in FIGURES.items():
            figure().savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close("all")


if __name__ == "__main__":
    draw()
