"""A candidate in the model server: what is blessed, what is refused and in which words, what is recorded."""

import io
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from model_servers import model_server
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2
from toy_generator import face_like, save_generator

from components import candidate_server, infra_validator
from components.candidate_server import LOADS, CandidateServer
from components.infra_report import REPORT_FILE, BadModelError, InfraReport
from components.infra_validator import difference, not_finite, validate
from components.samples.faces import draw_face, random_face
from components.warmup_requests import Faces, UnknownInputError, drawn_face, in_rows, make_inputs, read_faces
from data_validation.errors import InputError
from serving.client import Code, Unavailable
from serving.model_server.warmup import RECORDS_FILE, warm_up

SIDE = 8
Tensors = dict[str, tf.Tensor]


def spec(name: str, shape: list[int | None], dtype: tf.DType = tf.string) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name)


def decoded(images: tf.Tensor) -> tf.Tensor:
    """Encoded images to float [N, SIDE, SIDE, 1]."""

    def one(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=1, expand_animations=False)
        return tf.image.resize(tf.cast(image, tf.float32), (SIDE, SIDE)) / 255.0

    return tf.map_fn(one, images, fn_output_signature=tf.float32)


def classes(images: tf.Tensor) -> Tensors:
    scores = tf.nn.softmax(tf.reduce_mean(images, axis=2)[:, :3, 0])
    names = tf.repeat(tf.constant([["angry", "happy", "sad"]]), tf.shape(scores)[0], axis=0)
    return {"classes": names, "scores": scores}


def classify(image_bytes: tf.Tensor) -> Tensors:
    return classes(decoded(image_bytes))


def from_pixels(pixels: tf.Tensor) -> Tensors:
    return classes(tf.image.resize(tf.cast(pixels, tf.float32), (SIDE, SIDE))[..., :1] / 255.0)


def from_examples(inputs: tf.Tensor) -> Tensors:
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "emotion": tf.io.FixedLenFeature([], tf.string),
    }
    return classes(decoded(tf.io.parse_example(inputs, features)["image/encoded"]))


def transform_label(examples: tf.Tensor) -> Tensors:
    features = {"emotion": tf.io.FixedLenFeature([], tf.string)}
    return {"emotion": tf.strings.length(tf.io.parse_example(examples, features)["emotion"])}


def verify(image_bytes_a: tf.Tensor, image_bytes_b: tf.Tensor) -> Tensors:
    distance = tf.reduce_mean(tf.abs(decoded(image_bytes_a) - decoded(image_bytes_b)), axis=[1, 2, 3])
    return {
        "cosine_distance": distance,
        "is_match": distance < 0.25,
        "threshold": 0.25 * tf.ones_like(distance),
    }


def age(image_bytes: tf.Tensor) -> Tensors:
    years = 100 * tf.reduce_mean(decoded(image_bytes), axis=[1, 2, 3])
    return {"age": years, "probabilities": tf.nn.softmax(years[:, None] * tf.ones([1, 101]))}


