"""Detected images: what was found in each, the metrics of every slice, and the files of them."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluation.blessing import Criterion, Verdict
from components.evaluation.detection_ranking import (
    IOU,
    AnnotatedFaces,
    Ranking,
    average_precision,
    curve,
    rank,
    together,
)
from components.evaluation.slices import SELECTION_SLICE, SliceKey
from data_validation.errors import InputError

RESULTS_FILE = "detection.json"
DETECTIONS_FILE = "detections.npz"
SIZES = (10, 20, 50)
"""Heights from which faces count, pixels."""
HEADLINE_SIZE = 20
FALSE_POSITIVES = (0.1, 1.0)
"""An image, at which recall is told."""
POINTS = ("left eye", "right eye", "nose", "left mouth", "right mouth")
GOOD_ERROR = 0.1
"""Landmarks are good below this share of the distance of the eyes."""

_NOSE = 2
# Arrays of `DetectedImage` that have any number of rows, by what there is a row for.
_RAGGED = {
    "face": ("faces", "heights", "ignored"),
    "landmark": ("landmarks",),
    "detection": ("boxes", "scores", "keypoints"),
}


@dataclass(frozen=True, eq=False)
class DetectedImage:
    """An image, annotated and detected. Places are shares of its height and width.

    Attributes:
        split: Its split.
        source: Name of the data set.
        size: Height and width, pixels.
        faces: Annotated edges (ymin, xmin, ymax, xmax), float32 [F, 4].
        heights: Of the annotated faces, pixels, float32 [F].
        ignored: Which of them are neither face nor background, bool [F].
        landmarks: Annotated points (y, x), in the order of POINTS, float32 [L, 5, 2]; L is F or 0.
        boxes: Detected edges, float32 [D, 4].
        scores: Of the detections, float32 [D].
        keypoints: Their points, float32 [D, 5, 2].
    """

    split: str
    source: str
    size: tuple[int, int]
    faces: np.ndarray
    heights: np.ndarray
    ignored: np.ndarray
    landmarks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray

    def ranking(self, least: float) -> Ranking:
        """Judges the detections by faces of a height and more; see `detection_ranking.rank`."""
        pixels = np.array([*self.size, *self.size], np.float64)
        annotated = AnnotatedFaces(self.faces * pixels, self.heights, self.ignored)
        return rank(annotated, self.boxes * pixels, self.scores, least)

    def landmark_errors(self) -> np.ndarray:
        """Returns how far off each point of each face with landmarks is.

        A face is found by the detections that its annotated nose lies in; of several, that which overlaps the
        annotated box most is taken.

        Returns:
            Distances as shares of that of the eyes (of one pixel at least), float64 [L, 5]; NaN for faces
            that were not found.
        """
        rows = [self._errors(*each) for each in zip(self.faces, self.landmarks, strict=True)]
        return np.array(rows).reshape(-1, len(POINTS))

    def _errors(self, face: np.ndarray, points: np.ndarray) -> np.ndarray:
        nose = points[_NOSE]
        holds = ((self.boxes[:, :2] <= nose) & (nose <= self.boxes[:, 2:])).all(axis=1)
        if not holds.any():
            return np.full(len(POINTS), np.nan)
        chosen = np.argmax(np.where(holds, _overlaps(face, self.boxes), -1.0))
        eyes = np.linalg.norm((points[0] - points[1]) * self.size)
        return np.linalg.norm((self.keypoints[chosen] - points) * self.size, axis=1) / max(eyes, 1.0)


@dataclass(frozen=True)
class SearchSettings:
    """How faces were looked for.

    Attributes:
        min_face: Side of the smallest faces, pixels.
        factor: Ratio of two steps of the pyramid.
        thresholds: Scores from which P-Net, R-Net and O-Net pass a box on.
        longest_side: Pixels to which the model makes larger images smaller.
    """

    min_face: float
    factor: float
    thresholds: tuple[float, float, float]
    longest_side: int

    @classmethod
    def of(cls, evaluation: Mapping[str, float], longest_side: int) -> "SearchSettings":
        """Takes them from a task's evaluation settings.

        Args:
            evaluation: With `min_face`, `factor` and a threshold for each network.
            longest_side: Of the model.
        """
        stages = ("proposal_threshold", "refinement_threshold", "output_threshold")
        first, second, third = (evaluation[name] for name in stages)
        return cls(evaluation["min_face"], evaluation["factor"], (first, second, third), longest_side)

    def __str__(self) -> str:
        """The settings as captions have them."""
        thresholds = ", ".join(f"{value:g}" for value in self.thresholds)
        return (
            f"IoU {IOU:g}, min_face {self.min_face:g} px, factor {self.factor:g}, thresholds {thresholds}; "
            f"images as stored, at most {self.longest_side} px"
        )


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """All that was found out about a model.

    Attributes:
        settings: How faces were looked for.
        images: In the order in which they were looked at.
        metrics: By slice; see `measure`.
    """

    settings: SearchSettings
    images: Sequence[DetectedImage]
    metrics: Mapping[SliceKey, dict[str, float]]

    @property
    def selection(self) -> dict[str, float]:
        """The metrics by which a model is blessed."""
        return self.metrics[SELECTION_SLICE]

    def save(self, folder: Path, verdicts: Sequence[Verdict]) -> None:
        """Writes the detections, the metrics and the verdicts; no image and no name of one."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / DETECTIONS_FILE, **_flat(self.images))
        content = {
            "settings": dataclasses.asdict(self.settings),
            "metrics": [{"slice": key, "values": values} for key, values in self.metrics.items()],
            "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        }
        (folder / RESULTS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "DetectionResults":
        """Reads what `save` wrote."""
        found = _content(folder)["settings"]
        settings = SearchSettings(**{**found, "thresholds": tuple(found["thresholds"])})
        with np.load(folder / DETECTIONS_FILE, allow_pickle=False) as arrays:
            images = _images(dict(arrays))
        return cls(settings, images, load_metrics(folder))


def load_metrics(folder: Path) -> dict[SliceKey, dict[str, float]]:
    """Reads the metrics that `DetectionResults.save` wrote."""
    return {
        tuple((feature, value) for feature, value in each["slice"]): each["values"]
        for each in _content(folder)["metrics"]
    }


def load_verdicts(folder: Path) -> list[Verdict]:
    """Reads the verdicts that `DetectionResults.save` wrote."""
    return [Verdict(**verdict) for verdict in _content(folder)["verdicts"]]


def _content(folder: Path) -> dict:
    return json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))


