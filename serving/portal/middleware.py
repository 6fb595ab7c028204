"""What happens to every request before and after its view."""

import logging
import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from serving.portal import stages
from serving.portal.web import errors

View = Callable[[HttpRequest], HttpResponse]

# A form of sixteen pictures of ten megabytes; what is longer is not read at all.
MAX_BODY_BYTES = 170 << 20
_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_POLICY = "camera=(self), microphone=(), geolocation=(), payment=(), usb=()"
_log = logging.getLogger("portal.requests")


class RequestId:
    """Gives every request an id, which logs, answers and error pages tell, and logs one line about it.

    The answer tells how long its stages took.

    The line has neither the query nor anything of the body.
    """

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        given = request.headers.get("X-Request-ID", "")
        request.id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        stages.begin(request)
        response = self._get_response(request)
        if response.status_code == 405 and not response.content:
            response = _told(request, response)
        response["X-Request-ID"] = request.id
        stages.tell(request, response)
        match = request.resolver_match
        # The route, not the path: paths name uploads.
        route = match.route if match else "(no page)"
        milliseconds = stages.total(request)
        _log.info(
            "%s %s /%s %d %.0f ms", request.id, request.method, route, response.status_code, milliseconds
        )
        return response


def _told(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Gives Django's empty answer to a wrong method a page."""
    page = errors.method_not_allowed(request)
    page["Allow"] = response["Allow"]
    return page


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
    """Refuses bodies that are longer than any form of the portal, or of a length that nobody tells.

    Not a byte of them is read.
    """

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        if "HTTP_TRANSFER_ENCODING" in request.META:
            return errors.length_needed(request)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal():
            return errors.bad_request(request)
        if int(length) > MAX_BODY_BYTES:
            return errors.too_large(request)
        return self._get_response(request)