def png(images: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(tf.io.encode_png, images, fn_output_signature=tf.string)


def synthesise(latent: tf.Tensor) -> Tensors:
    values = tf.cast(255 * tf.nn.sigmoid(latent[:, :64]), tf.uint8)
    return {"image_bytes": png(tf.reshape(values, [-1, 8, 8, 1]))}


def sample(seed: tf.Tensor, count: tf.Tensor) -> Tensors:
    size = tf.stack([count, 100])
    return synthesise(tf.random.stateless_normal(size, tf.stack([seed, tf.constant(0, tf.int64)])))


def generated_pixels(latent: tf.Tensor) -> Tensors:
    return {"pixels": tf.cast(255 * tf.nn.sigmoid(tf.reshape(latent[:, :64], [-1, 8, 8, 1])), tf.uint8)}


def latents(seed: tf.Tensor, count: tf.Tensor) -> Tensors:
    size = tf.stack([count, 100])
    return {"latent": tf.random.stateless_normal(size, tf.stack([seed, tf.constant(0, tf.int64)]))}


def named(array: tf.Tensor) -> Tensors:
    return {"sum": array + 1.0}


IMAGES = [spec("image_bytes", [None])]
# The signatures of several tasks in one model: a server takes seconds to start.
GOOD: dict[str, tuple[Callable[..., Tensors], list[tf.TensorSpec]]] = {
    "serving_default": (classify, IMAGES),
    "pixels": (from_pixels, [spec("pixels", [None] * 4, tf.uint8)]),
    "serve_examples": (from_examples, [spec("inputs", [None])]),
    "transform_label": (transform_label, [spec("examples", [None])]),
    "verify": (verify, [spec("image_bytes_a", [None]), spec("image_bytes_b", [None])]),
    "age": (age, IMAGES),
    "synthesise": (synthesise, [spec("latent", [None, 100], tf.float32)]),
    "sample": (sample, [spec("seed", [], tf.int64), spec("count", [], tf.int32)]),
    "latents": (latents, [spec("seed", [], tf.int64), spec("count", [], tf.int32)]),
    "generated_pixels": (generated_pixels, [spec("latent", [None, 100], tf.float32)]),
    "strange": (named, [spec("array", [None], tf.float32)]),
}
ASKED = sorted(set(GOOD) - {"transform_label", "strange"})


def save(folder: Path, signatures: dict[str, tuple[Callable[..., Tensors], list[tf.TensorSpec]]]) -> Path:
    functions = {
        name: tf.function(function, autograph=False, input_signature=specs).get_concrete_function()
        for name, (function, specs) in signatures.items()
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=functions)
    return folder


@pytest.fixture(scope="module")
def faces() -> Faces:
    images = []
    for seed in range(10, 14):
        picture, _ = draw_face(random_face(random.Random(seed)), 48)
        encoded = io.BytesIO()
        picture.save(encoded, "PNG")
        images.append(encoded.getvalue())
    return Faces(tuple(images), tuple(map(example, images)))


def example(image: bytes) -> bytes:
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"jane.png"])),
        "emotion": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"happy"])),
        "age": tf.train.Feature(int64_list=tf.train.Int64List(value=[31])),
        "image/contrast": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@dataclass(frozen=True)
class Judged:
    model: Path
    report: InfraReport
    seconds: float


@pytest.fixture(scope="module")
def good(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    model = save(tmp_path_factory.mktemp("good") / "model", GOOD)
    start = time.monotonic()
    return Judged(model, validate(model, faces), time.monotonic() - start)


# A good model


def test_good_model_is_blessed(good: Judged) -> None:
    assert good.report.reason == ""
    assert good.report.blessed
    names = {check.name for check in good.report.checks}
    for signature in ASKED:
        for transport in ("gRPC", "REST"):
            assert f"{signature}, 1 at once: answer by {transport}" in names
            assert f"{signature}, 4 at once: answer by {transport}" in names
    assert "age: no image, by REST" in names
    assert "synthesise: batch as single" in names
    assert "sample: batch as single" not in names
    assert "generated_pixels: batch as single" in names
    assert "latents: batch as single" not in names


def test_a_model_that_takes_no_image_is_blessed(faces: Faces, tmp_path: Path) -> None:
    model = save_generator(tmp_path / "model", face_like(1, 20))
    report = validate(model, faces)
    assert report.reason == ""
    assert report.recorded == ["serving_default", "latents", "pixels", "sample"]
    assert report.skipped == {}
    names = {check.name for check in report.checks}
    assert {"serving_default: batch as single", "pixels: batch as single"} <= names
    assert {"sample, 4 at once: answer by REST", "latents, 4 at once: answer by gRPC"} <= names


def test_figures_and_skipped_signatures_are_told(good: Judged) -> None:
    assert set(good.report.figures) == {
        *("load_seconds", "seconds_to_available"),
        *("grpc_first_ms", "grpc_p50_ms", "rest_p50_ms"),
    }
    assert all(value > 0 for value in good.report.figures.values())
    assert good.report.skipped == {
        "strange": "input 'array' (float32) is none that is known",
        "transform_label": "for the Evaluator",
    }


def test_report_is_read_back(good: Judged, tmp_path: Path) -> None:
    good.report.save(tmp_path)
    assert json.loads((tmp_path / REPORT_FILE).read_text())["blessed"] is True
    assert InfraReport.load(tmp_path) == good.report


def records(model: Path) -> list[prediction_log_pb2.PredictionLog]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(model / RECORDS_FILE)).as_numpy_iterator()
    ]