def detection_criterion(thresholds: Mapping[str, float]) -> Criterion:
    """Demands `min_ap` at least, and at most `max_ap_drop` less than the latest blessed model."""
    return Criterion(
        f"ap_{HEADLINE_SIZE}",
        bound=thresholds["min_ap"],
        max_loss=thresholds["max_ap_drop"],
        min_images=int(thresholds["min_images"]),
    )


def slices(images: Iterable[DetectedImage]) -> dict[SliceKey, list[DetectedImage]]:
    """Cuts images by split, and each split by data set where it has several."""
    found: dict[SliceKey, list[DetectedImage]] = {}
    for image in images:
        split = ("split", image.split)
        found.setdefault((split,), []).append(image)
        found.setdefault((split, ("source", image.source)), []).append(image)
    sources = {key[0]: sum(len(other) == 2 and other[0] == key[0] for other in found) for key in found}
    return {key: found[key] for key in sorted(found) if len(key) == 1 or sources[key[0]] > 1}


def rankings(images: Iterable[DetectedImage]) -> dict[int, Ranking]:
    """Returns the ranking of images without landmarks at each of SIZES that has faces.

    Images with landmarks have boxes of another kind (square, from brows to chin) and not of all their faces.
    """
    boxed = [image for image in images if not len(image.landmarks)]
    found = {size: together([image.ranking(size) for image in boxed]) for size in SIZES}
    return {size: ranking for size, ranking in found.items() if ranking.face_count}


def measure(images: Iterable[DetectedImage], splits: Iterable[str]) -> dict[SliceKey, dict[str, float]]:
    """Returns the metrics of every slice, and checks that there is something to judge by.

    Args:
        images: Of all splits.
        splits: Those that must have images.

    Returns:
        By slice, for each of SIZES (20, say) that has faces: `ap_20`, `recall_20_at_1_fp` and
        `recall_20_at_0.1_fp` (false positives an image), `faces_20`; of images with landmarks: see
        `landmark_metrics`; `box_images` and `landmark_images`; `support`, the number of images.

    Raises:
        InputError: A split has no face of HEADLINE_SIZE.
    """
    metrics = {key: _slice_metrics(found) for key, found in slices(images).items()}
    for split in splits:
        found = metrics.get((("split", split),), {})
        if f"ap_{HEADLINE_SIZE}" not in found:
            raise InputError(
                f"split {split}: expected faces of {HEADLINE_SIZE} pixels or more in images without "
                f"landmarks, found none in {found.get('box_images', 0.0):.0f} such images"
            )
    return metrics


