"""Takes corrections, shows what was kept, and takes it back."""

import logging
import uuid

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from serving.portal import uploads
from serving.portal.corrections import asking, keeping
from serving.portal.corrections.forms import FORMS
from serving.portal.corrections.refused import OF_A_SAMPLE, Refused
from serving.portal.model_server import assessor
from serving.portal.models import Correction
from serving.portal.throttling import throttled
from serving.portal.web import errors
from serving.portal.web.applications import BY_NAME
from serving.portal.web.views import model_errors_told

_GONE = "The picture that you corrected is not here any more, so nothing was kept. Please choose it again."
_log = logging.getLogger("portal.corrections")


class _SeeOther(HttpResponseRedirect):
    status_code = 303


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@throttled
@model_errors_told
def give(request: HttpRequest) -> HttpResponse:
    """Keeps a correction, and leads to its receipt."""
    if not settings.CORRECTIONS:
        raise Http404
    if request.method != "POST":  # the address of an error page, opened again
        return _SeeOther(reverse("home"))
    try:
        correction = _take(request)
    except Refused as error:
        return _told(request, error, "The correction was not kept")
    except uploads.NoUpload:
        return errors.tell(request, 404, "no_picture", "The picture is gone", _GONE)
    _log.info("%s %s: a correction was kept", request.id, correction.task)
    return _SeeOther(reverse("correction", args=[correction.id]))


@never_cache
@require_safe
def receipt(request: HttpRequest, correction_id: uuid.UUID) -> HttpResponse:
    """What was kept; who knows the address may see it, also where no more corrections are taken."""
    correction = _find(correction_id)
    form = FORMS[correction.task]
    context = {
        "correction": correction,
        "corrected": BY_NAME[correction.task],
        "kept": form.kept,
        "there": keeping.is_there(correction),
    }
    return render(request, "portal/correction.html", context)


@require_POST
def withdraw(request: HttpRequest, correction_id: uuid.UUID) -> HttpResponse:
    """Takes a correction back."""
    correction = _find(correction_id)
    try:
        keeping.withdraw(correction)
    except Refused as error:
        return _told(request, error, "The correction was not taken back")
    _log.info("%s %s: a correction was taken back", request.id, correction.task)
    return _SeeOther(reverse("corrections-withdrawn"))


@require_safe
def withdrawn(request: HttpRequest) -> HttpResponse:
    """Tells that a correction was taken back."""
    return render(request, "portal/correction_withdrawn.html")


def _take(request: HttpRequest) -> Correction:
    """Keeps what a form tells.

    Raises:
        Refused: It is incomplete or wrong, of a sample, given already, or there is no room.
        NoUpload: The picture is not there, or another session's.
        ServerError: A model did not answer.
    """
    task = request.POST.get("application", "")
    if task not in FORMS:
        raise Refused("There is no such application to be corrected. Nothing was kept.")
    form = FORMS[task](request.POST)
    if not form.is_valid():
        raise Refused(form.problem())
    told = form.cleaned_data
    ids = [told[field] for field in ("upload", "second") if field in told]
    found = [uploads.find(request.session, each) for each in ids]
    if any(upload.sample for upload in found):
        raise Refused(OF_A_SAMPLE)
    pictures = [uploads.open_picture(upload) for upload in found]
    corrected = asking.ask(assessor(), task, pictures, told)
    key = request.session.session_key or ""
    return keeping.keep(key, task, corrected.label, corrected.images, corrected.model)


def _find(correction_id: uuid.UUID) -> Correction:
    correction = Correction.objects.filter(id=correction_id).first()
    if correction is None:
        raise Http404
    return correction


def _told(request: HttpRequest, error: Refused, title: str) -> HttpResponse:
    return errors.tell(request, error.status, error.code, title, str(error))
