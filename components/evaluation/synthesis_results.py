"""Generated images judged by features of them and of real ones: the metrics and the files of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluation.blessing import Criterion, Verdict
from components.evaluation.set_distances import (
    Estimate,
    Moments,
    frechet_distance,
    kernel_distance,
    mean_distance,
    nearest,
    nearest_others,
)
from components.evaluation.slices import SELECTION_SLICE, SliceKey
from data_validation.errors import InputError
from data_validation.labels import GENDERS

RESULTS_FILE = "synthesis.json"
PICTURES_FILE = "pictures.npz"
HEADLINE = "frechet_position"
NEAR_PERCENTILE = 1.0
"""Of real images' distances: what is nearer than this is told as alike."""

_FEMALE = GENDERS[0]


@dataclass(frozen=True)
class Look:
    """How images were looked at; without it no distance means anything.

    Attributes:
        extractor: Name of what gave the features.
        seed: Of all that was random, as latents and noise.
        searched: Training images among which the nearest was looked for.
        training: All training images.
    """

    extractor: str
    seed: int
    searched: int
    training: int

    def __str__(self) -> str:
        return f"extractor {self.extractor}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the report shows. `nearest` holds pictures of persons.

    Attributes:
        generated: The first generated images, uint8 [n, H, W, 3].
        closest: Those of all generated images that are nearest to a training image, uint8 [m, H, W, 3].
        nearest: These training images, uint8 [m, H, W, 3].
        ratios: See `Reference.to_training`, float64 [m].
    """

    generated: np.ndarray
    closest: np.ndarray
    nearest: np.ndarray
    ratios: np.ndarray


class Reference:
    """What generated images are measured against: the real images of a split, training images and noise.

    It is the same for every model, and is made once.

    Attributes:
        count: How many of each are compared.
    """

    def __init__(
        self, split: str, held: np.ndarray, training: np.ndarray, noise: np.ndarray, seed: int
    ) -> None:
        """Measures real images and noise.

        Args:
            split: Its name, for messages.
            held: Features of the split's images, [n, D], n from `face_sizes.LEAST_HELD_BACK`.
            training: Features of training images, n or more, [T, D].
            noise: Features of images of noise, n or more, [_, D].
            seed: Of which training images are compared, and of the kernel distance's parts.

        Raises:
            InputError: The features tell noise from faces no better than faces from faces.
        """
        self.count = len(held)
        self._held, self._training, self._seed = held, training, seed
        self._moments = Moments.of(held)
        floor, ceiling = training[drawn(len(training), self.count, seed)], noise[: self.count]
        self._floor, self._kernel_floor = self._distances(floor)
        self._ceiling, self._kernel_ceiling = self._distances(ceiling)
        if self._ceiling <= self._floor:
            raise InputError(
                f"evaluation.extractor: expected features by which noise is farther from the images of split "
                f"{split} than training images are; found {self._ceiling:.4g} and {self._floor:.4g}"
            )
        self._spread = mean_distance(held)
        self._near = np.percentile(nearest_others(held), NEAR_PERCENTILE)
        self._strangers = nearest(held, training)[0]

    def _distances(self, features: np.ndarray) -> tuple[float, Estimate]:
        frechet = frechet_distance(self._moments, Moments.of(features))
        return frechet, kernel_distance(features, self._held, self._seed)

    def measure(self, generated: np.ndarray) -> dict[str, float]:
        """Returns the metrics of a model.

        Args:
            generated: Features of generated images, `count` or more; the first are taken.

        Returns:
            `frechet_position`: where `frechet` lies between `frechet_floor`, the distance of training images,
            and `frechet_ceiling`, that of noise; `kernel_distance` with `_floor`, `_ceiling` and `_error`,
            its standard error; `diversity`: mean distance between generated images, as a share of that
            between real ones; `similar`: share of generated images that have another nearer than
            NEAR_PERCENTILE of real images have; `training_ratio`: see `to_training`, the mean; `copies`:
            share of generated images that have a training image nearer than NEAR_PERCENTILE of the
            held-back images have; `support`, the number of images of each kind.
        """
        ours = generated[: self.count]
        frechet, kernel = self._distances(ours)
        distances, ratios, _ = self.to_training(ours)
        return {
            HEADLINE: (frechet - self._floor) / (self._ceiling - self._floor),
            "frechet": frechet,
            "frechet_floor": self._floor,
            "frechet_ceiling": self._ceiling,
            **_named("kernel_distance", kernel),
            **_named("kernel_floor", self._kernel_floor),
            **_named("kernel_ceiling", self._kernel_ceiling),
            "diversity": mean_distance(ours) / self._spread,
            "similar": float((nearest_others(ours) < self._near).mean()),
            "training_ratio": float(ratios.mean()),
            "copies": float((distances < np.percentile(self._strangers, NEAR_PERCENTILE)).mean()),
            "support": float(self.count),
        }

    def to_training(self, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Looks for the nearest training image of each generated one.

        Args:
            generated: Features [n, D].

        Returns:
            Distances [n]; ratios [n], these as shares of the mean distance of held-back images to their
            nearest training image (about 1 is what a stranger's face has, well below is copying); and which
            training images they are, int64 [n].
        """
        distances, places = nearest(generated, self._training)
        return distances, distances / self._strangers.mean(), places


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_error": estimate.error}


