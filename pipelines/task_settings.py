"""What can be set, task by task: frozen dataclasses that refuse values of a wrong type or range."""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from data_validation.errors import InputError

_CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True, config=_CHECKED)
class DataSettings:
    """What is read.

    Attributes:
        spans: How many of the newest `span-<number>` folders to read.
        max_rejected_fraction: Share of unreadable records above which a run stops.
    """

    spans: PositiveInt = 1
    max_rejected_fraction: Fraction = 0.01


@dataclass(frozen=True, config=_CHECKED)
class FaceDataSettings(DataSettings):
    """What is read by tasks whose pictures show one face each.

    Attributes:
        align: Find the faces with the latest blessed detection model and align them by their five points;
            those that it does not find stay as they are, and are counted.
    """

    align: bool = False


@dataclass(frozen=True, config=_CHECKED)
class ModelSettings:
    """The network.

    Attributes:
        dropout: Share of activations dropped before the last layers.
    """

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.4


@dataclass(frozen=True, config=_CHECKED)
class ReadingModelSettings(ModelSettings):
    """A network that reads images.

    Attributes:
        flip_averaging: Average what each image and its mirror image give.
    """

    flip_averaging: bool = True


@dataclass(frozen=True, config=_CHECKED)
class AugmentationSettings:
    """Random changes of training images; 0 turns one off. See `trainers.augmentation.Augmentation`."""

    flip: bool = True
    shift: Fraction = 0.1
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 10.0
    zoom: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    stretch: Fraction = 0.1
    brightness: Fraction = 0.1
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    cutout: Fraction = 0.0
    grey: Fraction = 0.0
    coarse: Fraction = 0.0


@dataclass(frozen=True, config=_CHECKED)
class TrainSettings:
    """How a model is trained.

    Attributes:
        epochs: Most epochs.
        batch_size: Images a step.
        images_per_epoch: Train on so many images an epoch, other ones each time; 0 for all.
        precision: `float32`, `bfloat16`, or `auto`: half precision on GPUs, bfloat16 on processors that
            compute in it, else float32.
        seed: Of weights, order and augmentation.
        warm_start: Begin with the weights of the latest blessed model.
    """

    epochs: PositiveInt = 30
    batch_size: PositiveInt = 64
    images_per_epoch: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    warm_start: bool = False


@dataclass(frozen=True, config=_CHECKED)
class ReadingTrainSettings(TrainSettings):
    """How a network that reads images is trained, to its best epoch.

    Attributes:
        optimizer: `sgd` (with Nesterov momentum) or `adamw`.
        learning_rate: Rate, or the peak of the schedule.
        schedule: `constant` or `cosine` (to zero, after a linear warm-up).
        warmup_epochs: Length of the warm-up.
        momentum: Of `sgd`.
        weight_decay: Decoupled weight decay.
        patience: Epochs without a better validation metric after which training stops.
        augmentation: Random changes of the images.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.05
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: NonNegative = 1.0
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 0.0001
    patience: PositiveInt = 10
    augmentation: AugmentationSettings = dataclasses.field(default_factory=AugmentationSettings)


@dataclass(frozen=True, config=_CHECKED)
class EvaluationSettings:
    """When a model is blessed: judged on the selection split, never on the test split.

    Attributes:
        min_images: Least number of images to judge on; a verdict on fewer says nothing.
    """

    min_images: PositiveInt = 20


@dataclass(frozen=True, config=_CHECKED)
class RunSettings:
    """How nodes are run.

    Attributes:
        retries: How often a node that may be retried is tried again.
        backoff_seconds: Wait before the first retry; doubled for each next.
        beam_args: Beam's own options, e.g. `--runner=FlinkRunner`.
    """

    retries: Annotated[int, Field(ge=0, le=10)] = 2
    backoff_seconds: NonNegative = 2.0
    beam_args: tuple[str, ...] = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True, config=_CHECKED)
class Settings:
    """All settings of a run; each task has its own kind."""

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    run: RunSettings = dataclasses.field(default_factory=RunSettings)

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as nested dictionaries of plain values."""
        return dataclasses.asdict(self)


