import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from serving.alignment import TEMPLATE, align, cut_out, in_pixels, similarity

PROJECT = Path(__file__).parents[2]


def turned(points, scale, degrees, shift):
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


@given(st.floats(0.01, 100), st.floats(-180, 180), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_is_undone(scale, degrees, right, down):
    moved = turned(TEMPLATE, scale, degrees, (right, down))
    back = similarity(moved, TEMPLATE)
    assert np.allclose(moved @ back[:, :2].T + back[:, 2], TEMPLATE, atol=1e-6)


@given(
    st.lists(st.floats(-100, 100), min_size=10, max_size=10), st.integers(0, 3), st.sampled_from([-0.1, 0.1])
)
def test_no_other_similarity_is_nearer(values, index, step):
    """Least squares: every small change of the four numbers moves the points away from the template."""
    points = np.reshape(values, (5, 2))
    assume(points.std() > 1.0)
    try:
        best = similarity(points, TEMPLATE)
    except ValueError:
        assume(False)

    def distance(numbers):
        a, b, x, y = numbers
        return float(np.square(points @ [[a, b], [-b, a]] + (x, y) - TEMPLATE).sum())

    numbers = [best[0, 0], best[1, 0], best[0, 2], best[1, 2]]
    changed = [number + step * (place == index) for place, number in enumerate(numbers)]
    assert distance(numbers) <= distance(changed) + 1e-6


def test_faces_are_not_mirrored():
    mirrored = TEMPLATE * (-1.0, 1.0)
    assert np.linalg.det(similarity(mirrored, TEMPLATE)[:, :2]) > 0.0


def spots(side, places, radius=3):
    """A dark picture with a light disc at each place; coordinates of the middles of pixels."""
    rows, columns = np.mgrid[:side, :side]
    light = [np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0.0, 1.0) for x, y in places]
    return Image.fromarray((np.max(light, axis=0) * 255).astype(np.uint8))


def middle_of_light(picture, place, reach):
    pixels = np.asarray(picture, dtype=float)
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    weights = pixels * (np.hypot(columns - place[0], rows - place[1]) <= reach)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize(("scale", "side"), [(1.0, 112), (2.0, 112), (4.6, 112), (2.0, 224), (1.0, 56)])
def test_landmarks_come_to_the_template(scale, side):
    places = turned(TEMPLATE, scale, 20.0, (60.0, 10.0) if scale < 4 else (150.0, 40.0))
    aligned = align(spots(720, places, radius=4 * scale), places, side)
    assert (aligned.size, aligned.mode) == ((side, side), "L")
    for place in (TEMPLATE + 0.5) * side / 112 - 0.5:
        found = middle_of_light(aligned, place, reach=7 * side / 112)
        assert np.abs(found - place).max() < 0.1


def test_aligned_picture_stays_as_it_is():
    pixels = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    aligned = align(Image.fromarray(pixels), TEMPLATE)
    assert np.abs(np.asarray(aligned).astype(int) - pixels).max() <= 1


def test_places_beside_the_picture_are_black():
    aligned = np.asarray(align(Image.new("RGB", (112, 112), "white"), TEMPLATE + 56.0))
    assert (aligned[:50, :50] == 255).all() and (aligned[60:] == 0).all()


def test_points_of_a_detection_model_come_to_pixels():
    shares = np.float32([(0.25, 0.5), (1.0, 0.125)])
    np.testing.assert_array_equal(in_pixels(shares, width=200, height=100), [(100, 25), (25, 100)])
    every = in_pixels(np.stack([shares] * 3), 200, 100)
    assert (every.shape, every.dtype) == ((3, 2, 2), np.float64)
    assert in_pixels(np.zeros([0, 5, 2]), 200, 100).shape == (0, 5, 2)


def test_points_of_a_detection_model_count_from_edges():
    """The template's places, said as a detection model says them, bring the picture back as it is."""
    rgb = np.random.default_rng(2).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    shares = (TEMPLATE[:, ::-1] + 0.5) / 112
    face = np.asarray(cut_out(rgb, in_pixels(shares, 112, 112))).astype(int)
    assert np.abs(face - rgb).max() <= 1


def test_faces_of_grey_pictures_stay_grey():
    grey = np.random.default_rng(3).integers(0, 256, (160, 240)).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    points = turned(TEMPLATE, 0.9, 15.0, (60.0, 5.0))
    face = cut_out(rgb, points)
    assert face.mode == "L"
    # The values of all channels, had they been aligned one by one.
    in_colour = align(Image.fromarray(rgb), points - 0.5)
    np.testing.assert_array_equal(face.convert("RGB"), in_colour)
    rgb[0, 0] = (9, 9, 10)  # the least of colour
    assert cut_out(rgb, points).mode == "RGB"


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (TEMPLATE[:4], "landmarks: expected 5 finite points (x, y), found shape (4, 2)"),
        (np.full((5, 2), np.nan), "landmarks: expected 5 finite points (x, y), found [[nan, nan], "),
        (np.full((5, 2), 7.0), "landmarks: expected points that have a direction, found ["),
        (7.0 + 0.02 * TEMPLATE, "landmarks: expected points that have a direction, found ["),
    ],
)
def test_landmarks_that_are_none(landmarks, reason):
    for refuse in (
        lambda: align(Image.new("L", (50, 50)), landmarks),
        lambda: cut_out(np.zeros((50, 50, 3), np.uint8), landmarks),
    ):
        with pytest.raises(ValueError) as caught:
            refuse()
        assert str(caught.value).startswith(reason) and "\n" not in str(caught.value)


@given(st.floats(0, 2000), st.floats(0, 2000))
def test_points_at_one_place_are_none_wherever_that_is(x, y):
    """Their mean may be rounded to another place than theirs."""
    with pytest.raises(ValueError, match="that have a direction"):
        cut_out(np.zeros((50, 50, 3), np.uint8), [(x, y)] * 5)


@pytest.mark.parametrize("along", [(1.0, 0.0), (0.0, 1.0), (0.7, 0.7)], ids=["across", "down", "aslant"])
def test_points_on_a_line_have_a_direction(along):
    pixels = np.random.default_rng(4).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    centred = TEMPLATE - TEMPLATE.mean(axis=0)
    face = np.asarray(cut_out(pixels, 100.0 + np.outer(centred @ along, along)))
    assert face.std() > 30.0  # of what is in the picture


def test_it_needs_no_tensorflow():
    code = "import sys, serving.alignment; print(sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=60, check=True
    )
    for package in ("tensorflow", "components", "trainers", "data_validation"):
        assert f"'{package}'" not in run.stdout
