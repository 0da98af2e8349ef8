"""The known additive effects that planted data follows.

log odds of the true success rate = intercept + words of the slogan + elements of the picture
+ parts of the domain + attributes. Levels of one factor are centred, so that a missing modality,
which contributes nothing, is neither good nor bad.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLOGAN_SLOTS: dict[str, tuple[str, ...]] = {
    "opening": ("discover", "try", "get", "see", "love", "meet", "grab", "enjoy"),
    "promise": ("new", "exclusive", "limited", "popular", "seasonal", "imported"),
    "adjective": ("bold", "simple", "smart", "classic", "plain", "cozy", "fancy", "sturdy"),
    "noun": ("gifts", "essentials", "favorites", "basics", "ideas", "picks", "bundles", "things"),
    "closing": (
        "today",
        "tomorrow",
        "online",
        "forever",
        "weekly",
        "anywhere",
        "instantly",
        "soon",
    ),
}
"""Words of a slogan by position, one word per slot; the slot "promise" may stay empty."""

PICTURE_ELEMENTS: dict[str, tuple[str, ...]] = {
    "background": ("cream", "sky", "mint", "rose", "navy", "charcoal"),
    "product": ("mug", "shoe", "lamp", "backpack", "headphones", "plant"),
    "price_tag": ("none", "red", "yellow", "blue"),
    "button": ("none", "green", "orange", "gray"),
}
"""Elements of a picture and their levels; "none" is not drawn and has no effect."""

CHANNELS = ("email", "homepage", "search", "social", "app", "partner")
COUNTRIES = ("us", "uk", "de", "fr", "jp", "br", "in", "mx")

CATEGORICAL: dict[str, tuple[str, ...]] = {
    "age_group": ("18-24", "25-34", "35-49", "50+"),
    "device": ("mobile", "tablet", "desktop"),
}
PRICES = tuple(range(9, 100, 5))

_LARGEST = {
    "word": 0.35,
    "background": 0.40,
    "product": 0.40,
    "price_tag": 0.35,
    "button": 0.35,
    "channel": 0.20,
    "country": 0.20,
    "age_group": 0.20,
    "device": 0.20,
    "price": 0.20,
}
"""Largest effect of each factor in log odds; 0.35 turns a rate of 5 % into 7 %."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Effects in log odds; a word or level that is not listed has none."""

    intercept: float
    levels: dict[str, dict[str, float]]
    """Factor -> level -> effect. Factors: word, the picture's elements, channel, country and
    the categorical attributes."""
    price_per_unit: float
    """Effect of one unit of price, counted from `price_reference`."""
    price_reference: float

    def of(self, factor: str, level: str | None) -> float:
        """Effect of a level; a missing one (None) contributes nothing."""
        return 0.0 if level is None else self.levels[factor].get(level, 0.0)

    def of_text(self, text: str | None) -> float:
        """Sum over the words of a text."""
        return 0.0 if text is None else sum(self.of("word", w) for w in text.lower().split())

    def of_price(self, price: float | None) -> float:
        """Effect of a price."""
        if price is None:
            return 0.0
        return self.price_per_unit * (price - self.price_reference)


def draw_effects(seed: int, base_rate: float) -> Effects:
    """Deal evenly spaced effects to the levels of every factor, in an order set by `seed`.

    So the spread of success rates is the same for every seed, while what works differs, and no
    method can profit from knowing real marketing.
    """
    rng = np.random.default_rng([seed, 0xEFFEC7])
    levels: dict[str, dict[str, float]] = {"word": {}}
    for words in SLOGAN_SLOTS.values():
        levels["word"] |= _dealt(words, _LARGEST["word"], rng)
    for element, names in PICTURE_ELEMENTS.items():
        drawn = tuple(name for name in names if name != "none")
        levels[element] = _dealt(drawn, _LARGEST[element], rng)
        if len(drawn) < len(names):
            levels[element]["none"] = 0.0
    levels["channel"] = _dealt(CHANNELS, _LARGEST["channel"], rng)
    levels["country"] = _dealt(COUNTRIES, _LARGEST["country"], rng)
    for name, values in CATEGORICAL.items():
        levels[name] = _dealt(values, _LARGEST[name], rng)
    half_range = (PRICES[-1] - PRICES[0]) / 2
    return Effects(
        intercept=float(np.log(base_rate / (1 - base_rate))),
        levels=levels,
        price_per_unit=float(rng.choice([-1, 1])) * _LARGEST["price"] / half_range,
        price_reference=float(np.mean(PRICES)),
    )


def _dealt(names: tuple[str, ...], largest: float, rng: np.random.Generator) -> dict[str, float]:
    effects = rng.permutation(np.linspace(-largest, largest, len(names)))
    return {name: round(float(effect), 6) for name, effect in zip(names, effects)}
