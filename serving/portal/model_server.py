"""The one client of the model server that all threads of a process share."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from django.conf import settings

from serving.client import Client, NotFound, VersionStatus
from serving.portal.assessment.assessor import Assessor

_T = TypeVar("_T")


class _Once(Generic[_T]):
    """Makes a thing when it is first asked for: one for all threads, also those that come together."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._made: list[_T] = []
        self._lock = threading.Lock()

    def __call__(self) -> _T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def cache_clear(self) -> None:
        """Forgets it."""
        with self._lock:
            self._made.clear()


@_Once
def client() -> Client:
    """Returns the client; made at the first call, since gRPC does not survive the fork of a process."""
    return Client(
        settings.MODEL_SERVER,
        timeout=settings.MODEL_SECONDS,
        retries=1,
        ca_file=settings.MODEL_CA or None,
    )


@_Once
def assessor() -> Assessor:
    """Returns what answers about pictures."""
    return Assessor(client(), settings.HOME)


def versions(client: Client, model: str, seconds: float) -> list[VersionStatus]:
    """Lists the versions of a model, highest first; none where it is not served.

    Raises:
        ServerError: The server does not answer in time.
    """
    try:
        return client.status(model, timeout=seconds)
    except NotFound:
        return []
