"""Turns answers about pictures into those of the API."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from serving.client import AgeEstimate, Classification, VersionStatus
from serving.portal.api import schemas
from serving.portal.api.batches import Batch
from serving.portal.assessment.answers import (
    Assessment,
    Comparison,
    ErrorRate,
    FoundFace,
    Generated,
    PictureAnswer,
    Report,
    Status,
)
from serving.portal.assessment.pictures import BadImage

Fields = dict[str, Any]
_AVAILABLE = "AVAILABLE"
_LANDMARKS = tuple(schemas.Landmarks.model_fields)
# A hundredth of a pixel, a microsecond, and less than a float32 tells.
_PLACE_DIGITS, _TIME_DIGITS, _DIGITS = 2, 3, 6


def head(request_id: str, report: Report, decoding: float | None = None) -> Fields:
    """Returns what every answer has.

    Args:
        request_id: Of the request.
        report: Models and times.
        decoding: Milliseconds that it took to decode pictures; None where there were none.
    """
    stages = {} if decoding is None else {"decoding": decoding}
    return {
        "request_id": request_id,
        "models": {name: _version(model) for name, model in report.models.items()},
        "milliseconds": {
            name: round(spent, _TIME_DIGITS) for name, spent in {**stages, **report.milliseconds}.items()
        },
    }


def images(batch: Batch, assessment: Assessment, face: Callable[[FoundFace], Fields]) -> list[Fields]:
    """Returns what became of each file of a batch.

    Args:
        batch: The files.
        assessment: Answers about those that are pictures.
        face: Returns what is told of a face.
    """
    answers = iter(assessment.pictures)
    return [_image(entry, answers, face) for entry in batch.entries]


def comparison(found: Comparison) -> Fields:
    """Returns whether two pictures show one person; `ok` where that was asked, whatever else they show."""
    result = found.result
    if result is None:
        return _no_comparison(found.status, *map(_side, found.pictures))
    first, second = map(_side, found.pictures)
    return {
        "status": Status.OK,
        "is_match": result.is_match,
        "cosine_distance": result.cosine_distance,
        "euclidean_distance": result.euclidean_distance,
        "threshold": result.threshold,
        "false_accept_rate": found.rate.far if found.rate else None,
        "table": _table(found.rate) if found.rate else None,
        "first": first,
        "second": second,
    }


def bad_pair(batch: Batch) -> Fields:
    """Returns the answer about two files that are not both pictures."""
    first, second = (
        _bad(entry)
        if isinstance(entry, BadImage)
        else {"status": None, "message": None, "width": entry.width, "height": entry.height, "faces": []}
        for entry in batch.entries
    )
    return _no_comparison(Status.BAD_IMAGE, first, second)


def generated(found: Generated) -> Fields:
    """Returns generated faces."""
    genders = found.genders or [None] * len(found.faces)
    return {
        "seed": found.seed,
        "faces": [
            {"png": base64.b64encode(png).decode(), "gender": _classes(gender) if gender else None}
            for png, gender in zip(found.faces, genders, strict=True)
        ],
    }


def served(found: Mapping[str, Sequence[VersionStatus]]) -> Fields:
    """Returns the models of the model server, and the versions that answer."""
    answering = {
        name: [each.version for each in versions if each.state == _AVAILABLE]
        for name, versions in found.items()
    }
    return {
        "models": {name: max(versions) for name, versions in answering.items() if versions},
        "served": [
            {
                "name": name,
                "available": bool(answering[name]),
                "versions": [{"version": each.version, "state": each.state} for each in versions],
            }
            for name, versions in found.items()
        ],
    }


def place(found: FoundFace) -> Fields:
    """Returns where a face is; of one that was cut out, also how."""
    edges = (round(edge, _PLACE_DIGITS) for edge in found.box)
    points = ({"x": round(x, _PLACE_DIGITS), "y": round(y, _PLACE_DIGITS)} for x, y in found.points)
    fields = {
        "box": dict(zip(("left", "top", "right", "bottom"), edges, strict=True)),
        "score": round(found.score, _DIGITS),
        "landmarks": dict(zip(_LANDMARKS, points, strict=True)),
    }
    return {**fields, "aligned": found.aligned} if found.crop else fields


def with_answers(distribution: bool = False) -> Callable[[FoundFace], Fields]:
    """Returns what tells all that was asked about a face.

    Args:
        distribution: Whether to tell the probability of each age.
    """

    def face(found: FoundFace) -> Fields:
        fields = place(found)
        if found.gender:
            fields["gender"] = _classes(found.gender)
        if found.age:
            fields["age"] = _age(found.age, distribution)
        if found.emotion:
            fields["emotion"] = _classes(found.emotion)
        return fields

    return face


def _image(entry: object, answers: Iterator[PictureAnswer], face: Callable[[FoundFace], Fields]) -> Fields:
    if isinstance(entry, BadImage):
        return {**_bad(entry), "left_out": 0}
    answer = next(answers)
    return {**_picture(answer, face), "status": answer.status, "left_out": answer.left_out}


def _side(answer: PictureAnswer) -> Fields:
    many = len(answer.faces) > 1
    return {**_picture(answer, place), "status": Status.MANY_FACES if many else answer.status}


def _picture(answer: PictureAnswer, face: Callable[[FoundFace], Fields]) -> Fields:
    faces = [face(found) for found in answer.faces]
    return {"message": None, "width": answer.width, "height": answer.height, "faces": faces}


def _bad(error: BadImage) -> Fields:
    return {"status": Status.BAD_IMAGE, "message": str(error), "width": None, "height": None, "faces": []}


def _no_comparison(status: Status, first: Fields, second: Fields) -> Fields:
    unknown = ("is_match", "cosine_distance", "euclidean_distance", "threshold", "false_accept_rate", "table")
    return {"status": status, "first": first, "second": second, **dict.fromkeys(unknown)}


def _table(rate: ErrorRate) -> list[Fields]:
    return [{"false_accept_rate": far, "threshold": threshold} for far, threshold in rate.table]


def _classes(answer: Classification) -> Fields:
    scores = {label: round(score, _DIGITS) for label, score in answer.scores.items()}
    return {"label": answer.label, "scores": scores}


def _age(answer: AgeEstimate, distribution: bool) -> Fields:
    shares = [round(share, _DIGITS) for share in answer.probabilities.tolist()] if distribution else None
    return {
        "age": round(answer.age, _DIGITS),
        "low": round(answer.low, _DIGITS),
        "high": round(answer.high, _DIGITS),
        "distribution": shares,
    }


def _version(model: str) -> int | None:
    """Returns the version in a name such as gender/1764000000."""
    _, _, version = model.partition("/")
    return int(version) if version else None