def test_every_signature_for_clients_has_a_record(good: Judged, faces: Faces) -> None:
    logs = [log.predict_log for log in records(good.model)]
    assert sorted(log.request.model_spec.signature_name for log in logs) == ASKED
    loaded = tf.saved_model.load(str(good.model))
    for log in logs:
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in log.request.inputs.items()}
        answer = loaded.signatures[log.request.model_spec.signature_name](**inputs)
        recorded = {name: tf.make_ndarray(value) for name, value in log.response.outputs.items()}
        assert difference({name: value.numpy() for name, value in answer.items()}, recorded) == ""


def test_records_show_nobody(good: Judged, faces: Faces) -> None:
    content = (good.model / RECORDS_FILE).read_bytes()
    assert len(content) < 100_000
    for image in faces.images:
        assert image not in content
    assert b"jane" not in content


def test_records_are_replayed_by_the_server(good: Judged) -> None:
    base = good.model.parent / "base"
    base.mkdir()
    (base / "7").symlink_to(good.model)

    class Replayer:
        seen = 0

        def replay(self, log: prediction_log_pb2.PredictionLog) -> None:
            self.seen += 1

    replayer = Replayer()
    assert warm_up(base / "7", replayer, 1) == replayer.seen == len(ASKED)
    with model_server(f"--model_base_path={base}") as server:
        server.wait_for(f"Finished reading {len(ASKED)} warmup records")


def test_takes_seconds(good: Judged) -> None:
    assert good.seconds < 40  # 8 s on two idle cores


# Models that must not be pushed


def test_broken_model_is_refused(good: Judged, faces: Faces, tmp_path: Path) -> None:
    broken = shutil.copytree(good.model, tmp_path / "model")
    (broken / "saved_model.pb").write_bytes(b"\xff no model")
    report = validate(broken, faces)
    assert not report.blessed
    assert report.reason.startswith("loads: expected a SavedModel, found ")


def refused(tmp_path: Path, faces: Faces, function: Callable[..., Tensors]) -> str:
    report = validate(save(tmp_path / "model", {"serving_default": (function, IMAGES)}), faces)
    assert not report.blessed
    assert not (tmp_path / "model" / RECORDS_FILE).exists()
    return report.reason


def test_model_that_answers_nan_is_refused(tmp_path: Path, faces: Faces) -> None:
    def nan(image_bytes: tf.Tensor) -> Tensors:
        return {"scores": 0.0 / (0.0 * age(image_bytes)["age"])}

    reason = refused(tmp_path, faces, nan)
    assert (
        "serving_default, 1 at once: finite: output 'scores': expected finite values, found 1 as nan"
        in reason
    )


def test_model_that_takes_one_image_only_is_refused(tmp_path: Path, faces: Faces) -> None:
    def alone(image_bytes: tf.Tensor) -> Tensors:
        with tf.control_dependencies([tf.debugging.assert_equal(tf.size(image_bytes), 1, "one, please")]):
            return age(image_bytes)

    reason = refused(tmp_path, faces, alone)
    assert reason.startswith("serving_default: answers, 4 at once: expected an answer, found ")
    assert "one, please" in reason


def test_model_whose_rows_depend_on_each_other_is_refused(tmp_path: Path, faces: Faces) -> None:
    def relative(image_bytes: tf.Tensor) -> Tensors:
        years = age(image_bytes)["age"]
        return {"age": years / tf.reduce_sum(years)}

    reason = refused(tmp_path, faces, relative)
    assert "serving_default: batch as single: output 'age': expected 1.0 at [0], found 0." in reason


