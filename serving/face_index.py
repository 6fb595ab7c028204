"""Search of near embeddings: what a gallery asks for, and an exact answer.

An approximate index (HNSW, product quantisation) that has the same method can take the exact one's place:
`Gallery(path, index=...)` takes whatever makes one.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Index(Protocol):
    """Finds near rows in the matrix of embeddings that it was made of; see `IndexFactory`."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the nearest rows of each query.

        Args:
            queries: float32 [M, D], rows of length 1.
            k: How many rows, 1 to N.

        Returns:
            Cosine distances, float32 [M, k], 0 to 2, ascending in each row; and the rows they are of,
            integers [M, k], 0 to N - 1, all different in each row.
        """
        ...


# Takes embeddings, float32 [N, D] with rows of length 1, N at least 1, and makes an index of them.
IndexFactory = Callable[[np.ndarray], Index]


class ExactIndex:
    """Compares each query with all rows."""

    _BLOCK = 1 << 22  # distances at a time: 16 MB of float32

    def __init__(self, embeddings: np.ndarray) -> None:
        """Keeps the embeddings, without a copy.

        Args:
            embeddings: float32 [N, D], rows of length 1; N at least 1.
        """
        self._embeddings = embeddings

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the nearest rows, see `Index`; which of several at one distance, is left open."""
        block = max(1, self._BLOCK // len(self._embeddings))
        distances = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), block):
            part = slice(start, start + block)
            distances[part], rows[part] = self._nearest(queries[part], k)
        return distances, rows

    def _nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        # Rounding can leave the distance of equal vectors a little below 0.
        distances = np.clip(1.0 - queries @ self._embeddings.T, 0.0, 2.0)
        rows = np.argpartition(distances, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(distances, rows, axis=1)
        order = np.lexsort((rows, found), axis=1)
        return np.take_along_axis(found, order, axis=1), np.take_along_axis(rows, order, axis=1)
