"""Verification: the equal error rate of pairs of unseen persons decides (report sections 4.4 and 5.3)."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from components.evaluation import pair_figures as figures
from components.evaluation.blessing import Verdict
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.page import Page
from components.evaluation.pair_results import PairResults, PairSet, load_verdicts
from components.evaluation.slices import SELECTION_SLICE, SPLIT_NAMES, TEST_SLICE, SliceKey, slice_name
from components.pair_evaluator import PairEvaluator
from data_validation.ingestion import Ingestion
from trainers.pair_metrics import MOST_IMAGES, euclidean
from trainers.verification import THRESHOLDS_FILE

REPORT_THRESHOLDS = (0.20, 0.30, 0.40, 0.50)
"""Of the report's table in section 5.3, for both distances."""

_EXPLANATION = (
    "A pair is accepted when its distance is at most the threshold. far: share of accepted pairs among those "
    "of two persons. tar: among those of one person. eer: rate at which far and 1 - tar are equal. accuracy: "
    "of listed pairs, the threshold for each fold chosen on the other folds; accuracy_deviation: over the "
    "folds. far and tar without more are those at the model's own threshold."
)

# By `PairSet.listed`.
_CHOICES = {
    True: "listed by the data set",
    False: "every image with every other of its data set",
    None: "as data sets list them, else every image with every other of its data set",
}


class PairAssessment:
    """Judges and reports embeddings by pairs; see `assessments.Assessment`."""

    def __init__(self, label: str) -> None:
        """Sets up the assessment.

        Args:
            label: Feature that tells the person.
        """
        self._label = label

    def evaluator(
        self, slices: tuple[str, ...], thresholds: Mapping[str, float], inputs: EvaluatorInputs
    ) -> BaseNode:
        """Returns the PairEvaluator, which always cuts by data set; see `assessments.Assessment`."""
        del slices
        return PairEvaluator(
            examples=inputs.examples,
            model=inputs.model,
            baseline_model=inputs.baseline_model,
            label=self._label,
            thresholds=json.dumps(thresholds, sort_keys=True),
            code_fingerprint=inputs.code_fingerprint,
        ).with_id("Evaluator")

    def verdicts(self, evaluation_uri: str, thresholds: Mapping[str, float]) -> list[Verdict]:
        """Explains the blessing; see `assessments.Assessment`."""
        del thresholds  # they are in the verdicts
        return load_verdicts(Path(evaluation_uri))

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads EER, TAR at FAR 10, 1 and 0.1 %, the rates at the model's threshold, and counts."""
        results = PairResults.load(Path(evaluation_uri))
        return {key: each.metrics(results.threshold) for key, each in results.sets.items()}

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes the report's table, the rates, ROC and histograms of every set of pairs, and thresholds."""
        del account
        results = PairResults.load(Path(evaluation_uri))
        page.heading("Verification")
        page.text(_EXPLANATION)
        page.text(
            "A whole split's pairs are those of its data sets together: data sets of many images decide it. "
            f"Where each image is compared with each other, the first persons that have {MOST_IMAGES:,} "
            "images together are taken. A data set without pairs of both kinds has no figures of its own."
        )
        figures.draw_roc(
            page.figure("roc", "Receiver operating characteristic"),
            {_name(key): each.pairs for key, each in results.sets.items()},
            results.threshold,
        )
        for key, each in results.sets.items():
            self._write_set(page, key, each, results.threshold)
        self._write_thresholds(page, model_run / THRESHOLDS_FILE)

    def _write_set(self, page: Page, key: SliceKey, each: PairSet, threshold: float) -> None:
        name, slug = _name(key), "_".join(value for _, value in key)
        page.heading(name.capitalize())
        page.text(_description(each))
        title = f"Accuracy at the report's thresholds, {name}"
        page.table(f"report_{slug}", title, report_table(each))
        page.table(f"rates_{slug}", f"True accept rate at false accept rates, {name}", rates_table(each))
        caption = f"Cosine distances, {name}"
        figures.draw_distances(page.figure(f"distances_{slug}", caption), each.pairs, threshold, caption)

    def _write_thresholds(self, page: Page, file: Path) -> None:
        thresholds = json.loads(file.read_text(encoding="utf-8"))
        page.heading("Thresholds")
        page.text(
            f"The model takes a pair for one person at a cosine distance of at most "
            f"{thresholds['threshold']:.4f}, chosen on the {SPLIT_NAMES['eval']} for a false accept rate of "
            f"{thresholds['far']:g}. The table is in the model's assets.extra/{THRESHOLDS_FILE} too. Where "
            "far times different_pairs is less than one, the pairs are too few to tell the rate."
        )
        table = pd.DataFrame(thresholds["table"]).set_index("far")
        page.table("thresholds", "Thresholds by false accept rate", table)

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes how many persons and images each split and data set has."""
        rows = [
            {
                "split": split,
                "source": source,
                "persons": len(found),
                "images": found.total(),
                "with one image": sum(count == 1 for count in found.values()),
            }
            for split, source in sorted({(split, source) for split, source, _ in account.records})
            for found in [account.distribution(self._label, split, source)]
        ]
        page.table("persons", "Persons by split and source", pd.DataFrame(rows).set_index("split"))

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws loss and accuracy of training and the EER of the selection split."""
        figures.draw_curves(file, pd.DataFrame(history))


def report_table(pairs: PairSet) -> pd.DataFrame:
    """Returns accuracies at REPORT_THRESHOLDS (report section 5.3).

    Args:
        pairs: Pairs of both kinds.

    Returns:
        A row a threshold, columns `cosine` and `euclidean`.
    """
    rows = {
        threshold: {
            "cosine": pairs.pairs.accuracy(threshold),
            # The cosine distance of vectors of length 1 that are so far from each other.
            "euclidean": pairs.pairs.accuracy(threshold**2 / 2.0),
        }
        for threshold in REPORT_THRESHOLDS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("threshold")


def rates_table(pairs: PairSet) -> pd.DataFrame:
    """Returns the true accept rates at false accept rates, with the pairs that are behind each.

    Args:
        pairs: Pairs of both kinds.
    """
    rows = [
        {
            "far": point.far,
            "tar": point.tar,
            "cosine threshold": point.threshold,
            "euclidean threshold": float(euclidean(point.threshold)),
            "pairs of one person": point.same_pairs,
            "pairs of two": point.different_pairs,
            "of them accepted": point.false_accepts,
        }
        for point in pairs.points()
    ]
    return pd.DataFrame(rows).set_index("far")


def _description(each: PairSet) -> str:
    text = (
        f"{len(each.pairs.same):,} pairs of one person and {len(each.pairs.different):,} of two, "
        f"{each.images:,} images; {_CHOICES[each.listed]}."
    )
    if each.missing:
        text += f" {each.missing} listed pairs are left out, because an image of theirs is not there."
    if each.cross_validation:
        found = each.cross_validation
        text += f" Accuracy over {found.folds} folds: {found.mean:.4f}, deviation {found.deviation:.4f}."
    return text


def _name(key: SliceKey) -> str:
    """Returns a set's name in words: `test split, lfw`."""
    if key in (SELECTION_SLICE, TEST_SLICE):
        return SPLIT_NAMES[dict(key)["split"]]
    if set(dict(key)) == {"split", "source"}:
        return f"{SPLIT_NAMES[dict(key)['split']]}, {dict(key)['source']}"
    return slice_name(key)
