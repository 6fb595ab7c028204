"""Label vocabularies, in the order in which models number their classes."""

from bisect import bisect_left

# FER-2013's codes 0 to 6 (Goodfellow et al., "Challenges in Representation Learning", ICML 2013 workshop).
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

# The data sets' own binary labels: what annotators wrote down, not what a person is.
GENDERS = ("female", "male")

# Ages are whole years from 0 to 100: 101 classes (report section 3.2.3).
MAX_AGE = 100
AGE_CLASSES = MAX_AGE + 1
AGE_GROUPS = (*(f"{decade}-{decade + 9}" for decade in range(0, 90, 10)), "90 and over")

# For attributes of which a data set says nothing.
UNKNOWN = "unknown"


def age_group(age: int | None) -> str:
    """Returns the decade of an age as metrics are sliced by it, `unknown` for None.

    Args:
        age: Years, 0 or more; above 99 belongs to `90 and over`.
    """
    return UNKNOWN if age is None else AGE_GROUPS[min(age // 10, len(AGE_GROUPS) - 1)]


# Numbers of faces in a picture, in classes: how crowded it is.
FACE_COUNTS = ("none", "1", "2 to 5", "6 to 20", "more than 20")
_MOST_FACES = (0, 1, 5, 20)


def face_count(faces: int) -> str:
    """Returns the class of FACE_COUNTS that a number of faces belongs to."""
    return FACE_COUNTS[bisect_left(_MOST_FACES, faces)]


# UTKFace's codes 0 to 4 (Zhang, Song, Qi, CVPR 2017), in its own words.
RACES = ("white", "black", "asian", "indian", "other")


def person_labels(label: str, age: int | None, gender: str, race: str = UNKNOWN) -> dict[str, str | int]:
    """Returns the labels of a picture of a person, the task's own first.

    Args:
        label: `age` for a numeric age among the labels; else there is only its group.
        age: Years; None where unknown, which `age` does not allow.
        gender: One of GENDERS or `unknown`.
        race: One of RACES or `unknown`.

    Raises:
        ValueError: The label is `age` and the age is unknown.
    """
    labels: dict[str, str | int] = {"gender": gender, "age_group": age_group(age), "race": race}
    if label != "age":
        return labels
    if age is None:
        raise ValueError("age: expected years, found none")
    return {"age": age, **labels}