def test_model_that_nothing_can_be_asked_of_is_refused(tmp_path: Path, faces: Faces) -> None:
    signatures = {"serving_default": GOOD["strange"], "transform_label": GOOD["transform_label"]}
    report = validate(save(tmp_path / "model", signatures), faces)
    assert report.reason.startswith("signatures: expected one that can be asked, found ")
    assert "array" in report.reason


def test_model_that_takes_no_image_for_an_image_is_refused(tmp_path: Path, faces: Faces) -> None:
    """Also: a server that has begun to answer is ended like any other."""

    def length(image_bytes: tf.Tensor) -> Tensors:
        return {"age": tf.cast(tf.strings.length(image_bytes), tf.float32)}

    model = save(tmp_path / "model", {"serving_default": (length, IMAGES)})
    # A record that was there before would be in the way of the load.
    (model / "assets.extra").mkdir()
    (model / RECORDS_FILE).write_bytes(b"no records, and long enough to have a head")
    report = validate(model, faces)
    failed = [check for check in report.checks if check.detail]
    assert [check.name for check in failed] == [
        "serving_default: no image, by gRPC",
        "serving_default: no image, by REST",
    ]
    assert failed[0].detail == "expected b'not an image' to be refused, found an answer"
    assert report.reason.endswith("(and 1 more checks failed)")


# The server's process


def gone(server: CandidateServer) -> bool:
    return server._process.poll() is not None and not server._folder.exists()


def test_server_that_cannot_load_says_why_and_is_ended(good: Judged, tmp_path: Path) -> None:
    broken = shutil.copytree(good.model, tmp_path / "model")
    (broken / RECORDS_FILE).write_bytes(b"no records, and long enough to have a head")
    with CandidateServer() as server:
        with pytest.raises(BadModelError, match=r"expected AVAILABLE, found .*warmup record") as caught:
            server.load(broken)
        assert "failed: " in server.log_tail()
    assert caught.value.check == LOADS
    assert gone(server)


def test_server_is_ended_when_the_validator_fails() -> None:
    with pytest.raises(ZeroDivisionError), CandidateServer() as server:
        raise ZeroDivisionError
    assert gone(server)


def test_server_that_does_not_start_is_the_machine_s_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(candidate_server, "_PROGRAM", "raise SystemExit('no port is free')")
    with CandidateServer() as server, pytest.raises(RuntimeError, match="does not start: no port is free"):
        server.load(tmp_path)


def test_server_that_crashes_is_the_model_s_fault_unless_it_was_killed(tmp_path: Path) -> None:
    with CandidateServer() as server:
        os.kill(server._process.pid, 11)
        assert server.ended() == "that the server's process ended with code -11"
    with CandidateServer() as server:
        os.kill(server._process.pid, 9)
        with pytest.raises(RuntimeError, match="memory"):
            server.ended()


class Dead:
    """A client, and the server that it lost."""

    def predict(self, *_: object, **__: object) -> None:
        raise Unavailable(Code.UNAVAILABLE, "connection refused", "candidate")

    def ended(self) -> str:
        return "that the server's process ended with code -11"

    @property
    def clients(self) -> dict[str, "Dead"]:
        return {"gRPC": self}


def test_model_that_takes_the_server_down_is_refused() -> None:
    report = InfraReport()
    with pytest.raises(BadModelError, match=r"expected it to stay, found .*-11"):
        infra_validator._check_answers(Dead(), [infra_validator.Question("embed", 1, {}, {})], report)
    assert report.reason == (
        "embed, 1 at once: answer by gRPC: "
        "expected an answer, found candidate: UNAVAILABLE: connection refused"
    )


# Comparing


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, dtype=object)


