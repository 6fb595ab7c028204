"""Reads settings out of environment variables; what is wrong is told by name."""

import os
import re
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from serving.portal.rates import Rate
from serving.wire import tls

_EXAMPLE, _SQLITE = "postgres://user:password@host/name", "sqlite:///portal.db"
_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", re.ASCII)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def text(name: str, default: str = "") -> str:
    """Returns a variable, or the default where it is missing or empty."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool) -> bool:
    """Returns a yes or no.

    Raises:
        ImproperlyConfigured: It is neither.
    """
    value = text(name).lower()
    if not value:
        return default
    if value not in (*_TRUE, *_FALSE):
        raise ImproperlyConfigured(f"{name}: expected 1 or 0, found {value!r}")
    return value in _TRUE


def number(name: str, default: float, least: float, most: float) -> float:
    """Returns a number.

    Raises:
        ImproperlyConfigured: It is none, or out of range.
    """
    value = text(name)
    if not value:
        return default
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    # Also false for NaN.
    if not least <= found <= most:
        raise ImproperlyConfigured(f"{name}: expected a number from {least:g} to {most:g}, found {value!r}")
    return found


def megabytes(name: str, default: float) -> int:
    """Returns bytes, of which the variable tells 1 to a million megabytes; as `number`."""
    return int(number(name, default, 1, 1_000_000) * (1 << 20))


def rate(name: str, default: str) -> str:
    """Returns a rate such as 60/min, as it was written.

    Raises:
        ImproperlyConfigured: It is none.
    """
    value = text(name, default)
    try:
        Rate.parse(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from error
    return value


def names(name: str, default: str = "") -> list[str]:
    """Returns a list of names with commas between them."""
    return [part for part in (each.strip() for each in text(name, default).split(",")) if part]


def path(name: str, default: Path) -> Path:
    """Returns an absolute path."""
    return Path(text(name, str(default))).expanduser().resolve()


def prefix(name: str) -> str:
    """Returns how all paths begin, such as /faces, without a slash at its end; empty where none is named.

    Raises:
        ImproperlyConfigured: It is no path, or would have to be quoted in addresses.
    """
    value = text(name).rstrip("/")
    if value and not _PREFIX.fullmatch(value):
        raise ImproperlyConfigured(f"{name}: expected a path such as /faces, found {value!r}")
    return value


def model_server(name: str, default: str) -> str:
    """Returns the address of a model server, as the client takes it.

    Raises:
        ImproperlyConfigured: It is that of a web server.
    """
    address = text(name, default)
    if address.startswith(("http://", "https://", "grpc://")) or not address.removeprefix(tls.GRPCS):
        raise ImproperlyConfigured(f"{name}: expected host:port or {tls.GRPCS}host:port, found {address!r}")
    return address


def certificates(name: str) -> str:
    """Returns the path of a file of certificates in PEM; empty where none is named.

    Raises:
        ImproperlyConfigured: It cannot be read, or holds none.
    """
    file = text(name)
    if file:
        try:
            tls.trusting(file)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}") from error
    return file


def database(name: str, default: Path) -> dict[str, Any]:
    """Returns Django's settings of a database by its address; without one, those of an SQLite file.

    Raises:
        ImproperlyConfigured: It is no address of a database; the message does not repeat it, as it may hold
            a password.
    """
    address = text(name)
    try:
        # Connections are kept, and looked at before they are used: a database may have been restarted.
        found = dj_database_url.parse(address or _SQLITE, conn_max_age=60, conn_health_checks=True)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: expected an address such as {_EXAMPLE}") from error
    # As it is: in an address, some characters of a path would mean something else.
    return {**found} if address else {**found, "NAME": str(default)}


def kept_key(file: Path) -> str:
    """Returns the secret key that `hexaface portal` has made in a workspace; empty where there is none."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
