from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from PIL import Image
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

import data_validation
from components.face_example_gen import to_example
from components.readers import celeba
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.face_points import FacePointsReader
from components.readers.fer2013 import COPY_FEATURE, FerCsvReader, FerFolderReader
from components.readers.ferg import FergReader
from components.readers.record import SPLITS, FaceRecord
from components.readers.wider_face import WiderFaceReader
from components.samples.celebrities import write_celeba
from components.samples.detection_set import write_face_points, write_wider_face
from data_validation.face_sizes import SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from data_validation.image_quality import UnreadableImageError
from data_validation.labels import (
    AGE_GROUPS,
    EMOTIONS,
    FACE_COUNTS,
    GENDERS,
    MAX_AGE,
    RACES,
    UNKNOWN,
    person_labels,
)
from pipelines.tasks import TASKS
from trainers.imaging import decode

SCHEMAS = Path(data_validation.__file__).parent / "schemas"
KINDS = {
    schema_pb2.BYTES: "bytes_list",
    schema_pb2.INT: "int64_list",
    schema_pb2.FLOAT: "float_list",
}


@pytest.fixture(scope="module")
def schema():
    return text_format.Parse((SCHEMAS / "emotion.pbtxt").read_text(encoding="utf-8"), schema_pb2.Schema())


@pytest.fixture(scope="module")
def domains(schema):
    return {domain.name: tuple(domain.value) for domain in schema.string_domain}


@pytest.fixture(params=[FerCsvReader, FerFolderReader, FergReader], ids=lambda kind: kind.__name__)
def record(request, tmp_path, encode, face):
    """A record of each reader."""
    pixels = " ".join(str(value) for value in face().ravel())
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n4,{pixels},PublicTest\n")
    (tmp_path / "fer2013_index.csv").write_text("emotion,Usage,path\n4,PublicTest,1.png\n")
    (tmp_path / "1.png").write_bytes(encode(face()))
    ferg = tmp_path / "FERG_DB_256/mery/mery_sadness"
    ferg.mkdir(parents=True)
    (ferg / "1.png").write_bytes(encode(face()))
    reader = request.param(tmp_path)
    (item,) = reader.items()
    return reader.load(item)


@pytest.fixture
def example(record):
    return to_example(record)


def test_every_task_has_its_schema_with_its_label():
    for task in TASKS.values():
        parsed = text_format.Parse((SCHEMAS / task.schema).read_text(encoding="utf-8"), schema_pb2.Schema())
        # How a face looks is no feature beside the image.
        wanted = {task.label, *task.slices} - {celeba.LABEL}
        assert wanted <= {feature.name for feature in parsed.feature}


def test_domains_are_those_of_the_code(domains):
    assert domains == {
        "emotion": EMOTIONS,
        "source": tuple(sorted({reader.source for reader in (FerCsvReader, FerFolderReader, FergReader)})),
        "split": SPLITS,
        COPY_FEATURE: ("no", "yes"),
    }


def test_classes_of_the_task_are_the_schema_s(domains):
    assert TASKS["emotion"].classes == domains["emotion"]


def test_every_text_domain_is_used_and_defined(schema, domains):
    assert {feature.domain for feature in schema.feature if feature.domain} == set(domains)


def test_every_feature_is_required_once(schema):
    for feature in schema.feature:
        assert feature.presence.min_fraction == 1.0, feature.name
        assert feature.WhichOneof("shape_type") == "shape", feature.name
        assert len(feature.shape.dim) == 0, feature.name


def test_example_has_the_schema_s_features_and_types(schema, example):
    found = {name: value.WhichOneof("kind") for name, value in example.features.feature.items()}
    assert found == {feature.name: KINDS[feature.type] for feature in schema.feature}
    for name, value in example.features.feature.items():
        assert len(getattr(value, value.WhichOneof("kind")).value) == 1, name


def test_example_lies_in_the_schema_s_domains(schema, domains, example):
    for feature in schema.feature:
        value = getattr(example.features.feature[feature.name], KINDS[feature.type]).value[0]
        if feature.domain:
            assert value.decode() in domains[feature.domain]
        elif feature.WhichOneof("domain_info") in ("int_domain", "float_domain"):
            domain = getattr(feature, feature.WhichOneof("domain_info"))
            assert domain.min <= value
            assert value <= domain.max or not domain.HasField("max")