def _slice_metrics(images: Sequence[DetectedImage]) -> dict[str, float]:
    marked = sum(bool(len(image.landmarks)) for image in images)
    metrics: dict[str, float] = {}
    # The headline comes first.
    for size, ranking in sorted(rankings(images).items(), key=lambda each: each[0] != HEADLINE_SIZE):
        metrics |= _size_metrics(size, ranking)
    return {
        **metrics,
        **landmark_metrics(images),
        "box_images": float(len(images) - marked),
        "landmark_images": float(marked),
        "support": float(len(images)),
    }


def _size_metrics(size: int, ranking: Ranking) -> dict[str, float]:
    found = curve(ranking)
    recalls = {recall_name(size, number): found.recall_at(number) for number in FALSE_POSITIVES}
    return {f"ap_{size}": average_precision(ranking), **recalls, f"faces_{size}": float(ranking.face_count)}


def recall_name(size: int, false_positives: float) -> str:
    """Returns what the recall of faces of a size is called, at so many false positives an image."""
    return f"recall_{size}_at_{false_positives:g}_fp"


def landmark_errors(images: Iterable[DetectedImage]) -> np.ndarray:
    """Returns `DetectedImage.landmark_errors` of all images with landmarks, float64 [faces, 5]."""
    errors = [image.landmark_errors() for image in images if len(image.landmarks)]
    return np.concatenate([np.zeros((0, len(POINTS))), *errors])


def landmark_metrics(images: Iterable[DetectedImage]) -> dict[str, float]:
    """Returns the landmark errors of the faces with landmarks; nothing where there are none.

    Returns:
        `landmark_faces`; `landmarks_found` and `landmarks_under_0.1`, shares of all of them; where any was
        found, `landmark_error` and `landmark_error_median` of those found.
    """
    errors = landmark_errors(images).mean(axis=1)
    if not len(errors):
        return {}
    found = errors[~np.isnan(errors)]
    metrics = (
        {"landmark_error": found.mean(), "landmark_error_median": np.median(found)} if len(found) else {}
    )
    return {name: float(value) for name, value in metrics.items()} | {
        f"landmarks_under_{GOOD_ERROR:g}": float((found < GOOD_ERROR).sum() / len(errors)),
        "landmarks_found": len(found) / len(errors),
        "landmark_faces": float(len(errors)),
    }


def _overlaps(face: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns the IoU of a box [4] with each of others [D, 4]; shares of the image do as well as pixels."""
    sides = np.minimum(face[2:], boxes[:, 2:]) - np.maximum(face[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=1)
    areas = np.prod(face[2:] - face[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / (areas - shared)


def _flat(images: Sequence[DetectedImage]) -> dict[str, np.ndarray]:
    """Returns arrays of all images, those of any number of rows one behind the other, and where they part."""
    arrays = {
        name: np.array([getattr(each, name) for each in images]) for name in ("split", "source", "size")
    }
    for kind, names in _RAGGED.items():
        counts = [len(getattr(image, names[0])) for image in images]
        arrays[f"{kind}_splits"] = np.cumsum([0, *counts])
        arrays |= {name: np.concatenate([getattr(image, name) for image in images]) for name in names}
    return arrays


def _images(arrays: Mapping[str, np.ndarray]) -> list[DetectedImage]:
    """Returns the images of `_flat`."""
    parted = {
        name: np.split(arrays[name], arrays[f"{kind}_splits"][1:-1])
        for kind, names in _RAGGED.items()
        for name in names
    }
    heads = zip(*(arrays[name].tolist() for name in ("split", "source", "size")), strict=True)
    return [
        DetectedImage(
            split, source, (size[0], size[1]), **{name: rows[number] for name, rows in parted.items()}
        )
        for number, (split, source, size) in enumerate(heads)
    ]
