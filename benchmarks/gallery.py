"""How long a gallery takes to open and to search, for different numbers of faces.

    python benchmarks/gallery.py 1000 10000 100000

Fills galleries with random embeddings, searches the five nearest persons of 1 face and of 32 at once, and
prints a Markdown table: medians. The first search reads the faces from the file; it is a column of its own.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

# benchmarks/serving.py has the name of a package that this uses, and Python looks beside a script first.
sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]

MODEL, FACES_A_PERSON, TOP, REPEATS = "verification/1", 5, 5, 15


class Measured(NamedTuple):
    """Seconds; searches are those of one query."""

    adding: float
    loading: float
    one: float
    many: float
    mebibytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=int, nargs="+", help="numbers of faces")
    parser.add_argument("--size", type=int, default=256, help="numbers in an embedding")
    parser.add_argument("--queries", type=int, default=32, help="faces that are searched at once")
    arguments = parser.parse_args()
    measured = {count: _measure(count, arguments.size, arguments.queries) for count in arguments.counts}
    print(_table(measured, arguments.queries))


def _measure(count: int, size: int, queries: int) -> Measured:
    from serving.gallery import Gallery, Picture

    rng = np.random.default_rng(1)
    embeddings, asked = _unit(rng, count, size), _unit(rng, queries, size)
    pictures = [
        Picture(f"person {number // FACES_A_PERSON}", f"{number:064x}", f"{number}.jpg")
        for number in range(count)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "gallery.db"
        with Gallery(file, create=True) as gallery:
            adding = _seconds(lambda: gallery.add(pictures, embeddings, MODEL))
        with Gallery(file) as gallery:

            def search(number: int) -> float:
                return _seconds(lambda: gallery.search(asked[:number], MODEL, threshold=0.4, top=TOP))

            first = search(1)
            one = statistics.median(search(1) for _ in range(REPEATS))
            many = statistics.median(search(queries) for _ in range(REPEATS)) / queries
        return Measured(adding, first - one, one, many, file.stat().st_size / 2**20)


def _unit(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    rows = rng.standard_normal([count, size], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _table(measured: dict[int, Measured], queries: int) -> str:
    lines = [
        f"| faces | file MiB | adding s | loading ms | 1 query ms | {queries} queries, ms each |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count, figures in measured.items():
        milliseconds = [f"{1000 * value:.2f}" for value in (figures.one, figures.many)]
        first = [f"{figures.mebibytes:.1f}", f"{figures.adding:.2f}", f"{1000 * figures.loading:.0f}"]
        lines.append("| " + " | ".join([f"{count:,}", *first, *milliseconds]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
