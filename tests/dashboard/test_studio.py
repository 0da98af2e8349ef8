"""The dashboard without a server: scores, intervals, edits, uploads."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.dashboard import words
from ni_platform.dashboard.advice import advice, past_of
from ni_platform.dashboard.draft import Draft
from ni_platform.dashboard.past import PastContents
from ni_platform.dashboard.patches import Patches
from ni_platform.dashboard.pictures import box_of, grid_of, overlays, painted_over, strongest
from ni_platform.dashboard.uploads import LARGEST, Uploads
from ni_platform.dashboard.what_if import Change, PaintedCell, TextEdit
from ni_platform.errors import ContentError, ImageError


def past(count: int, learned: bool | None = None) -> PastContents:
    """Contents whose predictions run from 0 to 1, and whose rates are half of them."""
    return PastContents(
        rows=np.arange(count),
        predictions=np.linspace(0, 1, count),
        rates=np.linspace(0, 0.5, count),
        domains=np.array(["mail" if row % 2 else "web" for row in range(count)], dtype=object),
        learned=None if learned is None else np.full(count, learned),
    )


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    """A black picture."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_interval_is_what_became_of_contents_predicted_alike():
    """Of 2001 contents the nearest 200 count: a tenth of the range, less 5 % at its ends."""
    found = past(2001).interval(0.5)

    assert found is not None
    assert found.contents == 200
    assert found.low == pytest.approx(0.25 - 0.0475 / 2, abs=1e-3)
    assert found.high == pytest.approx(0.25 + 0.0475 / 2, abs=1e-3)
    assert not found.unseen


def test_there_is_no_interval_from_fewer_than_twenty_outcomes():
    """Nineteen others say too little; the content itself does not count."""
    assert past(20).interval(0.5, without=3) is None
    assert past(21).interval(0.5, without=3) is not None


def test_contents_that_the_model_learned_from_do_not_count_where_there_are_others():
    """With every content learned from there is still an interval, and it says so."""
    assert past(100, learned=False).interval(0.5).unseen
    assert not past(100, learned=True).interval(0.5).unseen


def test_a_place_is_among_the_contents_of_the_domain_or_of_all_if_it_is_new():
    """Ties count half."""
    assert past(100).place(0.5, "mail").contents == 50
    assert past(101).place(0.5, "web").share == pytest.approx(0.5)
    new = past(100).place(2.0, "elsewhere")
    assert (new.share, new.contents, new.domain) == (1.0, 100, None)


def test_kept_pictures_change_no_prediction(studio, pictured):
    """One content at a time, with and without a kept picture, as the scorer predicts it."""
    expected = studio.model.scorer.predict(pictured.inputs(np.arange(12)))

    for _ in range(2):
        found = [studio.rate(studio.draft(row)) for row in range(12)]
        assert found == pytest.approx(expected, rel=1e-5)


def test_an_edited_content_is_compared_with_what_it_was(studio):
    """An unedited one has nothing to be compared with."""
    draft = studio.draft(0)

    assert studio.score(draft).before is None
    assert studio.score(draft.with_text("title", "free")).before == pytest.approx(
        studio.rate(draft), rel=1e-5
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"texts": {"headline": "x"}}, "headline"),
        ({"texts": {"title": "x" * 20_001}}, "20,000"),
        ({"attributes": {"price": "cheap"}}, "cheap"),
        ({"attributes": {"price": "nan"}}, "number"),
        ({"attributes": {"colour": "red"}}, "colour"),
        ({"picture": "content:9999"}, "content:9999"),
        ({"picture": "../../etc/passwd"}, "no picture"),
        ({"picture": "upload:none"}, "upload it"),
    ],
)
def test_what_does_not_fit_is_named(studio, changed, said):
    """Each is one message with what is wrong."""
    with pytest.raises(ContentError, match=said):
        studio.rate(Draft(**changed))


