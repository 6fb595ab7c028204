"""The one client of the model server that all threads of a process share."""

import functools

from django.conf import settings

from serving.client import Client
from serving.portal.assessment.assessor import Assessor


@functools.cache
def client() -> Client:
    """Returns the client; made at the first call, since gRPC does not survive the fork of a process."""
    return Client(settings.MODEL_SERVER, timeout=settings.MODEL_SECONDS, retries=1)


@functools.cache
def assessor() -> Assessor:
    """Returns what answers about pictures."""
    return Assessor(client(), settings.HOME)
