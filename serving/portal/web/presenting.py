"""Turns answers into what templates show: texts, shares of a picture's size, pictures as data addresses."""

import base64
import io
import math
from collections import Counter
from typing import Any

from django.conf import settings
from PIL import Image

from serving.client import AgeEstimate, Classification, Verification
from serving.generated_faces import as_png
from serving.portal.assessment.answers import (
    SOFTWARE,
    Assessment,
    Comparison,
    FoundFace,
    Generated,
    PictureAnswer,
    Report,
)
from serving.portal.models import Upload
from serving.portal.web import origins
from serving.portal.web.applications import Application
from serving.portal.web.wording import counted

POINT_NAMES = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""Left and right as seen."""

_AGES_A_BAR = 5
_OLDEST = 100
# Of the chart of ages, in its own units.
_YEAR, _CHART_HEIGHT = 2.0, 62.0
_TICKS = range(0, _OLDEST + 1, 20)
# Of the scale of distances: its ends, and the largest cosine distance.
_SCALE = (10.0, 490.0)
_UNLIKE = 2.0
# Of marks on a picture, as shares of its longer side; and the size of a tag in letters' heights.
_MARK_SIZE = 1 / 42
_TAG_WIDTH, _TAG_HEIGHT = 8.9, 2.6
# Marks are no larger than this share of their face; of more faces, numbers are shown only when asked for.
_SHARE_OF_FACE, _MANY = 0.28, 8
_SIDES = ("first", "second")


def of_assessment(assessment: Assessment, upload: Upload, application: Application) -> dict[str, Any]:
    """Returns what the page of a picture shows."""
    [answer] = assessment.pictures
    count = len(answer.faces) + answer.left_out
    return {
        "upload": upload,
        "status": answer.status.value,
        "summary": f"{counted(count, 'face')} found" if count else "No face was found",
        "picture": answer,
        "mark_size": _mark_size(answer),
        "crowded": count > _MANY,
        "faces": _faces(answer),
        "left_out": answer.left_out,
        **_report(assessment.report),
    }


def of_comparison(comparison: Comparison, first: Upload, second: Upload) -> dict[str, Any]:
    """Returns what the page of two pictures shows."""
    sides = [
        {"name": name, "upload": upload, "picture": answer, "faces": _faces(answer)}
        for name, upload, answer in zip(_SIDES, (first, second), comparison.pictures, strict=True)
    ]
    result, rate = comparison.result, comparison.rate
    return {
        "status": comparison.status.value,
        "summary": _verdict(comparison),
        "sides": sides,
        "result": result,
        "scale": _scale(result) if result else None,
        "rate": rate,
        "rate_in_words": rate_in_words(rate.far) if rate else "",
        "thresholds": [
            {
                "rate": _one_of(far),
                "threshold": threshold,
                "is_match": result is not None and result.cosine_distance <= threshold,
            }
            for far, threshold in (rate.table if rate else ())
        ],
        **_report(comparison.report),
    }


def of_generated(generated: Generated) -> dict[str, Any]:
    """Returns what the page of generated faces shows."""
    genders = [each.label for each in generated.genders] or [""] * len(generated.faces)
    faces = [
        {"number": number, "address": data_address(png), "gender": gender}
        for number, (png, gender) in enumerate(zip(generated.faces, genders, strict=True), start=1)
    ]
    counts = Counter(genders)
    labels = generated.genders[0].scores if generated.genders else ()
    bars = [
        {"label": label, "count": counts[label], "percent": 100.0 * counts[label] / len(faces)}
        for label in sorted(labels)
    ]
    return {
        "seed": generated.seed,
        "count": len(faces),
        "summary": f"{counted(len(faces), 'face')} of nobody",
        "generated": faces,
        "genders": bars,
        **_report(generated.report),
    }


def sheet(generated: Generated) -> bytes:
    """Returns generated faces side by side, as nearly square as can be, in one PNG."""
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in generated.faces]
    width, height = images[0].size
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(images):
        page.paste(image, ((index % columns) * width, (index // columns) * height))
    return as_png(page, SOFTWARE, generated.note)


def data_address(png: bytes) -> str:
    """Returns a picture as an address that holds it, so that it is stored nowhere."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def rate_in_words(rate: float) -> str:
    """Says how often something happens: "about 1 of 100 comparisons"."""
    if rate <= 0.0:
        return "none of the comparisons that were tried"
    return f"about {_one_of(rate)} comparisons"


def _one_of(rate: float) -> str:
    """Returns a rate such as "1 of 100"; one above a half, and none, in whole parts of a hundred."""
    if rate <= 0.0 or rate > 0.5:
        return f"{round(100 * rate)} of 100"
    return f"1 of {round(1 / rate):,}"


def _verdict(comparison: Comparison) -> str:
    if comparison.result is not None:
        return "The same person" if comparison.result.is_match else "Two different people"
    empty = [name for name, each in zip(_SIDES, comparison.pictures, strict=True) if not each.faces]
    if len(empty) == len(_SIDES):
        return "No face was found in either picture"
    return f"No face was found in the {empty[0]} picture" if empty else "There is more than one face"


