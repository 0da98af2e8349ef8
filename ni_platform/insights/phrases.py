"""Noun phrases of texts, by the grammar of phrasemachine (Handler et al. 2016)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ni_platform.attribution.words import Word

_COARSE = {"AJ": "A", "CR": "A", "OR": "A", "NN": "N", "NP": "N", "PR": "P", "AT": "D", "DT": "D",
           "DP": "D"}  # fmt: skip
"""First two letters of the British National Corpus' C5 tags, which HanTa gives, to the classes of
the grammar: adjectives and numbers, nouns, prepositions, determiners."""

_NOUN_PHRASE = re.compile(r"[AN]*N(?:PD*[AN]*N)*")
"""phrasemachine's SimpleNP."""

LONGEST = 8
"""Words of a phrase, as in phrasemachine."""


def noun_phrases(words: Sequence[Word]) -> list[tuple[int, int]]:
    """Spans [start, stop) of words that are noun phrases of two words or more.

    As phrasemachine does, every span that the grammar accepts is given, phrases inside of phrases
    as well: "unlimited access" and "unlimited access to songs". A phrase lies in one column.

    phrasemachine itself is not used: it needs a setuptools that has gone, and it is its grammar
    that matters; tags are those of HanTa, which is kept up and needs no download.
    """
    spans = []
    start = 0
    while start < len(words):
        stop = start
        while stop < len(words) and words[stop].column == words[start].column:
            stop += 1
        tags = _tags(tuple(word.text for word in words[start:stop]))
        for first in range(len(tags)):
            for last in range(first + 2, min(first + LONGEST, len(tags)) + 1):
                if _NOUN_PHRASE.fullmatch(tags, first, last):
                    spans.append((start + first, start + last))
        start = stop
    return spans


@lru_cache(maxsize=100_000)
def _tags(words: tuple[str, ...]) -> str:
    """A letter per word: A, N, P or D, and O for what is in no noun phrase."""
    tagged = _tagger().tag_sent(list(words))
    # A tagger has a word for every mark as well; a mark is never part of a phrase.
    return "".join(
        _COARSE.get(tag[:2], "O") if word[0].isalnum() else "O"
        for word, (_, _, tag) in zip(words, tagged)
    )


@lru_cache(maxsize=1)
def _tagger() -> Any:
    from HanTa.HanoverTagger import HanoverTagger  # reads its model, a quarter of a second

    return HanoverTagger("morphmodel_en.pgz")