def encoded(levels: list[int], mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array([levels], np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


FLOATS = np.array([0.5, 100.0], np.float32)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (FLOATS, FLOATS * np.float32(1 + 5e-6)),
        (np.array([np.nan], np.float32), np.array([np.nan], np.float32)),
        (np.array([1, 2]), np.array([1, 2])),
        (np.array(3, np.int32), np.array(3, np.int32)),
        (np.array([True]), np.array([True])),
        (strings(b"happy", b""), strings(b"happy", b"")),
        (strings(encoded([0, 7])), strings(encoded([1, 6]))),
        (np.uint8([0, 7, 255]), np.uint8([1, 6, 255])),
        (np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32)),
    ],
)
def test_equal_answers(expected: np.ndarray, found: np.ndarray) -> None:
    assert difference({"x": expected}, {"x": found}) == ""


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        (FLOATS, FLOATS + np.float32([0, 0.01]), "expected 100.0 at [1], found 100.01"),
        (
            FLOATS,
            np.array([0.5, np.nan], np.float32),
            "expected 100.0 at [1], found nan (1 of 2 values differ)",
        ),
        (FLOATS, FLOATS.astype(np.float64), "expected float32 [2], found float64 [2]"),
        (FLOATS, FLOATS[:1], "expected float32 [2], found float32 [1]"),
        (np.array([[1, 2]]), np.array([[1, 3]]), "expected 2 at [0, 1], found 3"),
        (np.array(1), np.array(2), "expected 1, found 2"),
        (np.array([True]), np.array([False]), "expected True at [0], found False"),
        (strings(b"happy"), strings(b"sad"), "expected b'happy' at [0], found b'sad'"),
        (strings(b"a" * 99), strings(b"a" * 98), "expected 99 bytes at [0], found 98 bytes"),
        (strings(encoded([0, 7])), strings(encoded([2, 7])), " bytes at [0], found "),
        (np.uint8([7, 0]), np.uint8([7, 255]), "expected 0 at [1], found 255"),
        (strings(encoded([0, 7])), strings(encoded([0, 7], "RGB")), " bytes at [0], found "),
    ],
)
def test_different_answers(expected: np.ndarray, found: np.ndarray, told: str) -> None:
    detail = difference({"x": expected}, {"x": found})
    assert detail.startswith("output 'x': ")
    assert told in detail


def test_other_outputs_are_told() -> None:
    assert difference({"a": FLOATS}, {"b": FLOATS}) == "expected the outputs ['a'], found ['b']"


def test_infinite_values_are_told() -> None:
    assert not_finite({"x": FLOATS, "n": np.array([1]), "s": strings(b"nan")}) == ""
    assert "'x': expected finite values, found 1 as -inf" in not_finite({"x": np.float32([0, -np.inf])})


# Requests


def test_smaller_batches_are_the_first_rows(faces: Faces) -> None:
    specs = {one.name: one for _, inputs in GOOD.values() for one in inputs if one.name != "array"}
    one, four = make_inputs(specs, faces, 1), make_inputs(specs, faces, 4)
    for name in set(specs) - {"seed", "count"}:
        assert len(one[name]) == 1
        assert len(four[name]) == 4
        np.testing.assert_array_equal(one[name], four[name][:1])
    assert (one["count"], four["count"]) == (1, 4)
    assert one["image_bytes_a"][0] != one["image_bytes_b"][0]
    assert not in_rows(specs)


def test_few_images_come_again(faces: Faces) -> None:
    single = Faces(faces.images[:1], faces.examples[:1])
    images = make_inputs({"image_bytes": spec("image_bytes", [None])}, single, 3)["image_bytes"]
    assert images.tolist() == [faces.images[0]] * 3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([None, None, None, None], (2, 48, 48, 3)),
        ([None, 20, 30, 1], (2, 20, 30, 1)),
        ([None, None, None, 3], (2, 48, 48, 3)),
    ],
)
def test_pixels_have_the_size_that_the_signature_names(faces: Faces, shape, expected) -> None:
    pixels = make_inputs({"pixels": spec("pixels", shape, tf.uint8)}, faces, 2)["pixels"]
    assert pixels.shape == expected
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "strange", [spec("image_bytes", [None], tf.float32), spec("audio_bytes", [None])], ids=["type", "name"]
)
def test_unknown_inputs_are_named(faces: Faces, strange: tf.TensorSpec) -> None:
    with pytest.raises(UnknownInputError, match=strange.name):
        make_inputs({strange.name: strange}, faces, 1)


