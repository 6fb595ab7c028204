"""A hash of the project's own code, so that changed code is never answered from cache."""

import hashlib
from functools import cache
from pathlib import Path

_PROJECT = Path(__file__).parent.parent
_SUFFIXES = (".py", ".yaml", ".pbtxt")


@cache
def code_fingerprint(*rooms: str) -> str:
    """Hashes the code and data files of some rooms.

    Args:
        *rooms: Top-level packages.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for room in rooms:
        for file in sorted((_PROJECT / room).rglob("*")):
            if file.suffix in _SUFFIXES:
                digest.update(file.relative_to(_PROJECT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
