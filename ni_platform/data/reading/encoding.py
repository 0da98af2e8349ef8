"""The encoding of a text file: by its mark, as UTF-8, or as Windows-1252 where that is sure."""

from __future__ import annotations

import codecs
import re

from ni_platform.errors import ConfigError, DatasetError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SIGNS = "€§©®°«»‘’‚“”„–—…•™×\N{NO-BREAK SPACE}"
"""Signs that Windows-1252 has where its sister encodings have them too, or nothing."""
_POUNDS = re.compile(r"£(?=\s?\d)")
_LANGUAGES = (
    "äöüÄÖÜßé",
    "àâæçéèêëîïôœùûüÿÀÂÆÇÉÈÊËÎÏÔŒÙÛÜ",
    "áéíñóúüÁÉÍÑÓÚÜ¿¡",
    "àáâãçéêíóôõúüÀÁÂÃÇÉÊÍÓÔÕÚÜ",
    "àèéìîòóùÀÈÉÌÒÓÙ",
    "åäöæøéüÅÄÖÆØÉÜ",
    "äçéèëïöüÄÇÉÈËÏÖÜ",
    "áéëíïóöúüÁÉËÍÏÓÖÚÜ",
)
"""Letters of German, French, Spanish, Portuguese, Italian, the Scandinavian languages and Dutch.

Text in another encoding of one byte per character, read as Windows-1252, mixes letters that no
language has together: Polish becomes `¹ê³`, Czech `øìù`, `Èeská`.
"""
_LETTER = r"[^\W\d_]"
_MISPLACED = re.compile(rf"(?<={_LETTER})(?:[„‚]|[“”«»§•€©°](?={_LETTER}))|õ(?!e)")
"""What stands within words if DOS and Macintosh are read as Windows, and `ő` of Hungarian."""


def encoding_of(data: bytes, name: str, *, complete: bool = True, first_line: int = 1) -> str:
    """Return Python's name of the encoding of a text file.

    Args:
        data: Its bytes, or the first of them.
        name: Stands for the file in messages.
        complete: Whether `data` is all; if not, a character may be cut at its end.
        first_line: Line of the file that `data` begins in.

    Raises:
        DatasetError: It is none of UTF-8, UTF-16, UTF-32 and Windows-1252, or may be another one.

    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if wide := _utf16_without_mark(data):
        return wide
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data, final=complete)
    except UnicodeDecodeError as error:
        if _is_western(data):
            return "cp1252"
        line = data.count(b"\n", 0, error.start) + first_line
        raise DatasetError(
            f"{name} is not UTF-8 (line {line} holds {data[error.start : error.start + 8]!r}), "
            "and its encoding cannot be told: name it (--encoding, in a spec encoding:), such as "
            "cp1252, cp1250 or shift_jis, or save the file as UTF-8."
        ) from error
    return "utf-8"


def decoded(data: bytes, encoding: str, name: str) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: Python knows no such encoding.
        DatasetError: The bytes are not in it.

    """
    check_encoding(encoding)
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        raise DatasetError(
            f"{name} is not text in {encoding} ({error}): name its encoding (--encoding, in a spec "
            "encoding:), or save it as UTF-8."
        ) from error


def check_encoding(encoding: str) -> None:
    """Raise ConfigError unless Python can read text in this encoding."""
    try:
        b"x".decode(encoding)
    except UnicodeError:
        return  # an encoding of more bytes per character
    except LookupError as error:
        raise ConfigError(
            f"There is no text encoding {encoding!r}: name one such as utf-8, utf-16 or cp1252."
        ) from error


def _utf16_without_mark(data: bytes) -> str | None:
    """UTF-16 where most of the text is ASCII, so that every other byte is zero."""
    pairs = data[: len(data) // 2 * 2]
    if not pairs:
        return None
    half = len(pairs) // 2
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = pairs[first::2].count(0), pairs[1 - first :: 2].count(0)
        if zeros > 0.5 * half and not others:
            return encoding
    return None


def _is_western(data: bytes) -> bool:
    """Whether Windows-1252 gives letters of one Western language, and few of them."""
    try:
        text = _POUNDS.sub("", data.decode("cp1252"))
    except UnicodeDecodeError:
        return False
    unclosed = set("„‚") & set(text) and not set("“”‘’«»") & set(text)
    if unclosed or _MISPLACED.search(text):
        return False
    special = {character for character in text if ord(character) > 127} - set(_SIGNS)
    rare = sum(map(text.count, special)) < 0.2 * sum(character.isalpha() for character in text)
    return (not special or rare) and any(special <= set(language) for language in _LANGUAGES)
