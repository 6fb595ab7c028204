"""A hash of the project's own code and of what it stands on, so that no change is answered from cache."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PROJECT = Path(__file__).parent.parent
_SUFFIXES = (".py", ".yaml", ".pbtxt")
# Packages whose other versions may give other results.
_PACKAGES = (
    "tfx",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-analysis",
    "apache-beam",
    "pillow",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
)


@cache
def code_fingerprint(*places: str) -> str:
    """Hashes code, data files beside it and the versions of the packages that matter.

    Args:
        *places: Folders or files, relative to the project: `trainers`, `components/readers`.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        digest.update(f"{package}=={version(package)}\n".encode())
    for place in places:
        for file in _files(_PROJECT / place):
            digest.update(file.relative_to(_PROJECT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from (file for file in sorted(place.rglob("*")) if file.suffix in _SUFFIXES)
    else:
        raise FileNotFoundError(place)