def test_attributes_that_no_past_content_has_are_said(studio, pictured):
    """A price beyond all prices, and a day that there is not; those of a past content are known."""
    assert studio.score(studio.draft(0)).beyond == ()
    price, day = studio.score(Draft(attributes={"price": "-1e6", "day": "zzz"})).beyond
    assert price.startswith("price is -1e6, and past contents have ")
    assert f"{pictured.contents['price'].max():g}" in price
    assert day.startswith("day is zzz, which no content")


def test_beyond_all_past_predictions_there_is_no_interval():
    """None of 100 contents predicted 0 to 1 was predicted 2."""
    assert past(100).interval(1.0) is not None
    assert past(100).interval(2.0) is None


def test_a_content_of_nothing_is_scored(studio):
    """Every modality may be missing."""
    assert 0 < studio.rate(Draft()) < 1


def test_explanations_are_in_the_words_of_the_text(studio):
    """The parts make up the text again; contributions are those of its words."""
    draft = Draft(texts={"title": " Free  sale, today! ", "subtitle": "new"})

    found = studio.explain(draft, "text")

    assert "".join(part.text for part in found.texts["title"]) == "Free  sale, today!"
    marked = [part for part in found.texts["title"] if part.contribution is not None]
    assert [part.text for part in marked] == ["Free", "sale", ",", "today", "!"]
    assert len(found.features) == 6
    assert studio.explain(draft, "text") is found


def test_a_missing_modality_has_no_explanation(studio):
    """Row 4 has no picture."""
    assert studio.explain(studio.draft(4), "image").nothing


def test_a_phrase_is_replaced_in_whole_words_whatever_its_case():
    """What is typed is text, never a pattern."""
    edit = TextEdit(column="title", phrase="last  CHANCE", replacement=r"\1 best")

    assert edit.applied("Last chance, last chances") == r"\1 best, last chances"
    assert TextEdit(column="title", phrase="new").applied("a new home") == "a home"
    with pytest.raises(ContentError, match="does not hold"):
        TextEdit(column="title", phrase="a.c").applied("abc")
    with pytest.raises(ContentError, match="names the phrase"):
        TextEdit(column="title", phrase="  ").applied("abc")


def test_a_text_edit_is_the_difference_of_two_predictions(studio, pictured, opened):
    """Beside what past tests say of both phrases; with several models there is an interval."""
    draft = Draft(texts={"title": "new home today"}, picture="content:0")
    edit = TextEdit(column="title", phrase="new home", replacement="last chance")

    found = studio.what_if(draft, edit)

    edited = draft.with_text("title", "last chance today")
    expected = [
        studio.ensemble[i].rate(studio.frame(edited), None)
        - studio.ensemble[i].rate(studio.frame(draft), None)
        for i in range(3)
    ]
    assert found.text == "last chance today"
    assert found.change.change == pytest.approx(np.mean(expected), rel=1e-3)
    assert found.change.low < found.change.change < found.change.high
    assert [one.feature for one in found.past] == ["new home", "last chance"]
    alone = opened.what_if(draft, edit)
    assert alone.change.low is None
    assert alone.past == []


def test_an_interval_of_changes_follows_students_t():
    """Three models: 4.3027 standard errors on either side."""
    found = Change.of([0.1, 0.1, 0.1], [0.11, 0.12, 0.13])

    assert found.change == pytest.approx(0.02)
    assert found.high - found.change == pytest.approx(4.3027 * 0.01 / np.sqrt(3), rel=1e-4)


def test_a_painted_region_changes_the_prediction(studio):
    """A region outside, or without a picture, is refused."""
    draft = studio.draft(0)
    assert draft.picture == "content:0"

    found = studio.what_if(draft, PaintedCell(row=0, column=0))

    assert found.change.change != 0
    assert found.text is None
    with pytest.raises(ContentError, match="8 rows"):
        studio.what_if(draft, PaintedCell(row=8, column=0))
    with pytest.raises(ContentError, match="no picture"):
        studio.what_if(studio.draft(4), PaintedCell(row=0, column=0))


