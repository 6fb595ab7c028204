"""Answers with the API's envelope to whatever goes wrong in it."""

import logging
from collections.abc import Callable
from typing import Any

import pydantic
from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from serving.client import Code, ServerError
from serving.portal.api.access import HEADER, RateLimited
from serving.portal.web import errors

_log = logging.getLogger("portal.api")
# Where a value came from, which pydantic names before the field.
_SOURCES = {"body", "query", "path", "header", "form", "file"}


class TooLarge(Exception):
    """There is more in a request than is looked at; the message says how much that is."""


def add_handlers(api: NinjaAPI) -> None:
    """Tells an API how to answer exceptions."""
    handlers: tuple[tuple[type[Exception], Callable[[HttpRequest, Any], HttpResponse]], ...] = (
        (Exception, _failed),
        (ServerError, _model_failed),
        (pydantic.ValidationError, _answer_invalid),
        (AuthenticationError, _unauthorized),
        (RateLimited, _rate_limited),
        (HttpError, _http_error),
        (ValidationError, _invalid),
        (TooLarge, _too_large),
        (RequestDataTooBig, _body_too_large),
        (TooManyFilesSent, _too_many_files),
        (TooManyFieldsSent, _body_too_large),
        (BadRequest, _unreadable),
        (MultiPartParserError, _unreadable),
        (UnreadablePostError, _unreadable),
        (SuspiciousOperation, _unreadable),
    )
    for kind, handler in handlers:
        api.add_exception_handler(kind, handler)


def _failed(request: HttpRequest, error: Exception) -> HttpResponse:
    _log.exception("%s failed", request.id, exc_info=error)
    return errors.failed(request)


def _model_failed(request: HttpRequest, error: ServerError) -> HttpResponse:
    _log.warning("%s %s: %s", request.id, error.model, error.code.name)
    return errors.unavailable(request, error)


def _answer_invalid(request: HttpRequest, error: pydantic.ValidationError) -> HttpResponse:
    """Answers where a model said what is no answer, such as a distance that is no number."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    _log.warning("%s answer of a model: %s: %s", request.id, _name(first["loc"]), first["type"])
    return errors.unavailable(request, ServerError(Code.INTERNAL, "the answer is out of range"))


def _unauthorized(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    message = f"A good key is needed in the header {HEADER}; those who run this portal make them."
    response = errors.tell(request, 401, "unauthorized", "No good key", message)
    response["WWW-Authenticate"] = f'ApiKey header="{HEADER}"'
    return response


def _rate_limited(request: HttpRequest, error: RateLimited) -> HttpResponse:
    return errors.too_many(request, error.grant.wait)


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Answers what the framework refuses: a body that is no JSON."""
    return errors.tell(request, error.status_code, "bad_request", "That could not be read", f"{error}.")


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    field = _name(first["loc"])
    message = f"{field}: {first['msg']}" if field else str(first["msg"])
    return errors.tell(request, 422, "invalid", "Not valid", message, field=field)


def _too_large(request: HttpRequest, error: TooLarge) -> HttpResponse:
    return errors.tell(request, 413, "too_large", "Too large", str(error))


def _body_too_large(request: HttpRequest, error: Exception) -> HttpResponse:
    return errors.tell(request, 413, "too_large", "Too large", "The request is too long to be read.")


def _too_many_files(request: HttpRequest, error: Exception) -> HttpResponse:
    message = f"At most {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files can be sent at once."
    return errors.tell(request, 422, "invalid", "Not valid", message, field="images")


def _unreadable(request: HttpRequest, error: Exception) -> HttpResponse:
    return errors.bad_request(request)


def _name(location: tuple[object, ...]) -> str:
    """Returns the name of a field, such as `images.3`."""
    parts = [str(part) for part in location]
    while parts and parts[0] in _SOURCES:
        parts = parts[1:]
    return ".".join(parts)
