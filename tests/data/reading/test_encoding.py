"""Which encoding a text is in that says nothing of it."""

import pytest

from ni_platform.data.reading.encoding import encoding_of
from ni_platform.errors import DatasetError

_PLAIN = "id,title\n1,some plain words of a headline\n2,and some more of them\n3,{}\n"


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("cp850", "schön"),  # sch”n
        ("cp850", "ähnlich"),  # „hnlich
        ("cp437", "café"),  # caf‚
        ("mac_roman", "Straße"),  # Stra§e
        ("cp1250", "Česká káva"),  # Èeská káva
        ("cp1250", "číslo"),  # èíslo
        ("cp1250", "źle"),  # Ÿle
        ("iso8859_2", "kávé és tőzeg"),  # kávé és tõzeg
    ],
)
def test_a_word_that_windows_would_spell_as_nobody_does_is_no_windows_1252(encoding, word):
    """Other encodings of one byte per character are asked for, not taken for Windows-1252."""
    with pytest.raises(DatasetError, match="encoding cannot be told: name it"):
        encoding_of(_PLAIN.format(word).encode(encoding), "t.csv")


@pytest.mark.parametrize(
    "words",
    [
        "Größe „klein“ und ‚fein‘",
        "È vero, perché no? Città",
        "l’été à Noël – œuvre «ici»",
        "¿Qué tal, niño?",
        "ações e não, põe-se",
        "één café, reünie",
        "smørrebrød på Østerbro",
        "5 € • Mon–Fri • 20 °C",
    ],
)
def test_words_of_western_languages_are_windows_1252(words):
    """Seven languages of the West are read without a question."""
    assert encoding_of(_PLAIN.format(words).encode("cp1252"), "t.csv") == "cp1252"