def test_cells_cover_a_picture_once():
    """The grid is 8 along the longer side, and square as far as it goes."""
    size = (37, 20)
    down, across = grid_of(size)
    picture = Image.new("RGB", size)
    for row in range(down):
        for column in range(across):
            picture = painted_over(picture, row, column, (1, 2, 3))
    areas = [
        (right - left) * (bottom - top)
        for row in range(down)
        for column in range(across)
        for left, top, right, bottom in [box_of(size, row, column)]
    ]

    assert (down, across) == (4, 8)
    assert sum(areas) == 37 * 20
    assert set(picture.get_flattened_data()) == {(1, 2, 3)}


def test_signs_are_told_apart_without_colour():
    """Positive areas are full, negative ones striped."""
    contributions = np.array([[1.0, -1.0]])
    both = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
        for uri in overlays(contributions, (48, 24))
    ]

    positive, negative = both
    assert (positive[:, :24, 3] > 0).all()
    assert (positive[:, 24:, 3] == 0).all()
    assert len(np.unique(positive[:, :24, 3])) == 1
    assert len(np.unique(negative[:, 24:, 3])) == 2


def test_patches_are_the_cells_that_count_most():
    """In the places of a map of another size."""
    contributions = np.zeros((16, 16))
    contributions[0, 0], contributions[15, 15] = 2.0, -1.0

    best, worst = strongest(contributions, Image.new("RGB", (64, 64)))

    assert [(cell.row, cell.column, cell.contribution) for cell in best] == [(0, 0, 2.0)]
    assert [(cell.row, cell.column, cell.contribution) for cell in worst] == [(7, 7, -1.0)]


def test_uploads_are_decoded_bounded_and_forgotten():
    """Under random ids; a picture of 200 megapixels is refused from its header."""
    uploads = Uploads()
    first, kept = uploads.add(png(10, 20))
    assert (kept.width, kept.height, kept.scaled) == (10, 20, False)

    _, large = uploads.add(png(3000, 2000))
    assert large.scaled
    assert large.width * large.height <= LARGEST
    with pytest.raises(ImageError, match="too large to decode"):
        uploads.add(png(20_000, 10_000, "1"))
    with pytest.raises(ImageError, match="unknown format"):
        uploads.add(b"<script>alert(1)</script>")
    with pytest.raises(ContentError, match="empty"):
        uploads.add(b"")
    for _ in range(20):
        uploads.add(png(4, 4))
    with pytest.raises(ContentError, match="upload it"):
        uploads.get(first)


def test_recommendations_have_support_and_are_of_the_domain_where_it_has_any(insights):
    """Kinds without any in the domain fall back on all domains."""
    phrases, single, attributes = advice(insights, "site1")

    assert [one.feature for one in phrases.best] == ["best sale"]
    assert phrases.domain == "site1"
    assert single.domain is None
    assert [one.feature for one in attributes.best] == ["day = mon"]
    everywhere = advice(insights, "site2")[0]
    assert [one.feature for one in everywhere.best] == ["last chance"]
    assert [one.feature for one in everywhere.worst] == ["new home"]
    assert everywhere.best[0].held == 9


def test_what_the_past_of_a_domain_speaks_against_is_not_advised_there(insights):
    """Over all domains "last chance" holds; in site2 it lost, and "new home", which lowers, won.

    In site3 it lowers by the model, and did so in all past pairs: against the advice to use it.
    """
    columns = list(insights.scores.columns)
    own = [
        ("phrase", "site2", "last chance", 0.01, -0.01, 0.03, 4, 3, 0.25, 4, 3, "randomised"),
        ("phrase", "site2", "new home", 0.001, -0.01, 0.03, 4, 3, 1.0, 4, 3, "randomised"),
        ("phrase", "site3", "last chance", -0.01, -0.03, 0.01, 4, 3, 1.0, 4, 3, "randomised"),
        ("phrase", "site4", "last chance", 0.01, -0.01, 0.03, 4, 3, 0.5, 4, 3, "randomised"),
    ]
    scores = pd.concat([insights.scores, pd.DataFrame(own, columns=columns)], ignore_index=True)
    known = dataclasses.replace(insights, scores=scores)

    kinds = {one.heading: one for one in advice(known, "site2")}
    assert "Phrases" not in kinds  # nothing is left of them
    assert kinds["Words"].domain is None
    (phrases, *_) = advice(known, "site3")
    assert (phrases.best, [one.feature for one in phrases.worst]) == ([], ["new home"])
    (phrases, *_) = advice(known, "site4")
    assert [one.feature for one in phrases.best] == ["last chance"]