# Classifiers


@dataclass(frozen=True, config=_CHECKED)
class ClassifierTrainSettings(ReadingTrainSettings):
    """How a classifier is trained.

    Attributes:
        label_smoothing: Share of the label's mass spread over all classes.
    """

    label_smoothing: Fraction = 0.1


@dataclass(frozen=True, config=_CHECKED)
class AccuracySettings(EvaluationSettings):
    """When a classifier is blessed.

    Attributes:
        min_accuracy: Least accuracy.
        max_accuracy_drop: How much worse than the latest blessed model it may be.
    """

    min_accuracy: Fraction = 0.5
    max_accuracy_drop: Fraction = 0.01


# Emotion


@dataclass(frozen=True, config=_CHECKED)
class EmotionDataSettings(FaceDataSettings):
    """What is read.

    Attributes:
        drop_test_duplicates: Drop evaluation and test images that are copies of training images.
    """

    drop_test_duplicates: bool = False


@dataclass(frozen=True, config=_CHECKED)
class EmotionModelSettings(ReadingModelSettings):
    """The network.

    Attributes:
        network: `report_vgg` (report section 3.5.2) or `compact` (for CPUs).
    """

    network: Literal["report_vgg", "compact"] = "compact"


@dataclass(frozen=True, config=_CHECKED)
class EmotionSettings(Settings):
    """All settings of the emotion pipeline."""

    data: EmotionDataSettings = dataclasses.field(default_factory=EmotionDataSettings)
    model: EmotionModelSettings = dataclasses.field(default_factory=EmotionModelSettings)
    train: ClassifierTrainSettings = dataclasses.field(default_factory=ClassifierTrainSettings)
    evaluation: AccuracySettings = dataclasses.field(default_factory=AccuracySettings)


# Weights

TRAINED_HERE = ("compact", "embedding")
"""Backbones whose weights come from this project's own pipelines."""


@dataclass(frozen=True, config=_CHECKED)
class BackboneSettings(ReadingModelSettings):
    """The network.

    Attributes:
        backbone: Its kind.
        weights: File or https:// URL of the weights of a backbone that is not trained here, in Keras's HDF5
            form.
        weights_sha256: What they must hash to: other weights make another model.
    """

    backbone: str = "compact"
    weights: str = ""
    weights_sha256: Annotated[str, Field(pattern="^([0-9a-fA-F]{64})?$")] = ""

    def __post_init__(self) -> None:
        """Refuses a backbone without its weights, and weights that no backbone takes.

        Raises:
            InputError: See there.
        """
        if self.backbone in TRAINED_HERE:
            for name in ("weights", "weights_sha256"):
                if getattr(self, name):
                    raise InputError(
                        f"model.{name}: expected none for model.backbone={self.backbone}, found "
                        f"{getattr(self, name)}"
                    )
        elif not self.weights:
            raise InputError(
                f"model.weights: expected a file or URL for model.backbone={self.backbone}, found none"
            )
        elif not self.weights_sha256:
            raise InputError(
                "model.weights_sha256: expected the hash of model.weights (`sha256sum FILE`), found none"
            )


# Verification

Box = tuple[Annotated[int, Field(ge=0, le=100_000)], ...]