def test_example_holds_the_record(example, record, face):
    features = example.features.feature
    texts = {"image/filename": record.filename, "source": record.source, "split": "eval", "emotion": "sad"}
    for name, text in texts.items():
        assert features[name].bytes_list.value[0].decode() == text
    assert features["image/encoded"].bytes_list.value[0] == record.image
    numbers = {"image/bytes": len(record.image), "image/height": 48, "image/width": 48}
    for name, number in numbers.items():
        assert features[name].int64_list.value[0] == number
    brightness = features["image/brightness"].float_list.value[0]
    assert brightness == pytest.approx(face().mean() / 255, rel=1e-5)


def test_labels_of_all_kinds_become_features(encode, face):
    record = FaceRecord("1.png", encode(face()), "train", "s", {"name": "Zoë", "age": 31, "weight": 0.5})
    features = to_example(record).features.feature
    assert features["name"].bytes_list.value[0].decode() == "Zoë"
    assert features["age"].int64_list.value[0] == 31
    assert features["weight"].float_list.value[0] == 0.5


def accepted(content):
    try:
        to_example(FaceRecord("1", content, "train", "fer2013", {"emotion": "sad"}))
    except UnreadableImageError:
        return False
    return True


@pytest.mark.parametrize("file_format", ["WEBP", "TIFF", "PPM", "ICO"])
def test_an_accepted_format_can_be_decoded_for_training(encode, face, file_format):
    content = encode(face(side=32), file_format)
    if accepted(content):
        decoded = decode(tf.constant(content), channels=3)
        assert decoded.shape[:2] == (32, 32)


@pytest.mark.parametrize("cut", [1, 12, 20])
def test_a_png_without_its_end_can_be_decoded_for_training_or_is_refused(encode, face, cut):
    content = encode(face())[:-cut]
    if accepted(content):
        assert decode(tf.constant(content), channels=3).shape[:2] == (48, 48)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("1", "PNG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "GIF"),
    ],
)
def test_usual_images_can_be_decoded_for_training(encode, face, mode, file_format):
    content = encode(Image.fromarray(face(side=32)).convert("RGB").convert(mode), file_format)
    example = to_example(FaceRecord("1", content, "train", "fer2013", {"emotion": "sad"}))
    decoded = decode(tf.constant(content), channels=3)
    assert decoded.shape == (32, 32, 3)
    brightness = example.features.feature["image/brightness"].float_list.value[0]
    assert np.mean(decoded) / 255 == pytest.approx(brightness, abs=0.05)


@pytest.mark.parametrize("task", ["gender", "age"])
def test_domains_of_people_are_those_of_the_code(task):
    parsed = text_format.Parse((SCHEMAS / f"{task}.pbtxt").read_text(encoding="utf-8"), schema_pb2.Schema())
    gender_unknown, age_unknown = ((), (UNKNOWN,)) if task == "gender" else ((UNKNOWN,), ())
    without_ages = (celeba.CelebaReader.source,) if task == "gender" else ()
    assert {domain.name: tuple(domain.value) for domain in parsed.string_domain} == {
        "gender": (*GENDERS, *gender_unknown),
        "age_group": (*AGE_GROUPS, *age_unknown),
        "race": (*RACES, UNKNOWN),
        "source": ("wiki", "imdb", "utkface", *without_ages),
        "split": SPLITS,
    }
    features = {feature.name: feature for feature in parsed.feature}
    for labels in (person_labels(task, 30, "male"), person_labels(task, 100, "female", "asian")):
        assert labels.keys() <= features.keys()
    if task == "age":
        assert (features["age"].int_domain.min, features["age"].int_domain.max) == (0, MAX_AGE)


@pytest.fixture(scope="module")
def celebrities(tmp_path_factory):
    """A drawn set in the form of CelebA, with and without its attributes."""
    folder = write_celeba(tmp_path_factory.mktemp("celebrities"), 12, seed=1)
    bare = tmp_path_factory.mktemp("bare")
    (bare / "img_align_celeba").symlink_to(folder / "img_align_celeba")
    return folder, bare


