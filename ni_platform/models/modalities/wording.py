"""Wording: what people would name in a text, such as a question or a number, as features.

A text encoder says more of a text, but nobody can read its numbers. These features are explained
one by one. They are for languages that put spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC
from bisect import bisect_left
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter

from ni_platform.data.batch import ModalityInputs
from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns
from ni_platform.errors import ConfigError
from ni_platform.models.encoders.mlp import MLP, MLPConfig
from ni_platform.models.modalities.attributes import mean_and_std
from ni_platform.models.modalities.modality import (
    AsItIsConfig,
    ColumnRole,
    EncoderConfig,
    InputSize,
    Reader,
    VectorReader,
    modality_inputs,
)
from ni_platform.models.modalities.text import joined_texts

Language = Literal["en", "de", "fr", "es"]

_SECOND_PERSON = {
    "en": r"you|your|yours|yourself|yourselves",
    # The polite form is told from "she" and "they" by its capital, which every sentence begins with
    "de": r"du|dich|dir|dein(?:e[mnrs]?)?|euch|euer|eure[mnrs]?"
    r"|(?<=[\w,;] )(?-i:Sie|Ihnen|Ihr(?:e[mnrs]?)?)",
    "fr": r"tu|te|toi|ton|ta|tes|vous|votre|vos|t(?=['’])",
    "es": r"tú|tu|tus|te|ti|contigo|tuy[oa]s?|usted|ustedes|vosotr[oa]s|os|vuestr[oa]s?",
}
_FIRST_PERSON = {
    "en": r"(?-i:I|us|Us)|me|my|mine|myself|we|our|ours|ourselves",  # US is a country
    "de": r"ich|mich|mir|mein(?:e[mnrs]?)?|wir|uns|unser(?:e[mnrs]?)?",
    "fr": r"je|me|moi|mon|ma|mes|nous|notre|nos|[jm](?=['’])",
    "es": r"yo|me|mí|mi|mis|mí[oa]s?|conmigo|nosotr[oa]s|nos|nuestr[oa]s?",
}
_BETWEEN_WORDS = re.compile(r"[\s–—]+")
_QUOTES = re.compile(r"[\"“”„«»「」]|(?<!\w)['‘][^'‘’]+['’](?!\w)")
_COLON = re.compile(r":(?!\S)|：")
_EMOJI = re.compile("[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf]")
_WORDS_UP_TO = (5, 10, 15, 20, 30, 50, 100, 200)
_NEUTRAL = 0.05
"""Sentiments that are nearer to 0 are neither positive nor negative."""


def measured(text: str, languages: Collection[str] = ("en",)) -> dict[str, float]:
    """The features of a text, by name: a bool where the text has something or not, else a number.

    - words: how many; what stands between spaces and has a letter or digit
    - word length: mean number of letters and digits in a word
    - question, exclamation, colon (not that of 10:30), ellipsis: whether there is one
    - number: any digit; number first: the text begins with one, as lists do ("7 ways to")
    - second person, first person: pronouns of `languages` (English, German, French, Spanish)
    - quotes: quotation marks, single ones as well; an apostrophe is none
    - capitals: share of words of two letters or more that are all capitals, of all words
    - emoji
    - sentiment: -1 to 1 by TextBlob's English lexicon (Pattern's, De Smedt and Daelemans 2012),
      negations included; only where English is one of the languages
    """
    text = unicodedata.normalize("NFC", text)
    words = [w for w in _BETWEEN_WORDS.split(text) if any(map(str.isalnum, w))]
    letters = ["".join(filter(str.isalpha, word)) for word in words]
    shouted = sum(len(word) > 1 and word.isupper() for word in letters)
    found: dict[str, float] = {
        "words": len(words),
        "word length": sum(map(str.isalnum, "".join(words))) / max(1, len(words)),
        "question": any(mark in text for mark in "?？؟"),
        "exclamation": any(mark in text for mark in "!！"),
        "number": any(map(str.isdecimal, text)),
        "number first": re.match(r"\W*\d", text) is not None,
        "second person": _names(text, _SECOND_PERSON, languages),
        "first person": _names(text, _FIRST_PERSON, languages),
        "quotes": _QUOTES.search(text) is not None,
        "capitals": shouted / max(1, len(words)),
        "colon": _COLON.search(text) is not None,
        "ellipsis": "…" in text or "..." in text,
        "emoji": _EMOJI.search(text) is not None,
    }
    if "en" in languages:
        from textblob.sentiments import PatternAnalyzer  # takes a second

        found["sentiment"] = float(PatternAnalyzer().analyze(text)[0])
    return found


def _names(text: str, pronouns: dict[str, str], languages: Collection[str]) -> bool:
    return any(re.search(rf"\b(?:{pronouns[it]})\b", text, re.IGNORECASE) for it in languages)


def _how_many(words: float) -> str:
    place = bisect_left(_WORDS_UP_TO, words)
    if place == len(_WORDS_UP_TO):
        return f"over {_WORDS_UP_TO[-1]}"
    return f"{_WORDS_UP_TO[place - 1] + 1 if place else 0} to {_WORDS_UP_TO[place]}"


_LEVELS: dict[str, Callable[[float], str]] = {
    "words": _how_many,
    "word length": lambda length: f"{length:.0f}",
    "capitals": lambda share: "none" if not share else "some" if share < 0.5 else "most",
    "sentiment": lambda polarity: (
        "neutral" if abs(polarity) < _NEUTRAL else "positive" if polarity > 0 else "negative"
    ),
}


def level_of(name: str, value: float) -> str:
    """A feature's value as people say it; what two texts share where they have the same."""
    if name in _LEVELS:
        return _LEVELS[name](value)
    return "yes" if value else "no"