@dataclass(frozen=True, config=_CHECKED)
class VerificationDataSettings(FaceDataSettings):
    """Where faces are in data sets whose pictures show more: left, top, width and height in pixels.

    Without `align`, identity folders are taken as they are: their faces should be aligned then.

    Attributes:
        att_box: Of AT&T, 92x112; empty for the whole picture.
        lfw_box: Of LFW's pairs (deep-funneled, 250x250); empty for the whole picture.
    """

    # Both were placed so that eyes and mouth of the sets' mean faces lie where aligned faces have them.
    att_box: Box = (0, 5, 92, 101)
    lfw_box: Box = (56, 47, 138, 138)

    def __post_init__(self) -> None:
        """Refuses boxes that are none.

        Raises:
            InputError: See there.
        """
        for name in ("att_box", "lfw_box"):
            box = getattr(self, name)
            if box and (len(box) != 4 or not min(box[2:])):
                raise InputError(
                    f"data.{name}: expected left, top, width and height, or nothing, found {list(box)}"
                )


@dataclass(frozen=True, config=_CHECKED)
class VerificationModelSettings(BackboneSettings):
    """The tower that both faces go through.

    Attributes:
        backbone: `vggface` (report section 3.6), or `compact`, which is trained here.
        dropout: Share of activations dropped before the last layer of `compact`.
        dimensions: Length of the embedding of `compact`.
        far: False accept rate that the model's threshold is for.
    """

    backbone: Literal["compact", "vggface"] = "compact"
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    dimensions: Annotated[int, Field(ge=2, le=4096)] = 256
    far: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.01


@dataclass(frozen=True, config=_CHECKED)
class VerificationTrainSettings(ReadingTrainSettings):
    """How the tower is trained: a softmax over persons with a margin (CosFace).

    Attributes:
        scale: What cosines are multiplied by.
        margin: Taken off the right person's cosine.
    """

    scale: Annotated[float, Field(gt=0.0, le=1000.0)] = 32.0
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25


@dataclass(frozen=True, config=_CHECKED)
class EerSettings(EvaluationSettings):
    """When an embedding is blessed.

    Attributes:
        max_eer: Largest equal error rate.
        max_eer_rise: How much larger than the latest blessed model's it may be.
    """

    max_eer: Fraction = 0.2
    max_eer_rise: Fraction = 0.01


@dataclass(frozen=True, config=_CHECKED)
class VerificationSettings(Settings):
    """All settings of the verification pipeline.

    A backbone that comes with its weights is frozen: `train` has no meaning for it.
    """

    data: VerificationDataSettings = dataclasses.field(default_factory=VerificationDataSettings)
    model: VerificationModelSettings = dataclasses.field(default_factory=VerificationModelSettings)
    train: VerificationTrainSettings = dataclasses.field(default_factory=VerificationTrainSettings)
    evaluation: EerSettings = dataclasses.field(default_factory=EerSettings)

    def __post_init__(self) -> None:
        """Refuses a warm start of what is not trained.

        Raises:
            InputError: See there.
        """
        _refuse_frozen_warm_start(self.train, self.model)


def _refuse_frozen_warm_start(train: TrainSettings, model: BackboneSettings) -> None:
    if train.warm_start and model.backbone != "compact":
        raise InputError(f"train.warm_start: model.backbone={model.backbone} is frozen, nothing is trained")


# Gender and age


@dataclass(frozen=True, config=_CHECKED)
class PeopleDataSettings(FaceDataSettings):
    """How IMDB-WIKI is cleaned; records that a rule leaves out are counted by rule.

    Attributes:
        min_face_score: Least score of the face detector. Pictures without a face are always left out.
        single_face: Leave out pictures with a second face.
    """

    min_face_score: Annotated[float, Field(ge=-100.0, le=100.0)] = 1.0
    single_face: bool = True


@dataclass(frozen=True, config=_CHECKED)
class GenderDataSettings(PeopleDataSettings):
    """What is read.

    Attributes:
        age_known: Leave out records whose age is not known, or not between 0 and 100.
    """

    age_known: bool = False


@dataclass(frozen=True, config=_CHECKED)
class GenderModelSettings(BackboneSettings):
    """The feature extractor, on whose features scikit-learn's classifiers are compared.

    Attributes:
        backbone: `vgg16` (report section 3.3), `vggface`, `embedding`, the trunk of the latest blessed
            verification model, or `compact`, which is trained here.
    """

    backbone: Literal["compact", "embedding", "vgg16", "vggface"] = "compact"


