"""Keys of the API: random, shown once, and known here by their hash only."""

import hashlib
import secrets

from django.db import IntegrityError, transaction
from django.utils import timezone

from serving.portal.models import ApiKey
from serving.portal.rates import Rate

_PREFIX = "hexaface_"
"""So that programs which look for keys in published code know one."""
_BYTES = 32
_LONGEST_NAME = 80


class KeyProblem(ValueError):
    """A key cannot be made or found; the message says why."""


def create(name: str, rate: str) -> str:
    """Makes a key.

    Args:
        name: Whose it is; one that no other key has or had.
        rate: Requests, such as 60/min.

    Returns:
        The key, which cannot be told again.

    Raises:
        KeyProblem: The name is taken, empty or too long, or the rate is none.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise KeyProblem(f"name: expected 1 to {_LONGEST_NAME} printable characters")
    try:
        Rate.parse(rate)
    except ValueError as error:
        raise KeyProblem(f"rate: {error}") from error
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    try:
        with transaction.atomic():
            ApiKey.objects.create(name=name, sha256=_hash(token), rate=rate.strip())
    except IntegrityError as error:
        raise KeyProblem(f"name: there is or was a key named {name!r}") from error
    return token


def revoke(name: str) -> None:
    """Ends a key.

    Raises:
        KeyProblem: There is no good one of this name.
    """
    if not ApiKey.objects.filter(name=name, revoked=None).update(revoked=timezone.now()):
        raise KeyProblem(f"there is no good key named {name!r}")


def find(token: str) -> ApiKey | None:
    """Finds a good key; None if there is none.

    The hash is looked up, so the time that it takes tells nothing of the keys that there are.
    """
    return ApiKey.objects.filter(sha256=_hash(token), revoked=None).first()


def _hash(token: str) -> str:
    """Returns the hash; a fast one will do, since nobody can guess 32 random bytes."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
