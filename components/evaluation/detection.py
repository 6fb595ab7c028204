"""Detection: the average precision of faces of 20 pixels and more decides (report sections 3.4 and 5.4)."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from components.detection_evaluator import DetectionEvaluator
from components.evaluation import detection_figures as figures
from components.evaluation.blessing import Verdict
from components.evaluation.detection_ranking import Curve, curve
from components.evaluation.detection_results import (
    FALSE_POSITIVES,
    GOOD_ERROR,
    POINTS,
    SIZES,
    DetectedImage,
    DetectionResults,
    landmark_errors,
    load_metrics,
    load_verdicts,
    rankings,
    recall_name,
    slices,
)
from components.evaluation.distribution import write_distribution
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.page import Page
from components.evaluation.slices import SPLIT_NAMES, SliceKey
from data_validation.ingestion import Ingestion
from data_validation.labels import FACE_COUNTS

_EXPLANATION = (
    "ap: average precision as COCO has it (the mean, over 101 recalls, of the best precision at that recall "
    "or more), of faces of so many pixels of height and more. A detection is a face if their IoU is large "
    "enough; each face is found once, by the highest score. Smaller faces and ignored regions are neither "
    "missed nor make a detection on them wrong, and detections below the size that match nothing are left "
    "out. recall at fp: the largest share of the faces that is found with at most so many false positives an "
    "image, over all images, those without faces too."
)
_LANDMARKS_EXPLANATION = (
    "Images with landmarks have boxes of another kind and not of all their faces, so they are judged by "
    "landmarks only. A face is found if its annotated nose lies in a detection. error: mean distance of the "
    "five points, as a share of the distance of the eyes, of the faces found. "
    f"under {GOOD_ERROR:g}: share of all faces that are found with a smaller error."
)
_NO_FACE = FACE_COUNTS[0]


class DetectionAssessment:
    """Judges and reports detectors; see `assessments.Assessment`."""

    def __init__(self, label: str) -> None:
        """Sets up the assessment.

        Args:
            label: Feature with the class of the number of faces.
        """
        self._label = label

    def evaluator(
        self, slices: tuple[str, ...], thresholds: Mapping[str, float], inputs: EvaluatorInputs
    ) -> BaseNode:
        """Returns the DetectionEvaluator, which always cuts by data set; see `assessments.Assessment`."""
        del slices
        return DetectionEvaluator(
            examples=inputs.examples,
            model=inputs.model,
            baseline_model=inputs.baseline_model,
            thresholds=json.dumps(thresholds, sort_keys=True),
            code_fingerprint=inputs.code_fingerprint,
        ).with_id("Evaluator")

    def verdicts(self, evaluation_uri: str, thresholds: Mapping[str, float]) -> list[Verdict]:
        """Explains the blessing; see `assessments.Assessment`."""
        del thresholds  # they are in the verdicts
        return load_verdicts(Path(evaluation_uri))

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads average precision and recall by size, landmark errors, and counts."""
        return load_metrics(Path(evaluation_uri))

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes, for each split, AP and recall by size and data set, curves, and landmark errors.

        No image is shown: they are of persons.
        """
        del account, model_run
        results = DetectionResults.load(Path(evaluation_uri))
        page.heading("Detection")
        page.text(_EXPLANATION)
        page.text(
            f"Faces were looked for with these settings, in the tables of all slices too: {results.settings}."
        )
        for split, where in SPLIT_NAMES.items():
            page.heading(where.capitalize())
            self._write_boxes(page, results, split)
        page.heading("Landmarks")
        table = landmarks_table(results)
        if table.empty:
            page.text("No data set with landmarks was read.")
        else:
            page.text(_LANDMARKS_EXPLANATION)
            page.table("landmarks", f"Landmark errors; {results.settings}", table)

    def _write_boxes(self, page: Page, results: DetectionResults, split: str) -> None:
        where, settings = SPLIT_NAMES[split], f"{SPLIT_NAMES[split]}; {results.settings}"
        caption = f"Average precision and recall by size; {settings}"
        page.table(f"detection_{split}", caption, boxes_table(results.metrics, split))
        curves = size_curves(results.images, split)
        title = f"Precision and recall, {where}"
        file = page.figure(f"precision_recall_{split}", f"{title}; {results.settings}")
        figures.draw_precision_recall(file, curves, title, str(results.settings))
        title = f"Recall by false positives, {where}"
        file = page.figure(f"false_positives_{split}", f"{title}; {results.settings}")
        figures.draw_false_positives(file, curves, title, str(results.settings))

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes how many faces images have, and how many boxes were clipped or are ignored."""
        write_distribution(page, account, self._label, FACE_COUNTS, "faces_distribution", "Faces an image")
        page.text(
            "Clipped boxes reached outside of their image. Ignored ones are marked so by the data set, or "
            "had no area. How large the faces are that models are judged by is in the tables of their splits."
        )
        page.table("boxes", "Boxes by split and source", data_table(account, self._label))

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws loss and average precision of the three stages' samples."""
        figures.draw_curves(file, pd.DataFrame(history))