@dataclass(frozen=True, config=_CHECKED)
class GenderSettings(Settings):
    """All settings of the gender pipeline.

    A backbone that comes with its weights is frozen: of `train`, only the seed has a meaning for it.
    """

    data: GenderDataSettings = dataclasses.field(default_factory=GenderDataSettings)
    model: GenderModelSettings = dataclasses.field(default_factory=GenderModelSettings)
    train: ClassifierTrainSettings = dataclasses.field(default_factory=ClassifierTrainSettings)
    evaluation: AccuracySettings = dataclasses.field(default_factory=AccuracySettings)

    def __post_init__(self) -> None:
        """Refuses a warm start of what is not trained.

        Raises:
            InputError: See there.
        """
        _refuse_frozen_warm_start(self.train, self.model)


@dataclass(frozen=True, config=_CHECKED)
class AgeDataSettings(PeopleDataSettings):
    """What is read.

    Attributes:
        gender_known: Leave out records whose gender is not known.
    """

    gender_known: bool = True


@dataclass(frozen=True, config=_CHECKED)
class AgeModelSettings(BackboneSettings):
    """The network.

    Attributes:
        backbone: `vggface` (report section 3.2.2), `embedding`, the trunk of the latest blessed verification
            model, or `compact`.
        trained_layers: `all`, or `last`: the last seven of VGG-Face (report section 3.2.2), those on top of
            the embedding's trunk, or the last stage of `compact`.
    """

    backbone: Literal["compact", "embedding", "vggface"] = "compact"
    trained_layers: Literal["all", "last"] = "all"


@dataclass(frozen=True, config=_CHECKED)
class AgeTrainSettings(ReadingTrainSettings):
    """How the network is trained.

    Attributes:
        label_sigma: Deviation, in years, of the Gaussian that a label is spread to; 0 for plain
            cross-entropy.
    """

    label_sigma: Annotated[float, Field(ge=0.0, le=50.0)] = 2.0


@dataclass(frozen=True, config=_CHECKED)
class MaeSettings(EvaluationSettings):
    """When an age model is blessed.

    Attributes:
        max_mae: Largest mean absolute error, years.
        max_mae_rise: How much larger than the latest blessed model's it may be, years.
    """

    max_mae: Positive = 10.0
    max_mae_rise: NonNegative = 0.2


@dataclass(frozen=True, config=_CHECKED)
class AgeSettings(Settings):
    """All settings of the age pipeline."""

    data: AgeDataSettings = dataclasses.field(default_factory=AgeDataSettings)
    model: AgeModelSettings = dataclasses.field(default_factory=AgeModelSettings)
    train: AgeTrainSettings = dataclasses.field(default_factory=AgeTrainSettings)
    evaluation: MaeSettings = dataclasses.field(default_factory=MaeSettings)

    def __post_init__(self) -> None:
        """Refuses to freeze layers that nothing has trained, and two beginnings at once.

        Raises:
            InputError: See there.
        """
        if self.model.backbone == "embedding" and self.train.warm_start:
            raise InputError(
                "train.warm_start: model.backbone=embedding begins with the trunk of the latest blessed "
                "verification model, not with the last age model"
            )
        frozen = self.model.trained_layers == "last"
        if frozen and self.model.backbone == "compact" and not self.train.warm_start:
            raise InputError(
                "model.trained_layers: last needs layers that are trained already: set "
                "train.warm_start=true, or model.backbone to vggface or embedding"
            )


# Detection


