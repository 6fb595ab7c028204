"""What the readers of persons share: pseudonyms in place of names, and pairs of images.

Folders of the published sets are called after persons. Examples, artifacts and the rejected records of a
run hold a pseudonym instead: the first 16 hexadecimal digits of the SHA-256 of `<source>/<person>`, where
source is `att`, `identities` or `lfw`. It hides the name from readers of a file, not from somebody with a
list of names to try. (A message about a list that is malformed shows the line.)

`image/filename` is `<pseudonym>/<file>`. To find the file of an example, take the folder that
`person_folder` returns for the pseudonym; the file in it is

- the one of that name (`001.jpg`), also after `<person>_` (`Ann_Lee_0001.jpg` becomes `0001.jpg`);
- for other names, which could tell the person, the one whose name (with its suffix) has a SHA-256 that
  begins with these 16 digits.

In a shell, `printf 'identities/%s' Ann_Lee | sha256sum | cut -c1-16` prints the pseudonym of a folder.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LABEL = "identity"
"""The label of all readers of persons: the pseudonym."""


@dataclass(frozen=True)
class Pair:
    """Two images and whether they show one person.

    Attributes:
        first: Path `<person>/<file>` relative to the folder of the persons, with slashes.
        second: Path of the other image.
        same: Whether both show the same person.
        fold: Number of the part for cross-validation, from 0; 0 for all where a set has no folds.
    """

    first: str
    second: str
    same: bool
    fold: int = 0


def pseudonym(source: str, person: str) -> str:
    """Returns 16 hexadecimal digits that stand for a person.

    Args:
        source: Name of the data set.
        person: Name of the person's folder.
    """
    return digits(f"{source}/{person}")


def pseudonymous(source: str, path: str) -> str:
    """Returns the path of an image without the person's name, as `image/filename` has it.

    Args:
        source: Name of the data set.
        path: `<person>/<file>`, as in `Pair`.
    """
    file = PurePosixPath(path)
    person = file.parent.name
    number = file.stem.removeprefix(f"{person}_")
    plain = number.isascii() and number.isdigit()
    return f"{pseudonym(source, person)}/{number if plain else digits(file.name)}{file.suffix.lower()}"


def person_folder(root: Path, source: str, identity: str) -> Path | None:
    """Finds the folder behind a pseudonym.

    Args:
        root: The folder of the persons' folders.
        source: Name of the data set.
        identity: The pseudonym.

    Returns:
        The folder, None where no person of the data set has this pseudonym.
    """
    matching = (each for each in root.iterdir() if each.is_dir() and pseudonym(source, each.name) == identity)
    return next(matching, None)


def digits(text: str) -> str:
    """Returns the first 16 hexadecimal digits of a text's SHA-256, in the place of a name."""
    # Names of files are bytes: those that are no UTF-8 have a pseudonym too.
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
