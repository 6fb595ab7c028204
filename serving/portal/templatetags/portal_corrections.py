"""The forms for corrections of what a page shows, and what a correction says."""

from collections.abc import Mapping
from typing import Any

from django import template

from serving.portal.assessment.assessor import FACE_TASKS
from serving.portal.corrections.forms import FORMS, CorrectionForm
from serving.portal.corrections.refused import OF_A_SAMPLE
from serving.portal.models import Correction

register = template.Library()


@register.simple_tag(takes_context=True)
def correction_forms(context: Mapping[str, Any]) -> list[CorrectionForm]:
    """Returns the forms for the answers of a result page; none where there is nothing to correct."""
    application, models = context["application"], context["models"]
    if application.name == "verification":
        return _verification(context)
    if application.name == "detection":
        return _detection(context)
    shown = [task for task in FACE_TASKS if task in application.tasks and context["faces"]]
    return [_form(task, context["upload"], models, len(context["faces"])) for task in shown]


@register.simple_tag(takes_context=True)
def why_no_correction(context: Mapping[str, Any]) -> str:
    """Returns why the answers of a result page cannot be corrected; empty where they can."""
    uploads = [side["upload"] for side in context["sides"]] if "sides" in context else [context["upload"]]
    return OF_A_SAMPLE if any(upload.sample for upload in uploads) else ""


@register.filter
def in_words(correction: Correction) -> str:
    """Returns what a correction says is right, for the person who gave it."""
    label = correction.label
    if correction.task == "detection":
        return f"{len(label['boxes'])} face{'' if len(label['boxes']) == 1 else 's'} in the picture"
    if correction.task == "verification":
        return "one person" if label["same"] else "two persons"
    if correction.task == "age":
        return f"{label['age']} years, {label['gender']}"
    return str(label[correction.task])


def _detection(context: Mapping[str, Any]) -> list[CorrectionForm]:
    picture = context["picture"]
    if picture.left_out:
        return []  # the boxes of a picture must be all that there are
    form = _form("detection", context["upload"], context["models"], len(context["faces"]))
    form.fields["missed"].help_text += f" It has {picture.width} x {picture.height}."
    return [form]


def _verification(context: Mapping[str, Any]) -> list[CorrectionForm]:
    result = context["result"]
    if result is None:
        return []
    first, second = (side["upload"] for side in context["sides"])
    form = _form("verification", first, context["models"], 2)
    form.initial["second"] = second.id
    # The other answer is the only one that is left.
    form.initial["same"] = "no" if result.is_match else "yes"
    form.fields["same"].choices = [
        choice for choice in form.fields["same"].choices if choice[0] == form.initial["same"]
    ]
    return [form]


def _form(task: str, upload: Any, models: Mapping[str, str], faces: int) -> CorrectionForm:
    form = FORMS[task](
        initial={
            "application": task,
            "upload": upload.id,
            "model": models[task],
            "detection": models["detection"],
        },
        auto_id=f"correction-{task}-%s",
        label_suffix="",
    )
    form.for_faces(faces)
    return form