def _scale(result: Verification) -> dict[str, Any]:
    """Returns places on the scale of distances, which ends at 1 or, where that is needed, at 2."""
    start, stop = _SCALE
    end = 1.0 if max(result.cosine_distance, result.threshold) <= 1.0 else _UNLIKE

    def place(distance: float) -> float:
        return start + (stop - start) * min(max(distance / end, 0.0), 1.0)

    limit, here = place(result.threshold), place(result.cosine_distance)
    return {
        "end": end,
        "here": here,
        "here_anchor": _anchor(here),
        "limit": limit,
        "limit_anchor": _anchor(limit),
        "limit_width": limit - start,
        "rest_width": stop - limit,
    }


def _anchor(place: float) -> str:
    """Returns on which side of a place on the scale its text has room."""
    start, stop = _SCALE
    share = (place - start) / (stop - start)
    return "start" if share < 0.2 else "end" if share > 0.8 else "middle"


def _mark_size(picture: PictureAnswer) -> float:
    return round(_MARK_SIZE * max(picture.width, picture.height), 1)


def _faces(picture: PictureAnswer) -> list[dict[str, Any]]:
    return [_face(number, face, picture) for number, face in enumerate(picture.faces, start=1)]


def _face(number: int, face: FoundFace, picture: PictureAnswer) -> dict[str, Any]:
    left, top, right, bottom = face.box
    return {
        "number": number,
        "percent": round(100.0 * face.score),
        "left": left,
        "top": top,
        "width": right - left,
        "height": bottom - top,
        **_tag(face, picture),
        "small_marks": _small_marks(face, picture),
        "points": [
            {"x": x, "y": y, "name": name} for (x, y), name in zip(face.points, POINT_NAMES, strict=True)
        ],
        "crop": data_address(face.crop) if face.crop else "",
        "aligned": face.aligned,
        "gender": _bars(face.gender),
        "emotion": _bars(face.emotion),
        "age": _age(face.age),
    }


def _small_marks(face: FoundFace, picture: PictureAnswer) -> float | None:
    """Returns the size of marks that would hide a small face, else None."""
    left, _, right, _ = face.box
    size = _SHARE_OF_FACE * (right - left)
    return size if size < _mark_size(picture) else None


def _tag(face: FoundFace, picture: PictureAnswer) -> dict[str, float]:
    """Returns where the tag of a box goes: above it, or inside where there is no room."""
    left, top, _, _ = face.box
    size = _mark_size(picture)
    above = top - _TAG_HEIGHT * size
    return {
        "tag_x": max(0.0, min(left, picture.width - _TAG_WIDTH * size)),
        "tag_y": above if above >= 0.0 else top,
    }


def _bars(answer: Classification | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    bars = [{"label": label, "percent": 100.0 * score} for label, score in answer.scores.items()]
    return {"label": answer.label, "percent": 100.0 * answer.score, "bars": bars}


def _age(answer: AgeEstimate | None) -> dict[str, Any] | None:
    """Returns an age, and its distribution in bars of five years with their places in the chart."""
    if answer is None:
        return None
    starts = range(0, _OLDEST, _AGES_A_BAR)
    # The last one takes the oldest age in.
    ends = [start + _AGES_A_BAR for start in starts[:-1]] + [_OLDEST + 1]
    shares = [float(answer.probabilities[a:b].sum()) for a, b in zip(starts, ends, strict=True)]
    highest = max(shares) or 1.0
    bars = [
        {
            "from": start,
            "to": end - 1,
            "percent": 100.0 * share,
            "x": _YEAR * start + 1.0,
            "width": _YEAR * _AGES_A_BAR - 2.0,
            "y": _CHART_HEIGHT * (1.0 - share / highest),
            "tall": _CHART_HEIGHT * share / highest,
        }
        for start, end, share in zip(starts, ends, shares, strict=True)
    ]
    likeliest = bars[shares.index(max(shares))]
    return {
        "age": answer.age,
        "low": answer.low,
        "high": answer.high,
        "bars": bars,
        "span": {"x": _YEAR * answer.low, "width": _YEAR * max(answer.high - answer.low, 0.0)},
        "middle": _YEAR * answer.age,
        "ticks": [{"x": _YEAR * years, "years": years} for years in _TICKS],
        "in_words": (
            f"8 chances in 10 for {answer.low:.0f} to {answer.high:.0f} years; likeliest are "
            f"{likeliest['from']} to {likeliest['to']} ({likeliest['percent']:.0f} %)."
        ),
    }


def _report(report: Report) -> dict[str, Any]:
    stages = [{"name": name, "milliseconds": spent} for name, spent in report.milliseconds.items()]
    rows = [{"name": name, "version": text.partition("/")[2]} for name, text in report.models.items()]
    return {
        "models": report.models,
        "model_rows": rows,
        "drawn": origins.any_drawn(settings.HOME, report.models),
        "stages": stages,
        "total": sum(report.milliseconds.values()),
    }
