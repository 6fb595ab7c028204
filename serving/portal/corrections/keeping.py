"""Keeps corrections, as many as may be kept, and takes them back.

The record in the database is made before the files and deleted after them: whatever is in a span has a
record by which it can be taken back.
"""

import hashlib
import json
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from serving.portal.corrections.indexes import BadIndex
from serving.portal.corrections.published import LAYOUTS, Content, Label
from serving.portal.corrections.refused import Refused
from serving.portal.corrections.spans import Busy, Spans
from serving.portal.models import Correction, bytes_of_all

_DIGITS = 20
_SALT = "serving.portal.corrections"
_WHAT = {"detection": "This picture", "verification": "One of these faces"}
_log = logging.getLogger("portal.corrections")


def spans() -> Spans:
    """Returns the spans on disk."""
    return Spans(Path(settings.DATA) / "corrections")


def keep(session_key: str, task: str, label: Label, images: Sequence[bytes], model: str) -> Correction:
    """Keeps a correction in the span of today.

    Args:
        session_key: Of the session that gives it.
        task: The application.
        label: What is right, as `published.Label`.
        images: What the model saw.
        model: The model's version.

    Returns:
        The record.

    Raises:
        Refused: An image of it is kept already, so many are not taken, others keep the spans for too long, or
            have changed the span's index.
        OSError: It cannot be written; the record stays only with files that cannot be removed.
    """
    contents = LAYOUTS[task].contents(label, images)
    size = sum(map(_size, contents))
    span = int(timezone.now().strftime("%Y%m%d"))
    giver = salted_hmac(_SALT, f"{session_key}/{span}", algorithm="sha256").hexdigest()
    hashes = sorted(hashlib.sha256(image).hexdigest() for image in images)
    try:
        with spans().changing() as changes:
            sent_before = _same(giver, task, label, hashes)
            if sent_before:
                # A second click gets the receipt of the first.
                return sent_before
            _check_new(task, hashes)
            _check_room(giver, span, size)
            correction = Correction.objects.create(
                task=task,
                span=span,
                label=label,
                name=_name(),
                size=size,
                giver=giver,
                sha256=hashes[0],
                other_sha256="".join(hashes[1:]),
                model=model,
            )
            try:
                changes.add(task, span, correction.name, label, contents)
            except BaseException:
                try:
                    changes.remove(task, span, correction.name, label)
                finally:
                    # On a full disk, what never came cannot be removed either: no index can be written.
                    if not changes.has_files(task, span, correction.name, label):
                        correction.delete()
                raise
    except (Busy, BadIndex) as error:
        raise _refused(error) from error
    return correction


def withdraw(correction: Correction) -> None:
    """Takes a correction back: its files, its line in the index, its record.

    Raises:
        Refused: Others keep the spans for too long, or have changed the span's index.
        OSError: It cannot be removed; the record stays.
    """
    try:
        with spans().changing() as changes:
            changes.remove(correction.task, correction.span, correction.name, correction.label)
            correction.delete()
    except (Busy, BadIndex) as error:
        raise _refused(error) from error


def is_there(correction: Correction) -> bool:
    """Tells whether a correction is still in its span; where that cannot be read, it is taken for there."""
    try:
        return spans().has(correction.task, correction.span, correction.name)
    except BadIndex:
        return True


def forget_removed() -> int:
    """Forgets corrections whose files an operator removed, so that they are not counted any more.

    Never by itself: files on a shared folder that is away for a while are not to be told from removed ones,
    and without its record nobody can take a correction back.

    Returns:
        How many were forgotten.

    Raises:
        OSError: Others keep the spans for too long.
    """
    if not spans().were_changed():
        return 0
    gone = 0
    with spans().changing() as changes:
        # Under the lock: a correction has its record before its files.
        for each in Correction.objects.all():
            if not changes.has_files(each.task, each.span, each.name, each.label):
                each.delete()
                gone += 1
    return gone


def forget_givers() -> None:
    """Forgets who gave the corrections of other days: it is known only to bound what one gives in a day."""
    today = int(timezone.now().strftime("%Y%m%d"))
    Correction.objects.exclude(span=today).exclude(giver="").update(giver="")


def _same(giver: str, task: str, label: Label, hashes: Sequence[str]) -> Correction | None:
    kept = Correction.objects.filter(
        giver=giver, task=task, sha256=hashes[0], other_sha256="".join(hashes[1:])
    ).first()
    return kept if kept is not None and kept.label == _as_kept(label) else None


def _as_kept(label: Label) -> Any:
    """Returns a label as the database gives it back: lists in the place of tuples."""
    return json.loads(json.dumps(label))


def _check_new(task: str, hashes: Sequence[str]) -> None:
    """Refuses an image that is kept for the task; nobody else can keep it meanwhile, as spans are locked."""
    known = Q(sha256__in=hashes) | Q(other_sha256__in=hashes)
    if Correction.objects.filter(known, task=task).exists():
        raise Refused(
            f"{_WHAT.get(task, 'This face')} has been corrected already; take that correction back first, if "
            "it was wrong.",
            409,
            "corrected_already",
        )


def _check_room(giver: str, span: int, size: int) -> None:
    if Correction.objects.filter(giver=giver).count() >= settings.SESSION_CORRECTIONS:
        raise Refused(
            f"Thank you, that is enough for today: at most {settings.SESSION_CORRECTIONS} corrections are "
            "taken from one browser in a day. This one was not kept.",
            429,
            "too_many_corrections",
        )
    today = Correction.objects.filter(span=span).count()
    if today >= settings.DAY_CORRECTIONS or bytes_of_all(Correction) + size > settings.CORRECTIONS_BYTES:
        raise Refused(
            "No more corrections can be taken at the moment. This one was not kept.",
            429,
            "too_many_corrections",
        )


def _refused(error: Busy | BadIndex) -> Refused:
    """Logs why the spans could not be changed, and returns what to tell."""
    if isinstance(error, BadIndex):
        _log.error("%s", error)
        return Refused(
            "The list of corrections cannot be read, and nothing was changed. That was noted; whoever runs "
            "this portal can mend it.",
            503,
            "bad_index",
        )
    _log.warning("%s", error)
    return Refused(
        "The corrections are busy right now, and nothing was changed. Please go back and send it again.",
        503,
        "busy",
    )


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else sum(map(len, content.values()))


def _name() -> str:
    return f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}d}"
