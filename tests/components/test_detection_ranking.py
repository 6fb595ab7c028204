"""Which detections count, and what their ranking is worth: by hand, and against a plain reckoning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_analysis.metrics.preprocessors.utils import box_match

from components.evaluation.detection_ranking import (
    AnnotatedFaces,
    Ranking,
    average_precision,
    curve,
    rank,
    together,
)

FAR, NEAR, SMALL, MISSED = (0, 0, 40, 40), (0, 100, 30, 130), (0, 200, 18, 218), (200, 200, 260, 260)
REGION = (100, 0, 200, 100)
DETECTED = {
    FAR: 0.9,
    (4, 4, 44, 44): 0.8,  # on FAR again: IoU 0.68
    (0, 200, 22, 222): 0.7,  # SMALL: IoU 0.67
    (110, 10, 160, 60): 0.6,  # inside of REGION, IoU 0.25
    (90, 0, 130, 40): 0.5,  # three quarters of it in REGION
    (60, 0, 110, 50): 0.45,  # a fifth of it in REGION
    (300, 300, 315, 315): 0.4,  # small, on nothing
    NEAR: 0.3,
}


def annotated(faces: list, ignored: list) -> AnnotatedFaces:
    boxes = np.array([*faces, *ignored], np.float64).reshape(-1, 4)
    marks = np.array([False] * len(faces) + [True] * len(ignored), bool)
    return AnnotatedFaces(boxes, boxes[:, 2] - boxes[:, 0], marks)


def ranked(faces: list, ignored: list, detected: dict, least: float = 20.0) -> Ranking:
    boxes = np.array(list(detected), np.float64).reshape(-1, 4)
    return rank(annotated(faces, ignored), boxes, np.array(list(detected.values()), np.float64), least)


def rows(ranking: Ranking) -> list[tuple[float, bool]]:
    found = zip(ranking.scores.tolist(), ranking.faces.tolist(), strict=True)
    return sorted(found, key=lambda row: -row[0])


def scene(least: float) -> Ranking:
    return ranked([FAR, NEAR, SMALL, MISSED], [REGION], DETECTED, least)


@pytest.mark.parametrize(
    ("least", "expected", "precision"),
    [
        # SMALL is 18 pixels high.
        (20, [(0.9, True), (0.8, False), (0.45, False), (0.3, True), (0.0, True)], (34 + 33 / 2) / 101),
        (
            10,
            [
                (0.9, True),
                (0.8, False),
                (0.7, True),
                (0.45, False),
                (0.4, False),
                (0.3, True),
                (0.0, True),
            ],
            (26 + 25 * 2 / 3 + 25 / 2) / 101,
        ),
        (50, [(0.45, False), (0.0, True)], 0.0),
    ],
)
def test_scene_reckoned_by_hand(least: float, expected: list, precision: float) -> None:
    ranking = scene(least)
    assert rows(ranking) == expected
    assert average_precision(ranking) == pytest.approx(precision, abs=1e-9)


def test_recall_by_false_positives() -> None:
    found = curve(scene(20))
    assert found.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3])
    assert found.precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2])
    assert found.false_positives.tolist() == [0, 1, 2, 2]
    assert [found.recall_at(number) for number in (0.1, 1.9, 2.0)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])


def test_images_without_faces_are_images_too() -> None:
    # A false positive of a high score in one of two more images.
    empty, wrong = ranked([], [], {}), ranked([], [], {(0, 0, 50, 50): 0.95})
    ranking = together([scene(20), empty, wrong])
    assert (ranking.images, ranking.face_count) == (3, 3)
    found = curve(ranking)
    assert found.false_positives.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert found.recall_at(0.1) == 0.0
    assert found.recall_at(1.0) == pytest.approx(2 / 3)
    assert average_precision(ranking) == pytest.approx((34 / 2 + 33 * 2 / 5) / 101)


def test_detections_of_one_score_come_together() -> None:
    ranking = Ranking(np.array([True, False, True]), np.array([0.5, 0.5, 0.5]), images=1)
    found = curve(ranking)
    assert (found.recall.tolist(), found.precision.tolist()) == ([1.0], [pytest.approx(2 / 3)])
    assert found.recall_at(0.5) == 0.0
    assert average_precision(ranking) == pytest.approx(2 / 3)


def test_nothing_detected_is_a_precision_of_0() -> None:
    ranking = ranked([FAR, NEAR], [], {})
    assert rows(ranking) == [(0.0, True), (0.0, True)]
    assert average_precision(ranking) == 0.0
    assert curve(ranking).recall_at(1.0) == 0.0


def test_the_highest_score_takes_the_face() -> None:
    # The better box comes second: one face, one hit.
    loose = (0, 0, 40, 60)
    assert rows(ranked([FAR], [], {FAR: 0.6, loose: 0.7})) == [(0.7, True), (0.6, False)]


def test_a_detection_takes_the_free_face_that_it_overlaps_most() -> None:
    beside = (0, 10, 40, 50)
    between = (0, 4, 40, 44)  # nearer to FAR, but both have an IoU above 0.5
    assert rows(ranked([FAR, beside], [], {between: 0.9, beside: 0.8})) == [(0.9, True), (0.8, True)]
    assert rows(ranked([FAR, beside], [], {FAR: 0.9, between: 0.8})) == [(0.9, True), (0.8, True)]
    # `between` is best for FAR, which is then taken; FAR's own box fits the other with 0.6.
    assert rows(ranked([FAR, beside], [], {between: 0.9, FAR: 0.8})) == [(0.9, True), (0.8, True)]
    far_beside = (0, 18, 40, 58)  # IoU 0.48 with `between`, 0.38 with FAR
    assert rows(ranked([FAR, far_beside], [], {between: 0.9, FAR: 0.8})) == [
        (0.9, True),
        (0.8, False),
        (0.0, True),
    ]


def test_half_is_enough_and_less_is_not() -> None:
    # IoU of two boxes of a height is their overlap: 40 of 80 columns.
    assert rows(ranked([(0, 0, 40, 80)], [], {FAR: 0.5})) == [(0.5, True)]
    assert rows(ranked([(0, 0, 40, 81)], [], {FAR: 0.5})) == [(0.5, False), (0.0, True)]
    # Half of a detection in an ignored region.
    assert rows(ranked([], [(0, 0, 20, 40)], {FAR: 0.5})) == []
    assert rows(ranked([], [(0, 0, 19, 40)], {FAR: 0.5})) == [(0.5, False)]


def test_a_real_face_is_taken_before_an_ignored_region_around_it() -> None:
    assert rows(ranked([FAR], [(0, 0, 200, 200)], {FAR: 0.5})) == [(0.5, True)]


def test_a_second_detection_of_a_face_is_left_out_in_an_ignored_region() -> None:
    twice = {FAR: 0.9, (4, 4, 44, 44): 0.8}
    assert rows(ranked([FAR], [(0, 0, 200, 200)], twice)) == [(0.9, True)]
    # Or on a smaller face.
    assert rows(ranked([FAR, (5, 5, 44, 44)], [], twice, least=40.0)) == [(0.9, True)]


def test_a_small_detection_may_find_a_face_that_counts() -> None:
    assert rows(ranked([(0, 0, 20, 20)], [], {(2, 2, 20, 20): 0.5})) == [(0.5, True)]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[AnnotatedFaces, np.ndarray, np.ndarray, float]:
    """A crowd of few places, so that much overlaps; scores may be equal."""
    edge = st.integers(0, 8)
    box = st.tuples(edge, edge, st.integers(1, 6), st.integers(1, 6))

    def boxes(most: int) -> np.ndarray:
        drawn = np.array(draw(st.lists(box, max_size=most)), np.float64).reshape(-1, 4)
        return 5.0 * np.concatenate([drawn[:, :2], drawn[:, :2] + drawn[:, 2:]], axis=1)

    faces, detected = boxes(7), boxes(10)
    ignored = np.array(draw(st.lists(st.booleans(), min_size=len(faces), max_size=len(faces))), bool)
    score = st.integers(1, 20).map(lambda number: number / 20)
    scores = np.array(draw(st.lists(score, min_size=len(detected), max_size=len(detected))), np.float64)
    least = draw(st.sampled_from([0.0, 10.0, 20.0]))
    return AnnotatedFaces(faces, faces[:, 2] - faces[:, 0], ignored), detected, scores, least


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_leaving_out_changes_nothing_of_what_is_found(drawn: tuple) -> None:
    """TFMA finds the same faces, by the same detections, when it is given all detections."""
    known, detected, scores, least = drawn
    counted = known.boxes[~known.ignored & (known.heights >= least)]
    faces, found, _ = box_match.boxes_to_label_prediction_example_weight(
        np.insert(counted, 4, 0, axis=1),
        np.column_stack([detected, 0.0 * scores, scores]),
        class_id=0,
        iou_threshold=0.5,
    )
    ranking = rank(known, detected, scores, least)
    assert sorted(ranking.scores[ranking.faces]) == sorted(found[faces > 0])
    wrong = np.sort(ranking.scores[~ranking.faces]).tolist()
    if least == 0.0 and not known.ignored.any():
        assert wrong == np.sort(found[faces == 0]).tolist()
    assert len(wrong) <= (faces == 0).sum()


def plain_precision(ranking: Ranking) -> float:
    """The mean over 101 recalls of the best precision at that recall or more, in so many words."""
    points = []
    for score in set(ranking.scores[ranking.scores > 0]):
        found = ranking.faces[ranking.scores >= score]
        points.append((found.sum() / ranking.faces.sum(), found.mean()))
    recalls = np.linspace(0.0, 1.0, 101)
    return float(np.mean([max((p for r, p in points if r >= wanted), default=0.0) for wanted in recalls]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=40))
def test_average_precision_is_that_of_a_plain_reckoning(drawn: list[tuple[int, bool]]) -> None:
    # The first is a face, maybe missed; what is no face was detected.
    faces = np.array([True, *(face for _, face in drawn[1:])])
    scores = np.array([place / 30 for place, _ in drawn])
    kept = faces | (scores > 0.0)
    ranking = Ranking(faces[kept], scores[kept], images=1)
    assert average_precision(ranking) == pytest.approx(plain_precision(ranking), abs=1e-9)


@pytest.mark.parametrize(("count", "tolerance"), [(1000, 1e-9), (2600, 5e-3)])
def test_average_precision_of_many_detections(count: int, tolerance: float) -> None:
    """All scores are within a hundredth below 1, as those of networks are."""
    rng = np.random.default_rng(3)
    scores = 1.0 - rng.permutation(count) * 1e-2 / count
    faces = rng.random(count) < 0.2 + 0.7 * (scores - scores.min()) * 100
    ranking = Ranking(np.append(faces, [True] * 50), np.append(scores, [0.0] * 50), images=100)
    assert average_precision(ranking) == pytest.approx(plain_precision(ranking), abs=tolerance)
