from dataclasses import replace

import pandas as pd
import pytest

from ni_platform.data.dataset import Dataset
from ni_platform.data.manifest import Columns, Manifest, Target
from ni_platform.errors import DatasetError

FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c", "d", "e"],
        "test": ["t1", "t1", "t2", "t2", None],
        "how": ["randomised", "randomised", "platform", "platform", None],
        "w": [1.0, 3.0, None, None, None],
        "n": [100, 300, 10, 10, 7],
        "c": 1,
    }
)
BY_COLUMN = Manifest(
    name="x",
    columns=Columns(content_id="id", ab_test="test", assignment="how", share="w"),
    target=Target(impressions="n", clicks="c"),
)
BY_WORD = replace(
    BY_COLUMN, columns=Columns(content_id="id", ab_test="test"), assignment="platform"
)


def test_each_content_has_the_word_of_its_test():
    """Of the column, or of the manifest; observational outside of A/B tests."""
    by_column = Dataset("memory", BY_COLUMN, FRAME).assignment.tolist()
    assert by_column == ["randomised"] * 2 + ["platform"] * 2 + ["observational"]
    by_word = Dataset("memory", BY_WORD, FRAME).assignment.tolist()
    assert by_word == ["platform"] * 4 + ["observational"]


@pytest.mark.parametrize(
    ("column", "cells", "words"),
    [
        ("how", ["randomised", None, *FRAME["how"][2:]], ["1 contents", "[None]", "'t1'"]),
        ("how", ["random", "random", *FRAME["how"][2:]], ["2 contents", "'random'", "'how'"]),
        ("how", ["randomised", "platform", *FRAME["how"][2:]], ["assigned alike", "'t1'"]),
        ("w", [1.0, None, None, None, None], ["for each of its arms or for none", "'t1'"]),
        ("w", [1.0, 0.0, None, None, None], ["above 0", "[0.0]", "'w'"]),
        ("w", [1.0, -2.0, None, None, None], ["above 0", "[-2.0]"]),
        ("w", [1.0, float("inf"), None, None, None], ["above 0", "inf"]),
        ("w", ["1", "3", "", "", ""], ["columns.share must name a column of numbers"]),
    ],
)
def test_cells_that_do_not_fit_are_refused(column, cells, words):
    """A blank or unknown word, two words in a test, a share of nothing, a share that is lacking."""
    with pytest.raises(DatasetError) as caught:
        Dataset("memory", BY_COLUMN, FRAME.assign(**{column: cells}))
    for word in words:
        assert word in str(caught.value)


def test_saying_that_tests_are_randomised_leaves_the_fingerprint():
    """Earlier versions took it for granted, so that their runs know their data again."""
    manifest = replace(BY_WORD, assignment="randomised")
    said = Dataset("memory", manifest, FRAME).fingerprint()
    why = replace(manifest, assignment_reason="Chance decided.")
    assert Dataset("memory", why, FRAME).fingerprint() == said
    # The SHA-256 that versions without the word gave these data.
    assert said == "c470f5fd652a276a38fdca338e159369c814bad344dec36dcb6bde27504aa90f"
    assert Dataset("memory", BY_WORD, FRAME).fingerprint() != said
    unknown = replace(manifest, shares="unknown")
    assert Dataset("memory", unknown, FRAME).fingerprint() != said
