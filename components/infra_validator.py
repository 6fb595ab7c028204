"""Tries a candidate in the model server before it is pushed, and adds the warm-up records to it."""

import io
import logging
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageChops
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.candidate_server import LOADS, MODEL, CandidateServer
from components.compat import tfx
from components.infra_report import BadModelError, InfraReport
from components.warmup_requests import (
    Arrays,
    Faces,
    UnknownInputError,
    drawn_face,
    in_rows,
    make_inputs,
    read_faces,
    write_records,
)
from data_validation.errors import one_line
from serving.client import Client, Code, ServerError
from serving.wire.calls import DEFAULT_SIGNATURE

logger = logging.getLogger("hexaface.infra")

BLESSED_FILE, NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"

_BATCH = 4
_TIMED_REQUESTS = 20
_TOLERANCE = 1e-5
# A pixel that lies between two of 256 levels may be rounded to either.
_PIXEL_TOLERANCE = 1
# Signatures with these at the start are for the Evaluator, which feeds them labels.
_EVALUATOR = "transform_"
_NOT_AN_IMAGE = b"not an image"
# A server that says this has no opinion on the image.
_NO_ANSWER = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}
_LONGEST_TEXT = 60


@tfx.dsl.components.component
def InfraValidator(
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    model_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing] = None,
) -> None:
    """Loads a candidate in the embedded model server, asks it, and compares with the model called directly.

    Args:
        model: The candidate.
        examples: Its selection split is what is asked about.
        blessing: As TFX's own InfraValidator writes it, so that the Pusher can push it: the marker file, the
            properties `blessed` and `has_model`, and the stamped model, which is the candidate with its
            warm-up records. Also `report.json`. A model that is not blessed is not kept.
        code_fingerprint: Only for the cache.
        model_blessing: The Evaluator's verdict; a model that it refused is not tried.
    """
    del code_fingerprint
    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    if model_blessing is not None and model_blessing.get_int_custom_property("blessed") != 1:
        report = InfraReport(not_tried="not tried: the Evaluator did not bless the model")
    else:
        faces = read_faces(Path(artifact_utils.get_split_uri([examples], "eval")), _BATCH)
        stamped = Path(path_utils.stamped_model_path(blessing.uri))
        shutil.copytree(path_utils.serving_model_path(model.uri), stamped, dirs_exist_ok=True)
        report = validate(stamped, faces)
        if not report.blessed:
            logger.warning("not blessed: %s", report.reason)
            shutil.rmtree(stamped)
    report.save(folder)
    (folder / (BLESSED_FILE if report.blessed else NOT_BLESSED_FILE)).touch()
    blessing.set_int_custom_property("blessed", int(report.blessed))
    blessing.set_int_custom_property("has_model", int(report.blessed))
    # As the Evaluator's blessing has it: which model this is about.
    blessing.set_int_custom_property("current_model_id", model.id)


def validate(model: Path, faces: Faces) -> InfraReport:
    """Judges a SavedModel and writes its warm-up records into it.

    Args:
        model: Its folder; the records are added.
        faces: What to ask about.

    Returns:
        The report. A bad model is no error.

    Raises:
        RuntimeError: The machine's fault: the model server does not start, or was killed.
    """
    report = InfraReport()
    # While it imports TensorFlow, the answers that are expected of it are made here.
    with CandidateServer() as server:
        try:
            _judge(model, faces, server, report)
        except BadModelError as fault:
            report.note(fault.check, fault.detail)
            if fault.check == LOADS:
                report.server_log = server.log_tail()
    return report


def _judge(model: Path, faces: Faces, server: CandidateServer, report: InfraReport) -> None:
    direct = DirectModel(model)
    questions = _questions(direct, faces, report)
    if not report.blessed:
        return
    write_records(model, _records(direct, faces, report), MODEL)
    logger.info("waiting for the model server")
    report.figures |= server.load(model)
    report.note(LOADS)
    logger.info("asking the model server")
    _check_answers(server, questions, report)
    _check_metadata(server, direct, report)
    _check_bad_images(server, questions, report)
    if report.blessed:
        _measure(server, questions, report)


