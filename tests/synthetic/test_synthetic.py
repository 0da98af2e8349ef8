"""Planted data: known effects, known pixels, seeded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ni_platform.data.dataset import Dataset
from ni_platform.data.splits import SplitConfig, split_dataset
from ni_platform.data.synthetic import make_synthetic, read_truth
from ni_platform.data.synthetic.banners import Banner, Layout, render
from ni_platform.data.synthetic.campaigns import MAX_TESTS, _brand, domain_names
from ni_platform.data.synthetic.effects import PICTURE_ELEMENTS, draw_effects
from ni_platform.errors import DatasetError


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Dataset:
    """60 A/B tests with small pictures."""
    return make_synthetic(tmp_path_factory.mktemp("planted") / "data", tests=60, image_size=48)


@pytest.fixture(scope="module")
def truth(planted):
    """What was planted."""
    return read_truth(planted.root)


def test_rates_are_the_sum_of_planted_effects(planted, truth):
    """The true rate is the sigmoid of the intercept plus the effects of what a content shows."""
    effects = truth.effects
    for i in (0, 7, len(planted) - 1):
        content, known = planted.contents.iloc[i], truth.contents.iloc[i]
        channel, country = content["domain"].split("/")
        expected = (
            np.log(0.05 / 0.95)
            + sum(effects.levels["word"].get(word.lower(), 0) for word in content["slogan"].split())
            + sum(effects.levels[element][known[element]] for element in PICTURE_ELEMENTS)
            + effects.levels["channel"][channel]
            + effects.levels["country"][country]
            + effects.levels["age_group"][content["age_group"]]
            + effects.levels["device"][content["device"]]
            + effects.price_per_unit * (content["price"] - 54)
        )
        assert known["log_odds"] == pytest.approx(expected, abs=1e-12)
        assert known["success_rate"] == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-12)


def test_clicks_are_binomial(planted, truth):
    """Clicks scatter around the true rates as binomial counts do."""
    rate, n = truth.contents["success_rate"].to_numpy(), planted.impressions
    z = (planted.clicks - n * rate) / np.sqrt(n * rate * (1 - rate))
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.7 < z.std() < 1.3


def test_regression_on_levels_recovers_the_effects(planted, truth):
    """A weighted regression of observed log odds on what is shown finds the effects again."""
    known = truth.contents
    shown = pd.get_dummies(known[list(PICTURE_ELEMENTS)], dtype=float)
    words = planted.contents["slogan"].str.lower().str.get_dummies(sep=" ")
    words = words[[word for word in words if word in truth.effects.levels["word"]]]
    rest = known[["domain_effect", "attributes_effect"]]
    design = np.column_stack([shown, words, rest])
    observed = np.log(planted.clicks / (planted.impressions - planted.clicks))
    weight = np.sqrt(planted.impressions * known["success_rate"])
    design = design - np.average(design, axis=0, weights=weight**2)
    centred = observed - np.average(observed, weights=weight**2)
    found, *_ = np.linalg.lstsq(design * weight.to_numpy()[:, None], centred * weight, rcond=None)
    product = [shown.columns.get_loc(f"product_{level}") for level in PICTURE_ELEMENTS["product"]]
    planted_effects = [truth.effects.levels["product"][x] for x in PICTURE_ELEMENTS["product"]]
    contrast = found[product] - found[product].mean()
    assert contrast == pytest.approx(planted_effects, abs=0.1)


@pytest.mark.parametrize("element", ["price_tag", "button"])
def test_an_element_changes_only_the_pixels_of_its_box(element):
    """With and without an element a picture differs inside its box, and nowhere else."""
    banner = {
        "background": "sky",
        "product": "mug",
        "price_tag": "red",
        "button": "green",
        "brand": "Velmora",
        "price": 49,
        "layout": Layout.draw(np.random.default_rng(3)),
    }
    picture, boxes = render(Banner(**banner), 64)
    without, _ = render(Banner(**{**banner, element: "none"}), 64)
    differs = (np.asarray(picture) != np.asarray(without)).any(axis=2)
    left, top, right, bottom = boxes[element]
    assert differs[top:bottom, left:right].mean() > 0.4
    differs[top:bottom, left:right] = False
    assert not differs.any()


def test_products_differ_only_inside_the_product_box():
    """Another product changes pixels of the product's box only."""
    layout = Layout.draw(np.random.default_rng(5))
    common = {"background": "navy", "price_tag": "none", "button": "none", "brand": "A", "price": 9}
    pictures = []
    for product in PICTURE_ELEMENTS["product"]:
        picture, boxes = render(Banner(product=product, layout=layout, **common), 64)
        pictures.append(np.asarray(picture).astype(int))
    differs = (np.ptp(np.stack(pictures), axis=0) > 0).any(axis=2)
    left, top, right, bottom = boxes["product"]
    assert differs[top:bottom, left:right].any()
    differs[top:bottom, left:right] = False
    assert not differs.any()