@dataclass(frozen=True, config=_CHECKED)
class DetectionModelSettings(ReadingModelSettings):
    """The cascade, and what it does if a request does not say otherwise.

    Attributes:
        dropout: Share of activations dropped before the last layers of R-Net and O-Net.
        flip_averaging: Average what O-Net finds in each window and in its mirror image.
        min_face: Side of the smallest faces looked for, pixels.
        factor: Ratio of two steps of the image pyramid.
        proposal_threshold: Score from which P-Net passes a window on.
        refinement_threshold: Score from which R-Net does.
        output_threshold: Score from which O-Net calls it a face.
    """

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    flip_averaging: bool = False
    min_face: Annotated[float, Field(ge=10.0, le=10_000.0)] = 20.0
    factor: Annotated[float, Field(ge=0.5, le=0.85)] = 0.709
    # Chosen on WIDER FACE's selection images, by what is found and how long it takes.
    proposal_threshold: Fraction = 0.8
    refinement_threshold: Fraction = 0.5
    output_threshold: Fraction = 0.6


@dataclass(frozen=True, config=_CHECKED)
class ColourSettings:
    """Random changes of colour; windows are moved, zoomed and mirrored where they are drawn."""

    brightness: Fraction = 0.1
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    grey: Fraction = 0.0


@dataclass(frozen=True, config=_CHECKED)
class DetectionTrainSettings(ReadingTrainSettings):
    """How each of the three networks is trained.

    Attributes:
        images_per_epoch: Windows an epoch, other ones each time; 0 for 48 of each image.
        augmentation: Random changes of the windows.
    """

    # No AugmentationSettings: most of those would be taken and have no effect.
    augmentation: ColourSettings = dataclasses.field(  # type: ignore[assignment]
        default_factory=ColourSettings
    )

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 256
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: Positive = 0.001
    weight_decay: NonNegative = 0.01


@dataclass(frozen=True, config=_CHECKED)
class AveragePrecisionSettings(EvaluationSettings):
    """When a detector is blessed, and how it looks for faces while it is judged.

    A precision/recall curve needs faces of low scores too, so the thresholds are lower than the model's own.

    Attributes:
        min_ap: Least average precision at IoU 0.5 of faces of 20 pixels and more.
        max_ap_drop: How much worse than the latest blessed model it may be.
        min_face: As of the model.
        factor: As of the model.
        proposal_threshold: As of the model.
        refinement_threshold: As of the model.
        output_threshold: As of the model.
    """

    min_ap: Fraction = 0.3
    max_ap_drop: Fraction = 0.02
    min_face: Annotated[float, Field(ge=10.0, le=10_000.0)] = 15.0
    factor: Annotated[float, Field(ge=0.5, le=0.85)] = 0.709
    proposal_threshold: Fraction = 0.5
    refinement_threshold: Fraction = 0.1
    output_threshold: Fraction = 0.05


@dataclass(frozen=True, config=_CHECKED)
class DetectionSettings(Settings):
    """All settings of the detection pipeline."""

    model: DetectionModelSettings = dataclasses.field(default_factory=DetectionModelSettings)
    train: DetectionTrainSettings = dataclasses.field(default_factory=DetectionTrainSettings)
    evaluation: AveragePrecisionSettings = dataclasses.field(default_factory=AveragePrecisionSettings)


# Synthesis


@dataclass(frozen=True, config=_CHECKED)
class BalanceSettings:
    """What a data set is made to consist of, by leaving images out of its larger parts.

    Attributes:
        male: Share of images that the data set's binary label calls male; none to take all images.
    """

    male: Annotated[float, Field(ge=0.0, le=1.0)] | None = None


@dataclass(frozen=True, config=_CHECKED)
class SynthesisDataSettings(DataSettings):
    """What is read.

    Attributes:
        balance: Shares that the images are made to have.
        max_images: Read at most so many images of each folder or span, chosen by hash; 0 for all.
    """

    balance: BalanceSettings = dataclasses.field(default_factory=BalanceSettings)
    max_images: Annotated[int, Field(ge=0, le=10_000_000)] = 0


