"""Memory of models, and of those that have gone."""

import ctypes
import ctypes.util
import functools
import gc
from collections.abc import Callable


def keep_out_of_sight() -> None:
    """Takes all that is loaded now out of Python's search for garbage.

    TensorFlow's graphs are a million objects that stay, and a search through them takes a fifth of a second;
    a request with a large list of numbers starts one.
    """
    gc.freeze()


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
    # Looking for the library starts other programs, which takes seconds where the machine has much to do.
    name = ctypes.util.find_library("c")
    return getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
