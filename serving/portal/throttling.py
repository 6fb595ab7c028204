"""How often one address, or one key of the API, may ask; counted in the database, for all processes."""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import ceil, floor
from typing import Any

from django.conf import settings
from django.db.models import F, FloatField, Value
from django.db.models.functions import Greatest
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from ninja.throttling import BaseThrottle

from serving.portal.models import Allowance
from serving.portal.rates import Rate
from serving.portal.web import errors

View = Callable[..., HttpResponse]
_READING = ("GET", "HEAD")
# Of a step: what sums of floats may be off by.
_TOLERANCE = 0.01
# Of an IPv6 address: what one customer gets.
_NETWORK_BITS = 64


@dataclass(frozen=True)
class Grant:
    """Whether a request may be answered.

    Attributes:
        allowed: Whether it may.
        limit: Requests that may come at once.
        remaining: How many more of them may come now.
        reset: Seconds until all of them may come.
        wait: Seconds until the next one may come.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int
    wait: int


def take(who: str, rate: Rate) -> Grant:
    """Counts a request.

    Each request moves the time at which all that was asked is worked off by one step of the rate; it may be a
    whole period ahead of now, and no more. One UPDATE moves it if it may be moved, so that processes that
    count at the same moment cannot both take the last place.

    Args:
        who: Whose request; it is kept as a hash, since it may be an address.
        rate: What is allowed.
    """
    name = salted_hmac("portal.throttling", who, algorithm="sha256").hexdigest()
    now = time.time()
    allowed = _move(name, rate, now)
    if not allowed:
        # There may be no row yet; another process may just have made it.
        _, allowed = Allowance.objects.get_or_create(name=name, defaults={"due": now + rate.step})
        allowed = allowed or _move(name, rate, now)
    due = Allowance.objects.filter(name=name).values_list("due", flat=True).first() or now
    ahead = max(0.0, due - now)
    remaining = max(0, floor((rate.seconds - ahead) / rate.step + _TOLERANCE))
    wait = max(1, ceil(ahead + rate.step - rate.seconds))
    return Grant(allowed, rate.count, remaining, ceil(ahead), wait)


def forget_idle() -> None:
    """Deletes counts of those who have not asked for so long that they may ask at their full rate."""
    Allowance.objects.filter(due__lt=time.time()).delete()


def address(request: HttpRequest) -> str:
    """Returns the address that a request came from, as the outermost trusted proxy saw it.

    Of IPv6 it is the network: who has one address there has 2**64.
    """
    found = BaseThrottle().get_ident(request) or ""
    try:
        known = ipaddress.ip_address(found)
    except ValueError:
        return found
    if known.version == 4 or known.ipv4_mapped:
        return str(known if known.version == 4 else known.ipv4_mapped)
    return str(ipaddress.ip_network((known.packed, _NETWORK_BITS), strict=False))


def throttled(view: View) -> View:
    """Answers 429 to an address that sends too much; looking at a form is free."""
    return _limited(view, "upload", lambda request: request.method not in _READING or bool(request.GET))


def asking_throttled(view: View) -> View:
    """Answers 429 to an address that asks for results more often than it may send."""
    return _limited(view, "ask", lambda request: True)


def _limited(view: View, what: str, counts: Callable[[HttpRequest], bool]) -> View:
    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not counts(request):
            return view(request, *args, **kwargs)
        grant = take(f"{what} {address(request)}", Rate.parse(settings.UPLOAD_RATE))
        return view(request, *args, **kwargs) if grant.allowed else errors.too_many(request, grant.wait)

    return limited


def _move(name: str, rate: Rate, now: float) -> bool:
    latest = now + rate.seconds - rate.step * (1.0 - _TOLERANCE)
    start = Greatest(F("due"), Value(now, output_field=FloatField()))
    return bool(Allowance.objects.filter(name=name, due__lte=latest).update(due=start + rate.step))