def drawn(total: int, count: int, seed: int) -> np.ndarray:
    """Draws rows by lot: every so many would follow an order that the data may have.

    Args:
        total: How many there are.
        count: How many are wanted at most.
        seed: Of the lot.

    Returns:
        int64 [min(total, count)], rising.
    """
    return np.sort(np.random.default_rng(seed).permutation(total)[:count])


def gender_metrics(generated: np.ndarray, held: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Tells what a gender model makes of generated and of real images.

    Args:
        generated: Its answers to generated images, text [n].
        held: Its answers to held-back images, text [m].
        labels: The labels of those, text [m]; those that are not in GENDERS are not known.

    Returns:
        `female_generated` and `female_held_back`, shares by the model; where labels are known,
        `female_held_back_labelled`, their share, and `gender_accuracy`, the model's.
    """
    metrics = {
        "female_generated": float((generated == _FEMALE).mean()),
        "female_held_back": float((held == _FEMALE).mean()),
    }
    known = np.isin(labels, GENDERS)
    if known.any():
        metrics["female_held_back_labelled"] = float((labels[known] == _FEMALE).mean())
        metrics["gender_accuracy"] = float((held[known] == labels[known]).mean())
    return metrics


def synthesis_verdicts(
    thresholds: Mapping[str, float], found: Mapping[str, float], baseline: Mapping[str, float] | None
) -> list[Verdict]:
    """Judges a model: one verdict a threshold.

    Args:
        thresholds: `max_position`, `max_position_rise`, `min_diversity`, `max_similar`, `max_copies` and
            `min_images`.
        found: Its metrics on the selection split.
        baseline: Those of the latest blessed model; None where there is none.
    """
    criterion = Criterion(
        HEADLINE,
        bound=thresholds["max_position"],
        max_loss=thresholds["max_position_rise"],
        min_images=int(thresholds["min_images"]),
        lower_is_better=True,
    )
    change = found[HEADLINE] - baseline[HEADLINE] if baseline else None
    judged = criterion.judge(found[HEADLINE], change, found["support"])
    where = judged[0].slice
    least, value = thresholds["min_diversity"], found["diversity"]
    own = [Verdict("diversity", where, f"at least {least:g}", value, value >= least)]
    # A few faces drawn again and again, or the training set's own, are near to real ones and varied too.
    for name in ("similar", "copies"):
        most = thresholds[f"max_{name}"]
        own.append(Verdict(name, where, f"at most {most:g}", found[name], found[name] <= most))
    return [*judged[:2], *own, *judged[2:]]


@dataclass(frozen=True, eq=False)
class SynthesisResults:
    """All that was found out about a model.

    Attributes:
        look: How images were looked at.
        metrics: By slice; see `Reference.measure` and `gender_metrics`.
        labels: How many training images have each gender label.
        pictures: What the report shows.
        max_position: The position up to which a model is blessed.
    """

    look: Look
    metrics: Mapping[SliceKey, dict[str, float]]
    labels: Mapping[str, int]
    pictures: Pictures
    max_position: float

    @property
    def selection(self) -> dict[str, float]:
        """The metrics by which a model is blessed."""
        return self.metrics[SELECTION_SLICE]

    def save(self, folder: Path, verdicts: Sequence[Verdict]) -> None:
        """Writes the metrics, the verdicts and the pictures, without names of files."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {field.name: getattr(self.pictures, field.name) for field in dataclasses.fields(Pictures)}
        np.savez_compressed(folder / PICTURES_FILE, **arrays)
        content = {
            "look": dataclasses.asdict(self.look),
            "metrics": [{"slice": key, "values": values} for key, values in self.metrics.items()],
            "labels": dict(self.labels),
            "max_position": self.max_position,
            "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        }
        (folder / RESULTS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SynthesisResults":
        """Reads what `save` wrote."""
        content = _content(folder)
        with np.load(folder / PICTURES_FILE, allow_pickle=False) as arrays:
            pictures = Pictures(**arrays)
        look, labels = Look(**content["look"]), content["labels"]
        return cls(look, load_metrics(folder), labels, pictures, content["max_position"])


def load_metrics(folder: Path) -> dict[SliceKey, dict[str, float]]:
    """Reads the metrics that `SynthesisResults.save` wrote."""
    return {
        tuple((feature, value) for feature, value in each["slice"]): each["values"]
        for each in _content(folder)["metrics"]
    }


def load_verdicts(folder: Path) -> list[Verdict]:
    """Reads the verdicts that `SynthesisResults.save` wrote."""
    return [Verdict(**verdict) for verdict in _content(folder)["verdicts"]]


def _content(folder: Path) -> dict:
    return json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
