import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.samples.contact_sheet import contact_sheet
from components.samples.expressions import AT_REST, muscles
from components.samples.faces import (
    EXPRESSIONS,
    GENDERS,
    LANDMARKS,
    Face,
    draw_face,
    random_face,
    random_identity,
)
from data_validation.errors import InputError


def a_face(seed=0, **changes):
    identity = replace(random_identity(random.Random(seed)), glasses=False, beard="none", freckles=False)
    return Face(identity, **changes)


def grey(face, size=48):
    return np.asarray(draw_face(face, size)[0].convert("L"), dtype=float)


def patch(pixels, place, reach):
    x, y = (round(value) for value in place)
    return pixels[y - reach : y + reach + 1, x - reach : x + reach + 1]


@given(st.integers(0, 10**9))
@settings(max_examples=20, deadline=None)
def test_same_seed_draws_the_same_picture(seed):
    first, second = (random_face(random.Random(seed)) for _ in range(2))
    assert first == second
    picture, landmarks = draw_face(first, 48)
    again, landmarks_again = draw_face(second, 48)
    assert picture.tobytes() == again.tobytes()
    assert landmarks == landmarks_again


@pytest.mark.parametrize("size", [8, 48, 100, 256])
def test_picture_is_rgb_of_the_size_asked_for(size):
    picture, landmarks = draw_face(a_face(), size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))
    assert len(landmarks) == len(LANDMARKS) == 5


@given(st.integers(0, 10**9))
@settings(max_examples=40, deadline=None)
def test_landmarks_lie_in_the_picture_and_in_order(seed):
    size = 64
    left_eye, right_eye, nose, left_mouth, right_mouth = draw_face(random_face(random.Random(seed)), size)[1]
    for x, y in (left_eye, right_eye, nose, left_mouth, right_mouth):
        assert 0 < x < size and 0 < y < size
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] + 2 < max(left_mouth[1], right_mouth[1]) + 2


@pytest.mark.parametrize("seed", range(4))
def test_landmarks_are_where_the_features_are(seed):
    pixels = grey(a_face(seed, age=25.0, roll=10.0, shift=(0.04, -0.02)), 256)
    landmarks = draw_face(a_face(seed, age=25.0, roll=10.0, shift=(0.04, -0.02)), 256)[1]
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    skin = np.median(patch(pixels, ((left_eye[0] + nose[0]) / 2, nose[1] - 12), 5))
    for eye in (left_eye, right_eye):
        assert patch(pixels, eye, 3).min() < 40, "a pupil is nearly black"
        assert patch(pixels, eye, 18).max() > 200, "beside it the eye is white"
    for corner in (left_mouth, right_mouth):
        assert patch(pixels, corner, 4).min() < 0.8 * skin, "the line of the mouth is darker than the skin"


def test_roll_turns_the_landmarks_clockwise():
    upright, tilted = (draw_face(a_face(roll=roll), 256)[1] for roll in (0.0, 20.0))
    assert upright[0][1] == pytest.approx(upright[1][1])
    slope = np.degrees(np.arctan2(tilted[1][1] - tilted[0][1], tilted[1][0] - tilted[0][0]))
    assert slope == pytest.approx(20.0)