@dataclass(frozen=True, config=_CHECKED)
class SynthesisModelSettings(ModelSettings):
    """Generator and discriminator (DCGAN, report section 4.5).

    Attributes:
        dropout: Share of activations dropped after each layer of the discriminator.
        generator_width: Channels of the generator's last hidden layer; doubled in each layer before it.
        discriminator_width: Channels of the discriminator's first layer; doubled in each layer after it.
        spectral_norm: Normalise the discriminator's weights by their largest singular value.
    """

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    generator_width: Annotated[int, Field(ge=4, le=256)] = 32
    discriminator_width: Annotated[int, Field(ge=4, le=256)] = 32
    spectral_norm: bool = False


@dataclass(frozen=True, config=_CHECKED)
class SynthesisTrainSettings(TrainSettings):
    """How generator and discriminator are trained against each other.

    Attributes:
        generator_rate: Learning rate of the generator's Adam.
        discriminator_rate: That of the discriminator's; rates that differ are the two time-scale rule.
        beta_1: Decay of both Adams' mean of gradients.
        label_smoothing: What the label of real images is lowered by (one-sided).
        average: Decay of the moving average of the generator's weights that is exported; 0 for none.
        flip: Mirror half of the training images.
    """

    generator_rate: Positive = 0.0002
    discriminator_rate: Positive = 0.0002
    beta_1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    flip: bool = True


@dataclass(frozen=True, config=_CHECKED)
class SynthesisEvaluationSettings(EvaluationSettings):
    """When a generator is blessed.

    Distances lie between a floor, that of training images to held-back ones, and a ceiling, that of noise.

    Attributes:
        extractor: Whose features images are compared by: `embedding`, the latest blessed verification model,
            or `inception`, Keras's InceptionV3 with weights that the user names.
        extractor_weights: File or https:// URL of InceptionV3's weights without top, in Keras's HDF5 form.
        extractor_weights_sha256: What they must hash to.
        images: How many generated images are looked at; fewer where fewer real ones are held back.
        max_position: Where the Frechet distance may lie at most, from 0, the floor, to 1, the ceiling.
        max_position_rise: How much higher than the latest blessed model's it may lie.
        min_diversity: Least mean distance between generated images, as a share of that between real ones.
        max_similar: Largest share of generated images that are as like another one as 1 % of real images are.
        max_copies: Largest share that are as like a training image as 1 % of held-back images are.
    """

    extractor: Literal["embedding", "inception"] = "embedding"
    extractor_weights: str = ""
    extractor_weights_sha256: Annotated[str, Field(pattern="^([0-9a-fA-F]{64})?$")] = ""
    # The kernel distance has tables of all pairs of images.
    images: Annotated[int, Field(ge=20, le=20_000)] = 2000
    max_position: Positive = 0.5
    max_position_rise: NonNegative = 0.05
    min_diversity: Fraction = 0.5
    max_similar: Fraction = 0.5
    max_copies: Fraction = 0.5

    def __post_init__(self) -> None:
        """Refuses Inception without its weights, and weights that nothing takes.

        Raises:
            InputError: See there.
        """
        names = ("extractor_weights", "extractor_weights_sha256")
        for name in names:
            given = getattr(self, name)
            if self.extractor == "inception" and not given:
                raise InputError(f"evaluation.{name}: needed for evaluation.extractor=inception, found none")
            if self.extractor != "inception" and given:
                raise InputError(
                    f"evaluation.{name}: expected none for evaluation.extractor={self.extractor}, found "
                    f"{given}"
                )


@dataclass(frozen=True, config=_CHECKED)
class SynthesisSettings(Settings):
    """All settings of the synthesis pipeline."""

    data: SynthesisDataSettings = dataclasses.field(default_factory=SynthesisDataSettings)
    model: SynthesisModelSettings = dataclasses.field(default_factory=SynthesisModelSettings)
    train: SynthesisTrainSettings = dataclasses.field(default_factory=SynthesisTrainSettings)
    evaluation: SynthesisEvaluationSettings = dataclasses.field(default_factory=SynthesisEvaluationSettings)
