"""Pairs of embedded images compared: distances and rates of every set of pairs, and the files of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluation.blessing import Criterion, Verdict
from components.evaluation.slices import SELECTION_SLICE, SliceKey
from components.pairs import ListedPair
from data_validation.errors import InputError
from trainers.pair_metrics import (
    FOLDS,
    CrossValidation,
    OperatingPoint,
    PairDistances,
    all_pairs,
    cosine_distances,
    cross_validated,
    equal_error_rate,
    operating_point,
    within_bound,
)

RESULTS_FILE = "pairs.json"
DISTANCES_FILE = "distances.npz"
FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001)


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """Images of a split.

    Attributes:
        vectors: Embeddings of length 1, float32 [n, D].
        names: `image/filename`, [n].
        sources: Names of the data sets, [n].
        persons: Pseudonyms, [n].
    """

    vectors: np.ndarray
    names: np.ndarray
    sources: np.ndarray
    persons: np.ndarray


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs that are judged together.

    Attributes:
        pairs: Cosine distances by kind.
        images: How many images occur in them.
        missing: Listed pairs of which an image is not there.
        listed: Whether data sets list the pairs; if not, each image is compared with each other of its set.
            None for pairs of several data sets of which some list theirs.
        cross_validation: Accuracy over folds; None where no pairs are listed, or too few for folds.
    """

    pairs: PairDistances
    images: int
    missing: int = 0
    listed: bool | None = False
    cross_validation: CrossValidation | None = None

    def points(self) -> list[OperatingPoint]:
        """Returns the true accept rates at FALSE_ACCEPT_RATES, each with its own threshold."""
        return [operating_point(self.pairs, far) for far in FALSE_ACCEPT_RATES]

    def metrics(self, threshold: float) -> dict[str, float]:
        """Returns the metrics by name.

        Args:
            threshold: The model's own.
        """
        metrics = {
            "eer": equal_error_rate(self.pairs),
            **{f"tar_at_far_{point.far:g}": point.tar for point in self.points()},
            "far": self.pairs.far(threshold),
            "tar": self.pairs.tar(threshold),
            "same_pairs": float(len(self.pairs.same)),
            "different_pairs": float(len(self.pairs.different)),
            "missing_pairs": float(self.missing),
        }
        if self.cross_validation:
            metrics["accuracy"] = self.cross_validation.mean
            metrics["accuracy_deviation"] = self.cross_validation.deviation
        return {**metrics, "support": float(self.images)}


