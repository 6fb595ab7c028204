"""Memory of models, and of those that have gone."""

import contextlib
import ctypes
import functools
import gc
from collections.abc import Callable, Iterator


def keep_out_of_sight() -> None:
    """Takes all that is loaded now out of Python's search for garbage.

    TensorFlow's graphs are a million objects that stay, and a search through them takes a fifth of a second;
    a request with a large list of numbers starts one.
    """
    gc.freeze()


@contextlib.contextmanager
def no_search() -> Iterator[None]:
    """Keeps Python from searching for garbage, for work that makes very many objects and no garbage.

    A document of five million lists was searched again and again while it grew: 2.5 seconds instead of half a
    second, in which no other thread ran.
    """
    gc.disable()
    try:
        yield
    finally:
        # Whoever else is at such work is searched from now on, which only takes longer.
        gc.enable()


def give_back() -> None:
    """Frees what only reference cycles hold, and returns it to the system.

    Graphs are full of cycles. Without the C library's part a process stays as large as it ever was; where
    there is no glibc, that part is left out.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = _malloc_trim()
    if trim:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    # Of what the process has loaded already. To look for the library by its name starts a compiler, which
    # takes many seconds where the machine has much to do, and a version would be on its way out for so long.
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