def boxes_table(metrics: Mapping[SliceKey, Mapping[str, float]], split: str) -> pd.DataFrame:
    """Returns AP, recall and counts of a split, a row a size and data set (`all` for the split).

    Args:
        metrics: By slice.
        split: `eval` or `test`.
    """
    rows = [
        {
            "faces of at least (px)": size,
            "data set": _source(key),
            "ap": found[f"ap_{size}"],
            **{f"recall at {each:g} fp": found[recall_name(size, each)] for each in FALSE_POSITIVES},
            "faces": int(found[f"faces_{size}"]),
            "images": int(found["box_images"]),
        }
        for size in SIZES
        for key, found in metrics.items()
        if dict(key)["split"] == split and f"ap_{size}" in found
    ]
    return pd.DataFrame(rows).set_index("faces of at least (px)")


def size_curves(images: Iterable[DetectedImage], split: str) -> dict[str, Curve]:
    """Returns the curves of a split at each size, by name.

    Args:
        images: Of all splits.
        split: `eval` or `test`.
    """
    found = rankings(image for image in images if image.split == split)
    return {
        f"{size} px and more: {ranking.face_count:,} faces": curve(ranking) for size, ranking in found.items()
    }


def landmarks_table(results: DetectionResults) -> pd.DataFrame:
    """Returns landmark errors, a row a slice with landmarks; the mean error of each point too."""
    rows = []
    for key, images in slices(results.images).items():
        found = results.metrics[key]
        if "landmark_faces" not in found:
            continue
        errors = landmark_errors(images)
        there = errors[~np.isnan(errors).any(axis=1)]
        points = dict(zip(POINTS, there.mean(axis=0), strict=True)) if len(there) else {}
        rows.append(
            {
                "split": dict(key)["split"],
                "data set": _source(key),
                "faces": int(found["landmark_faces"]),
                "found": found["landmarks_found"],
                "error": found.get("landmark_error"),
                "median": found.get("landmark_error_median"),
                f"under {GOOD_ERROR:g}": found[f"landmarks_under_{GOOD_ERROR:g}"],
                **points,
            }
        )
    return pd.DataFrame(rows).set_index("split") if rows else pd.DataFrame()


def data_table(account: Ingestion, label: str) -> pd.DataFrame:
    """Returns how many images and boxes each split and data set has.

    Args:
        account: What was read.
        label: Feature with the class of the number of faces.
    """
    rows = []
    for split, source in sorted({(split, source) for split, source, _ in account.records}):
        images = account.distribution(label, split, source)
        faces, ignored, clipped = (
            account.flags.get((split, source, f"boxes/{flag}", value), 0)
            for flag, value in (("ignored", "0"), ("ignored", "1"), ("clipped", "1"))
        )
        rows.append(
            {
                "split": split,
                "source": source,
                "images": images.total(),
                "without faces": images[_NO_FACE],
                "faces": faces,
                "ignored boxes": ignored,
                "clipped boxes": clipped,
            }
        )
    return pd.DataFrame(rows).set_index("split")


def _source(key: SliceKey) -> str:
    return dict(key).get("source", "all")