@dataclass(frozen=True, eq=False)
class PairResults:
    """All that was found out about a model.

    Attributes:
        threshold: The model's own, a cosine distance.
        sets: By slice.
    """

    threshold: float
    sets: Mapping[SliceKey, PairSet]

    @property
    def selection(self) -> dict[str, float]:
        """The metrics by which a model is blessed."""
        return self.sets[SELECTION_SLICE].metrics(self.threshold)

    def save(self, folder: Path, verdicts: Sequence[Verdict]) -> None:
        """Writes the results and the verdicts."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays, described = {}, []
        for number, (key, each) in enumerate(self.sets.items()):
            arrays[f"same_{number}"], arrays[f"different_{number}"] = each.pairs.same, each.pairs.different
            validation = each.cross_validation
            described.append(
                {
                    "slice": key,
                    "images": each.images,
                    "missing": each.missing,
                    "listed": each.listed,
                    "cross_validation": dataclasses.asdict(validation) if validation else None,
                }
            )
        np.savez(folder / DISTANCES_FILE, **arrays)
        content = {
            "threshold": self.threshold,
            "sets": described,
            "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        }
        (folder / RESULTS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "PairResults":
        """Reads what `save` wrote."""
        content = _content(folder)
        sets = {}
        with np.load(folder / DISTANCES_FILE, allow_pickle=False) as arrays:
            for number, each in enumerate(content["sets"]):
                key = tuple((feature, value) for feature, value in each.pop("slice"))
                validation = each.pop("cross_validation")
                pairs = PairDistances(arrays[f"same_{number}"], arrays[f"different_{number}"])
                folds = CrossValidation(**validation) if validation else None
                sets[key] = PairSet(pairs, cross_validation=folds, **each)
        return cls(content["threshold"], sets)


def load_verdicts(folder: Path) -> list[Verdict]:
    """Reads the verdicts that `PairResults.save` wrote."""
    return [Verdict(**verdict) for verdict in _content(folder)["verdicts"]]


def _content(folder: Path) -> dict:
    return json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))


def pair_criterion(thresholds: Mapping[str, float]) -> Criterion:
    """Demands at most `max_eer`, and at most `max_eer_rise` more than the latest blessed model."""
    return Criterion(
        "eer",
        bound=thresholds["max_eer"],
        max_loss=thresholds["max_eer_rise"],
        min_images=int(thresholds["min_images"]),
        lower_is_better=True,
    )


def compare(
    images: Mapping[str, EmbeddedImages], listed: Sequence[ListedPair], threshold: float
) -> PairResults:
    """Compares the pairs of each data set of each split.

    Args:
        images: By split.
        listed: Pairs of data sets that list some: of those, no others are compared.
        threshold: The model's own.

    Returns:
        A set of pairs for each data set of each split that has both kinds, and one for each split: all of
        its data sets' pairs together.

    Raises:
        InputError: A split lacks a kind of pairs.
    """
    sets: dict[SliceKey, PairSet] = {}
    for split, found in images.items():
        parts = {source: _of_source(found, source, listed) for source in sorted(set(found.sources.tolist()))}
        whole = _together(list(parts.values()))
        if not whole.pairs.complete:
            raise InputError(
                f"split {split}: expected pairs of one person and of two, found {len(whole.pairs.same)} and "
                f"{len(whole.pairs.different)}"
            )
        sets[("split", split),] = whole
        if len(parts) > 1:
            sets |= {
                (("split", split), ("source", source)): part
                for source, part in parts.items()
                if part.pairs.complete
            }
    return PairResults(threshold, sets)


def _of_source(images: EmbeddedImages, source: str, listed: Sequence[ListedPair]) -> PairSet:
    chosen = images.sources == source
    pairs = [pair for pair in listed if pair.source == source]
    if not pairs:
        chosen[chosen] = within_bound(images.persons[chosen])
        return PairSet(all_pairs(images.vectors[chosen], images.persons[chosen]), int(chosen.sum()))
    rows = {name: row for row, name in enumerate(images.names.tolist()) if chosen[row]}
    there = [pair for pair in pairs if pair.first in rows and pair.second in rows]
    first = [rows[pair.first] for pair in there]
    second = [rows[pair.second] for pair in there]
    same = np.array([pair.same for pair in there], bool)
    distances = cosine_distances(images.vectors[first], images.vectors[second])
    by_kind = PairDistances.of(distances, same)
    folds = [pair.fold for pair in there]
    # Pairs without folds are dealt out to them.
    enough = len(set(folds)) > 1 or min(len(by_kind.same), len(by_kind.different)) >= FOLDS
    return PairSet(
        by_kind,
        images=len({*first, *second}),
        missing=len(pairs) - len(there),
        listed=True,
        cross_validation=cross_validated(distances, same, folds) if by_kind.complete and enough else None,
    )


def _together(parts: Sequence[PairSet]) -> PairSet:
    if len(parts) == 1:
        return parts[0]
    listed = {part.listed for part in parts}
    return PairSet(
        PairDistances(
            np.sort(np.concatenate([part.pairs.same for part in parts])),
            np.sort(np.concatenate([part.pairs.different for part in parts])),
        ),
        images=sum(part.images for part in parts),
        missing=sum(part.missing for part in parts),
        listed=listed.pop() if len(listed) == 1 else None,
    )
