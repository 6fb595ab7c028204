"""The imbalance study (report section 5.5): do generated faces repeat the balance of the training set?

Generators are trained on training sets that differ in nothing but their share of men, and the gender model
says what their faces are. It errs, so it is also asked about real faces whose labels are known.
"""

import dataclasses
import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.evaluation import shares
from components.evaluation.shares import Corrected, Interval, Rates
from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from data_validation.labels import GENDERS
from pipelines.classifier import Classifier
from pipelines.generator import Generator
from pipelines.pictures import as_png
from pipelines.pushed_model import PushedModel, find_pushed
from pipelines.settings import Workspace
from pipelines.task_settings import SynthesisSettings

STUDY = "imbalance"
LAST_NODE = "Trainer"
MALE, FEMALE = "male", "female"
_GENDER = "gender"
_IMAGE = "image/encoded"
# The gender model may have chosen its classifier on the selection split of the same data.
_HELD_BACK = "test"
_BATCH = 64
# Of each generator, for the report.
_SHOWN = 16

Advance = Callable[[float], None]


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What is asked of each generator.

    Attributes:
        faces: Faces a round.
        rounds: How many rounds, 2 or more.
        seed: Of the first round; the others have those after it. All generators get the same ones.
        real: Most held-back real faces that the gender model is asked about.
    """

    faces: int = 60
    rounds: int = 10
    seed: int = 1
    real: int = 1000


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """A generator that a pipeline trained.

    Attributes:
        male: Share of men that its data were made to have, 0 to 1.
        model: Folder of the SavedModel.
        examples: Folder of the Examples artifact, with `gender` in its records.
    """

    male: float
    model: Path
    examples: Path


@dataclasses.dataclass(frozen=True)
class BalanceResult:
    """What one generator was found to do.

    Attributes:
        male_wanted: Share of men that its data were made to have.
        training_images: How many images it was trained on.
        training_male: Share of them labelled male.
        male_counts: Faces called male in each round.
        faces: Faces a round.
        data_fingerprint: Of all its data.
    """

    male_wanted: float
    training_images: int
    training_male: float
    male_counts: tuple[int, ...]
    faces: int
    data_fingerprint: str

    @property
    def round_shares(self) -> list[float]:
        """Share called male in each round."""
        return [count / self.faces for count in self.male_counts]

    @property
    def share(self) -> float:
        """Mean share called male."""
        return sum(self.male_counts) / (self.faces * len(self.male_counts))

    @property
    def interval(self) -> Interval:
        """95 % interval of that mean over rounds, Student's t."""
        return shares.mean_interval(self.round_shares)

    @property
    def wilson(self) -> Interval:
        """95 % interval over all faces, taken for independent: it does not vanish where rounds agree."""
        return shares.wilson_interval(sum(self.male_counts), self.faces * len(self.male_counts))

    def corrected(self, rates: Rates) -> Corrected | None:
        """The share corrected for the gender model's errors."""
        return shares.corrected_share(self.round_shares, self.faces * len(self.male_counts), rates)


@dataclasses.dataclass(frozen=True)
class RealResult:
    """What the gender model says of real faces, made as small as generated ones.

    Attributes:
        images: How many it was asked about.
        labelled_male: Share of them labelled male.
        called_male: Share of them that it calls male.
        accuracy: Share of them that it calls what they are labelled.
        rates: How often it is right, by label.
        sources: Names of the data sets.
    """

    images: int
    labelled_male: float
    called_male: float
    accuracy: float
    rates: Rates
    sources: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """All that was measured.

    Attributes:
        balances: What each generator was found to do.
        real: What the gender model says of real faces.
        shown: The first faces of the first round of each generator, uint8 [N, height, width, 3].
    """

    balances: tuple[BalanceResult, ...]
    real: RealResult
    shown: tuple[np.ndarray, ...]


class RealFace(NamedTuple):
    """A held-back face: the hash of its image, its gender by the data set's label, and the encoded image."""

    order: bytes
    gender: str
    image: bytes


# ---- before


def gender_model(workspace: Workspace) -> PushedModel:
    """Finds the gender model of a workspace, or of its part for sample data: the one that knows such faces.

    Raises:
        InputError: None has been pushed.
    """
    source = "sample" if workspace.demo else "real"
    pushed = find_pushed(Workspace(workspace.home), _GENDER, source=source)
    if pushed is None:
        data, kind = ("", "of drawn faces") if workspace.demo else (" --data DIR", "of real data")
        raise InputError(
            f"{workspace.root}: no {_GENDER} model {kind} has been pushed, and the study asks it about "
            f"faces; run `hexaface run {_GENDER}{data}` first"
        )
    return pushed


def common_size(folders: Sequence[Mapping[str, int]], male_shares: Sequence[float], most: int) -> int:
    """Returns how many images of a data folder all balances can have.

    Args:
        folders: Of each data folder, how many images are labelled `male` and `female`.
        male_shares: The balances, 0 to 1.
        most: The most that is wanted; 0 for as many as there are.

    Returns:
        What the smallest folder can give, since each is balanced by itself.
    """
    sizes = [
        count / share
        for folder in folders
        for male in male_shares
        for count, share in ((folder[MALE], male), (folder[FEMALE], 1.0 - male))
        if share > 0.0
    ]
    size = math.floor(min(sizes))
    return min(size, most) if most else size


def balanced(settings: SynthesisSettings, male: float, size: int) -> SynthesisSettings:
    """Returns settings with another balance and number of images."""
    balance = dataclasses.replace(settings.data.balance, male=male)
    data = dataclasses.replace(settings.data, balance=balance, max_images=size)
    return dataclasses.replace(settings, data=data)


def part_name(male: float) -> str:
    """Returns the name of a balance's folder, such as `male-30`."""
    return f"{MALE}-{100 * male:g}"


