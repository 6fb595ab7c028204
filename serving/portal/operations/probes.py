"""/healthz and /readyz, for whoever keeps the portal running."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse

from serving.portal.model_server import client
from serving.portal.operations.asking import Question

MODEL = "detection"
"""The model without which no picture can be looked at."""
OK, FAILED, LATE = "ok", "failed", "late"

_ALL_SECONDS, _MODEL_SECONDS = 1.8, 1.5
_log = logging.getLogger("portal.probes")
# What was told last of each part: only what changes is logged.
_last: dict[str, str] = {}
_last_lock = threading.Lock()


class NoProbes(logging.Filter):
    """Keeps Django's own lines about failed probes out of the log, which would come every few seconds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tells whether a line is about something else."""
        return getattr(getattr(record, "request", None), "path_info", "") not in _ANSWERS


class Probes:
    """Answers probes before anything else looks at them.

    They come without the portal's name, without HTTPS and often: they are not redirected, not logged, and
    have no session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        answer = _ANSWERS.get(request.path_info) if request.method in ("GET", "HEAD") else None
        if answer is None:
            return self._get_response(request)
        response = answer()
        if request.method == "HEAD":
            # What runs the portal would complain of a body, as often as probes come.
            response.content = b""
        response["Cache-Control"] = "no-store"
        return response


def _health() -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


def _readiness() -> HttpResponse:
    asked = {name: question.ask() for name, question in _PARTS.items()}
    wait(asked.values(), timeout=_ALL_SECONDS)
    parts = {name: _told(name, answer) for name, answer in asked.items()}
    ready = all(told == OK for told in parts.values())
    return JsonResponse({"ready": ready, "parts": parts}, status=200 if ready else 503)


def _told(name: str, answer: "Future[None]") -> str:
    told, why = LATE, "no answer"
    if answer.done():
        error = answer.exception()
        # The text of an error may name hosts and users.
        told, why = (FAILED, type(error).__name__) if error else (OK, "answers")
    with _last_lock:
        before = _last.get(name)
        _last[name] = told
    if before != told and (before, told) != (None, OK):
        # What has not answered yet is only starting.
        level = logging.WARNING if before == OK else logging.INFO
        _log.log(level, "%s: %s (%s)", name, told, why)
    return told


def _ask_database() -> None:
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        # It is of this thread alone, which ends.
        connection.close()


def _ask_models() -> None:
    states = {status.state for status in client().status(MODEL, timeout=_MODEL_SECONDS)}
    if "AVAILABLE" not in states:
        raise LookupError


_PARTS = {"database": Question(_ask_database), "models": Question(_ask_models)}
_ANSWERS = {"/healthz": _health, "/readyz": _readiness}
