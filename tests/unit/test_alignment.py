import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from components.alignment import TEMPLATE, align, similarity
from data_validation.errors import InputError


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
    except InputError:
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


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (TEMPLATE[:4], "landmarks: expected 5 finite points (x, y), found shape (4, 2)"),
        (np.full((5, 2), np.nan), "landmarks: expected 5 finite points (x, y), found [[nan, nan], "),
        (np.full((5, 2), 7.0), "landmarks: expected points that have a direction, found ["),
    ],
)
def test_landmarks_that_are_none(landmarks, reason):
    with pytest.raises(InputError) as caught:
        align(Image.new("L", (50, 50)), landmarks)
    assert str(caught.value).startswith(reason) and "\n" not in str(caught.value)