# ---- measuring


def measure(
    trained: Sequence[TrainedGenerator], classifier: Classifier, options: StudyOptions, advance: Advance
) -> StudyResult:
    """Asks the gender model about the faces of each generator, and about real ones.

    Args:
        trained: The generators, one or more.
        classifier: The gender model.
        options: What is asked.
        advance: Told how many more faces it was asked about.

    Raises:
        InputError: A model cannot be loaded or fails, or examples have no genders.
    """
    balances = tuple(_measure_balance(each, classifier, options, advance) for each in trained)
    shown = tuple(_open(each).faces(options.seed, min(options.faces, _SHOWN)) for each in trained)
    height, width = shown[0].shape[1:3]
    examples = [each.examples for each in trained]
    faces = held_back(examples, options.real)
    answers: list[str] = []
    for start in range(0, len(faces), _BATCH):
        images = [face.image for face in faces[start : start + _BATCH]]
        answers += classifier.classify(as_small(images, height, width))
        advance(len(images))
    labels = [face.gender for face in faces]
    right = sum(label == answer for label, answer in zip(labels, answers, strict=True))
    real = RealResult(
        images=len(faces),
        labelled_male=shares.share_of(labels, MALE),
        called_male=shares.share_of(answers, MALE),
        accuracy=right / len(faces),
        rates=shares.classifier_rates(labels, answers, MALE),
        sources=_sources(examples),
    )
    return StudyResult(balances, real, shown)


def _measure_balance(
    trained: TrainedGenerator, classifier: Classifier, options: StudyOptions, advance: Advance
) -> BalanceResult:
    generator = _open(trained)
    counts = []
    for number in range(options.rounds):
        faces = generator.faces(options.seed + number, options.faces)
        answers = classifier.classify([_png(face) for face in faces])
        counts.append(answers.count(MALE))
        advance(options.faces)
    genders = _count_genders(trained.examples)
    return BalanceResult(
        male_wanted=trained.male,
        training_images=genders.total(),
        training_male=genders[MALE] / genders.total(),
        male_counts=tuple(counts),
        faces=options.faces,
        data_fingerprint=Ingestion.load(trained.examples).content_fingerprint,
    )


def _open(trained: TrainedGenerator) -> Generator:
    return Generator(trained.model, part_name(trained.male), "")


def _sources(examples: Sequence[Path]) -> tuple[str, ...]:
    """Returns the names of the data sets that examples were read from."""
    return tuple(sorted({source for each in examples for _, source, _ in Ingestion.load(each).records}))


def _png(face: Any) -> bytes:
    from PIL import Image

    return as_png(Image.fromarray(face))


def _count_genders(examples: Path) -> "Counter[str]":
    """Counts the labels of what a generator was trained on."""
    counts: Counter[str] = Counter()
    for batch in _batches(examples, "train", (_GENDER,)):
        counts.update(name.decode() for name in batch[_GENDER].tolist())
    if not set(counts) & set(GENDERS):
        raise InputError(f"{examples}: {_GENDER}: expected {' or '.join(GENDERS)} in the training split")
    return Counter({name: counts[name] for name in GENDERS})


def held_back(examples: Sequence[Path], most: int) -> list[RealFace]:
    """Chooses real faces that no generator was trained on, always the same ones.

    Args:
        examples: Folders of Examples artifacts; what is in several counts once.
        most: How many at most.

    Returns:
        Those of the test split whose images have the smallest hashes. An image that is in any of the training
        sets is none of them: copies lie on several sides where data sets have them.

    Raises:
        InputError: There is none with a gender.
    """
    learnt = {order for folder in examples for order in _training_images(folder)}
    chosen: dict[bytes, RealFace] = {}
    for folder in examples:
        faces = (face for face in _real_faces(folder) if face.order not in learnt)
        chosen |= {face.order: face for face in heapq.nsmallest(most, faces)}
    if not chosen:
        raise InputError(
            f"{examples[0]}: {_GENDER}: expected labelled faces in the split {_HELD_BACK} that are in no "
            "training set, found none"
        )
    return heapq.nsmallest(most, chosen.values())


def _training_images(examples: Path) -> Iterator[bytes]:
    """Yields the hashes of the images that a generator was trained on."""
    for batch in _batches(examples, "train", (_IMAGE,)):
        for image in batch[_IMAGE].tolist():
            yield hashlib.sha256(image).digest()


def _real_faces(examples: Path) -> Iterator[RealFace]:
    for batch in _batches(examples, _HELD_BACK, (_GENDER, _IMAGE)):
        for gender, image in zip(batch[_GENDER].tolist(), batch[_IMAGE].tolist(), strict=True):
            if gender.decode() in GENDERS:
                yield RealFace(hashlib.sha256(image).digest(), gender.decode(), image)


def _batches(examples: Path, split: str, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yields features of examples by name, bytes [N] each; empty where an example has none."""
    import tensorflow as tf

    files = sorted(str(file) for file in (examples / f"Split-{split}").iterdir())
    features = {name: tf.io.FixedLenFeature([], tf.string, "") for name in names}
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(batch, features)
        yield {name: parsed[name].numpy() for name in names}


def as_small(images: Sequence[bytes], height: int, width: int) -> list[bytes]:
    """Makes real faces what generators are trained on, so that all are judged alike.

    Args:
        images: N encoded images.
        height: Of generated faces, pixels.
        width: Of generated faces, pixels.

    Returns:
        N PNGs of that size.
    """
    import tensorflow as tf

    from trainers.imaging import decode_batch

    values = decode_batch(tf.constant(list(images), tf.string), height, width, 3)
    return [_png(face) for face in tf.image.convert_image_dtype(values, tf.uint8, saturate=True).numpy()]
