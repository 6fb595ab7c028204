"""Asks the model server which models it has."""

import time

from serving.client import Client, VersionStatus
from serving.portal import model_server

TASKS = ("detection", "verification", "gender", "age", "emotion", "synthesis")
_LEAST_SECONDS = 0.1


def versions(client: Client, seconds: float) -> dict[str, list[VersionStatus]]:
    """Lists the versions of each of the six models, highest first; none where it is not served.

    Args:
        client: Of the model server.
        seconds: That all questions together may take.

    Raises:
        ServerError: The server does not answer.
    """
    end = time.monotonic() + seconds
    return {
        task: model_server.versions(client, task, max(_LEAST_SECONDS, end - time.monotonic()))
        for task in TASKS
    }
