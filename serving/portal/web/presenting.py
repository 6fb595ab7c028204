"""Turns answers into what templates show: texts, shares of a picture's size, pictures as data addresses."""

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from PIL import Image

from serving.client import AgeEstimate, Classification
from serving.portal.assessment.answers import (
    Assessment,
    Comparison,
    FoundFace,
    Generated,
    PictureAnswer,
    Report,
)
from serving.portal.models import Upload
from serving.portal.web.applications import Application

POINT_NAMES = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""Left and right as seen."""

_AGES_A_BAR = 5
_OLDEST = 100


def of_assessment(assessment: Assessment, upload: Upload, application: Application) -> dict[str, Any]:
    """Returns what the page of a picture shows."""
    [answer] = assessment.pictures
    faces = [_face(number, face, answer) for number, face in enumerate(answer.faces, start=1)]
    return {
        "upload": upload,
        "status": answer.status.value,
        "picture": answer,
        "faces": faces,
        **_report(assessment.report),
    }


def of_comparison(comparison: Comparison, first: Upload, second: Upload) -> dict[str, Any]:
    """Returns what the page of two pictures shows."""
    sides = [
        {
            "upload": upload,
            "picture": answer,
            "faces": [_face(number, face, answer) for number, face in enumerate(answer.faces, start=1)],
        }
        for upload, answer in zip((first, second), comparison.pictures, strict=True)
    ]
    return {
        "status": comparison.status.value,
        "sides": sides,
        "result": comparison.result,
        "rate": comparison.rate,
        **_report(comparison.report),
    }


def of_generated(generated: Generated) -> dict[str, Any]:
    """Returns what the page of generated faces shows."""
    genders = [each.label for each in generated.genders] or [""] * len(generated.faces)
    faces = [
        {"number": number, "address": data_address(png), "gender": gender}
        for number, (png, gender) in enumerate(zip(generated.faces, genders, strict=True), start=1)
    ]
    counts = Counter(gender for gender in genders if gender)
    bars = [
        {"label": label, "count": count, "percent": 100.0 * count / len(faces)}
        for label, count in sorted(counts.items())
    ]
    return {
        "seed": generated.seed,
        "count": len(faces),
        "generated": faces,
        "genders": bars,
        **_report(generated.report),
    }


def sheet(faces: Sequence[bytes]) -> bytes:
    """Returns generated faces side by side, as nearly square as can be, in one PNG."""
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in faces]
    width, height = images[0].size
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(images):
        page.paste(image, ((index % columns) * width, (index // columns) * height))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def data_address(png: bytes) -> str:
    """Returns a picture as an address that holds it, so that it is stored nowhere."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _face(number: int, face: FoundFace, picture: PictureAnswer) -> dict[str, Any]:
    left, top, right, bottom = face.box
    return {
        "number": number,
        "percent": round(100.0 * face.score),
        "box": face.box,
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        "points": [
            {"x": x, "y": y, "name": name} for (x, y), name in zip(face.points, POINT_NAMES, strict=True)
        ],
        "crop": data_address(face.crop) if face.crop else "",
        "gender": _bars(face.gender),
        "emotion": _bars(face.emotion),
        "age": _age(face.age),
        "picture": picture,
    }


def _bars(answer: Classification | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    bars = [{"label": label, "percent": 100.0 * score} for label, score in answer.scores.items()]
    return {"label": answer.label, "percent": 100.0 * answer.score, "bars": bars}


def _age(answer: AgeEstimate | None) -> dict[str, Any] | None:
    """Returns an age, and its distribution in bars of five years, the highest of 100 percent."""
    if answer is None:
        return None
    starts = range(0, _OLDEST + 1, _AGES_A_BAR)
    shares = [float(answer.probabilities[start : start + _AGES_A_BAR].sum()) for start in starts]
    highest = max(shares) or 1.0
    bars = [
        {
            "from": start,
            "to": min(start + _AGES_A_BAR - 1, _OLDEST),
            "percent": 100.0 * share,
            "height": 100.0 * share / highest,
        }
        for start, share in zip(starts, shares, strict=True)
    ]
    return {"age": answer.age, "low": answer.low, "high": answer.high, "bars": bars}


def _report(report: Report) -> dict[str, Any]:
    stages = [{"name": name, "milliseconds": spent} for name, spent in report.milliseconds.items()]
    return {"models": report.models, "stages": stages, "total": sum(report.milliseconds.values())}
