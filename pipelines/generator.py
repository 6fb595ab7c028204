"""The pushed synthesis model in this process: faces of persons who do not exist, without a server."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_validation.errors import InputError, one_line
from pipelines.pushed_model import load_signatures, need_pushed
from pipelines.settings import Workspace

MODEL = "synthesis"
BLOCK = 64
"""Most faces that the model makes of one seed."""
MAX_SEED = 2**63 - 1
# Faces decoded at once. Always as many: in a batch of another size sums are rounded otherwise, and the same
# latents would give pixels that differ by one.
_BATCH = 16
_LATENTS, _PIXELS = "latents", "pixels"


class Generator:
    """Makes faces with one version of the model; `load_generator` finds the newest.

    Attributes:
        version: Name and version, such as "synthesis/1764000000".
        source: What it was trained on: `real` or `sample`, drawn faces.
    """

    def __init__(self, folder: Path, version: str, source: str) -> None:
        """Loads the model.

        Args:
            folder: The SavedModel.
            version: See there.
            source: See there.

        Raises:
            InputError: The model cannot be loaded or makes no faces.
        """
        self.version = version
        self.source = source
        self._folder = folder
        self._model, (self._latents, self._pixels) = load_signatures(folder, _LATENTS, _PIXELS)

    def latents(self, seed: int, count: int) -> np.ndarray:
        """Returns the latents of a seed's faces.

        The first of a seed are the same for every count: the model gives up to BLOCK of them, those after
        come from the seeds of `block_seed`.

        Args:
            seed: 0 to MAX_SEED.
            count: How many, 1 or more.

        Returns:
            float32 [count, 100].

        Raises:
            InputError: The model fails.
        """
        import tensorflow as tf

        blocks = []
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            answer = self._ask(
                self._latents,
                seed=tf.constant(block_seed(seed, start // BLOCK), tf.int64),
                count=tf.constant(size, tf.int32),
            )
            blocks.append(self._checked(answer, "latent", np.dtype(np.float32), size, 2))
        return np.concatenate(blocks)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Makes the faces of latents.

        Args:
            latents: float32 [N, 100].

        Returns:
            RGB, uint8 [N, H, W, 3].

        Raises:
            InputError: The model fails.
        """
        return np.concatenate(list(self._batches(latents)))

    def faces(self, seed: int, count: int) -> np.ndarray:
        """Makes the faces of a seed; as `latents` and `decode`."""
        return self.decode(self.latents(seed, count))

    def _batches(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        import tensorflow as tf

        for start in range(0, len(latents), _BATCH):
            rows = latents[start : start + _BATCH]
            batch = np.zeros([_BATCH, *rows.shape[1:]], np.float32)
            batch[: len(rows)] = rows
            answer = self._ask(self._pixels, latent=tf.constant(batch))
            yield self._checked(answer, "pixels", np.dtype(np.uint8), _BATCH, 4)[: len(rows)]

    def _ask(self, signature: Any, **inputs: Any) -> dict[str, Any]:
        import tensorflow as tf

        try:
            answer: dict[str, Any] = signature(**inputs)
        # A signature that takes something else raises a TypeError or a ValueError.
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise InputError(f"{self._folder}: the model makes no faces: {one_line(error)}") from error
        return answer

    def _checked(
        self, answer: dict[str, Any], name: str, kind: np.dtype, count: int, dimensions: int
    ) -> np.ndarray:
        if name not in answer:
            raise InputError(
                f"{self._folder}: expected an output {name}, found {', '.join(sorted(answer)) or 'none'}"
            )
        values: np.ndarray = answer[name].numpy()
        if values.dtype != kind or values.ndim != dimensions or len(values) != count:
            raise InputError(
                f"{self._folder}: {name}: expected {kind} of {dimensions} dimensions in {count} rows, found "
                f"{values.dtype} {list(values.shape)}"
            )
        return values


def load_generator(workspace: Workspace) -> Generator:
    """Loads the newest pushed synthesis model: of real data, or else of drawn sample data.

    Args:
        workspace: Where it was pushed.

    Raises:
        InputError: None has been pushed, or it cannot be loaded.
    """
    pushed = need_pushed(workspace, MODEL)
    return Generator(pushed.folder, f"{MODEL}/{int(pushed.folder.name)}", pushed.source)


def block_seed(seed: int, block: int) -> int:
    """Returns the seed of a block of BLOCK faces.

    Args:
        seed: The seed of all, 0 to MAX_SEED.
        block: The first has the number 0, and the seed itself.

    Returns:
        0 to MAX_SEED; for later blocks the first 63 bits of SHA-256 of "<seed>/<block>".
    """
    if block == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{block}".encode()).digest()[:8], "big") >> 1


def slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Interpolates between latents along great circles.

    On the straight line between two normal random vectors lie vectors that are shorter than almost any that a
    generator was trained on (White, "Sampling Generative Networks", 2016, arXiv:1609.04468); the formula is
    that of Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985, for vectors of any length.

    Args:
        start: float [N, D].
        end: float [N, D].
        share: Of the way, 0 for the start to 1 for the end, which are returned as they are.

    Returns:
        float32 [N, D]. Where both point the same way, or opposite ways, the straight line.
    """
    first, last = start.astype(np.float64), end.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(last, axis=1)
    cosine = np.sum(first * last, axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None]
    sine = np.sin(angle)
    curved = sine > 1e-6
    divisor = np.where(curved, sine, 1.0)
    before = np.where(curved, np.sin((1.0 - share) * angle) / divisor, 1.0 - share)
    after = np.where(curved, np.sin(share * angle) / divisor, share)
    return (before * first + after * last).astype(np.float32)
