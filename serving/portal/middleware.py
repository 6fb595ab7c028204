"""What happens to every request before and after its view."""

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from serving.portal.web.errors import too_large

View = Callable[[HttpRequest], HttpResponse]

# A form of sixteen pictures of ten megabytes; what is longer is not read at all.
MAX_BODY_BYTES = 170 << 20
_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_POLICY = "camera=(self), microphone=(), geolocation=(), payment=(), usb=()"
_log = logging.getLogger("portal.requests")


class RequestId:
    """Gives every request an id, which logs, answers and error pages tell, and logs one line about it.

    The line has neither the query nor anything of the body.
    """

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        given = request.headers.get("X-Request-ID", "")
        request.id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        started = time.perf_counter()
        response = self._get_response(request)
        response["X-Request-ID"] = request.id
        match = request.resolver_match
        # The route, not the path: paths name uploads.
        route = match.route if match else "(no page)"
        milliseconds = 1000.0 * (time.perf_counter() - started)
        _log.info(
            "%s %s /%s %d %.0f ms", request.id, request.method, route, response.status_code, milliseconds
        )
        return response


class PermissionsPolicy:
    """Tells browsers that the portal uses the camera and nothing else of the machine."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        response = self._get_response(request)
        response["Permissions-Policy"] = _POLICY
        return response


class BodyLimit:
    """Refuses bodies that are longer than any form of the portal, before a byte of them is read."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return too_large(request)
        return self._get_response(request)
