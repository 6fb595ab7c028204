"""What the six tasks answer, and how it is read from a model's outputs."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from serving.wire.calls import Prediction
from serving.wire.errors import unreadable

# The outputs that are asked for, by task.
DETECTION = ("num_detections", "detection_boxes", "detection_scores", "detection_keypoints")
CLASSIFICATION = ("classes", "scores")
AGE = ("age", "age_low", "age_high", "probabilities")
VERIFICATION = ("cosine_distance", "euclidean_distance", "is_match", "threshold")
EMBEDDING = ("embedding",)
SYNTHESIS = ("image_bytes",)

_AGES = 101
_LANDMARKS = 5


class Box(NamedTuple):
    """A rectangle in fractions (0 to 1) of the image's height and width."""

    ymin: float
    xmin: float
    ymax: float
    xmax: float


class Point(NamedTuple):
    """A point in fractions (0 to 1) of the image's height and width."""

    y: float
    x: float


@dataclass(frozen=True)
class Face:
    """A face that was found.

    Attributes:
        box: Where.
        score: How sure the detector is, 0 to 1.
        keypoints: Five landmarks, in the model's order: eyes, nose, corners of the mouth.
    """

    box: Box
    score: float
    keypoints: tuple[Point, ...]


@dataclass(frozen=True)
class Detection:
    """The faces in one image, in the model's order; `model_version` is None if the transport did not say."""

    faces: tuple[Face, ...]
    model_version: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Verification:
    """Whether two images show one person.

    Attributes:
        cosine_distance: 0 (alike) to 2.
        euclidean_distance: 0 (alike) or more.
        is_match: The model's verdict.
        threshold: The distance below which the model says "match".
        model_version: None if the transport did not say.
    """

    cosine_distance: float
    euclidean_distance: float
    is_match: bool
    threshold: float
    model_version: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Classification:
    """A gender or an emotion.

    Attributes:
        label: The likeliest class.
        score: Its score, 0 to 1.
        scores: All classes and their scores, in the model's order.
        model_version: None if the transport did not say.
    """

    label: str
    score: float
    scores: dict[str, float] = field(hash=False)
    model_version: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class AgeEstimate:
    """An age in years.

    Attributes:
        age: The estimate.
        low: The 10 % quantile.
        high: The 90 % quantile.
        probabilities: float32 [101], of the ages 0 to 100; not part of comparisons.
        model_version: None if the transport did not say.
    """

    age: float
    low: float
    high: float
    probabilities: np.ndarray = field(compare=False, repr=False)
    model_version: int | None = field(default=None, compare=False)


def detections(answer: Prediction, count: int) -> list[Detection]:
    """Reads the answer for `count` images; raises ServerError if it does not fit."""
    boxes = _output(answer, "detection_boxes", "f", count, None, 4)
    slots = boxes.shape[1]
    scores = _output(answer, "detection_scores", "f", count, slots)
    keypoints = _output(answer, "detection_keypoints", "f", count, slots, _LANDMARKS, 2)
    numbers = _output(answer, "num_detections", "iuf", count)
    if not all(0 <= number <= slots for number in numbers):
        raise unreadable(answer.model, f"'num_detections' of more faces than the {slots} that came")
    return [
        Detection(
            tuple(
                Face(Box(*box), score, tuple(Point(*point) for point in points))
                for box, score, points in zip(
                    boxes[image, : int(number)].tolist(),
                    scores[image, : int(number)].tolist(),
                    keypoints[image, : int(number)].tolist(),
                    strict=True,
                )
            ),
            answer.version,
        )
        for image, number in enumerate(numbers)
    ]


def verifications(answer: Prediction, count: int) -> list[Verification]:
    """Reads the answer for `count` pairs; raises ServerError if it does not fit."""
    columns = (
        _output(answer, "cosine_distance", "f", count).tolist(),
        _output(answer, "euclidean_distance", "f", count).tolist(),
        _output(answer, "is_match", "b", count).tolist(),
        _output(answer, "threshold", "f", count).tolist(),
    )
    return [Verification(*row, answer.version) for row in zip(*columns, strict=True)]


def classifications(answer: Prediction, count: int) -> list[Classification]:
    """Reads the answer for `count` images; raises ServerError if it does not fit."""
    scores = _output(answer, "scores", "f", count, None)
    classes = _output(answer, "classes", "O", count, scores.shape[1])
    if not classes.size:
        raise unreadable(answer.model, "no classes")
    results = []
    for names, row in zip(classes, scores, strict=True):
        labels = [name.decode(errors="replace") for name in names]
        best = int(row.argmax())
        named = dict(zip(labels, row.tolist(), strict=True))
        results.append(Classification(labels[best], float(row[best]), named, answer.version))
    return results


def age_estimates(answer: Prediction, count: int) -> list[AgeEstimate]:
    """Reads the answer for `count` images; raises ServerError if it does not fit."""
    columns = (
        _output(answer, "age", "f", count).tolist(),
        _output(answer, "age_low", "f", count).tolist(),
        _output(answer, "age_high", "f", count).tolist(),
        _output(answer, "probabilities", "f", count, _AGES).astype(np.float32, copy=False),
    )
    return [AgeEstimate(*row, answer.version) for row in zip(*columns, strict=True)]


def embeddings(answer: Prediction, count: int) -> np.ndarray:
    """Reads float32 [count, D]; raises ServerError if it does not fit."""
    return _output(answer, "embedding", "f", count, None).astype(np.float32, copy=False)


def images(answer: Prediction, count: int) -> list[bytes]:
    """Reads `count` encoded images; raises ServerError if it does not fit."""
    return list(_output(answer, "image_bytes", "O", count))


def _output(answer: Prediction, name: str, kinds: str, *shape: int | None) -> np.ndarray:
    """Returns an output whose dtype is of one of numpy's kinds and whose sizes are these (None: any)."""
    array = answer.outputs[name]
    fits = array.ndim == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in kinds:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        problem = f"output {name!r} is {array.dtype} {list(array.shape)}, expected sizes [{wanted}]"
        raise unreadable(answer.model, problem)
    return array
