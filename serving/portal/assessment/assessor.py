"""Asks the models about pictures: finds the faces, aligns them, and lets the other models answer for each."""

import io
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from serving import client_results
from serving.alignment import as_image, crop, cut_from, in_pixels
from serving.client import Client, Code, Detection, Face, NotFound, ResourceExhausted, ServerError
from serving.generated_faces import as_png
from serving.portal.assessment import error_rates
from serving.portal.assessment.answers import (
    SOFTWARE,
    Answer,
    Assessment,
    Comparison,
    FoundFace,
    Generated,
    PictureAnswer,
    Report,
    Status,
)
from serving.portal.assessment.pictures import Picture

FACE_TASKS = ("gender", "age", "emotion")
"""Tasks that answer for each face, which are also names of fields of FoundFace."""
MAX_FACES = 32
"""Of a picture that are answered for, the largest ones."""
MAX_GENERATED = 64
"""Faces of one seed, as the synthesis model has it."""
AT_ONCE = 8
"""Requests that wait for models; fewer than a process has threads, so that pages are answered meanwhile."""

_PATIENCE = 0.5  # seconds that one more waits for its turn

_T = TypeVar("_T")


class Assessor:
    """Answers about pictures with the models of one server; threads may share it."""

    def __init__(self, client: Client, home: Path | None = None) -> None:
        """Keeps what is asked.

        Args:
            client: Of the model server.
            home: The workspace whose models it serves, for what lies beside them; None if it is not here.
        """
        self._client = client
        self._home = home
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def assess(
        self, pictures: Sequence[Picture], tasks: Sequence[str] = (), *, seconds: float | None = None
    ) -> Assessment:
        """Finds the faces of pictures, and asks models about each.

        Args:
            pictures: One or more.
            tasks: Of FACE_TASKS; none to find the faces only.
            seconds: That a model may take; None for what the client says.

        Returns:
            The answers, the largest face of a picture first.

        Raises:
            ServerError: A model did not answer.
            ResourceExhausted: Too many others wait for models.
        """
        with self._place():
            return self._assess(pictures, tasks, seconds)

    def _assess(self, pictures: Sequence[Picture], tasks: Sequence[str], seconds: float | None) -> Assessment:
        report = Report()
        answers = self._find(pictures, report, seconds)
        if tasks:
            answers = self._cut(pictures, answers, report)
        for task in tasks:
            answers = self._ask(task, answers, report, seconds)
        return Assessment(tuple(answers), report)

    def compare(self, first: Picture, second: Picture, *, largest: bool = False) -> Comparison:
        """Tells whether two pictures show one person.

        Args:
            first: A picture with one face.
            second: Another one.
            largest: Whether to take the largest face where there are several.

        Raises:
            ServerError: A model did not answer.
            ResourceExhausted: Too many others wait for models.
        """
        with self._place():
            return self._compare(first, second, largest)

    def _compare(self, first: Picture, second: Picture, largest: bool) -> Comparison:
        report = Report()
        pictures = (first, second)
        answers = self._cut(pictures, self._find(pictures, report), report)
        status = _of_pair(answers)
        both = (answers[0], answers[1])
        if status is Status.NO_FACE or (status is Status.MANY_FACES and not largest):
            return Comparison(status, both, None, None, report)
        pair = (answers[0].faces[0].crop, answers[1].faces[0].crop)
        with _timed(report, "verification"):
            [result] = self._client.verify([pair])
        _note(report, "verification", result.model_version)
        rate = error_rates.find(self._home, result) if self._home else None
        return Comparison(status, both, result, rate, report)

    def generate(self, seed: int, count: int) -> Generated:
        """Draws faces of persons who do not exist.

        Args:
            seed: The same makes the same faces; 64 bits, signed.
            count: 1 to 64.

        Raises:
            ServerError: The synthesis model did not answer.
            ResourceExhausted: Too many others wait for models.
        """
        with self._place():
            return self._generate(seed, count)

    def _generate(self, seed: int, count: int) -> Generated:
        report = Report()
        # As the client's `generate`, which does not tell the model's version.
        inputs: dict[str, np.ndarray] = {
            "seed": np.asarray(seed, np.int64),
            "count": np.asarray(count, np.int32),
        }
        with _timed(report, "synthesis"):
            drawn = self._client.predict(
                "synthesis", inputs, signature="sample", outputs=client_results.SYNTHESIS
            )
            faces = client_results.images(drawn, count)
        _note(report, "synthesis", drawn.version)
        genders: Sequence[Any] = ()
        with _timed(report, "gender"):
            try:
                genders = self._client.gender(faces)
            except NotFound:
                # The faces can be shown without it.
                del report.milliseconds["gender"]
        if genders:
            _note(report, "gender", genders[0].model_version)
        generated = Generated(seed, tuple(faces), tuple(genders), report)
        return replace(generated, faces=tuple(_marked(generated)))

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=_PATIENCE):
            raise ResourceExhausted(Code.RESOURCE_EXHAUSTED, f"{AT_ONCE} others wait for models")
        try:
            yield
        finally:
            self._places.release()

    # ---- stages

    def _find(
        self, pictures: Sequence[Picture], report: Report, seconds: float | None = None
    ) -> list[PictureAnswer]:
        with _timed(report, "detection"):
            found = self._client.detect([picture.jpeg for picture in pictures], timeout=seconds)
        _note(report, "detection", found[0].model_version)
        return [_answer(picture, each) for picture, each in zip(pictures, found, strict=True)]

    def _cut(
        self, pictures: Sequence[Picture], answers: Sequence[PictureAnswer], report: Report
    ) -> list[PictureAnswer]:
        """Cuts out and aligns the faces; those whose points do not tell how, by their boxes."""
        with _timed(report, "alignment"):
            return [
                replace(answer, faces=_with_crops(picture, answer.faces)) if answer.faces else answer
                for picture, answer in zip(pictures, answers, strict=True)
            ]

    def _ask(
        self, task: str, answers: Sequence[PictureAnswer], report: Report, seconds: float | None
    ) -> list[PictureAnswer]:
        """Asks a model about all faces in one call."""
        crops = [face.crop for answer in answers for face in answer.faces]
        if not crops:
            return list(answers)
        ask: Callable[..., Sequence[Answer]] = getattr(self._client, task)
        with _timed(report, task):
            said = ask(crops, timeout=seconds)
        _note(report, task, said[0].model_version)
        left = iter(said)
        return [replace(answer, faces=_with(answer.faces, task, left)) for answer in answers]


