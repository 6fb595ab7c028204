"""What people send: pictures, of the machine, of the camera or of the samples; and what faces to draw."""

import contextlib
import secrets
import uuid
from collections.abc import Iterable, Mapping

from django import forms
from django.http import HttpRequest

from serving.portal import stages, uploads
from serving.portal.assessment.assessor import MAX_GENERATED
from serving.portal.assessment.pictures import BadImage, Picture, receive
from serving.portal.models import Upload
from serving.portal.web.samples import BY_NAME

MAX_SEED = 2**31 - 1
_DEFAULT_COUNT = 16


class FormError(ValueError):
    """What was sent cannot be used; the message tells a person why.

    Attributes:
        field: The field of the form.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def take_pictures(request: HttpRequest, fields: Mapping[str, str]) -> list[Upload]:
    """Keeps the pictures of a form, all of them or none.

    Args:
        request: A POST with a file `<field>`, the name of a sample `<field>-sample`, or the id of a picture
            `<field>-kept` that the session has sent before, for each field; the first of them that is there
            counts.
        fields: What messages call the picture, by the name of its field.

    Raises:
        FormError: There is none of them, or a file is no picture that can be taken.
        uploads.NoRoom, OSError: One cannot be kept.
    """
    stages.note_received(request)
    with stages.timed(request, "decoding"):
        pictures = [_receive(request, field, what) for field, what in fields.items()]
    with stages.timed(request, "keeping"):
        return uploads.keep(request.session, pictures)


def kept_pictures(request: HttpRequest, fields: Iterable[str]) -> dict[str, Upload]:
    """Returns the pictures of a form that the session has sent before, by the names of their fields.

    Args:
        request: As for `take_pictures`.
        fields: Which to look at; those with a file or a sample, or whose picture is gone, have none.
    """
    found = {}
    for field in fields:
        kept = _kept_id(request, field)
        if kept:
            with contextlib.suppress(FormError):
                found[field] = _find(request, field, kept)
    return found


def _kept_id(request: HttpRequest, field: str) -> str:
    """Returns what a field says is kept; empty where a file or a sample is in its place."""
    if field in request.FILES or request.POST.get(f"{field}-sample"):
        return ""
    return request.POST.get(f"{field}-kept", "")


def _receive(request: HttpRequest, field: str, what: str) -> Upload | tuple[Picture, bool]:
    """Returns the picture of a field, kept or new; of a new one also whether it is a sample."""
    sample, kept = request.POST.get(f"{field}-sample", ""), _kept_id(request, field)
    file = request.FILES.get(field)
    if kept:
        return _find(request, field, kept)
    if file is None and not sample:
        raise FormError(f"Please choose {what} first.", field)
    if file is None and sample not in BY_NAME:
        raise FormError("There is no such sample.", field)
    try:
        if file is not None:
            return receive(file.read()), False
        return receive(BY_NAME[sample].read()), True
    except BadImage as error:
        raise FormError(str(error), field) from error


def _find(request: HttpRequest, field: str, kept: str) -> Upload:
    try:
        return uploads.find(request.session, uuid.UUID(kept))
    except (ValueError, uploads.NoUpload) as error:
        raise FormError("The picture is not here any more; please choose it again.", field) from error


def _whole_number(least: int, most: int) -> dict[str, str]:
    """Returns what a field of numbers says, whatever is wrong."""
    message = f"Please give a whole number from {least} to {most}."
    return dict.fromkeys(("required", "invalid", "min_value", "max_value"), message)


class SynthesisForm(forms.Form):
    """How many faces, and of which seed."""

    count = forms.IntegerField(
        label="How many faces",
        min_value=1,
        max_value=MAX_GENERATED,
        initial=_DEFAULT_COUNT,
        error_messages=_whole_number(1, MAX_GENERATED),
    )
    seed = forms.IntegerField(
        label="Seed",
        min_value=0,
        max_value=MAX_SEED,
        required=False,
        help_text="The same seed draws the same faces. Empty: a random one.",
        error_messages=_whole_number(0, MAX_SEED),
    )

    def clean_seed(self) -> int:
        """Returns the seed; a random one where none was given."""
        seed = self.cleaned_data["seed"]
        return secrets.randbelow(MAX_SEED) if seed is None else seed
