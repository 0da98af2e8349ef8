"""What is left of a content without some features is what the model makes of the lesser content."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ni_platform.attribution.cells import Cells
from ni_platform.attribution.columns import Named
from ni_platform.attribution.words import Words, words_of
from ni_platform.data.batch import ModalityInputs


def test_words_and_marks():
    """Inner apostrophes, points and hyphens belong to a word; other marks stand alone."""
    words = words_of("Don't pay $7.99 -- well-known?", "title")
    assert [word.text for word in words] == ["Don't", "pay", "$", "7.99", "-", "-", "well-known",
                                             "?"]  # fmt: skip
    assert [(word.start, word.end) for word in words][:2] == [(0, 5), (6, 9)]
    assert words[0].key == "don't"


@pytest.mark.parametrize("network", ["neural_insights", "m2fn"])
def test_without_words_the_shorter_text_is_read(contents, network):
    """Joined columns and separate ones; a text without any word is a missing one."""
    explained = contents[network]
    words = Words(explained, "text")
    rng = np.random.default_rng(0)
    for row, found in enumerate(words.words):
        for _ in range(4):
            kept = rng.random(len(found)) < 0.5
            cells = explained.frame.iloc[[row]].copy()
            for column in ("title", "subtitle"):
                left = [w.text for w, stays in zip(found, kept) if stays and w.column == column]
                cells[column] = " ".join(left) or None
            present = np.zeros((1, max(1, len(found))), dtype=bool)
            present[0, : len(found)] = kept
            got = words.rates(np.array([row]), present)
            expected = explained.scorer.predict(cells)
            np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_each_different_text_is_asked_once(contents):
    """Duplicates among what is asked, and bits beyond a content's words, cost nothing."""
    words = Words(contents["neural_insights"], "text")
    row = int(np.argmax([len(found) for found in words.words]))
    present = np.ones((6, len(words.words[row])), dtype=bool)
    present[3:, 0] = False
    before = words.evaluations
    rates = words.rates(np.full(6, row), present)
    assert words.evaluations - before == 2
    assert len(set(rates[:3])) == 1
    assert len(set(rates[3:])) == 1
    short = int(np.argmin([len(found) or 99 for found in words.words]))
    wide = np.ones((2, 20), dtype=bool)
    wide[1, len(words.words[short]) :] = False
    before = words.evaluations
    words.rates(np.full(2, short), wide)
    assert words.evaluations - before == 1


@pytest.mark.parametrize("network", ["neural_insights", "m2fn"])
def test_without_cells_pixels_are_the_mean_colour(contents, network):
    """A picture is painted over by hand and predicted as a whole network would."""
    explained = contents[network]
    cells = Cells(explained, "image", grid=3)
    row = 0
    down, across = cells.shapes[row]
    picture = cells.pixels[row].float().clone()
    height, width = picture.shape[1:]
    present = np.ones((1, down * across), dtype=bool)
    present[0, across + 1] = False  # second row, second column
    rows = [y for y in range(height) if y * down // height == 1]
    columns = [x for x in range(width) if x * across // width == 1]
    picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 127.5
    with torch.no_grad():
        expected = explained.rates(
            torch.tensor([row]),
            "image",
            read=ModalityInputs(tensors=(picture.unsqueeze(0),), present_B=torch.tensor([True])),
        )
    got = cells.rates(np.array([row]), present)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6)


def test_cells_are_square_as_far_as_possible(contents):
    """A picture of 48 x 32 pixels with 3 cells along its height has 2 across."""
    explained = contents["neural_insights"]
    cells = Cells(explained, "image", grid=3)
    assert {tuple(picture.shape[1:]): shape for picture, shape in zip(cells.pixels, cells.shapes)
            if shape != (0, 0)} == {(48, 32): (3, 2), (32, 40): (2, 3)}  # fmt: skip


def test_without_a_column_its_cell_is_null(contents):
    """A content without an attribute is one with a null cell."""
    explained = contents["neural_insights"]
    columns = Named(explained, "attributes")
    assert columns.names[0] == ["day", "price"]
    for place, name in enumerate(("day", "price")):
        cells = explained.frame.copy()
        cells[name] = None
        present = np.ones((len(cells), 2), dtype=bool)
        present[:, place] = False
        expected = explained.scorer.predict(cells)
        got = columns.rates(np.arange(len(cells)), present)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_domain_has_its_tokens(contents):
    """`site1` is one token; without it the domain is missing."""
    explained = contents["neural_insights"]
    tokens = Named(explained, "domain")
    cells = explained.frame["domain"]
    assert tokens.names == [[] if pd.isna(cell) else [cell] for cell in cells]
    cells = explained.frame.assign(domain=None)
    got = tokens.rates(np.arange(len(cells)), np.zeros((len(cells), 1), dtype=bool))
    np.testing.assert_allclose(got, explained.scorer.predict(cells), rtol=1e-6)
