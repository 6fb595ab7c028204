"""Synthesis: where the Frechet distance lies between that of training images and that of noise decides.

The report shows samples only (sections 4.5 and 5.5).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from components.evaluation import synthesis_figures as figures
from components.evaluation.blessing import Verdict
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.page import Page
from components.evaluation.slices import SPLIT_NAMES, SliceKey
from components.evaluation.synthesis_extractors import extractor_note
from components.evaluation.synthesis_results import (
    HEADLINE,
    NEAR_PERCENTILE,
    SynthesisResults,
    load_metrics,
    load_verdicts,
)
from components.synthesis_evaluator import SynthesisEvaluator
from data_validation.ingestion import Ingestion
from data_validation.labels import GENDERS, UNKNOWN
from trainers.history import SAMPLES_FOLDER

_DISTANCES = (
    "Sets of as many images each are compared with held-back real ones by features of them. frechet: Frechet "
    "distance of the features' means and covariances. kernel distance: unbiased squared maximum mean "
    "discrepancy with a cubic kernel, the mean of ten parts and its standard error; it may be below 0. Both "
    "depend on the extractor, and the first on the number of images: so beside them stand the floor, that of "
    "training images, and the ceiling, that of images of uniform noise. position: where the Frechet distance "
    "lies between these, 0 to 1; it decides. It is below 0 where generated images are nearer than training "
    "images, and above 1 where they are farther than noise."
)
_VARIETY = (
    "diversity: mean distance between generated images, as a share of that between real ones; a generator "
    "that draws one face has 0. similar: share of generated images that have another one nearer than "
    f"{NEAR_PERCENTILE:g} % of real images have, so {NEAR_PERCENTILE / 100:g} is to be expected."
)
_MEMORY = (
    "training ratio: mean distance of generated images to their nearest training image, as a share of that "
    "of held-back images to theirs: about 1 is what a stranger's face has, well below is copying, well above "
    "are images that are like no face of the training split. copies: share of generated images that have a "
    f"training image nearer than {NEAR_PERCENTILE:g} % of the held-back images have; of strangers' faces "
    f"{NEAR_PERCENTILE / 100:g} is to be expected."
)
_COMPOSITION = (
    "What the latest blessed gender model takes generated faces for, beside the labels of the training "
    "split. What it says of real held-back faces shows its bias, and its accuracy there how far to believe "
    "it. Labels are the data set's binary ones."
)


class SynthesisAssessment:
    """Judges and reports generators; see `assessments.Assessment`."""

    def evaluator(
        self, slices: tuple[str, ...], thresholds: Mapping[str, float], inputs: EvaluatorInputs
    ) -> BaseNode:
        """Returns the SynthesisEvaluator; see `assessments.Assessment`."""
        del slices
        others = {"embedding_model": inputs.embedding_model, "gender_model": inputs.gender_model}
        return SynthesisEvaluator(
            examples=inputs.examples,
            model=inputs.model,
            baseline_model=inputs.baseline_model,
            thresholds=json.dumps(thresholds, sort_keys=True),
            cache=inputs.cache,
            code_fingerprint=inputs.code_fingerprint,
            **{name: channel for name, channel in others.items() if channel is not None},
        ).with_id("Evaluator")

    def verdicts(self, evaluation_uri: str, thresholds: Mapping[str, float]) -> list[Verdict]:
        """Explains the blessing; see `assessments.Assessment`."""
        del thresholds  # they are in the verdicts
        return load_verdicts(Path(evaluation_uri))

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads distances with floor and ceiling, diversity, memorisation and composition."""
        return load_metrics(Path(evaluation_uri))

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes samples, progress, distances, diversity, memorisation and composition.

        Training images are shown in a private figure only: they are of persons.
        """
        del account
        results = SynthesisResults.load(Path(evaluation_uri))
        metrics = {SPLIT_NAMES[dict(key)["split"]]: found for key, found in results.metrics.items()}
        page.heading("Samples")
        caption = f"The first {len(results.pictures.generated)} generated faces, none left out"
        figures.draw_faces(
            page.figure("samples", caption), results.pictures.generated, caption, f"seed {results.look.seed}"
        )
        samples = model_run / SAMPLES_FOLDER
        if samples.is_dir():
            caption = "The same noise after more and more epochs"
            figures.draw_progress(page.figure("progress", caption), samples, caption)
        self._write_distances(page, metrics, results)
        self._write_variety(page, metrics, results)
        self._write_memory(page, metrics, results)
        self._write_composition(page, metrics, results)

    def _write_distances(
        self, page: Page, metrics: Mapping[str, Mapping[str, float]], results: SynthesisResults
    ) -> None:
        page.heading("Distances")
        page.text(_DISTANCES)
        page.text(extractor_note(results.look.extractor))
        for split, name in SPLIT_NAMES.items():
            found = results.metrics[("split", split),]
            caption = f"Distances to held-back images, {name}; {_look(results, found)}"
            page.table(f"distances_{split}", caption, distances_table(found))
        file = page.figure("positions", f"Frechet distance between floor and ceiling; {results.look}")
        figures.draw_positions(file, metrics, results.max_position, str(results.look))

    def _write_variety(
        self, page: Page, metrics: Mapping[str, Mapping[str, float]], results: SynthesisResults
    ) -> None:
        page.heading("Diversity")
        page.text(_VARIETY)
        table = _columns(metrics, {"diversity": "diversity", "similar": "similar"})
        page.table("diversity", f"Diversity and mode collapse; {results.look}", table)

    def _write_memory(
        self, page: Page, metrics: Mapping[str, Mapping[str, float]], results: SynthesisResults
    ) -> None:
        look = results.look
        page.heading("Memorisation")
        page.text(_MEMORY)
        page.text(f"Searched were {look.searched:,} of {look.training:,} training images, drawn by lot.")
        table = _columns(metrics, {"training_ratio": "training ratio", "copies": "copies"})
        page.table("memorisation", f"Nearest training images; {look}", table)
        shown = results.pictures
        title = (
            f"The {len(shown.ratios)} generated faces (above) that are nearest to a training image (below), "
            "with their training ratios"
        )
        file = page.private_figure("nearest_training", f"{title}; kept in the workspace")
        settings = _look(results, results.selection)
        figures.draw_pairs(file, shown.closest, shown.nearest, shown.ratios, title, settings)

    def _write_composition(
        self, page: Page, metrics: Mapping[str, Mapping[str, float]], results: SynthesisResults
    ) -> None:
        page.heading("Composition")
        if "female_generated" not in results.selection:
            page.text(
                "There was no blessed gender model in the workspace to be asked about generated faces; after "
                "`hexaface run gender`, a new run asks it."
            )
            return
        page.text(_COMPOSITION)
        caption = f"Composition by gender; {_look(results, results.selection)}"
        shares = composition(results.selection, results.labels)
        figures.draw_composition(
            page.figure("composition", caption),
            shares,
            "Composition by gender, selection split",
            f"{_look(results, results.selection)}{_trust(results.selection)}",
        )
        names = {
            "female_generated": "female, generated",
            "female_held_back": "female, held-back by the model",
            "female_held_back_labelled": "female, held-back by labels",
            "gender_accuracy": "the model's accuracy there",
        }
        page.table("composition", f"Composition by gender; {results.look}", _columns(metrics, names))

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes how the training split is composed, where its data sets tell."""
        rows = []
        for source in sorted({source for _, source, _ in account.records}):
            counts = dict.fromkeys((*GENDERS, UNKNOWN), 0)
            for (split, origin, labels), count in account.records.items():
                if (split, origin) == ("train", source):
                    counts[dict(labels).get("gender", UNKNOWN)] += count
            rows.append({"source": source, **counts})
        table = pd.DataFrame(rows).set_index("source")
        page.table("gender_distribution", "Gender labels of the training split", table)

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws both networks' losses and the discriminator's answers."""
        figures.draw_curves(file, pd.DataFrame(history))


def distances_table(found: Mapping[str, float]) -> pd.DataFrame:
    """Returns the distances of generated images with floor and ceiling.

    Args:
        found: A split's metrics.
    """
    rows = [
        {
            "compared": name,
            "frechet": found[f"frechet{frechet}"],
            "position": position,
            "kernel distance": found[f"kernel_{kernel}"],
            "standard error": found[f"kernel_{kernel}_error"],
        }
        for name, frechet, kernel, position in (
            ("training images (floor)", "_floor", "floor", 0.0),
            ("generated images", "", "distance", found[HEADLINE]),
            ("noise (ceiling)", "_ceiling", "ceiling", 1.0),
        )
    ]
    return pd.DataFrame(rows).set_index("compared")


def composition(found: Mapping[str, float], labels: Mapping[str, int]) -> dict[str, float]:
    """Returns the share of women in each set of images, by its name.

    Args:
        found: A split's metrics.
        labels: How many training images have each gender label.
    """
    female, male = (labels.get(gender, 0) for gender in GENDERS)
    shares = {"generated, by the gender model": found["female_generated"]}
    if female + male:
        shares["training split, by its labels"] = female / (female + male)
    shares["held-back, by the gender model"] = found["female_held_back"]
    if "female_held_back_labelled" in found:
        shares["held-back, by their labels"] = found["female_held_back_labelled"]
    return shares


def _columns(metrics: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> pd.DataFrame:
    """Returns some metrics, a row a split."""
    rows = [
        {
            "split": split,
            **{title: found.get(name) for name, title in names.items()},
            "images": int(found["support"]),
        }
        for split, found in metrics.items()
    ]
    return pd.DataFrame(rows).set_index("split")


def _trust(found: Mapping[str, float]) -> str:
    """Tells how far to believe the gender model, beside what always saying the commoner gender would give."""
    if "gender_accuracy" not in found:
        return ""
    female = found["female_held_back_labelled"]
    return (
        f"; the gender model is right on {found['gender_accuracy']:.0%} of held-back faces, "
        f"always the commoner gender on {max(female, 1.0 - female):.0%}"
    )


def _look(results: SynthesisResults, found: Mapping[str, float]) -> str:
    return f"{results.look}, {found['support']:.0f} images of each kind"
