"""The forms of answers, and what the OpenAPI document says of them."""

from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from serving.portal.api.values import Whole
from serving.portal.assessment.answers import Status
from serving.portal.assessment.assessor import MAX_GENERATED
from serving.portal.web.forms import MAX_SEED

Number = FiniteFloat
Share = Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
Pixels = Annotated[FiniteFloat, Field(examples=[211.5])]

_VERSIONS = {"detection": 1764000000, "gender": 1764000321}
_STAGES = {"decoding": 12.4, "detection": 148.0, "alignment": 2.1, "gender": 9.7}


# ---- of all answers


class Answer(BaseModel):
    """What every answer has."""

    request_id: str = Field(
        description="Of this request, as in the header X-Request-ID; send that header to choose it.",
        examples=["0f4c2d1e9b8a4f6c8d7e6f5a4b3c2d1e"],
    )
    models: dict[str, int | None] = Field(
        description="Version of each model that was asked, by its name; null where the server did not say.",
        examples=[_VERSIONS],
    )
    milliseconds: dict[str, Number] = Field(
        description="Time of each stage, in the order in which they ran.", examples=[_STAGES]
    )


# ---- faces


class Box(BaseModel):
    """The edges of a face, in pixels of a picture of the answer's `width` and `height`."""

    left: Pixels
    top: Pixels
    right: Pixels
    bottom: Pixels


class Point(BaseModel):
    """A place, in pixels from the left and the top edge."""

    x: Pixels
    y: Pixels


class Landmarks(BaseModel):
    """Five points of a face; left and right are the viewer's."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class Face(BaseModel):
    """A face that was found."""

    box: Box
    score: Share = Field(description="How sure the detection model is.", examples=[0.998])
    landmarks: Landmarks


class Classes(BaseModel):
    """An answer that is one of several labels."""

    label: str = Field(description="The likeliest one.", examples=["female"])
    scores: dict[str, Number] = Field(
        description="The score of each label, in the model's order.",
        examples=[{"female": 0.93, "male": 0.07}],
    )


class Age(BaseModel):
    """An age in years."""

    age: Number = Field(description="The estimate.", examples=[34.2])
    low: Number = Field(description="The 10 % quantile.", examples=[27.5])
    high: Number = Field(description="The 90 % quantile.", examples=[42.0])
    distribution: list[Number] | None = Field(
        description="Probabilities of the ages 0 to 100; null unless `distribution=true` asks for them."
    )


class CutFace(Face):
    """A face that was cut out for another model."""

    aligned: bool = Field(
        description="Whether it was turned upright by its landmarks. False where they are all at one place: "
        "then it was cut out by its box, and what is said of it is worth less.",
        examples=[True],
    )


class GenderFace(CutFace):
    """A face, and which of the data sets' two labels fits it."""

    gender: Classes


class AgeFace(CutFace):
    """A face, and how old it looks."""

    age: Age


class EmotionFace(CutFace):
    """A face, and its expression."""

    emotion: Classes


class EveryFace(EmotionFace, AgeFace, GenderFace):
    """A face, and what all models say of it."""


# ---- pictures


Message = Annotated[str | None, Field(description="What is wrong with a `bad_image`, for people; else null.")]
Width = Annotated[
    int | None,
    Field(
        description="Columns of the picture as the models saw it: turned upright by its EXIF data, and made "
        "smaller where a side has more than 1920 pixels. Null for a `bad_image`.",
        examples=[640],
    ),
]
Height = Annotated[int | None, Field(description="Rows, likewise.", examples=[480])]


class ImageStatus(str, Enum):
    """What became of a picture of a batch."""

    OK = "ok"
    NO_FACE = "no_face"
    BAD_IMAGE = "bad_image"


class _Image(BaseModel):
    status: ImageStatus
    message: Message
    width: Width
    height: Height
    left_out: int = Field(
        description="How many more faces were found than the 32 largest, which are answered for.",
        examples=[0],
    )


class DetectionImage(_Image):
    """A picture and its faces, the largest first."""

    faces: list[Face]


class GenderImage(_Image):
    """A picture and its faces, the largest first."""

    faces: list[GenderFace]


class AgeImage(_Image):
    """A picture and its faces, the largest first."""

    faces: list[AgeFace]


class EmotionImage(_Image):
    """A picture and its faces, the largest first."""

    faces: list[EmotionFace]


class EveryImage(_Image):
    """A picture and its faces, the largest first."""

    faces: list[EveryFace]