def test_advice_says_what_stands_behind_it(insights):
    """Randomised A/B tests where past pairs bear on it; else that it does not say what works."""
    found = {one.feature: one for kind in advice(insights, "") for one in kind.best + kind.worst}
    assert {one.evidence for one in found.values() if one.of} == {"randomised A/B tests"}
    delivered = insights.scores.assign(evidence="platform")
    (first, *_) = advice(dataclasses.replace(insights, scores=delivered), "")
    assert first.best[0].evidence == (
        "platform delivery: what was delivered together with success, not what works"
    )


def test_patches_are_one_of_each_cluster_with_what_it_rests_on(pictured):
    """Cut out of the picture; contents without one, or that the dataset lacks, have none."""
    columns = ["direction", "content_id", "box", "cluster", "score", "low", "high", "contents",
               "tests", "agreed", "of", "agreed_tests", "evidence"]  # fmt: skip
    rest = (0.01, 0.002, 0.018, 12, 9, 0.75, 8, 5, "randomised")
    rows = [
        ("positive", "gone", [0, 0, 8, 8], 1, *rest),
        ("positive", "c4", [0, 0, 8, 8], 1, *rest),
        ("positive", "c1", [3, 5, 11, 15], 1, *rest),
        ("positive", "c2", [0, 0, 8, 8], 1, *rest),
        ("negative", "c3", [0, 0, 8, 8], 7, *rest),
    ]

    patches = Patches(pd.DataFrame(rows, columns=columns), pictured)

    assert [patch.content_id for patch in patches.best] == ["c1"]
    assert [patch.content_id for patch in patches.worst] == ["c3"]
    assert (patches.best[0].cluster.held, patches.best[0].cluster.of) == (6, 8)
    cut = Image.open(io.BytesIO(base64.b64decode(patches.best[0].picture.partition(",")[2])))
    whole = Image.open(pictured.image_uri.iloc[1])
    assert cut.tobytes() == whole.crop((3, 5, 11, 15)).tobytes()


def test_what_was_never_compared_has_no_agreement(insights):
    """It is known, but of no pair."""
    found = past_of(insights, "Only  today")

    assert found is not None
    assert (found.of, found.held) == (0, 0)
    assert past_of(insights, "nothing of this") is None


def test_arms_of_a_test_stand_together(studio, pictured):
    """Three contents share a test."""
    arms = studio.arms(4)

    assert {arm.row for arm in arms} == {3, 4, 5}
    assert arms[0].row == 4
    assert arms[0].observed == pytest.approx(pictured.success_rate[4])


def test_contents_are_found_by_words_id_and_domain(studio):
    """Case does not matter, and nothing is a pattern."""
    assert studio.find("C12", "")[0][0] == 12
    assert studio.find("(", "") == ([], 0)
    rows, matches = studio.find("", "site1")
    assert matches >= len(rows) > 0
    assert {studio.draft(row).domain for row in rows} == {"site1"}


def test_figures_are_said_with_three_digits():
    """A change has a sign, and nought has none."""
    assert words.rate(0.04213) == "4.21 %"
    assert words.rate(0.1234) == "12.3 %"
    assert words.points(-0.00321) == "−0.32"
    assert words.points(0.0000001) == "0.000"
