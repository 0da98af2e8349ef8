"""Dominant colours: each of the ten names, and outliers that must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans

from ni_platform.data.attributes.colour_names import NAMES, cielab, colour_name
from ni_platform.data.attributes.dominant_colour import MULTIPLE, DominantColour, robust_centre
from tests.attributes.drawn import encoded, plain


def dominant(data: bytes) -> str:
    """The colour of one picture."""
    (name,) = DominantColour().extract([data])
    return name


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0, 0)),
    ],
)
def test_cielab_of_known_colours(rgb, lab):
    """The published CIELAB values (D65) of the corners of sRGB."""
    assert cielab(np.array(rgb) / 255) == pytest.approx(lab, abs=0.02)


@pytest.mark.parametrize(
    ("name", "colours"),
    {
        "black": ["#000000", "#141414", "#0a0510"],
        "blue": ["#0000ff", "#1e90ff", "#87ceeb", "#000080", "#4169e1"],
        "brown": ["#8b4513", "#a0522d", "#654321", "#7b3f00"],
        "green": ["#008000", "#00ff00", "#228b22", "#556b2f", "#90ee90"],
        "grey": ["#808080", "#a9a9a9", "#696969", "#c0c0c0"],
        "pink": ["#ffc0cb", "#ff69b4", "#ff1493"],
        "red": ["#ff0000", "#dc143c", "#b22222", "#8b0000"],
        "white": ["#ffffff", "#f8f8ff", "#fffff0"],
        "yellow": ["#ffff00", "#ffd700", "#f0e68c"],
    }.items(),
)
def test_each_colour_has_its_name(name, colours):
    """A picture of one colour has the name that CSS or common use gives the colour."""
    assert [dominant(plain(colour)) for colour in colours] == [name] * len(colours)


def test_the_names_are_those_of_the_paper():
    """Nine names and `multiple` are M2FN Table 1's ten, and every colour has one of them."""
    paper = {"black", "blue", "brown", "green", "grey", "multiple", "pink", "red", "white"}
    paper.add("yellow")
    assert {*NAMES, MULTIPLE} == paper
    steps = np.linspace(0, 1, 9)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    assert {colour_name(lab) for lab in cielab(grid)} == set(NAMES)


def test_no_colour_dominates():
    """Four equal stripes are `multiple`; one stripe of two fifths and more is not."""
    pixels = np.zeros((60, 60, 3), np.uint8)
    for row, colour in enumerate([(255, 0, 0), (0, 0, 255), (255, 255, 0), (0, 128, 0)]):
        pixels[15 * row : 15 * row + 15] = colour
    assert dominant(encoded(Image.fromarray(pixels))) == "multiple"
    pixels[:30] = (255, 0, 0)
    assert dominant(encoded(Image.fromarray(pixels))) == "red"


def test_shades_of_one_name_add_up():
    """Light, middle and dark blue together cover the picture, though none does alone."""
    pixels = np.full((60, 60, 3), 255, np.uint8)
    for row, colour in enumerate([(30, 60, 200), (80, 150, 240), (10, 20, 110)]):
        pixels[12 * row : 12 * row + 12] = colour
    shares = DominantColour().shares(Image.fromarray(pixels))
    assert set(shares) == {"blue", "white"}
    assert shares["blue"] == pytest.approx(0.6, abs=0.02)


def grainy() -> np.ndarray:
    """A black picture with brighter grain and a logo of four colours, [64, 64, 3].

    Black is 43 of 255, a lightness of 17; the grain makes the mean of its cluster a grey.
    """
    rng = np.random.default_rng(0)
    pixels = np.full((64, 64, 3), 43, np.uint8)
    grain = rng.random((64, 64)) < 0.3
    pixels[grain] = rng.integers(43, 120, (grain.sum(), 1))
    for row, colour in enumerate([(255, 255, 255), (255, 0, 0), (0, 0, 255), (255, 255, 0)]):
        pixels[16 * row : 16 * row + 16, :16] = colour
    return pixels


def test_outliers_do_not_move_the_colour():
    """Grain makes the plain K-means centre of a black picture grey; it is black nevertheless."""
    pixels = grainy()
    lab = cielab(pixels.reshape(-1, 3) / 255)
    plain_clusters = KMeans(5, n_init=1, random_state=0).fit(lab)
    largest = np.bincount(plain_clusters.labels_).argmax()
    assert colour_name(plain_clusters.cluster_centers_[largest]) == "grey"
    assert dominant(encoded(Image.fromarray(pixels))) == "black"


def test_the_robust_centre_leaves_outliers_out():
    """Of 700 colours around a centre and 300 far off, the centre is found and 300 are left out."""
    rng = np.random.default_rng(0)
    near = rng.normal([50, 40, 20], 1, (700, 3))
    far = rng.normal([80, -20, 60], 3, (300, 3))
    colours = rng.permutation(np.concatenate([near, far]))
    centre, inside = robust_centre(colours)
    assert centre == pytest.approx([50, 40, 20], abs=0.3)
    assert 640 <= inside <= 700
    assert np.abs(colours.mean(axis=0) - [50, 40, 20]).max() > 8


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (plain(200, mode="L"), "grey"),
        (plain((255, 0, 0, 0), mode="RGBA"), "white"),
        (plain((255, 0, 0, 255), mode="RGBA"), "red"),
        (plain("green", size=(1, 1)), "green"),
        (plain("blue", size=(3000, 2)), "blue"),
        (encoded(Image.new("RGB", (80, 60), (200, 30, 30)), "JPEG", quality=30), "red"),
    ],
    ids=["grey levels", "transparent", "opaque", "one pixel", "a line", "JPEG"],
)
def test_any_kind_of_picture(data, name):
    """Modes, transparency, sizes and formats do not matter; what is transparent is white."""
    assert dominant(data) == name
