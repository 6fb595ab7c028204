"""Version 1 of the API: its addresses, and its document.

The framework checks every answer against its form before it is sent.
"""

import functools
import math
import secrets
import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import File, Form, NinjaAPI, Query, UploadedFile
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema

from serving.portal import stages
from serving.portal.api import batches, documentation, errors, presenting, schemas, served
from serving.portal.api.access import Anybody, ApiKeyAuth
from serving.portal.api.batches import MAX_IMAGES
from serving.portal.api.presenting import Fields
from serving.portal.api.values import Flag
from serving.portal.assessment.answers import Assessment, Report
from serving.portal.model_server import assessor, client
from serving.portal.web.applications import BY_NAME
from serving.portal.web.forms import MAX_SEED

STATUS_SECONDS = 3.0
"""That the model server may take to tell which models it has."""
PICTURES_A_TERM = 4
"""For so many pictures of a batch, a model may take as long as for one of a page."""
_FACES, _GENERATED, _MODELS = "Faces", "Generated faces", "Models"

_images = File(
    ...,
    min_length=1,
    max_length=MAX_IMAGES,
    description=f"1 to {MAX_IMAGES} pictures, each a JPEG, PNG or WebP of at most 10 MB.",
)
_distribution = Query(False, description="Whether to tell the probability of each age, 0 to 100.")
_first = File(..., description="A picture with one face: a JPEG, PNG or WebP of at most 10 MB.")
_second = File(..., description="Another one.")
_largest = Form(False, description="Whether to take the largest face where a picture has several.")


class _Docs(Swagger):
    template = "portal/api_docs.html"


class _Api(NinjaAPI):
    """An API whose document is made once: that takes a second."""

    # There is one API, for as long as the process lives.
    @functools.cache  # noqa: B019
    def _document(self) -> OpenAPISchema:
        return super().get_openapi_schema()

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """Returns the document."""
        return self._document()


def _reading(view: Any) -> Any:
    """Lets the document and its page be read only."""
    return csrf_exempt(require_safe(view))


api = _Api(
    title="HexaFace",
    version="1.0.0",
    description=documentation.DESCRIPTION,
    urls_namespace="api-v1",
    docs=_Docs({"validatorUrl": None, "defaultModelsExpandDepth": 0, "tryItOutEnabled": False}),
    docs_decorator=_reading,
    auth=ApiKeyAuth(),
    openapi_extra={"tags": documentation.TAGS},
)
errors.add_handlers(api)


@api.post(
    "/detection", **documentation.operation("detect_faces", "Find faces", _FACES, schemas.DetectionAnswer)
)
def detection(request: HttpRequest, images: list[UploadedFile] = _images) -> Fields:
    """Finds the faces in pictures, and five points of each."""
    return _assessed(request, "detection", images)


@api.post(
    "/gender", **documentation.operation("classify_gender", "Gender of faces", _FACES, schemas.GenderAnswer)
)
def gender(request: HttpRequest, images: list[UploadedFile] = _images) -> Fields:
    """Finds the faces in pictures, and tells which of the data sets' two labels fits each."""
    return _assessed(request, "gender", images)


@api.post("/age", **documentation.operation("estimate_age", "Age of faces", _FACES, schemas.AgeAnswer))
def age(
    request: HttpRequest, images: list[UploadedFile] = _images, distribution: Flag = _distribution
) -> Fields:
    """Finds the faces in pictures, and tells how old each looks."""
    return _assessed(request, "age", images, distribution)


@api.post(
    "/emotion",
    **documentation.operation("classify_emotion", "Expression of faces", _FACES, schemas.EmotionAnswer),
)
def emotion(request: HttpRequest, images: list[UploadedFile] = _images) -> Fields:
    """Finds the faces in pictures, and tells which of seven expressions each shows."""
    return _assessed(request, "emotion", images)


@api.post(
    "/everything",
    **documentation.operation("assess_faces", "All about faces", _FACES, schemas.EverythingAnswer),
)
def everything(
    request: HttpRequest, images: list[UploadedFile] = _images, distribution: Flag = _distribution
) -> Fields:
    """Finds the faces in pictures, and tells gender, age and expression of each."""
    return _assessed(request, "everything", images, distribution)


@api.post(
    "/verification",
    **documentation.operation("verify_faces", "Compare two faces", _FACES, schemas.VerificationAnswer),
)
def verification(
    request: HttpRequest,
    first: UploadedFile = _first,
    second: UploadedFile = _second,
    largest: Flag = _largest,
) -> Fields:
    """Tells whether two pictures show the same person."""
    batch = batches.read([first, second])
    if len(batch.pictures) < len(batch.entries):
        return _head(request, Report(), batch.milliseconds) | presenting.bad_pair(batch)
    first_picture, second_picture = batch.pictures
    found = assessor().compare(first_picture, second_picture, largest=largest)
    return _head(request, found.report, batch.milliseconds) | presenting.comparison(found)


@api.post(
    "/synthesis",
    **documentation.operation("generate_faces", "Draw faces", _GENERATED, schemas.SynthesisAnswer),
)
def synthesis(request: HttpRequest, body: schemas.SynthesisRequest) -> Fields:
    """Draws faces of persons who do not exist."""
    seed = secrets.randbelow(MAX_SEED) if body.seed is None else body.seed
    found = assessor().generate(seed, body.count)
    return _head(request, found.report) | presenting.generated(found)


@api.get(
    "/models",
    auth=Anybody(),
    **documentation.operation("list_models", "List the models", _MODELS, schemas.ModelsAnswer, reads=True),
)
def models(request: HttpRequest) -> Fields:
    """Lists the models of the six applications, and which versions of them are served. Needs no key."""
    started = time.perf_counter()
    found = served.versions(client(), STATUS_SECONDS)
    report = Report({}, {"status": 1000.0 * (time.perf_counter() - started)})
    return _head(request, report) | presenting.served(found)


def _assessed(
    request: HttpRequest, name: str, files: list[UploadedFile], distribution: bool = False
) -> Fields:
    """Returns the fields of the answer about a batch."""
    batch = batches.read(files)
    pictures = batch.pictures
    assessment = Assessment((), Report())
    if pictures:
        seconds = settings.MODEL_SECONDS * math.ceil(len(pictures) / PICTURES_A_TERM)
        assessment = assessor().assess(pictures, BY_NAME[name].tasks, seconds=seconds)
    return {
        **_head(request, assessment.report, batch.milliseconds),
        "images": presenting.images(batch, assessment, presenting.with_answers(distribution)),
    }


def _head(request: HttpRequest, report: Report, decoding: float | None = None) -> Fields:
    """Returns what every answer has; the header Server-Timing tells the stages too."""
    stages.add(request, ({} if decoding is None else {"decoding": decoding}) | report.milliseconds)
    return presenting.head(request.id, report, decoding)
