"""Who may ask, and how often."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security import APIKeyHeader

from serving.portal.api import keys
from serving.portal.rates import Rate
from serving.portal.throttling import Grant, address, take

REFUSED_RATE = "30/min"
"""How often an address may try keys that are none."""
HEADER = "X-API-Key"


class RateLimited(Exception):
    """Somebody asks too often.

    Attributes:
        grant: When they may ask again.
    """

    def __init__(self, grant: Grant) -> None:
        super().__init__(grant)
        self.grant = grant


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        who: Under which their requests are counted.
        rate: How often they may.
    """

    who: str
    rate: str


class ApiKeyAuth(APIKeyHeader):
    """Lets those in who have a key, at its rate; others by their address, where that is allowed."""

    param_name = HEADER
    openapi_description = "A key that those who run the portal made with `manage.py create_api_key`."

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller:
        """Finds out who asks and counts the request.

        Raises:
            AuthenticationError: The key is none, or there has to be one.
            RateLimited: They ask too often.
        """
        caller = _caller(request, key)
        if caller is None:
            _count(request, Caller(f"refused {address(request)}", REFUSED_RATE))
            raise AuthenticationError
        _count(request, caller)
        return caller


class Anybody:
    """Lets everybody in, as often as one address may."""

    def __call__(self, request: HttpRequest) -> Caller:
        """Counts the request; as ApiKeyAuth."""
        caller = Caller(f"api {address(request)}", settings.UPLOAD_RATE)
        _count(request, caller)
        return caller


def _caller(request: HttpRequest, key: str | None) -> Caller | None:
    if key:
        found = keys.find(key)
        return Caller(f"key {found.pk}", found.rate) if found else None
    return Caller(f"api {address(request)}", settings.UPLOAD_RATE) if settings.API_ANONYMOUS else None


def _count(request: HttpRequest, caller: Caller) -> None:
    grant = take(caller.who, Rate.parse(caller.rate))
    request.grant = grant
    if not grant.allowed:
        raise RateLimited(grant)