def test_boxes_lie_in_the_pictures_on_disk(planted, truth):
    """Every picture has the size asked for, and every box lies within it."""
    for uri in planted.image_uri[:5]:
        assert Image.open(uri).size == (48, 48)
    for element in PICTURE_ELEMENTS:
        for level, box in zip(truth.contents[element], truth.contents[f"{element}_box"]):
            assert (box is None) == (level == "none")
            if box is not None:
                left, top, right, bottom = box
                assert 0 <= left < right <= 48
                assert 0 <= top < bottom <= 48


def test_the_seed_decides_everything(tmp_path):
    """Equal seeds give equal datasets, to the pixel; another seed gives another one."""
    first = make_synthetic(tmp_path / "a", tests=6, image_size=32, seed=4)
    again = make_synthetic(tmp_path / "b", tests=6, image_size=32, seed=4)
    other = make_synthetic(tmp_path / "c", tests=6, image_size=32, seed=5)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert read_truth(tmp_path / "a").effects == read_truth(tmp_path / "c").effects


def test_a_larger_dataset_begins_with_the_smaller_one(tmp_path):
    """More A/B tests are added at the end; those before do not change."""
    small = make_synthetic(tmp_path / "small", tests=4, image_size=32)
    large = make_synthetic(tmp_path / "large", tests=8, image_size=32)
    pd.testing.assert_frame_equal(large.contents[: len(small)], small.contents)


def test_pictures_and_slogans_do_not_join_tests(planted):
    """No picture or near-identical slogan links two A/B tests, so every test is its own group."""
    splits = split_dataset(planted, SplitConfig())
    assert len(np.unique(splits.group)) == planted.ab_test.nunique()
    assert planted.image_digests.is_unique


def test_every_test_has_one_control_and_distinct_arms(planted, truth):
    """An A/B test has a control, and no two of its arms say and show the same."""
    arms = planted.contents.groupby("ab_test")["arm"]
    assert arms.apply(lambda arm: (arm == "control").sum() == 1).all()
    assert arms.size().between(2, 5).all()
    shown = planted.contents[["ab_test", "slogan", "price"]].join(
        truth.contents[[*PICTURE_ELEMENTS]]
    )
    assert not shown.duplicated().any()


def test_missing_cells_have_no_effect(tmp_path):
    """A missing picture or slogan contributes nothing, and a content keeps one of the two."""
    dataset = make_synthetic(tmp_path / "data", tests=40, image_size=32, missing=0.4)
    known = read_truth(dataset.root).contents
    no_image, no_text = dataset.contents["image"].isna(), dataset.contents["slogan"].isna()
    assert 0.2 < no_image.mean() < 0.6
    assert no_text.any()
    assert not (no_image & no_text).any()
    assert (known.loc[no_image, "image_effect"] == 0).all()
    assert known.loc[no_image, "product_box"].isna().all()
    assert (known.loc[no_text, "text_effect"] == 0).all()
    assert dataset.contents["price"].isna().any()
    assert dataset.contents["device"].isna().any()


def test_effects_are_spread_evenly_whatever_the_seed():
    """Another effects seed deals the same effects to other levels."""
    first, second = draw_effects(0, 0.05), draw_effects(1, 0.05)
    for factor, levels in first.levels.items():
        assert sorted(levels.values()) == pytest.approx(sorted(second.levels[factor].values()))
    assert first.levels != second.levels


@pytest.mark.parametrize("count", [1, 2, 6, 7, 20, 48])
def test_domains_are_distinct_and_as_many_as_asked(count):
    """Any number of domains up to the largest is drawn without repetition."""
    assert len(set(domain_names(count, seed=1))) == count


def test_brands_never_repeat():
    """Each A/B test has a brand name of its own, up to the largest number of tests."""
    names = {_brand(number, seed=3) for number in range(0, MAX_TESTS, 7)}
    assert len(names) == len(range(0, MAX_TESTS, 7))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("tests", 0), ("contents_per_test", (5, 2)), ("domains", 49), ("missing", 1.5),
     ("image_size", 8), ("impressions", (0, 10))],
)  # fmt: skip
def test_a_parameter_out_of_range_is_named_and_nothing_is_written(tmp_path, parameter, value):
    """An impossible parameter is an error that names it, and leaves no folder behind."""
    with pytest.raises(DatasetError, match=parameter):
        make_synthetic(tmp_path / "data", **{parameter: value})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_generation_leaves_nothing(tmp_path):
    """An interruption in the middle leaves no folder that looks like a dataset."""

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path / "data", tests=4, image_size=32, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path):
    """A folder that holds something is refused before anything is drawn."""
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(DatasetError, match="already there"):
        make_synthetic(tmp_path, tests=2)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_dataset_without_truth_says_so(tmp_path):
    """Reading the truth of an ordinary folder is an error that names the remedy."""
    with pytest.raises(DatasetError, match="ni data synthesize"):
        read_truth(tmp_path)
