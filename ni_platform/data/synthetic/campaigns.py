"""Planted A/B tests: what each arm says and shows, and how often it succeeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ni_platform.data.synthetic.banners import Banner, Layout
from ni_platform.data.synthetic.effects import (
    CATEGORICAL,
    CHANNELS,
    COUNTRIES,
    PICTURE_ELEMENTS,
    PRICES,
    SLOGAN_SLOTS,
    Effects,
)
from ni_platform.errors import DatasetError

_SYLLABLES = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
MAX_TESTS = len(_SYLLABLES) ** 3
MAX_DOMAINS = len(CHANNELS) * len(COUNTRIES)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One planted content before it is rendered; None marks a missing cell."""

    content_id: str
    ab_test: str
    arm: str
    domain: str
    slogan: str | None
    banner: Banner | None
    attributes: dict[str, str | None]
    price: int | None
    level: float
    """Unexplained level of the whole A/B test in log odds."""
    impressions: int

    def contributions(self, effects: Effects) -> dict[str, float]:
        """Log odds that each modality adds to the intercept."""
        banner = self.banner
        channel, _, country = self.domain.partition("/")
        shown = {} if banner is None else {name: getattr(banner, name) for name in PICTURE_ELEMENTS}
        return {
            "text": effects.of_text(self.slogan),
            "image": sum(effects.of(name, level) for name, level in shown.items()),
            "domain": effects.of("channel", channel) + effects.of("country", country),
            "attributes": effects.of_price(self.price)
            + sum(effects.of(name, level) for name, level in self.attributes.items()),
            "ab_test": self.level,
        }


@dataclass(frozen=True, kw_only=True)
class CampaignConfig:
    """What planted A/B tests look like; see `make_synthetic`."""

    contents_per_test: tuple[int, int]
    impressions: tuple[int, int]
    changes: tuple[int, int]
    domains: tuple[str, ...]
    test_level: float
    missing: float


def domain_names(count: int, seed: int) -> tuple[str, ...]:
    """Draw `count` domains such as "email/de".

    A domain's effect is that of its channel plus that of its country, so a model that reads the
    parts can judge a domain that it has not seen.
    """
    if not 1 <= count <= MAX_DOMAINS:
        raise DatasetError(
            f"domains must lie between 1 and {MAX_DOMAINS}, but got {count}: choose fewer."
        )
    countries = max(1, min(len(COUNTRIES), round(count**0.5)))
    channels = min(len(CHANNELS), -(-count // countries))
    countries = -(-count // channels)
    rng = np.random.default_rng([seed, 0xD0])
    grid = list(
        product(rng.permutation(CHANNELS)[:channels], rng.permutation(COUNTRIES)[:countries])
    )
    return tuple(sorted(f"{channel}/{country}" for channel, country in grid[:count]))


def draw_test(number: int, config: CampaignConfig, seed: int) -> list[Arm]:
    """Draw A/B test `number`: a control and treatments that each change some of its elements.

    A function of `seed` and `number` alone, so that a larger dataset begins with a smaller one.
    """
    rng = np.random.default_rng([seed, number])
    brand = _brand(number, seed)
    name = f"t{number:06d}"
    base = {slot: str(rng.choice(words)) for slot, words in SLOGAN_SLOTS.items()}
    if rng.random() < 0.25:
        base["promise"] = ""
    base |= {element: str(rng.choice(levels)) for element, levels in PICTURE_ELEMENTS.items()}
    base["price"] = str(rng.choice(PRICES))
    attributes = {key: str(rng.choice(levels)) for key, levels in CATEGORICAL.items()}
    control = Arm(
        content_id="",
        ab_test=name,
        arm="treatment",
        domain=str(rng.choice(config.domains)),
        slogan=None,
        banner=None,
        attributes=dict(attributes),
        price=None,
        level=float(rng.normal(0, config.test_level)),
        impressions=0,
    )
    choices = [base]
    arms = int(rng.integers(config.contents_per_test[0], config.contents_per_test[1] + 1))
    while len(choices) < arms:
        candidate = _changed(base, int(rng.integers(config.changes[0], config.changes[1] + 1)), rng)
        if candidate not in choices:
            choices.append(candidate)
    impressions = _assigned(arms, config.impressions, rng)
    drawn = [
        replace(
            control,
            content_id=f"{name}-{i}",
            arm="control" if i == 0 else "treatment",
            slogan=_slogan(choice, brand),
            banner=_banner(choice, brand, rng),
            price=int(choice["price"]),
            impressions=int(count),
        )
        for i, (choice, count) in enumerate(zip(choices, impressions))
    ]
    return [_with_missing(arm, config.missing, rng) for arm in drawn]


def _assigned(arms: int, bounds: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Viewers of each arm: people are assigned at random, so arms get nearly equal numbers."""
    average = int(rng.integers(bounds[0], bounds[1] + 1))
    return np.maximum(1, rng.multinomial(average * arms, np.full(arms, 1 / arms)))


def _changed(base: dict[str, str], changes: int, rng: np.random.Generator) -> dict[str, str]:
    changed = dict(base)
    for key in rng.choice(list(base), size=min(changes, len(base)), replace=False):
        options = (SLOGAN_SLOTS | PICTURE_ELEMENTS).get(key, tuple(map(str, PRICES)))
        changed[key] = str(rng.choice([option for option in options if option != base[key]]))
    return changed


def _slogan(choice: dict[str, str], brand: str) -> str:
    words = [choice[slot] for slot in ("opening", "promise", "adjective", "noun") if choice[slot]]
    return " ".join([*words, "from", brand, choice["closing"]]).capitalize().replace(
        brand.lower(), brand
    )  # fmt: skip


def _banner(choice: dict[str, str], brand: str, rng: np.random.Generator) -> Banner:
    return Banner(
        **{element: choice[element] for element in PICTURE_ELEMENTS},
        brand=brand,
        price=int(choice["price"]),
        layout=Layout.draw(rng),
    )


def _with_missing(arm: Arm, share: float, rng: np.random.Generator) -> Arm:
    """Drop cells at random; a content keeps its slogan or its picture."""
    lost = rng.random(3 + len(arm.attributes)) < share
    without_image = bool(lost[0])
    attributes = {
        name: None if gone else level
        for (name, level), gone in zip(arm.attributes.items(), lost[3:])
    }
    return replace(
        arm,
        banner=None if without_image else arm.banner,
        slogan=None if lost[1] and not without_image else arm.slogan,
        price=None if lost[2] else arm.price,
        attributes=attributes,
    )


def _brand(number: int, seed: int) -> str:
    """A made-up name without effect, different for every A/B test.

    Without it slogans of different tests would be near duplicates, and splits would join them.
    """
    # The step shares no factor with the number of names, so no name comes twice.
    code = ((number + 1) * 104_729 + seed * 7_919) % MAX_TESTS
    syllables = []
    for _ in range(3):
        code, position = divmod(code, len(_SYLLABLES))
        syllables.append(_SYLLABLES[position])
    return "".join(syllables).capitalize()