def test_domains_of_synthesis_are_those_of_the_code():
    parsed = text_format.Parse((SCHEMAS / "synthesis.pbtxt").read_text(encoding="utf-8"), schema_pb2.Schema())
    assert {domain.name: tuple(domain.value) for domain in parsed.string_domain} == {
        "gender": (*GENDERS, UNKNOWN),
        "source": (celeba.CelebaReader.source,),
        "split": SPLITS,
    }
    # What is smaller cannot be trained on, and the reader rejects it.
    least = {feature.name: feature.int_domain.min for feature in parsed.feature}
    assert (least["image/width"], least["image/height"]) == (SYNTHESIS_WIDTH, SYNTHESIS_HEIGHT)


@pytest.mark.parametrize(("label", "task"), [("face", "synthesis"), ("gender", "gender")])
def test_schemas_accept_celebrities(celebrities, label, task):
    parsed = text_format.Parse(
        (SCHEMAS / TASKS[task].schema).read_text(encoding="utf-8"), schema_pb2.Schema()
    )
    assert TASKS[task].label == label
    for folder in celebrities if task == "synthesis" else celebrities[:1]:
        (reader,) = open_readers(folder, ReaderOptions(label=label))
        examples = [to_example(reader.load(item)) for item in reader.items()]
        assert anomalies(parsed, examples) == set()
        wrong = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"man"]))
        examples[0].features.feature["gender"].CopyFrom(wrong)
        assert anomalies(parsed, examples) == {"gender"}


@pytest.fixture(scope="module")
def detection_schema():
    return text_format.Parse((SCHEMAS / "detection.pbtxt").read_text(encoding="utf-8"), schema_pb2.Schema())


@pytest.fixture(scope="module")
def detection_examples(tmp_path_factory):
    """Examples of drawn scenes and of drawn faces with landmarks."""
    folder = tmp_path_factory.mktemp("detection")
    write_wider_face(folder, 12, seed=1)
    write_face_points(folder, 3, seed=1)
    readers = open_readers(folder, ReaderOptions(label="boxes"))
    return {reader.source: [to_example(reader.load(item)) for item in reader.items()] for reader in readers}


def anomalies(schema, examples):
    batch = ExamplesToRecordBatchDecoder().DecodeBatch([each.SerializeToString() for each in examples])
    options = tfdv.StatsOptions(schema=schema, infer_type_from_schema=True)
    found = tfdv.validate_statistics(generate_statistics_in_memory(batch, options), schema)
    return set(found.anomaly_info)


def test_domains_of_detection_are_those_of_the_code(detection_schema):
    assert {domain.name: tuple(domain.value) for domain in detection_schema.string_domain} == {
        "boxes": FACE_COUNTS,
        "source": (WiderFaceReader.source, FacePointsReader.source),
        "split": SPLITS,
    }


def test_schema_accepts_drawn_scenes_and_landmarks(detection_schema, detection_examples):
    scenes, points = detection_examples["wider_face"], detection_examples["face_points"]
    assert any(not each.features.feature["boxes/ymin"].float_list.value for each in scenes)
    for examples in (scenes, points, scenes + points):
        assert anomalies(detection_schema, examples) == set()


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ("boxes/ymax", tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 1.01]))),
        ("boxes/xmin", tf.train.Feature(float_list=tf.train.FloatList(value=[float("nan")]))),
        ("boxes/ignored", tf.train.Feature(int64_list=tf.train.Int64List(value=[2]))),
        ("landmarks/x", tf.train.Feature()),
        ("boxes", tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"many"]))),
    ],
)
def test_schema_sees_boxes_that_are_wrong(detection_schema, detection_examples, feature, values):
    scenes = [
        tf.train.Example.FromString(each.SerializeToString()) for each in detection_examples["wider_face"]
    ]
    scenes[0].features.feature[feature].CopyFrom(values)
    assert anomalies(detection_schema, scenes) == {feature}


def test_boxes_come_to_the_trainer_as_ragged_tensors(detection_schema, detection_examples):
    examples = [each for found in detection_examples.values() for each in found]
    spec = schema_utils.schema_as_feature_spec(detection_schema).feature_spec
    parsed = tf.io.parse_example([each.SerializeToString() for each in examples], spec)
    for feature in detection_schema.feature:
        ragged = feature.name.startswith(("boxes/", "landmarks/"))
        assert isinstance(parsed[feature.name], tf.RaggedTensor if ragged else tf.Tensor), feature.name
    lengths = parsed["landmarks/y"].row_lengths().numpy()
    assert lengths.tolist() == [0] * 12 + [5] * 3
