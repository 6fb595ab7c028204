"""What every answer of the API has, whoever made it."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from serving.portal.middleware import View
from serving.portal.web.errors import is_api, tell

_CODES = {404: "not_found", 405: "method_not_allowed"}


class ApiAnswers:
    """Puts errors of others into the API's envelope, and tells the rate and that nothing is to be kept."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answers."""
        if not is_api(request):
            return self._get_response(request)
        # Whatever a request says: not all that it can name are encodings of text.
        request.encoding = "utf-8"
        response = self._get_response(request)
        if response.status_code >= 400 and response.headers.get("Content-Type") != "application/json":
            response = _enveloped(request, response)
        response.headers.setdefault("Cache-Control", "no-store")
        grant = getattr(request, "grant", None)
        if grant is not None:
            response["RateLimit-Limit"] = str(grant.limit)
            response["RateLimit-Remaining"] = str(grant.remaining)
            response["RateLimit-Reset"] = str(grant.reset)
        if request.method == "HEAD" and not response.streaming:
            response.content = b""
        return response


def _enveloped(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    status = HTTPStatus(response.status_code)
    code = _CODES.get(status, "bad_request" if status < 500 else "internal")
    told = tell(request, status, code, status.phrase, f"{status.phrase}.")
    if "Allow" in response:
        told["Allow"] = response["Allow"]
    return told
