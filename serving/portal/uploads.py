"""Pictures that sessions sent: kept for an hour, seen by the session that sent them and by no other."""

import contextlib
import os
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from serving.portal.assessment.pictures import Picture, restore
from serving.portal.models import Upload, bytes_of_all

_ONLY_OWNER = 0o600
# As file systems give it; so many tiny files cannot take more than they are counted for.
_BLOCK = 4096
# As Django makes them; a cookie may hold anything.
_SESSION_KEY = re.compile(r"[a-z0-9]{32}", re.ASCII)


class NoUpload(LookupError):
    """There is no such picture, or it is another session's, or its time is over: all the same to who asks."""


class NoRoom(Exception):
    """All pictures that are kept have as many bytes as they may have."""


def keep(session: SessionBase, pictures: Sequence[Upload | tuple[Picture, bool]]) -> list[Upload]:
    """Keeps the pictures of a request, all or none, in the place of the session's oldest where it has many.

    Args:
        session: Which may see them.
        pictures: What came through the door, each with whether it is one of the portal's own samples; or
            what the session has already, which stays.

    Returns:
        The records, in the same order.

    Raises:
        NoRoom: So much is kept already; then none is, and no older one goes.
        OSError: One cannot be written; the same.
    """
    found: list[Upload] = []
    new: list[tuple[Upload, Picture]] = []
    try:
        for each in pictures:
            if not isinstance(each, Upload):
                picture, sample = each
                each = _record(session, picture, sample)
                new.append((each, picture))
            found.append(each)
        old = _in_excess(session, found) if new else []
        # Counted with the new ones: of processes that keep some at the same moment, none may find room that
        # is another's.
        if new and bytes_of_all(Upload) - sum(each.size for each in old) > settings.UPLOADS_BYTES:
            raise NoRoom
        for upload, picture in new:
            _write(_file(upload.id), picture.jpeg)
    except BaseException:
        # Where the disk is full, half a picture is none.
        for upload, _ in new:
            remove(upload)
        raise
    for upload in old:
        remove(upload)
    return found


def _record(session: SessionBase, picture: Picture, sample: bool) -> Upload:
    key = _key(session)
    if key is None or not session.exists(key):
        # A key that was not made here may be one that others know.
        session.create()
    return Upload.objects.create(
        session=session.session_key,
        width=picture.width,
        height=picture.height,
        size=_BLOCK * ceil(len(picture.jpeg) / _BLOCK),
        sample=sample,
    )


def _in_excess(session: SessionBase, used: Sequence[Upload]) -> list[Upload]:
    """Returns the oldest pictures of a session, above what it may keep; none that its request uses."""
    ids = {upload.id for upload in used}
    others = Upload.objects.filter(session=session.session_key).exclude(id__in=ids).order_by("-created")
    return list(others[max(0, settings.SESSION_UPLOADS - len(ids)) :])


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_OWNER)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)


def find(session: SessionBase, upload_id: uuid.UUID) -> Upload:
    """Finds a picture of a session.

    Raises:
        NoUpload: There is none.
    """
    key = _key(session)
    upload = Upload.objects.filter(id=upload_id, session=key, created__gt=_oldest()).first() if key else None
    if upload is None or not _file(upload.id).is_file():
        raise NoUpload
    return upload


def read(upload: Upload) -> bytes:
    """Reads the JPEG of a picture.

    Raises:
        NoUpload: It has just been purged.
    """
    try:
        return _file(upload.id).read_bytes()
    except FileNotFoundError as error:
        raise NoUpload from error


def open_picture(upload: Upload) -> Picture:
    """Opens a picture; as `read`."""
    return restore(read(upload))


def remove(upload: Upload) -> None:
    """Forgets a picture."""
    _file(upload.id).unlink(missing_ok=True)
    upload.delete()


def purge() -> int:
    """Forgets all pictures whose time is over, and files that no record names.

    Returns:
        How many files were deleted.
    """
    for upload in Upload.objects.filter(created__lte=_oldest()):
        upload.delete()
    folder = settings.DATA / "uploads"
    # Before the records are read: a file has its record first, and so none that is here now is unknown then.
    files = list(folder.iterdir()) if folder.is_dir() else []
    known = {f"{upload_id}.jpg" for upload_id in Upload.objects.values_list("id", flat=True)}
    old = _oldest().timestamp()
    gone = 0
    for file in files:
        # Somebody may forget a picture meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if file.name not in known or file.stat().st_mtime <= old:
                file.unlink()
                gone += 1
    return gone


def _key(session: SessionBase) -> str | None:
    """Returns the key of a session; None where there is none, or a cookie says what cannot be one."""
    key = session.session_key
    return key if key and _SESSION_KEY.fullmatch(key) else None


def _oldest() -> "timezone.datetime":
    return timezone.now() - timedelta(seconds=settings.UPLOAD_SECONDS)


def _file(upload_id: uuid.UUID) -> Path:
    return Path(settings.DATA) / "uploads" / f"{upload_id}.jpg"