def test_shift_and_scale_move_the_landmarks():
    plain = np.array(draw_face(a_face(scale=0.8), 200)[1])
    shifted = np.array(draw_face(a_face(scale=0.8, shift=(0.1, -0.05)), 200)[1])
    small = np.array(draw_face(a_face(scale=0.4), 200)[1])
    np.testing.assert_allclose(shifted - plain, np.tile([20.0, -10.0], (5, 1)))
    np.testing.assert_allclose(small - 100, (plain - 100) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_expressions_differ_from_each_other(seed):
    pictures = [grey(a_face(seed, expression=expression, scale=0.9)) for expression in EXPRESSIONS]
    for first in range(len(pictures)):
        for second in range(first):
            changed = np.abs(pictures[first] - pictures[second]) > 20
            assert changed.sum() > 25, (EXPRESSIONS[first], EXPRESSIONS[second])


@pytest.mark.parametrize("seed", range(6))
def test_expressions_move_the_parts_that_people_read(seed):
    moved = {name: muscles(name, 1.0, random.Random(seed)) for name in EXPRESSIONS}
    assert moved["happy"].smile > 0.08 > moved["neutral"].smile > moved["sad"].smile
    assert moved["angry"].brow_inner < moved["angry"].brow_outer
    assert moved["sad"].brow_inner > moved["sad"].brow_outer
    assert moved["surprise"].mouth_width < 1.0 < moved["fear"].mouth_width
    assert moved["surprise"].open_down > 0.08
    assert moved["disgust"].nose_wrinkle == 1.0
    assert moved["disgust"].lid_open < moved["neutral"].lid_open < moved["fear"].lid_open


def test_no_intensity_is_nearly_a_face_at_rest():
    calm = muscles("surprise", 0.0, random.Random(1))
    assert calm.brow_middle == pytest.approx(AT_REST.brow_middle, abs=0.06)
    assert calm.open_down == pytest.approx(0.0, abs=0.04)


def test_identity_gender_and_age_are_visible():
    woman, man = (replace(a_face(3).identity, gender=gender) for gender in reversed(GENDERS))
    plain = grey(Face(woman), 96)
    assert np.abs(plain - grey(Face(man), 96)).max() > 40
    assert np.abs(plain - grey(Face(woman, age=4.0), 96)).mean() > 3
    assert np.abs(plain - grey(Face(woman, age=85.0), 96)).mean() > 1
    assert np.abs(plain - grey(Face(a_face(4).identity), 96)).mean() > 3


def test_light_and_grain_change_the_picture_but_not_the_landmarks():
    plain, dim = a_face(), a_face(brightness=0.5)
    assert grey(dim).mean() == pytest.approx(grey(plain).mean() / 2, rel=0.03)
    lit = grey(a_face(side_light=1.0)) / np.maximum(grey(plain), 1)
    assert lit[:, -8:].mean() > lit[:, :8].mean() + 0.3
    assert grey(a_face(grain=8.0)).std() > grey(plain).std()
    assert draw_face(plain, 48)[1] == draw_face(dim, 48)[1]


@pytest.mark.parametrize("gender", GENDERS)
def test_random_identity_keeps_the_gender_asked_for(gender):
    assert {random_identity(random.Random(seed), gender).gender for seed in range(20)} == {gender}


def test_random_faces_show_every_expression_and_both_genders():
    faces = [random_face(random.Random(seed)) for seed in range(120)]
    assert {face.expression for face in faces} == set(EXPRESSIONS)
    assert {face.identity.gender for face in faces} == set(GENDERS)
    assert len({face.identity for face in faces}) == len(faces)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"expression": "joy"}, "expression"),
        ({"age": -1.0}, "age"),
        ({"age": 101.0}, "age"),
        ({"age": float("nan")}, "age"),
        ({"intensity": 1.5}, "intensity"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_bad_face_is_refused_in_one_line(changes, named):
    with pytest.raises(InputError, match=f"^{named}: expected .*, found ") as refusal:
        a_face(**changes)
    assert "\n" not in str(refusal.value)


def test_bad_gender_and_size_are_refused():
    with pytest.raises(InputError, match=r"^gender: expected one of male, female, found 'other'"):
        random_identity(random.Random(0), "other")
    with pytest.raises(InputError, match=r"^size: expected at least 8 pixels, found 0"):
        draw_face(a_face(), 0)


def test_contact_sheet_shows_every_picture_in_reading_order():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    entries = [(Image.new("RGB", (10, 5), colour), "a long caption that is cut") for colour in colours]
    sheet = contact_sheet(entries, columns=2, cell=40)
    found = [colour for _, colour in sorted(sheet.getcolors(10**6), reverse=True) if colour in colours]
    assert sorted(found) == sorted(colours)
    pixels = np.asarray(sheet)
    places = [np.argwhere((pixels == colour).all(axis=-1)).min(axis=0) for colour in colours]
    assert places[0][0] == places[1][0] < places[2][0]
    assert places[0][1] == places[2][1] < places[1][1]


@pytest.mark.parametrize(("count", "columns", "cell"), [(0, 2, 40), (1, 0, 40), (1, 1, 0)])
def test_contact_sheet_refuses_what_it_cannot_lay_out(count, columns, cell):
    with pytest.raises(InputError, match=r"^contact sheet: expected "):
        contact_sheet([(Image.new("L", (4, 4)), "x")] * count, columns, cell)
