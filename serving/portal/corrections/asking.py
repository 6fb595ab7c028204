"""Asks the models again about what a correction is of: the same picture has the same faces and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.portal.assessment.answers import FoundFace, Report
from serving.portal.assessment.assessor import Assessor
from serving.portal.assessment.pictures import Picture
from serving.portal.corrections import boxes
from serving.portal.corrections.published import Label
from serving.portal.corrections.refused import Refused

_SAID = "That is what the model said. Nothing was kept."


@dataclass(frozen=True)
class Corrected:
    """What a correction is of.

    Attributes:
        label: What is right.
        images: What the model saw.
        model: The model's version.
    """

    label: Label
    images: tuple[bytes, ...]
    model: str


def ask(assessor: Assessor, task: str, pictures: Sequence[Picture], told: Mapping[str, Any]) -> Corrected:
    """Finds out what a correction is of.

    Args:
        assessor: Whom to ask.
        task: The application.
        pictures: One, for verification two.
        told: The values of the task's form.

    Returns:
        The label with the images that belong to it.

    Raises:
        Refused: The models are not those of the page, there is no such face, or nothing is corrected.
        ServerError: A model did not answer.
    """
    if task == "verification":
        return _pair(assessor, pictures, told)
    if task == "detection":
        return _picture(assessor, pictures[0], told)
    return _face(assessor, task, pictures[0], told)


def _face(assessor: Assessor, task: str, picture: Picture, told: Mapping[str, Any]) -> Corrected:
    assessment = assessor.assess([picture], (task,))
    [answer] = assessment.pictures
    model = _same_models(assessment.report, task, told)
    number = told["face"]
    if number > len(answer.faces):
        raise Refused(f"The picture has no face {number}. Nothing was kept.")
    face = answer.faces[number - 1]
    if told[task] == _said(task, face):
        raise Refused(_SAID)
    label = {key: told[key] for key in ("age", "gender", "emotion") if key in told}
    return Corrected(label, (face.crop,), model)


def _pair(assessor: Assessor, pictures: Sequence[Picture], told: Mapping[str, Any]) -> Corrected:
    first, second = pictures
    comparison = assessor.compare(first, second, largest=True)
    if comparison.result is None:
        raise Refused("There is no face in one of the pictures. Nothing was kept.")
    model = _same_models(comparison.report, "verification", told)
    same = told["same"] == "yes"
    if same == comparison.result.is_match:
        raise Refused(_SAID)
    crops = tuple(each.faces[0].crop for each in comparison.pictures)
    if crops[0] == crops[1]:
        raise Refused("Both pictures are the same one. Nothing was kept.")
    return Corrected({"same": same}, crops, model)


def _picture(assessor: Assessor, picture: Picture, told: Mapping[str, Any]) -> Corrected:
    assessment = assessor.assess([picture])
    [answer] = assessment.pictures
    model = _same_models(assessment.report, "detection", told)
    if answer.left_out:
        # What is not marked is taken for no face by training.
        raise Refused("The picture has more faces than are shown. Nothing was kept.")
    ticked = set(told["faces"])
    if ticked and max(ticked) > len(answer.faces):
        raise Refused(f"The picture has no face {max(ticked)}. Nothing was kept.")
    try:
        missed = boxes.parse(told["missed"], picture.width, picture.height)
    except boxes.BoxError as error:
        raise Refused(f"Faces that were missed: {error} Nothing was kept.") from error
    if len(ticked) == len(answer.faces) and not missed:
        raise Refused(_SAID)
    right = [
        boxes.from_edges(face.box) for number, face in enumerate(answer.faces, start=1) if number in ticked
    ]
    return Corrected({"boxes": [list(box) for box in (*right, *missed)]}, (picture.jpeg,), model)


def _said(task: str, face: FoundFace) -> str | int | None:
    if task == "age":
        return round(face.age.age) if face.age else None
    answer = face.gender if task == "gender" else face.emotion
    return answer.label if answer else None


def _same_models(report: Report, task: str, told: Mapping[str, Any]) -> str:
    """Returns the version of the task's model.

    By another model than that of the page, faces could be numbered otherwise.
    """
    asked = report.models.get(task, told["model"])
    if (asked, report.models["detection"]) != (told["model"], told["detection"]):
        raise Refused(
            "The models have changed since that result. Nothing was kept; please look at the new one.",
            409,
            "other_model",
        )
    return asked
