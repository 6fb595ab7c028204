"""Memory that was freed, back to the system."""

import ctypes
import ctypes.util


def give_back() -> None:
    """Asks the C library to return free pages; without it a process stays as large as it ever was.

    Does nothing where there is no glibc.
    """
    name = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim:
        trim(0)
