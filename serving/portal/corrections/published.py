"""The published forms in which corrections are kept, one for each task; `components/readers` reads them.

| task | form | what is kept |
| --- | --- | --- |
| gender | CelebA | the aligned face and the attribute `Male` |
| age | UTKFace | the aligned face; years and gender in its name |
| emotion | FER-2013, folders | the aligned face and the code of the expression, for training |
| verification | folders of persons | the aligned faces, in one folder or in two |
| detection | WIDER FACE | the picture and the boxes of all its faces |
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from PIL import Image

from serving.portal.corrections import indexes
from serving.portal.corrections.indexes import Index
from serving.portal.corrections.vocabulary import CELEBA_MALE, EMOTIONS, UTKFACE_GENDER, UTKFACE_OTHER

Label: TypeAlias = Mapping[str, Any]
"""What is right, in what JSON can hold: `gender`, `age`, `emotion`, `same` or `boxes`."""
Content: TypeAlias = bytes | Mapping[str, bytes]
"""A file, or a folder of files by name, which comes and goes as a whole."""

# Nearly what the model saw: faces are small, and so is the loss.
_QUALITY = 95
# The columns behind a box of WIDER FACE: blur, expression, illumination, invalid, occlusion, pose.
_NO_ATTRIBUTES = (0,) * 6


class Form(ABC):
    """A form of a data set.

    Attributes:
        folder: In which its pictures are, or the persons' folders.
        index: The list of pictures; None where their names tell the labels.
    """

    folder: str
    index: Index | None = None

    @abstractmethod
    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        """Returns where a correction is in the data set.

        Args:
            name: Of the correction, 20 random digits.
            label: What is right.
        """

    def contents(self, label: Label, images: Sequence[bytes]) -> tuple[Content, ...]:
        """Returns what is to be at each of the paths.

        Args:
            label: What is right.
            images: What the model saw: one PNG or JPEG, two for verification.
        """
        del label
        return (images[0],)

    def row(self, name: str, label: Label) -> tuple[str, str]:
        """Returns what the index says: its name for the picture, and the label.

        Raises:
            TypeError: The form has no index.
        """
        raise TypeError(f"{type(self).__name__} has no index")


class _CelebA(Form):
    folder, index = "img_align_celeba", indexes.CELEBA

    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        return (f"{self.folder}/{name}.jpg",)

    def contents(self, label: Label, images: Sequence[bytes]) -> tuple[Content, ...]:
        return (_as_jpeg(images[0]),)

    def row(self, name: str, label: Label) -> tuple[str, str]:
        return f"{name}.jpg", CELEBA_MALE[label["gender"]]


class _UtkFace(Form):
    folder = "UTKFace"

    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        gender = UTKFACE_GENDER[label["gender"]]
        return (f"{self.folder}/{label['age']}_{gender}_{UTKFACE_OTHER}_{name}.jpg",)

    def contents(self, label: Label, images: Sequence[bytes]) -> tuple[Content, ...]:
        return (_as_jpeg(images[0]),)


class _Fer2013(Form):
    folder, index = "Training", indexes.FER2013

    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        return (f"{self.folder}/{label['emotion']}/{name}.png",)

    def row(self, name: str, label: Label) -> tuple[str, str]:
        [path] = self.paths(name, label)
        return path, str(EMOTIONS.index(label["emotion"]))


class _Persons(Form):
    folder = "identities"

    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        persons = 1 if label["same"] else 2
        return tuple(f"{self.folder}/{name}-{number}" for number in range(1, persons + 1))

    def contents(self, label: Label, images: Sequence[bytes]) -> tuple[Content, ...]:
        first, second = images
        return (
            ({"1.png": first, "2.png": second},) if label["same"] else ({"1.png": first}, {"1.png": second})
        )


class _WiderFace(Form):
    folder, index = "images", indexes.WIDER_FACE
    _event = "corrections"

    def paths(self, name: str, label: Label) -> tuple[str, ...]:
        return (f"{self.folder}/{self._event}/{name}.jpg",)

    def row(self, name: str, label: Label) -> tuple[str, str]:
        lines = (" ".join(map(str, (*box, *_NO_ATTRIBUTES))) for box in label["boxes"])
        return f"{self._event}/{name}.jpg", "\n".join(lines)


LAYOUTS: dict[str, Form] = {
    "detection": _WiderFace(),
    "verification": _Persons(),
    "gender": _CelebA(),
    "age": _UtkFace(),
    "emotion": _Fer2013(),
}
"""By task; for generated faces no answer is right or wrong."""


def _as_jpeg(encoded: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(encoded)) as image:
        image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
