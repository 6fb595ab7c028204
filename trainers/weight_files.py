"""Files of pretrained weights that are known by their hash: found here or fetched. Needs no TensorFlow."""

import hashlib
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO

from data_validation.errors import InputError

logger = logging.getLogger("hexaface.trainer")

# Settings that errors name; that of the hash is called so with `_sha256` behind.
WEIGHTS_SETTING = "model.weights"
EXTRACTOR_SETTING = "evaluation.extractor_weights"

# VGG-Face, the largest network here, has 553 MiB.
MOST_BYTES = 2 << 30
CHUNK_BYTES = 1 << 20
# A server that says nothing for so long is given up.
TIMEOUT_SECONDS = 30
LOG_SECONDS = 5.0
# A download writes at least once in TIMEOUT_SECONDS, so older parts belong to killed ones.
STALE_SECONDS = 600
# HTTP's codes from here on are the server's fault, and may pass.
_SERVER_FAULT = 500
LOCAL_HOSTS = ("127.0.0.1", "localhost")


def obtain(location: str, sha256: str, folder: Path, setting: str = WEIGHTS_SETTING) -> Path:
    """Returns a weights file whose content is known.

    Args:
        location: path of a file, or an https:// URL (http:// only to this machine).
        sha256: 64 hexadecimal digits. For a URL required; for a path, empty means that any content will do.
        folder: where downloads are kept. A file that is there with the right content is not fetched again.
        setting: name of the setting that says the location, for messages.

    Returns:
        The file.

    Raises:
        InputError: there is no such file, it is larger than 2 GiB, has another hash, or a setting is wrong.
        ConnectionError: it cannot be fetched now.
    """
    expected = sha256.strip().lower()
    if expected and not re.fullmatch("[0-9a-f]{64}", expected):
        raise InputError(f"{setting}_sha256: expected 64 hexadecimal digits, found {sha256!r}")
    if "://" in location:
        return _download(location, expected, folder, setting)
    file = Path(location).expanduser()
    if not file.is_file():
        raise InputError(f"{setting}: expected a file of weights, found none at {file}")
    if expected:
        _check_hash(str(file), _hash(file), expected, setting)
    return file


def _download(url: str, expected: str, folder: Path, setting: str) -> Path:
    """Fetches a URL into the folder unless it is there; a kill leaves no file with the final name."""
    shown = check_url(url, setting)
    if not expected:
        raise InputError(f"{setting}_sha256: expected the hash of {shown}, found none")
    # The name starts with the hash, so that files of the same name from two places stand side by side.
    base = re.sub(r"[^\w.-]", "_", PurePosixPath(urllib.parse.urlsplit(url).path).name) or "weights.h5"
    file = folder / f"{expected[:16]}-{base}"
    if file.is_file() and _hash(file) == expected:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob("*.part"):
        if time.time() - part.stat().st_mtime > STALE_SECONDS:
            part.unlink(missing_ok=True)
    temporary = folder / f"{file.name}.{os.getpid()}.part"
    try:
        _check_hash(shown, _fetch(url, shown, temporary, setting), expected, setting)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def check_url(url: str, setting: str = WEIGHTS_SETTING) -> str:
    """Refuses all but https; returns the URL without its query, which may be secret."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise InputError(f"{setting}: expected a path or an https:// URL: {error}") from None
    shown = f"{parts.scheme}://{host}{port}{parts.path}"
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOCAL_HOSTS)):
        raise InputError(f"{setting}: expected a path or an https:// URL, found {shown}")
    if "@" in parts.netloc:
        raise InputError(f"{setting}: expected a URL without user name and password: {shown}")
    return shown


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects under the rules for the first URL."""

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        check_url(newurl, self._setting)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, shown: str, file: Path, setting: str) -> str:
    """Writes a URL's content into a file; returns its SHA-256."""
    try:
        opener = urllib.request.build_opener(_Redirects(setting))
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer, file.open("wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            return _copy(answer, out, total, shown, setting)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        message = f"{setting}: cannot fetch {shown}: {reason}"
        if isinstance(error, urllib.error.HTTPError) and error.code < _SERVER_FAULT:
            raise InputError(message) from error
        raise ConnectionError(message) from error


def _copy(answer: IO[bytes], out: IO[bytes], total: int, shown: str, setting: str) -> str:
    """Copies a bounded stream with a look at the clock for each chunk; returns its SHA-256."""
    digest, size, logged = hashlib.sha256(), 0, time.monotonic()
    while size <= MOST_BYTES >= total:
        chunk = answer.read(CHUNK_BYTES)
        if not chunk:
            break
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            of = f" of {total >> 20}" if total else ""
            logger.info("weights %d%s MiB", size >> 20, of)
    if max(size, total) > MOST_BYTES:
        raise InputError(f"{setting}: expected at most {MOST_BYTES >> 20} MiB, found more at {shown}")
    if size < total:
        raise ConnectionError(f"{setting}: {shown} ended after {size} of {total} bytes; try again")
    return digest.hexdigest()


def _hash(file: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_hash(shown: str, found: str, expected: str, setting: str) -> None:
    if found != expected:
        raise InputError(
            f"{shown}: sha256 is {found[:16]}..., expected {expected[:16]}... ({setting}_sha256)"
        )
