"""The pages: a form takes a picture, and the address of its result can be opened again.

A POST keeps what was sent and redirects; a GET asks the models. So a reload is a second try, and nothing is
sent twice. A script that sends `X-Fragment: result` gets the result panel alone.
"""

import logging
import uuid
from functools import wraps
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from serving.client import ServerError
from serving.portal import stages, uploads
from serving.portal.assessment.pictures import CONTENT_TYPE, Picture
from serving.portal.model_server import assessor
from serving.portal.models import Upload
from serving.portal.throttling import View, asking_throttled, throttled
from serving.portal.web import errors, presenting
from serving.portal.web.applications import BY_NAME, SYNTHESIS, VERIFICATION, Application
from serving.portal.web.forms import FormError, SynthesisForm, kept_pictures, take_pictures

_PICTURE = {"image": "a picture"}
_PAIR = {"first": "the first picture", "second": "the second picture"}
_log = logging.getLogger("portal.models")


def model_errors_told(view: View) -> View:
    """Answers with a friendly 503 where a model does not answer."""

    @wraps(view)
    def told(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except ServerError as error:
            _log.warning("%s %s: %s", request.id, error.model, error.code.name)
            return errors.unavailable(request, error)

    return told


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The first page."""
    return render(request, "portal/home.html", {"forgotten": "forgotten" in request.GET})


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """What happens to pictures."""
    return render(request, "portal/privacy.html")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@throttled
@model_errors_told
def application(request: HttpRequest, name: str) -> HttpResponse:
    """The form of an application that takes one picture; sent, it leads to the result."""
    chosen = BY_NAME[name]
    if request.method != "POST":
        return _form(request, chosen)
    try:
        [upload] = take_pictures(request, _PICTURE)
    except FormError as error:
        return _refused(request, chosen, error, sent=kept_pictures(request, _PICTURE))
    except uploads.NoRoom:
        return _no_room(request)
    return HttpResponseRedirect(reverse(f"{name}-result", args=[upload.id]))


@never_cache
@require_safe
@asking_throttled
@model_errors_told
def result(request: HttpRequest, name: str, upload_id: uuid.UUID) -> HttpResponse:
    """What the models say of a picture."""
    chosen, upload = BY_NAME[name], _upload(request, upload_id)
    assessment = assessor().assess(_opened(request, upload), chosen.tasks)
    stages.add(request, assessment.report.milliseconds)
    with stages.timed(request, "rendering"):
        context = presenting.of_assessment(assessment, upload, chosen)
        return _answer(request, chosen, {**context, "sent": {"image": upload}})


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@throttled
@model_errors_told
def verification(request: HttpRequest) -> HttpResponse:
    """The form for two pictures."""
    if request.method != "POST":
        return _form(request, VERIFICATION)
    try:
        first, second = take_pictures(request, _PAIR)
    except FormError as error:
        return _refused(request, VERIFICATION, error, sent=kept_pictures(request, _PAIR))
    except uploads.NoRoom:
        return _no_room(request)
    return HttpResponseRedirect(reverse("verification-result", args=[first.id, second.id]))


@never_cache
@require_safe
@asking_throttled
@model_errors_told
def verification_result(request: HttpRequest, first_id: uuid.UUID, second_id: uuid.UUID) -> HttpResponse:
    """Whether two pictures show one person."""
    first, second = _upload(request, first_id), _upload(request, second_id)
    comparison = assessor().compare(*_opened(request, first, second), largest=True)
    stages.add(request, comparison.report.milliseconds)
    with stages.timed(request, "rendering"):
        context = presenting.of_comparison(comparison, first, second)
        return _answer(request, VERIFICATION, {**context, "sent": {"first": first, "second": second}})


@never_cache
@require_safe
@throttled
@model_errors_told
def synthesis(request: HttpRequest) -> HttpResponse:
    """Generated faces; without a count, the form."""
    if "count" not in request.GET:
        return _form(request, SYNTHESIS, form=SynthesisForm())
    form = SynthesisForm(request.GET)
    if not form.is_valid():
        field, messages = next(iter(form.errors.items()))
        return _refused(request, SYNTHESIS, FormError(messages[0], field), form=form)
    if not request.GET.get("seed"):
        # So that the address of the page, kept, shows the same faces again.
        query = f"?count={form.cleaned_data['count']}&seed={form.cleaned_data['seed']}"
        return HttpResponseRedirect(reverse("synthesis") + query)
    generated = assessor().generate(form.cleaned_data["seed"], form.cleaned_data["count"])
    stages.add(request, generated.report.milliseconds)
    with stages.timed(request, "rendering"):
        return _answer(request, SYNTHESIS, {**presenting.of_generated(generated), "form": form})


@require_safe
@throttled
@model_errors_told
def synthesis_sheet(request: HttpRequest) -> HttpResponse:
    """Generated faces in one PNG, to be kept; with `face`, that one of them."""
    form = SynthesisForm(request.GET)
    if not form.is_valid():
        raise Http404
    seed, count = form.cleaned_data["seed"], form.cleaned_data["count"]
    number = _number(request.GET.get("face", ""), count) if "face" in request.GET else None
    generated = assessor().generate(seed, count)
    content = presenting.sheet(generated) if number is None else generated.faces[number - 1]
    name = f"faces-{seed}-{count}.png" if number is None else f"face-{seed}-{number}.png"
    response = HttpResponse(content, content_type="image/png")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@never_cache
@require_safe
def picture(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """A picture, for the session that sent it."""
    upload = _upload(request, upload_id)
    try:
        return HttpResponse(uploads.read(upload), content_type=CONTENT_TYPE)
    except uploads.NoUpload as error:
        raise Http404 from error


@require_POST
def forget(request: HttpRequest, upload_id: uuid.UUID) -> HttpResponse:
    """Deletes a picture at once."""
    uploads.remove(_upload(request, upload_id))
    return HttpResponseRedirect(f"{reverse('home')}?forgotten")


def _number(text: str, count: int) -> int:
    """Reads the number of one of so many faces; what is none is no page."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= count):
        raise Http404
    return int(text)


def _upload(request: HttpRequest, upload_id: uuid.UUID) -> Upload:
    try:
        return uploads.find(request.session, upload_id)
    except uploads.NoUpload as error:
        raise Http404 from error


def _opened(request: HttpRequest, *found: Upload) -> list[Picture]:
    try:
        with stages.timed(request, "opening"):
            return [uploads.open_picture(upload) for upload in found]
    except uploads.NoUpload as error:
        raise Http404 from error


def _form(request: HttpRequest, chosen: Application, **context: Any) -> HttpResponse:
    return render(request, f"portal/{_page(chosen)}.html", {"application": chosen, **context})


def _refused(request: HttpRequest, chosen: Application, error: FormError, **context: Any) -> HttpResponse:
    """Shows the form again, with what is wrong and what it has already; for scripts, the message alone."""
    if errors.is_fragment(request):
        response = errors.tell(request, 400, "bad_image", "That could not be used", str(error))
        response["X-Error-Field"] = error.field
        return response
    context = {"application": chosen, "error": str(error), "error_field": error.field, **context}
    return render(request, f"portal/{_page(chosen)}.html", context, status=400)


def _no_room(request: HttpRequest) -> HttpResponse:
    _log.warning("%s no room: all pictures that are kept take PORTAL_UPLOADS_MB", request.id)
    return errors.no_room(request)


def _answer(request: HttpRequest, chosen: Application, context: dict[str, Any]) -> HttpResponse:
    page = _page(chosen)
    template = f"portal/_{page}_result.html" if errors.is_fragment(request) else f"portal/{page}.html"
    return render(request, template, {"application": chosen, "answered": True, **context})


def _page(chosen: Application) -> str:
    """Returns the name of an application's template: those for one picture share one."""
    return "faces" if chosen.pictures == 1 else chosen.name
