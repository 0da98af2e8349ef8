import numpy as np
import pytest

from ni_platform.data.near_duplicates import near_duplicate_groups, near_duplicate_pairs, words


def test_case_punctuation_order_and_markup_do_not_count():
    """The same words in another dress are the same set; other words are not."""
    assert words("<b>Don’t</b> PANIC, café!") == {"don't", "panic", "café"}
    assert words("café: panic! don't don't") == words("<b>Don’t</b> PANIC, café!")
    assert words("") == words("<br>") == frozenset()
    assert words("🔥🔥") == {"🔥🔥"}


@pytest.mark.parametrize("similarity", [0.4, 0.7, 0.9, 1.0])
def test_the_prefix_filter_finds_what_comparing_all_pairs_finds(similarity):
    """On random sets from a small vocabulary the pairs equal those of the plain double loop."""
    rng = np.random.default_rng(1)
    drawn = (rng.integers(0, 14, rng.integers(1, 40)) for _ in range(200))
    sets = sorted({frozenset(f"w{token}" for token in item) for item in drawn}, key=sorted)
    expected = {
        (i, j)
        for i in range(len(sets))
        for j in range(i + 1, len(sets))
        if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= similarity
    }
    assert set(near_duplicate_pairs(sets, similarity)) == expected
    assert expected or similarity == 1.0


def test_reworded_headlines_join_and_other_ones_do_not():
    """One of twelve words changed (Jaccard 11/13) joins at 0.7 and not at 0.9; a chain is one."""
    base = "this simple trick will save your whole family hours every single week"
    texts = [
        base,
        base.replace("hours", "days"),
        base.replace("hours", "days").replace("week", "month"),
        "an entirely different headline about cats that nobody ever asked for anyway",
        base.upper() + "!!",
        "",
    ]
    assert near_duplicate_groups(texts, 0.7).tolist() == [0, 0, 0, 1, 0, -1]
    assert near_duplicate_groups(texts, 0.9).tolist() == [0, 1, 2, 3, 0, -1]


def test_short_texts_join_only_when_their_words_are_equal():
    """Templated slogans that differ in one of a few words stay apart, reordered ones do not."""
    texts = [
        "Free shipping this week only",
        "Free returns this week only",
        "this week only: free shipping",
    ]
    assert near_duplicate_groups(texts, 0.6).tolist() == [0, 1, 0]