class DirectModel:
    """A SavedModel in this process, on the CPU as the server has it: GPUs round otherwise.

    Attributes:
        specs: The inputs of each signature, by name; the default signature comes first.
    """

    def __init__(self, folder: Path) -> None:
        """Loads it.

        Raises:
            BadModelError: It cannot be loaded.
        """
        try:
            with tf.device("/CPU:0"):
                # Kept whole: the variables go with the object, the signatures do not hold them.
                self._model = tf.saved_model.load(str(folder))
        except Exception as error:  # whatever the loader meets in a broken file
            raise BadModelError("loads", f"expected a SavedModel, found {one_line(error)}") from error
        self.specs: dict[str, dict[str, tf.TensorSpec]] = {
            name: dict(function.structured_input_signature[1])
            for name, function in sorted(self._model.signatures.items(), key=_default_first)
        }

    def ask(self, signature: str, inputs: Arrays) -> Arrays:
        """Runs a signature.

        Raises:
            BadModelError: It fails.
        """
        try:
            with tf.device("/CPU:0"):
                tensors = {name: tf.constant(array) for name, array in inputs.items()}
                answer = self._model.signatures[signature](**tensors)
        except Exception as error:  # whatever a graph raises
            text = one_line(error).replace("Graph execution error: ", "")
            raise BadModelError(f"{signature}: answers", f"expected an answer, found {text}") from error
        return {name: np.asarray(value.numpy()) for name, value in answer.items()}


def _default_first(item: tuple[str, object]) -> tuple[bool, str]:
    return item[0] != DEFAULT_SIGNATURE, item[0]


@dataclass(frozen=True, eq=False)
class Question:
    """A request and the model's own answer to it."""

    signature: str
    count: int
    inputs: Arrays
    answer: Arrays

    def __str__(self) -> str:
        return f"{self.signature}, {self.count} at once"


def _questions(direct: DirectModel, faces: Faces, report: InfraReport) -> list[Question]:
    """Asks the model itself: every signature, one picture and several."""
    questions = []
    for signature, specs in direct.specs.items():
        if signature.startswith(_EVALUATOR):
            report.skipped[signature] = "for the Evaluator"
            continue
        try:
            inputs = {count: make_inputs(specs, faces, count) for count in (1, _BATCH)}
        except UnknownInputError as error:
            report.skipped[signature] = str(error)
            continue
        report.recorded.append(signature)
        for count, arrays in inputs.items():
            try:
                answer = direct.ask(signature, arrays)
            except BadModelError as fault:
                report.note(f"{fault.check}, {count} at once", fault.detail)
                break
            questions.append(Question(signature, count, arrays, answer))
            report.note(f"{questions[-1]}: finite", not_finite(answer))
        else:
            if in_rows(specs):
                report.note(f"{signature}: batch as single", _rows_differ(*questions[-2:]))
    if not report.recorded:
        raise BadModelError("signatures", f"expected one that can be asked, found {report.skipped or 'none'}")
    return questions


def _records(direct: DirectModel, faces: Faces, report: InfraReport) -> list[tuple[str, Arrays, Arrays]]:
    drawn = drawn_face(faces)
    inputs = {name: make_inputs(direct.specs[name], drawn, 1) for name in report.recorded}
    return [(name, arrays, direct.ask(name, arrays)) for name, arrays in inputs.items()]


def _rows_differ(single: Question, batch: Question) -> str:
    """Compares a picture's answer with its row in a batch."""
    for name, array in batch.answer.items():
        if array.ndim == 0 or len(array) != batch.count:
            return f"output {name!r}: expected {batch.count} rows, found the shape {list(array.shape)}"
    return difference(single.answer, {name: array[:1] for name, array in batch.answer.items()})


def _check_answers(server: CandidateServer, questions: list[Question], report: InfraReport) -> None:
    for transport, client in server.clients.items():
        for question in questions:
            start = time.monotonic()
            detail = _answers_otherwise(client, question)
            # The first of all is what most clients ask: the default signature, one picture.
            report.figures.setdefault("grpc_first_ms", (time.monotonic() - start) * 1000)
            if not report.note(f"{question}: answer by {transport}", detail):
                _stop_if_ended(server)


def _answers_otherwise(client: Client, question: Question) -> str:
    try:
        found = client.predict(MODEL, question.inputs, signature=question.signature)
    except ServerError as error:
        return f"expected an answer, found {error}"
    return difference(question.answer, found.outputs)


def _stop_if_ended(server: CandidateServer) -> None:
    ended = server.ended()
    if ended:
        raise BadModelError(LOADS, f"expected it to stay, found {ended}")