def _answer(picture: Picture, found: Detection) -> PictureAnswer:
    faces = sorted((_found(picture, face) for face in found.faces), key=_area, reverse=True)
    status = Status.OK if faces else Status.NO_FACE
    kept = tuple(faces[:MAX_FACES])
    return PictureAnswer(status, picture.width, picture.height, kept, len(faces) - len(kept))


def _found(picture: Picture, face: Face) -> FoundFace:
    """Places a face in its picture.

    Raises:
        ServerError: It is nowhere.
    """
    numbers = (face.score, *face.box, *(part for point in face.keypoints for part in point))
    if not all(map(math.isfinite, numbers)):
        raise ServerError(Code.INTERNAL, "a face whose place is no number", "detection")
    width, height = picture.width, picture.height
    box = (face.box.xmin * width, face.box.ymin * height, face.box.xmax * width, face.box.ymax * height)
    points = in_pixels([(point.y, point.x) for point in face.keypoints], width, height)
    return FoundFace(box, face.score, tuple((x, y) for x, y in points.tolist()))


def _area(face: FoundFace) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _with_crops(picture: Picture, faces: Sequence[FoundFace]) -> tuple[FoundFace, ...]:
    image = as_image(np.asarray(picture.rgb))
    return tuple(_with_crop(image, face) for face in faces)


def _with_crop(image: Image.Image, face: FoundFace) -> FoundFace:
    try:
        return replace(face, crop=_as_png(cut_from(image, face.points)), aligned=True)
    except ValueError:
        # All points are at one place. Such faces are cut out by boxes where models are trained, too.
        return replace(face, crop=_as_png(crop(image, _whole_pixels(face.box, *image.size))))


def _whole_pixels(
    edges: tuple[float, float, float, float], width: int, height: int
) -> tuple[int, int, int, int]:
    """Returns left, top, width and height of a box inside of a picture, a pixel or more each."""
    left, top, right, bottom = map(round, edges)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return left, top, max(min(right, width) - left, 1), max(min(bottom, height) - top, 1)


def _with(faces: Sequence[FoundFace], task: str, said: Iterator[Answer]) -> tuple[FoundFace, ...]:
    changed: list[FoundFace] = []
    for face in faces:
        values: dict[str, Any] = {task: next(said)}
        changed.append(replace(face, **values))
    return tuple(changed)


def _of_pair(answers: Sequence[PictureAnswer]) -> Status:
    counts = [len(answer.faces) for answer in answers]
    if 0 in counts:
        return Status.NO_FACE
    return Status.MANY_FACES if max(counts) > 1 else Status.OK


def _note(report: Report, model: str, version: int | None) -> None:
    report.models[model] = f"{model}/{version}" if version is not None else model


@contextmanager
def _timed(report: Report, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        report.milliseconds[stage] = 1000.0 * (time.perf_counter() - started)


def _marked(generated: Generated) -> Iterator[bytes]:
    for face in generated.faces:
        yield as_png(Image.open(io.BytesIO(face)), SOFTWARE, generated.note)


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Little compression: these are sent to the model server and shown once.
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
