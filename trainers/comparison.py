"""What comparing classifiers gave, on disk for reports; needs neither TensorFlow nor scikit-learn."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data_validation.errors import InputError, one_line

COMPARISON_FILE = "classifiers.json"


@dataclass(frozen=True)
class Result:
    """How one classifier did.

    Attributes:
        name: as in table 11 of the HexaFace report.
        exportable: whether it can be written as dense layers and so be served.
        seconds: time that fitting took.
        confusion: for each split that was not trained on, examples by true class (rows) and predicted class.
    """

    name: str
    exportable: bool
    seconds: float
    confusion: Mapping[str, list[list[int]]]

    def accuracy(self, split: str) -> float:
        """Returns the share of a split's examples that were told right, 0..1; 0 where there are none."""
        matrix = self.confusion[split]
        right = sum(row[index] for index, row in enumerate(matrix))
        return right / max(sum(map(sum, matrix)), 1)


@dataclass(frozen=True)
class Comparison:
    """All classifiers and the one that was taken.

    Attributes:
        chosen: name of the classifier that the model has.
        features: what network the features are of, in words.
        results: in the order in which they were fitted.
    """

    chosen: str
    features: str
    results: tuple[Result, ...]


def save_comparison(file: Path, results: Sequence[Result], chosen: str, features: str) -> None:
    """Writes a comparison as JSON at once, so that a kill leaves the old or the new one.

    Args:
        file: usually COMPARISON_FILE in some folder.
        results: `Fitted` or `Result`.
        chosen: name of one of them.
        features: what network the features are of, in words.

    Raises:
        ValueError: no result has the chosen name.
    """
    if chosen not in [result.name for result in results]:
        raise ValueError(f"chosen: expected one of {[result.name for result in results]}, found {chosen!r}")
    rows = [asdict(Result(r.name, r.exportable, round(r.seconds, 3), dict(r.confusion))) for r in results]
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    content = {"chosen": chosen, "features": features, "classifiers": rows}
    temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    os.replace(temporary, file)


def load_comparison(file: Path) -> Comparison:
    """Reads a comparison.

    Raises:
        InputError: there is no such file, or it is none that `save_comparison` wrote.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        results = tuple(Result(**row) for row in content["classifiers"])
        return Comparison(content["chosen"], content["features"], results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: expected a comparison of classifiers: {one_line(error)}") from error
