"""What the portal answers about pictures, for pages and for programs."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from serving.client import AgeEstimate, Classification, Verification

Answer: TypeAlias = Classification | AgeEstimate


class Status(str, Enum):
    """What became of a picture."""

    OK = "ok"
    NO_FACE = "no_face"
    MANY_FACES = "many_faces"
    BAD_IMAGE = "bad_image"


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture and what models say of it.

    Attributes:
        box: Left, top, right and bottom edge in pixels, inside of the picture.
        score: How sure the detection model is, 0 to 1.
        points: Eyes, nose and corners of the mouth as (x, y) in pixels, left before right as seen.
        crop: The face as the other models see it, a PNG of 112x112; empty where none of them was asked.
        aligned: Whether `crop` was turned upright by the points; else, where there is one, it was cut out by
            the box, since the points are all at one place.
        gender: None where it was not asked for; likewise the others.
        age: Years.
        emotion: The expression.
    """

    box: tuple[float, float, float, float]
    score: float
    points: tuple[tuple[float, float], ...]
    crop: bytes = b""
    aligned: bool = False
    gender: Classification | None = None
    age: AgeEstimate | None = None
    emotion: Classification | None = None


@dataclass(frozen=True)
class PictureAnswer:
    """What was found in one picture.

    Attributes:
        status: `ok` or `no_face`.
        width: Columns of the picture, pixels.
        height: Rows.
        faces: The faces, the largest first.
        left_out: How many more faces were found than are answered for.
    """

    status: Status
    width: int
    height: int
    faces: tuple[FoundFace, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Report:
    """What a request was answered with beside the answer itself.

    Attributes:
        models: Name and version of each model that was asked, such as "gender/1764000000", by its name.
        milliseconds: Time of each stage, in the order in which they ran.
    """

    models: dict[str, str] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assessment:
    """Answers about some pictures.

    Attributes:
        pictures: One for each picture, in order.
        report: Models and times.
    """

    pictures: tuple[PictureAnswer, ...]
    report: Report


@dataclass(frozen=True)
class ErrorRate:
    """What a threshold of the verification model stands for.

    Attributes:
        far: How often two different persons are taken for one at it, 0 to 1.
        table: Other thresholds by their false accept rate, the strictest first.
    """

    far: float
    table: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Whether two pictures show one person.

    Attributes:
        status: `ok`; `no_face` or `many_faces` of the worse picture, then without a result unless the
            largest faces were to be taken.
        pictures: What was found in the two; the first face of each is the one that was compared.
        result: The model's answer; None where there was nothing to compare.
        rate: What its threshold stands for; None where the model's folder is not known here.
        report: Models and times.
    """

    status: Status
    pictures: tuple[PictureAnswer, PictureAnswer]
    result: Verification | None
    rate: ErrorRate | None
    report: Report


@dataclass(frozen=True)
class Generated:
    """Faces of persons who do not exist.

    Attributes:
        seed: What they were made of.
        faces: PNGs.
        genders: What the gender model takes each for, by the data sets' labels; empty where there is no such
            model.
        report: Models and times.
    """

    seed: int
    faces: tuple[bytes, ...]
    genders: tuple[Classification, ...]
    report: Report
