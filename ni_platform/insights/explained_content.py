"""One content as a page shows it: its picture under a map of contributions, its words coloured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ni_platform.attribution.explain import Explanations
from ni_platform.insights.patches import PictureOf
from ni_platform.insights.saliency import ColouredWord, coloured_words, overlay, png
from ni_platform.reporting.page import Picture


@dataclass(frozen=True, kw_only=True)
class ExplainedContent:
    """What the macro `content` draws."""

    content_id: str
    picture: Picture | None
    words: Sequence[ColouredWord] | None
    facts: Sequence[str]


def explained_content(
    content_id: str,
    explanations: Explanations,
    place: int,
    methods: Mapping[str, str],
    picture_of: PictureOf,
    facts: Sequence[str],
) -> ExplainedContent:
    """Return content number `place` of `explanations`.

    Args:
        content_id: Its name.
        explanations: Of it and others.
        place: Its position among them.
        methods: Of each modality that is shown, the method that it follows.
        picture_of: What reads the picture of a content by its position.
        facts: What is said of it in words.

    """
    explained = explanations.modalities
    picture, words = None, None
    if "image" in methods:
        map_HW = explained["image"].by_method[methods["image"]][place].raw
        if map_HW.size:
            drawn = overlay(picture_of(place), map_HW)
            picture = Picture(png=png(drawn), alt=f"picture of {content_id}")
    if "text" in methods:
        contributions = explained["text"].by_method[methods["text"]][place].raw
        words = coloured_words(explained["text"].words[place], contributions)
    return ExplainedContent(content_id=content_id, picture=picture, words=words, facts=facts)
