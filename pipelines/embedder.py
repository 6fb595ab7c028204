"""The pushed verification model in this process: embeddings of faces, without a server."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_validation.errors import InputError, one_line
from data_validation.image_quality import MIN_SIDE, UnreadableImageError, measure
from pipelines.pushed_model import load_signature, need_pushed, read_object
from pipelines.settings import Workspace

MODEL = "verification"
BATCH = 32
_SIGNATURE, _INPUT, _OUTPUT = "embed", "image_bytes", "embedding"
_THRESHOLDS = Path("assets.extra") / "thresholds.json"


class Embedder:
    """Makes embeddings with one version of the model; `load_embedder` finds the newest.

    Attributes:
        version: Name and version, such as "verification/1764000000".
        threshold: Largest cosine distance of two pictures of one person, 0 to 2.
        far: Share of pairs of different persons that are that near, false accepts: above 0, at most 1.
        thresholds: Thresholds by false accept rate, as the model's table has them.
        pairs: Pairs of different persons that the rates were measured on.
        source: What it was trained on: `real` or `sample`, drawn faces.
        is_newest: Whether no newer one has been pushed.
    """

    def __init__(self, folder: Path, source: str, is_newest: bool = True) -> None:
        """Loads the model.

        Args:
            folder: The version's folder, with the SavedModel and `assets.extra/thresholds.json`.
            source: See there.
            is_newest: See there.

        Raises:
            InputError: The model cannot be loaded or makes no embeddings, or its threshold cannot be read.
        """
        self.version = f"{MODEL}/{int(folder.name)}"
        values = _read_thresholds(folder / _THRESHOLDS)
        self.threshold = _number(values, "threshold", 2.0, folder / _THRESHOLDS)
        self.far = _number(values, "far", 1.0, folder / _THRESHOLDS)
        self.thresholds = _table(values, folder / _THRESHOLDS)
        self.pairs = int(_number(values, "different_pairs", math.inf, folder / _THRESHOLDS))
        self.source = source
        self.is_newest = is_newest
        self._folder = folder
        self._model, self._signature = load_signature(folder, _SIGNATURE)

    def embed(self, images: Sequence[bytes], names: Sequence[str] = ()) -> np.ndarray:
        """Makes embeddings of cropped faces.

        Args:
            images: N encoded images, JPEG, PNG or GIF.
            names: What messages call them, such as their files' paths; by default "image 1" and so on.

        Returns:
            float32 [N, D], rows of length 1.

        Raises:
            InputError: An image cannot be decoded, which the message names; or the model's answer is none.
        """
        names = names or [f"image {number}" for number in range(1, len(images) + 1)]
        for image, name in zip(images, names, strict=True):
            _check(image, name)
        batches = [
            self._run(images[start : start + BATCH], names[start : start + BATCH])
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate(batches) if batches else np.zeros([0, 0], np.float32)

    def _run(self, images: Sequence[bytes], names: Sequence[str]) -> np.ndarray:
        import tensorflow as tf

        try:
            answer = self._signature(**{_INPUT: tf.constant(list(images), tf.string)})
        except tf.errors.InvalidArgumentError as error:
            if len(images) == 1:
                raise InputError(f"{names[0]}: the model cannot decode it: {one_line(error)}") from error
            # One of them is at fault; alone it is named.
            alone = [self._run([image], [name]) for image, name in zip(images, names, strict=True)]
            return np.concatenate(alone)
        return self._checked(answer, len(images))

    def _checked(self, answer: dict[str, Any], count: int) -> np.ndarray:
        if _OUTPUT not in answer:
            raise InputError(f"{self._folder}: {_SIGNATURE}: expected an output {_OUTPUT}")
        embeddings = answer[_OUTPUT].numpy()
        if embeddings.ndim != 2 or len(embeddings) != count or embeddings.dtype != np.float32:
            raise InputError(
                f"{self._folder}: {_OUTPUT}: expected float32 [{count}, size], "
                f"found {embeddings.dtype} {list(embeddings.shape)}"
            )
        return embeddings


def load_embedder(workspace: Workspace, version: str = "") -> Embedder:
    """Loads a pushed verification model.

    Args:
        workspace: Where it was pushed.
        version: As `Embedder.version`, of the model wanted; where it is not there any more, or without, the
            newest is taken: of real data, or else of drawn sample data.

    Raises:
        InputError: None has been pushed, or it cannot be loaded.
    """
    pushed = need_pushed(workspace, MODEL, version)
    return Embedder(pushed.folder, pushed.source, pushed.is_newest)


def _check(image: bytes, name: str) -> None:
    try:
        measure(image, MIN_SIDE)
    except UnreadableImageError as error:
        raise InputError(f"{name}: {error}") from error


def _read_thresholds(file: Path) -> dict[str, Any]:
    """Returns the threshold, the false accept rate that it stands for, and those of other rates."""
    values = read_object(file)
    if values.get("distance") != "cosine":
        raise InputError(f"{file}: distance: expected 'cosine', found {values.get('distance')!r}")
    return values


def _table(values: dict[str, Any], file: Path) -> dict[float, float]:
    rows = values.get("table")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{file}: table: expected rows of far and threshold")
    # A rate that the pairs are too few for may have no positive threshold.
    return {
        _number(row, "far", 1.0, file): float(row["threshold"])
        for row in rows
        if isinstance(row.get("threshold"), int | float)
    }


def _number(values: dict[str, Any], key: str, most: float, file: Path) -> float:
    value = values.get(key)
    # A bool is an int to Python.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
        return float(value)
    raise InputError(f"{file}: {key}: expected a number above 0, at most {most:g}, found {value!r}")
