"""How often one address may send pictures or have faces drawn."""

from collections.abc import Callable
from functools import wraps
from math import ceil
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja.throttling import SimpleRateThrottle

from serving.portal.web import errors


class UploadThrottle(SimpleRateThrottle):
    """Counts what one address sends."""

    def __init__(self) -> None:
        super().__init__(settings.UPLOAD_RATE)

    def get_cache_key(self, request: HttpRequest) -> str | None:
        """Returns the address; looking at a form is free."""
        if request.method == "GET" and not request.GET:
            return None
        return f"throttle_upload_{self.get_ident(request)}"


def throttled(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answers 429 to an address that sends too much."""

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        throttle = UploadThrottle()
        if throttle.allow_request(request):
            return view(request, *args, **kwargs)
        return errors.too_many(request, max(1, ceil(throttle.wait() or 1)))

    return limited
