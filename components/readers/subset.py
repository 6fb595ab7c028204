"""Chooses a part of a data set with a share of men, and of limited size: the same part each time."""

import hashlib
import os
from collections.abc import Mapping

OUT_OF_BALANCE = "balanced out by data.balance.male"
BEYOND_MOST = "beyond data.max_images"


def left_out(genders: Mapping[str, str], male_share: float | None, max_images: int) -> dict[str, str]:
    """Says which images are not in the chosen part.

    Images are taken in the order of the hashes of their names. With a share, as many are kept as possible so
    that of n exactly round(share * n) are male; the limit then makes n smaller, with the same share.

    Args:
        genders: `female` or `male` by name of the image; with a share, there must be images of each of the
            two that the share asks for.
        male_share: Share of images that are to be male, 0 to 1; None to take all.
        max_images: Most images, 0 for any number.

    Returns:
        Reason by name of the image: OUT_OF_BALANCE, or BEYOND_MOST for those that only the limit leaves out.
    """
    ranked = sorted(genders, key=_rank)
    balanced = len(ranked) if male_share is None else _largest(ranked, genders, male_share)
    size = min(balanced, max_images or balanced)
    reasons = dict.fromkeys(ranked, OUT_OF_BALANCE)
    reasons.update(dict.fromkeys(_taken(ranked, genders, male_share, balanced), BEYOND_MOST))
    for name in _taken(ranked, genders, male_share, size):
        del reasons[name]
    return reasons


def _rank(name: str) -> bytes:
    # Names of files are bytes: those that are no UTF-8 have a place too.
    return hashlib.sha256(os.fsencode(name)).digest()


def _largest(names: list[str], genders: Mapping[str, str], male_share: float) -> int:
    """Returns the largest size with exactly the share that there are enough images for."""
    men = sum(genders[name] == "male" for name in names)
    women = len(names) - men
    sizes = (
        size
        for size in range(len(names), 0, -1)
        if round(male_share * size) <= men and size - round(male_share * size) <= women
    )
    return next(sizes, 0)


def _taken(names: list[str], genders: Mapping[str, str], male_share: float | None, size: int) -> list[str]:
    """Returns the first names that make up a size with the share."""
    if male_share is None:
        return names[:size]
    men = [name for name in names if genders[name] == "male"]
    women = [name for name in names if genders[name] != "male"]
    male = round(male_share * size)
    return men[:male] + women[: size - male]
