"""Pages that tell what went wrong, also for programs and for parts of pages."""

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from serving.client import NotFound, ResourceExhausted, ServerError
from serving.portal.assessment.pictures import too_large as too_large_text
from serving.portal.web.wording import counted

RETRY_SECONDS = 5
ROOM_SECONDS = 300
"""After which pictures whose time is over are deleted the next time."""
_API = "/api/"
_BUSY = "Too much is being asked right now. Please try again in a moment."
_DOWN = "The models do not answer right now. Please try again in a moment."
_DOWN_KEPT = "The models do not answer right now. Your picture is kept; please try again in a moment."
_DOWN_API = "The models do not answer right now. Please send the request again in a moment."
_MISSING = (
    "There is no {model} model here. If it does not come soon, those who run this portal can make one "
    "(hexaface run {model}) and start the portal again."
)


def tell(
    request: HttpRequest, status: int, code: str, title: str, message: str, *, field: str = ""
) -> HttpResponse:
    """Answers with an error: JSON for programs, the result panel for scripts of a page, else a page.

    Args:
        request: What was asked.
        status: Of HTTP.
        code: A word for programs.
        title: A heading.
        message: One or two sentences for a person.
        field: Of the request that is wrong, for programs.
    """
    if is_api(request):
        error = {"code": code, "message": message, "request_id": request.id}
        if field:
            error["field"] = field
        return JsonResponse({"error": error}, status=status)
    template = "portal/_problem.html" if is_fragment(request) else "portal/problem.html"
    context = {"status": status, "code": code, "title": title, "message": message}
    return render(request, template, context, status=status)


def is_api(request: HttpRequest) -> bool:
    """Tells whether a program asks."""
    return request.path_info.startswith(_API)


def is_fragment(request: HttpRequest) -> bool:
    """Tells whether a script of a page asks for its result panel only."""
    return request.headers.get("X-Fragment") == "result"


def unavailable(request: HttpRequest, error: ServerError) -> HttpResponse:
    """Tells that a model did not answer; what it said is for the log."""
    down = _DOWN_API if is_api(request) else _DOWN_KEPT if _of_picture(request) else _DOWN
    message = _BUSY if isinstance(error, ResourceExhausted) else down
    if isinstance(error, NotFound):
        # Also for a moment while a model is loaded for the first time.
        message = _MISSING.format(model=error.model)
    response = tell(request, 503, "model_unavailable", "The models do not answer", message)
    response["Retry-After"] = str(RETRY_SECONDS)
    return response


def too_large(request: HttpRequest) -> HttpResponse:
    """Tells that a request is too long to be read."""
    message = "The request is too long to be read." if is_api(request) else too_large_text()
    return tell(request, 413, "too_large", "Too large", message)


def length_needed(request: HttpRequest) -> HttpResponse:
    """Tells that a request must tell how long it is."""
    message = "The request does not tell its length (Content-Length), and was not read."
    response = tell(request, 411, "length_required", "That could not be read", message)
    response["Connection"] = "close"
    return response


def too_many(request: HttpRequest, seconds: int) -> HttpResponse:
    """Tells that somebody asks too often."""
    message = f"That was a lot in a short time. Please try again in {counted(seconds, 'second')}."
    response = tell(request, 429, "rate_limited", "One moment", message)
    response["Retry-After"] = str(seconds)
    return response


def no_room(request: HttpRequest) -> HttpResponse:
    """Tells that no more pictures can be kept."""
    message = "There is no room for more pictures now. Nothing was kept; please try again later."
    response = tell(request, 507, "no_room", "No room right now", message)
    response["Retry-After"] = str(ROOM_SECONDS)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Tells that a form was not one of the portal's, or was too old."""
    message = "This form is too old, or your browser sends no cookies. Please open the page again."
    return tell(request, 403, "csrf", "The form could not be taken", message)


def not_found(request: HttpRequest, exception: object = None) -> HttpResponse:
    """Tells that there is no such page."""
    message = "There is no such page."
    if _of_picture(request):
        message = "There is nothing here. A picture is forgotten after a while; please choose it again."
    if is_api(request):
        message = f"There is no such address; {reverse('api-v1:openapi-view')} lists those that there are."
    return tell(request, 404, "not_found", "Nothing here", message)


def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:
    """Tells that a request cannot be read."""
    message = "The form is not complete, or has more parts than any form here."
    if isinstance(exception, DisallowedHost):
        message = "The portal is not known by this name; whoever runs it can add it to PORTAL_HOSTS."
    return tell(request, 400, "bad_request", "That could not be read", message)


def method_not_allowed(request: HttpRequest) -> HttpResponse:
    """Tells that a page cannot be asked for in this way."""
    message = "This page can be looked at, but not asked for in this way."
    return tell(request, 405, "method_not_allowed", "That does not work here", message)


def failed(request: HttpRequest) -> HttpResponse:
    """Tells that the portal itself failed."""
    message = "Something went wrong here, and it was noted. Please try again."
    return tell(request, 500, "internal", "Something went wrong", message)


def _of_picture(request: HttpRequest) -> bool:
    """Tells whether the address is that of a kept picture, or of what models say of one."""
    match = request.resolver_match
    return match is not None and {"upload_id", "first_id"} & set(match.kwargs) != set()
