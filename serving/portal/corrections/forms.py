"""The forms in which people tell what is right.

Of what a form sends, only the label is taken. The number of a face and the versions of the models tell which
face of which answer is meant; picture and face come from the upload and from the models themselves.
"""

from collections.abc import Iterable
from typing import Any

from django import forms

from serving.portal.assessment.assessor import MAX_FACES
from serving.portal.corrections.vocabulary import EMOTIONS, GENDERS, MAX_AGE

_MODEL_LENGTH = 80
_YES = "yes"
_CHOOSE = ("", "Please choose")
_NO_CONSENT = "Nothing was kept, since you did not agree to it. Please go back and tick the box."


def _choices(labels: Iterable[str]) -> list[tuple[str, str]]:
    return [_CHOOSE, *((label, label) for label in labels)]


class CorrectionForm(forms.Form):
    """What all corrections have."""

    title = ""
    kept = "the face that was cut out of the picture"

    application = forms.CharField(widget=forms.HiddenInput)
    upload = forms.UUIDField(widget=forms.HiddenInput)
    model = forms.CharField(max_length=_MODEL_LENGTH, widget=forms.HiddenInput)
    detection = forms.CharField(max_length=_MODEL_LENGTH, widget=forms.HiddenInput)
    consent = forms.BooleanField(
        error_messages={"required": _NO_CONSENT}, widget=forms.CheckboxInput(attrs={"value": _YES})
    )

    def clean_consent(self) -> bool:
        """Returns True; whatever else a form may send for a ticked box is no consent."""
        if self.data.get("consent") != _YES:
            raise forms.ValidationError(_NO_CONSENT)
        return True

    def for_faces(self, count: int) -> None:
        """Fits an empty form to the number of faces of a page."""

    def problem(self) -> str:
        """Returns the first thing that is wrong, in a sentence; consent before all else."""
        field = "consent" if "consent" in self.errors else next(iter(self.errors))
        message = self.errors[field][0]
        return message if field == "consent" else f"{self.fields[field].label or field}: {message}"


class FaceForm(CorrectionForm):
    """A correction of one face."""

    face = forms.IntegerField(label="Face", min_value=1, max_value=MAX_FACES)

    field_order: tuple[str, ...] | None = ("face",)

    def for_faces(self, count: int) -> None:
        """Lets people choose among the faces, if there are several."""
        numbers = [(number, f"Face {number}") for number in range(1, count + 1)]
        several = forms.Select(choices=numbers)
        self.fields["face"].widget = several if count > 1 else forms.HiddenInput()
        self.initial["face"] = 1


class GenderForm(FaceForm):
    """The data sets' other label."""

    title = "The gender label is wrong"
    gender = forms.ChoiceField(label="Right label", choices=_choices(GENDERS))


class AgeForm(FaceForm):
    """Years; UTKFace's form needs the gender too."""

    title = "The age is wrong"
    age = forms.IntegerField(label="Right age, in years", min_value=0, max_value=MAX_AGE)
    gender = forms.ChoiceField(
        label="Gender",
        choices=_choices(GENDERS),
        help_text="As the data sets label it; ages are kept together with it.",
    )


class EmotionForm(FaceForm):
    """One of the other expressions."""

    title = "The expression is wrong"
    emotion = forms.ChoiceField(label="Right expression", choices=_choices(EMOTIONS))


class VerificationForm(CorrectionForm):
    """One person or two: the contrary of what the model says."""

    title = "The answer is wrong"
    kept = "the two faces that were compared"
    second = forms.UUIDField(widget=forms.HiddenInput)
    same = forms.ChoiceField(
        label="What is right",
        choices=((_YES, "They show one person"), ("no", "They show two persons")),
        widget=forms.RadioSelect,
    )


class DetectionForm(CorrectionForm):
    """Which of the faces found are faces, and which are missing."""

    title = "Faces are missing, or are none"
    kept = "the whole picture"
    faces = forms.TypedMultipleChoiceField(
        label="Untick what is no face",
        choices=[(number, f"Face {number}") for number in range(1, MAX_FACES + 1)],
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    missed = forms.CharField(
        label="Faces that were missed",
        required=False,
        strip=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One line a face: left,top,width,height in pixels of the picture, such as 120,80,40,52.",
    )

    def for_faces(self, count: int) -> None:
        """Shows the faces, all ticked; where there is none, only what was missed."""
        numbers = range(1, count + 1)
        field: Any = self.fields["faces"]
        field.choices = [(number, f"Face {number}") for number in numbers]
        self.initial["faces"] = list(numbers)
        if not count:
            del self.fields["faces"]


FORMS: dict[str, type[CorrectionForm]] = {
    "detection": DetectionForm,
    "verification": VerificationForm,
    "gender": GenderForm,
    "age": AgeForm,
    "emotion": EmotionForm,
}
"""By task."""