@pytest.mark.parametrize(("form", "size", "side"), [("JPEG", (40, 60), 40), ("PNG", (900, 700), 256)])
def test_drawn_face_has_the_form_of_the_real_ones(form: str, size: tuple[int, int], side: int) -> None:
    real = io.BytesIO()
    Image.new("L", size).save(real, form)
    drawn = drawn_face(Faces((real.getvalue(),), (example(real.getvalue()),)))
    image = Image.open(io.BytesIO(drawn.images[0]))
    assert (image.format, image.size) == (form, (side, side))
    features = tf.train.Example.FromString(drawn.examples[0]).features.feature
    assert features["image/encoded"].bytes_list.value == [drawn.images[0]]
    assert features["image/filename"].bytes_list.value == [b""]
    assert features["age"].int64_list.value == [0]
    assert features["image/contrast"].float_list.value == [0.0]


def write_examples(folder: Path, examples: tuple[bytes, ...]) -> Path:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for one in examples:
            writer.write(one)
    return folder


def test_reads_the_first_faces(tmp_path: Path, faces: Faces) -> None:
    folder = write_examples(tmp_path / "some", faces.examples)
    assert read_faces(folder, 3) == Faces(faces.images[:3], faces.examples[:3])
    assert read_faces(folder, 9) == faces
    with pytest.raises(InputError, match="expected examples, found none"):
        read_faces(write_examples(tmp_path / "none", ()), 3)


# The component


@pytest.fixture
def component(good: Judged, faces: Faces, tmp_path: Path):
    """Runs the component's executor; returns its output."""
    standard = infra_validator.tfx.types.standard_artifacts

    def artifact(kind: type, name: str):
        made = kind()
        made.uri = str(tmp_path / name)
        return made

    model, examples = artifact(standard.Model, "model"), artifact(standard.Examples, "examples")
    model_blessing, blessing = artifact(standard.ModelBlessing, "m"), artifact(standard.InfraBlessing, "i")
    examples.split_names = '["train", "eval"]'
    write_examples(tmp_path / "examples" / "Split-eval", faces.examples)
    shutil.copytree(good.model, tmp_path / "model" / "Format-Serving")

    def run(blessed: int):
        model_blessing.set_int_custom_property("blessed", blessed)
        inputs = {"model": [model], "examples": [examples], "model_blessing": [model_blessing]}
        executor = infra_validator.InfraValidator.EXECUTOR_SPEC.executor_class()
        executor.Do(inputs, {"blessing": [blessing]}, {"code_fingerprint": ""})
        return blessing

    return run


def test_refused_candidate_is_not_tried(component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra_validator, "validate", None)  # nobody calls it
    blessing = component(blessed=0)
    assert sorted(os.listdir(blessing.uri)) == ["INFRA_NOT_BLESSED", REPORT_FILE]
    assert InfraReport.load(Path(blessing.uri)).reason == "not tried: the Evaluator did not bless the model"
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("has_model") == 0


def test_bad_candidate_is_not_kept(component, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(model: Path, faces: Faces) -> InfraReport:
        report = InfraReport()
        report.note("loads", "expected a SavedModel, found none")
        return report

    monkeypatch.setattr(infra_validator, "validate", bad)
    blessing = component(blessed=1)
    assert sorted(os.listdir(blessing.uri)) == ["INFRA_NOT_BLESSED", REPORT_FILE]
    assert blessing.get_int_custom_property("has_model") == 0


def test_good_candidate_is_stamped(component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra_validator, "validate", lambda model, faces: InfraReport())
    blessing = component(blessed=1)
    assert sorted(os.listdir(blessing.uri)) == ["INFRA_BLESSED", REPORT_FILE, "stamped_model"]
    assert (Path(blessing.uri) / "stamped_model" / "saved_model.pb").is_file()
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_int_custom_property("has_model") == 1
