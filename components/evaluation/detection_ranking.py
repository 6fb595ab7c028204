"""Detections against annotated faces: which count, and what their ranking by score is worth.

As in WIDER FACE's own protocol (Yang et al., CVPR 2016), faces that are too small and regions that are marked
as ignored are neither missed nor make a detection on them wrong. Average precision is that of TFMA's
`COCOAveragePrecision`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.metrics.preprocessors.utils import box_match

IOU = 0.5
"""From which a detection is the face; also share of a detection from which it lies on an ignored region."""

# TFMA counts at thresholds of the score in loops over thresholds and detections: seconds at 1,000 and 20,000.
_THRESHOLDS = 1001
_CLASS = 0


class AnnotatedFaces(NamedTuple):
    """What an image shows.

    Attributes:
        boxes: Edges (ymin, xmin, ymax, xmax) in pixels, float [F, 4].
        heights: Pixels, float [F].
        ignored: Which are neither face nor background, bool [F].
    """

    boxes: np.ndarray
    heights: np.ndarray
    ignored: np.ndarray


class Ranking(NamedTuple):
    """Detections that count and faces that were missed, in any order.

    Attributes:
        faces: Whether it is a face (found or missed), bool [N].
        scores: Scores above 0; 0 for missed faces; float64 [N].
        images: How many images it is of.
    """

    faces: np.ndarray
    scores: np.ndarray
    images: int

    @property
    def face_count(self) -> int:
        """How many faces there are to find."""
        return int(self.faces.sum())


@dataclass(frozen=True, eq=False)
class Curve:
    """What is found at each score, the highest first.

    Attributes:
        recall: Share of the faces found, float64 [M].
        precision: Share of the detections that are faces, float64 [M].
        false_positives: Detections an image that are none, float64 [M].
    """

    recall: np.ndarray
    precision: np.ndarray
    false_positives: np.ndarray

    def recall_at(self, false_positives: float) -> float:
        """Returns the highest recall with at most so many false positives an image; 0 where there is none."""
        return float(self.recall[self.false_positives <= false_positives].max(initial=0.0))


def rank(annotated: AnnotatedFaces, boxes: np.ndarray, scores: np.ndarray, least: float) -> Ranking:
    """Judges the detections of one image by the faces of a height and more.

    Detections take faces, the highest score first, each the free face that it overlaps most, from an IoU of
    IOU on. Of those that get none, these are left out: those that lie on a smaller face (IOU), those of which
    a share of IOU lies in an ignored region, and those that are smaller than the height themselves.

    Args:
        annotated: The image's faces.
        boxes: Detections, edges as of the faces, float [D, 4].
        scores: Their scores, above 0, float [D].
        least: Height of the faces that count, pixels.

    Returns:
        The ranking of the image.
    """
    counted = ~annotated.ignored & (annotated.heights >= least)
    smaller = ~annotated.ignored & ~counted
    overlaps = box_match.compute_ious_for_image(boxes, annotated.boxes[counted])
    on_smaller = box_match.compute_ious_for_image(boxes, annotated.boxes[smaller]) >= IOU
    on_ignored = _shares(boxes, annotated.boxes[annotated.ignored]) >= IOU
    tiny = boxes[:, 2] - boxes[:, 0] < least
    kept = _taken(overlaps, scores) | ~(on_smaller.any(axis=1) | on_ignored.any(axis=1) | tiny)
    # TFMA matches what is left in the same way.
    faces, found, _ = box_match.boxes_to_label_prediction_example_weight(
        np.insert(annotated.boxes[counted], 4, _CLASS, axis=1),
        np.column_stack([boxes[kept], np.full(kept.sum(), _CLASS), scores[kept]]),
        class_id=_CLASS,
        iou_threshold=IOU,
    )
    return Ranking(faces > 0.0, found.astype(np.float64), 1)


def together(rankings: Sequence[Ranking]) -> Ranking:
    """Returns the ranking of the images of some rankings."""
    return Ranking(
        np.concatenate([np.zeros(0, bool), *(each.faces for each in rankings)]),
        np.concatenate([np.zeros(0), *(each.scores for each in rankings)]),
        sum(each.images for each in rankings),
    )


def average_precision(ranking: Ranking) -> float:
    """Returns COCO's average precision: the mean over 101 recalls of the best precision at each or more.

    The metric's own computations are called with all detections at once, because Beam hands them over one by
    one, each to all thresholds: a quarter of an hour for a thousand images. Only the order of scores
    matters, so they are spread evenly between the thresholds: up to 1,000 detections this is exact, beyond
    that neighbours share a threshold.

    Args:
        ranking: With a face at least.

    Returns:
        0 to 1; 0 where nothing was detected.
    """
    metric = tfma.metrics.COCOAveragePrecision(
        num_thresholds=_THRESHOLDS, iou_threshold=IOU, class_id=_CLASS, name="average_precision"
    )
    counts, *derived = metric.computations()
    pairs = metric_types.StandardMetricInputs(
        {"labels": ranking.faces.astype(np.float64), "predictions": _spread(ranking.scores)}
    )
    combiner = counts.combiner
    values = combiner.extract_output(combiner.add_input(combiner.create_accumulator(), pairs))
    # Where nothing is detected, precision is 0/0, which TFMA leaves out with a warning.
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        for step in derived:
            values |= step.result(values)
    return float(values[derived[-1].keys[-1]])


def curve(ranking: Ranking) -> Curve:
    """Returns what is found at each score that occurs; detections of one score come together.

    Args:
        ranking: With a face at least.
    """
    detected = ranking.scores > 0.0
    order = np.argsort(-ranking.scores[detected], kind="stable")
    scores, right = ranking.scores[detected][order], ranking.faces[detected][order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0.0, True)[: len(scores)])
    true, count = np.cumsum(right)[last], last + 1
    return Curve(true / ranking.face_count, true / count, (count - true) / ranking.images)


def _taken(overlaps: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Tells which detections get a face, of their IoU [D, F] with each; bool [D]."""
    taken = np.zeros(len(scores), bool)
    if not overlaps.shape[1]:
        return taken
    free = overlaps.copy()
    for row in np.argsort(-scores, kind="stable"):
        # Of equal overlaps TFMA takes the last.
        face = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))
        if free[row, face] >= IOU:
            taken[row] = True
            free[:, face] = 0.0
    return taken


def _shares(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Returns the share of each box [D, 4] that lies in each region [R, 4], float [D, R]."""
    first, second = boxes[:, np.newaxis], regions[np.newaxis]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return (
        np.prod(np.maximum(sides, 0.0), axis=2) / np.maximum(areas, np.finfo(np.float64).tiny)[:, np.newaxis]
    )


def _spread(scores: np.ndarray) -> np.ndarray:
    """Puts scores above 0 between the thresholds, as many between each two, and equal ones at one place."""
    detected = scores > 0.0
    ranked = np.sort(scores[detected])
    spaces = _THRESHOLDS - 1
    lower = np.searchsorted(ranked, scores, side="left")
    places = lower * spaces // max(len(ranked), spaces)
    return np.where(detected, (places + 0.5) / spaces, 0.0)