@dataclass(frozen=True, kw_only=True)
class WordingReader(VectorReader):
    """Texts, columns joined, to float32 [B, F]: features (`measured`), standardised.

    What is standardised is sign(x) log(1 + |x|), as counts grow by factors. Without a feature a
    text has the mean of the training texts, which is 0.
    """

    alongside: ClassVar[bool] = True
    columns: tuple[str, ...]
    languages: tuple[str, ...]
    scales: tuple[tuple[str, float, float], ...]
    """Feature, mean and standard deviation over training rows that have a text."""

    @classmethod
    def declared(cls, columns: Columns) -> tuple[str, ...]:
        """As `Reader.declared`."""
        return columns.text

    @classmethod
    def fit(cls, config: Any, columns: Columns, dataset: Dataset, frame: pd.DataFrame) -> Self:
        """As `Reader.fit`."""
        texts = filter(None, joined_texts(frame, columns.text, " "))
        found = [measured(text, config.languages) for text in texts]
        scales = tuple(
            (name, *mean_and_std(_scaled(np.array([each[name] for each in found]))))
            for name in measured("", config.languages)
        )
        return cls(columns=columns.text, languages=config.languages, scales=scales)

    @classmethod
    def load(cls, config: Any, values: Any, folder: Path) -> Self:
        """As `Reader.load`."""
        return TypeAdapter(cls).validate_python(values)

    def save(self, folder: Path) -> dict[str, Any]:
        """As `Reader.save`."""
        return asdict(self)

    def describe(self) -> dict[str, Any]:
        """As `Reader.describe`: the lexicon is TextBlob's."""
        return asdict(self) | {"textblob": version("textblob")}

    @property
    def roles(self) -> dict[str, ColumnRole]:
        """As `Reader.roles`."""
        return dict.fromkeys(self.columns, "text")

    @property
    def size(self) -> InputSize:
        """As `Reader.size`."""
        return InputSize(width=len(self.scales))

    def read(
        self,
        frame: pd.DataFrame,
        *,
        crop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> ModalityInputs:
        """As `Reader.read`."""
        values_BF = np.zeros((len(frame), len(self.scales)), dtype=np.float32)
        texts = list(joined_texts(frame, self.columns, " "))
        means_F, stds_F = (np.array([scale[at] for scale in self.scales]) for at in (1, 2))
        for row, text in enumerate(texts):
            if text:
                found = measured(text, self.languages)
                values_F = _scaled(np.array([found[name] for name, *_ in self.scales]))
                values_BF[row] = (values_F - means_F) / stds_F
        present_B = torch.tensor([bool(text) for text in texts], dtype=torch.bool)
        return modality_inputs(present_B, torch.from_numpy(values_BF))

    def parts(self, frame: pd.DataFrame) -> tuple[list[list[str]], list[np.ndarray]]:
        """As `VectorReader.parts`: all features, of a content that has a text."""
        names = [name for name, *_ in self.scales]
        there = [bool(text) for text in joined_texts(frame, self.columns, " ")]
        shares = np.eye(len(names))
        return [names * has for has in there], [shares[: len(names) * has] for has in there]

    def elements(self, frame: pd.DataFrame, names: list[list[str]]) -> list[list[Any]]:
        """As `VectorReader.elements`: features with their level."""
        found = []
        for text, own in zip(joined_texts(frame, self.columns, " "), names):
            values = measured(text, self.languages) if own else {}
            found.append([(name, level_of(name, values[name])) for name in own])
        return found


def _scaled(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


@dataclass(frozen=True, kw_only=True)
class _WordingConfig(EncoderConfig, ABC):
    reader: ClassVar[type[Reader]] = WordingReader
    languages: tuple[Language, ...] = ("en",)
    """Of the texts: whose pronouns are known. Sentiment is read where English is one of them."""

    def __post_init__(self) -> None:
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise ConfigError(
                f"wording.languages names at least one of {', '.join(get_args(Language))}, each "
                f"once, but is {list(self.languages)}: name those that the texts are written in."
            )

    @property
    def reading(self) -> Any:
        """As `EncoderConfig.reading`."""
        return self.languages


@dataclass(frozen=True, kw_only=True)
class WordingEncoderConfig(_WordingConfig):
    """How the features of the wording are encoded."""

    mlp: MLPConfig = field(default_factory=MLPConfig)

    def build(self, size: InputSize, skeleton: Path | None = None) -> MLP:
        """As `EncoderConfig.build`."""
        return MLP(size.width, self.mlp)


@dataclass(frozen=True, kw_only=True)
class NamedWording(AsItIsConfig, _WordingConfig):
    """The features of the wording enter as they are read."""