def _check_metadata(server: CandidateServer, direct: DirectModel, report: InfraReport) -> None:
    expected = {name: sorted(specs) for name, specs in direct.specs.items()}
    for transport, client in server.clients.items():
        try:
            signatures = client.metadata(MODEL)
            found: object = {name: sorted(signature.inputs) for name, signature in signatures.items()}
        except ServerError as error:
            found = error
        detail = "" if found == expected else f"expected {expected}, found {found}"
        report.note(f"metadata by {transport}", detail)


def _check_bad_images(server: CandidateServer, questions: list[Question], report: InfraReport) -> None:
    """A file that is no image must be refused, and harm nobody else."""
    for question in questions:
        image = next((name for name in sorted(question.inputs) if name.startswith("image_bytes")), "")
        if question.count > 1 or not image:
            continue
        inputs = question.inputs | {image: np.array([_NOT_AN_IMAGE], dtype=object)}
        for transport, client in server.clients.items():
            detail = _takes(client, question.signature, inputs) or _answers_otherwise(client, question)
            if not report.note(f"{question.signature}: no image, by {transport}", detail):
                _stop_if_ended(server)


def _takes(client: Client, signature: str, inputs: Arrays) -> str:
    try:
        client.predict(MODEL, inputs, signature=signature)
    except ServerError as error:
        return f"expected a refusal, found {error}" if error.code in _NO_ANSWER else ""
    return f"expected {_NOT_AN_IMAGE!r} to be refused, found an answer"


def _measure(server: CandidateServer, questions: list[Question], report: InfraReport) -> None:
    question = questions[0]
    for transport, client in server.clients.items():
        milliseconds, detail = [], ""
        for _ in range(_TIMED_REQUESTS):
            start = time.monotonic()
            detail = detail or _answers_otherwise(client, question)
            milliseconds.append((time.monotonic() - start) * 1000)
        report.note(f"{question}: the same answer again by {transport}", detail)
        report.figures[f"{transport.lower()}_p50_ms"] = statistics.median(milliseconds)


def not_finite(answer: Mapping[str, np.ndarray]) -> str:
    """Names an output with NaN or infinite values; empty where there is none."""
    for name, array in sorted(answer.items()):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong = array[~np.isfinite(array)]
            return f"output {name!r}: expected finite values, found {wrong.size} as {wrong.flat[0]}"
    return ""


def difference(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str:
    """Compares two answers: floats within 1e-5, pixels within a level of 256, all else must be equal.

    Args:
        expected: Arrays by output name.
        found: Arrays by output name.

    Returns:
        What differs, empty where nothing does.
    """
    if set(expected) != set(found):
        return f"expected the outputs {sorted(expected)}, found {sorted(found)}"
    for name in sorted(expected):
        detail = _arrays_differ(expected[name], found[name])
        if detail:
            return f"output {name!r}: {detail}"
    return ""


def _arrays_differ(expected: np.ndarray, found: np.ndarray) -> str:
    if (expected.dtype, expected.shape) != (found.dtype, found.shape):
        return f"expected {expected.dtype} {list(expected.shape)}, found {found.dtype} {list(found.shape)}"
    wrong = np.argwhere(~_same(expected, found))
    if not len(wrong):
        return ""
    place = tuple(wrong[0])
    where = f" at {[int(index) for index in place]}" if place else ""
    more = f" ({len(wrong)} of {expected.size} values differ)"
    return f"expected {_shown(expected[place])}{where}, found {_shown(found[place])}{more}"


def _same(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    if expected.dtype.kind == "f":
        return np.isclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
    if expected.dtype == np.uint8:
        return np.abs(expected.astype(np.int16) - found) <= _PIXEL_TOLERANCE
    same = np.asarray(expected == found)
    if expected.dtype.kind == "O":
        for place in map(tuple, np.argwhere(~same)):
            same[place] = _same_picture(expected[place], found[place])
    return same


def _same_picture(expected: bytes, found: bytes) -> bool:
    """Tells whether two texts are images that look the same."""
    try:
        with Image.open(io.BytesIO(expected)) as first, Image.open(io.BytesIO(found)) as second:
            if (first.size, first.mode) != (second.size, second.mode):
                return False
            extrema = ImageChops.difference(first, second).getextrema()
    except (OSError, ValueError, SyntaxError):
        return False
    return int(np.max(extrema)) <= _PIXEL_TOLERANCE


def _shown(value: object) -> str:
    """Shows a value in a message; images and other long texts by their size."""
    if isinstance(value, bytes) and len(value) > _LONGEST_TEXT:
        return f"{len(value)} bytes"
    return repr(value.item() if isinstance(value, np.generic) else value)