class DetectionAnswer(Answer):
    """Faces of pictures."""

    images: list[DetectionImage] = Field(description="One for each picture, in the order they were sent.")


class GenderAnswer(Answer):
    """Genders of faces."""

    images: list[GenderImage] = Field(description="One for each picture, in the order they were sent.")


class AgeAnswer(Answer):
    """Ages of faces."""

    images: list[AgeImage] = Field(description="One for each picture, in the order they were sent.")


class EmotionAnswer(Answer):
    """Expressions of faces."""

    images: list[EmotionImage] = Field(description="One for each picture, in the order they were sent.")


class EverythingAnswer(Answer):
    """All answers about faces."""

    images: list[EveryImage] = Field(description="One for each picture, in the order they were sent.")


# ---- two pictures


class Side(BaseModel):
    """One of two pictures."""

    status: Status | None = Field(
        description="`many_faces` where there is more than one. Null where the other is a `bad_image`: "
        "then no model is asked."
    )
    message: Message
    width: Width
    height: Height
    faces: list[CutFace] = Field(description="The first, the largest, is the one that is compared.")


class RateAt(BaseModel):
    """A threshold, and what it stands for."""

    false_accept_rate: Share = Field(examples=[0.01])
    threshold: Number = Field(examples=[0.31])


class VerificationAnswer(Answer):
    """Whether two pictures show one person."""

    status: Status = Field(
        description="`ok` if the two were compared; else why not, by the worse picture: `bad_image`, "
        "`no_face` or `many_faces`. All that follows but the pictures is then null."
    )
    is_match: bool | None = Field(description="Whether they show one person.")
    cosine_distance: Number | None = Field(description="0 (alike) to 2.", examples=[0.18])
    euclidean_distance: Number | None = Field(description="0 (alike) or more.", examples=[0.6])
    threshold: Number | None = Field(
        description="The cosine distance up to which two faces are taken for one person's.", examples=[0.31]
    )
    false_accept_rate: Share | None = Field(
        description="How often two persons are taken for one at it; null where that is not known.",
        examples=[0.01],
    )
    table: list[RateAt] | None = Field(
        description="Other thresholds, the strictest first; null where they are not known."
    )
    first: Side
    second: Side


# ---- generated faces


class SynthesisRequest(BaseModel):
    """How many faces, and of which seed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"count": 4, "seed": 7}]})

    count: Whole = Field(ge=1, le=MAX_GENERATED, description="How many faces.")
    seed: Whole | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="The same seed draws the same faces. Without it, or null: a random one.",
    )


class GeneratedFace(BaseModel):
    """A face of a person who does not exist."""

    png: str = Field(
        description="The picture: a PNG in base64.",
        examples=["iVBORw0KGgo="],
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    gender: Classes | None = Field(
        description="What the gender model takes it for; null where that model is not served."
    )


class SynthesisAnswer(Answer):
    """Faces of persons who do not exist."""

    seed: int = Field(description="What they were made of.", examples=[7])
    faces: list[GeneratedFace]


# ---- models


class ModelVersion(BaseModel):
    """A version of a model."""

    version: int = Field(examples=[1764000321])
    state: str = Field(
        description="START, LOADING, AVAILABLE, UNLOADING, END or UNKNOWN.", examples=["AVAILABLE"]
    )


class ServedModel(BaseModel):
    """A model."""

    name: str = Field(examples=["gender"])
    available: bool = Field(description="Whether a version of it answers.")
    versions: list[ModelVersion] = Field(description="The highest first; none where it is not served.")


class ModelsAnswer(Answer):
    """The models of the six applications."""

    served: list[ServedModel]


# ---- errors


class ErrorCode(str, Enum):
    """What went wrong, for programs."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    LENGTH_REQUIRED = "length_required"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    MODEL_UNAVAILABLE = "model_unavailable"


class Error(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(json_schema_extra={"required": ["code", "message", "request_id"]})

    code: ErrorCode
    message: str = Field(description="For people.", examples=["count: Input should be at least 1"])
    field: str = Field(
        "", description="Of the request, which is wrong; only of `invalid`.", examples=["count"]
    )
    request_id: str = Field(
        description="To be told to those who run the portal; it is in their log.",
        examples=["0f4c2d1e9b8a4f6c8d7e6f5a4b3c2d1e"],
    )


class ErrorAnswer(BaseModel):
    """Every answer of a status from 400 on."""

    error: Error
