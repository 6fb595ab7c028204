"""Warm-up records of a version: read without TensorFlow, and sent to a server to compare its answers.

A record is a request, and the answer that the model gave when it was recorded, if that was kept.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError

from serving.client import Client
from serving.wire import wire_pb2
from serving.wire.tensors import from_proto

RECORDS_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# TensorFlow Serving's own bound, and the largest request that the embedded server takes.
MAX_RECORDS = 1000
MAX_RECORD_BYTES = 64 << 20

# The relative part is for values far from 1, where float32 itself is coarser than the absolute part.
_ABSOLUTE, _RELATIVE = 1e-4, 1e-5
_HEAD = struct.Struct("<QI")  # length of the data, masked checksum of those eight bytes
_TAIL = struct.Struct("<I")  # masked checksum of the data


class RecordError(ValueError):
    """A records file that cannot be read, or an answer that is not the recorded one."""


@dataclass(frozen=True)
class Replay:
    """What was found.

    Attributes:
        answered: Requests that were sent and answered.
        compared: How many of those had an answer on record, and got an equal one.
        others: Records of other calls than Predict, which only the server itself replays.
    """

    answered: int
    compared: int
    others: int


def has_records(version: Path) -> bool:
    """Tells whether a version's folder has warm-up records."""
    return (version / RECORDS_FILE).is_file()


def read_records(file: Path, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[bytes]:
    """Reads a TFRecord file; no length in it is trusted before its checksum and the file's size agree.

    Args:
        file: Not compressed.
        max_bytes: The largest record.

    Yields:
        The data of each record.

    Raises:
        RecordError: The file cannot be read, is damaged or cut off, or has too many or too large records.
    """
    try:
        with open(file, "rb") as stream:
            left = os.fstat(stream.fileno()).st_size
            number = 0
            while left:
                number += 1
                where = f"{file}: record {number}"
                if number > MAX_RECORDS:
                    raise RecordError(f"{file}: expected at most {MAX_RECORDS} records")
                data = _read_record(stream, where, max_bytes, left)
                left -= _HEAD.size + len(data) + _TAIL.size
                yield data
    except OSError as error:
        raise RecordError(f"{file}: cannot be read: {error.strerror}") from error


def _read_record(stream: BinaryIO, where: str, max_bytes: int, left: int) -> bytes:
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise RecordError(f"{where}: the file is cut off")
    length, checksum = _HEAD.unpack(head)
    if checksum != _masked_checksum(head[:8]):
        raise RecordError(f"{where}: damaged: the checksum of its length is wrong")
    if length + _HEAD.size + _TAIL.size > left:
        raise RecordError(f"{where}: the file is cut off")
    if length > max_bytes:
        raise RecordError(f"{where}: expected at most {max_bytes} bytes, found {length}")
    data, tail = stream.read(length), stream.read(_TAIL.size)
    if len(data) < length or len(tail) < _TAIL.size:
        raise RecordError(f"{where}: the file is cut off")
    if _TAIL.unpack(tail)[0] != _masked_checksum(data):
        raise RecordError(f"{where}: damaged: the checksum of its data is wrong")
    return data


def _masked_checksum(data: bytes) -> int:
    """Returns TFRecord's checksum: a CRC-32C, masked so that data with checksums in it is told apart."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def replay(client: Client, model: str, label: str, version: int, folder: Path) -> Replay:
    """Sends the recorded requests of a version to a label, and compares the answers.

    Args:
        client: Of the server.
        model: The model's name.
        label: Whom to ask.
        version: Which version is to answer.
        folder: That version's folder, with records.

    Returns:
        What was found.

    Raises:
        RecordError: Records cannot be read, another version answered, or an answer is not the recorded one.
        ServerError: A request was not answered.
    """
    answered = compared = others = 0
    for number, data in enumerate(read_records(folder / RECORDS_FILE), start=1):
        where = f"recorded request {number}"
        log = _predict_log(data, where)
        if log is None:
            others += 1
            continue
        request = log.request
        inputs = _arrays(request.inputs, where)
        prediction = client.predict(
            model,
            inputs,
            signature=request.model_spec.signature_name,
            outputs=tuple(request.output_filter),
            label=label,
        )
        if prediction.version != version:
            raise RecordError(f"{where}: version {prediction.version} answered under {label}")
        answered += 1
        if log.HasField("response"):
            problem = difference(_arrays(log.response.outputs, where), prediction.outputs)
            if problem:
                raise RecordError(f"{where}: the answer is not the recorded one: {problem}")
            compared += 1
    return Replay(answered, compared, others)


def _predict_log(data: bytes, where: str) -> wire_pb2.PredictLog | None:
    """Returns a record of Predict; None for one of another call."""
    try:
        log = wire_pb2.PredictionLog.FromString(data)
    except DecodeError as error:
        raise RecordError(f"{where}: not a PredictionLog") from error
    if log.WhichOneof("log_type") is None:
        return None
    if not log.predict_log.request.inputs:
        raise RecordError(f"{where}: it has no inputs")
    return log.predict_log


def _arrays(tensors: Mapping[str, wire_pb2.TensorProto], where: str) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in tensors.items():
        try:
            arrays[name] = from_proto(tensor)
        except ValueError as error:
            raise RecordError(f"{where}: {name}: {error}") from error
    return arrays


def difference(recorded: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> str:
    """Compares answers: text and whole numbers must be equal, others near.

    Returns:
        The first difference in words, which quote no text or image; empty if there is none.
    """
    if set(recorded) != set(found):
        return f"outputs {_names(found)}, recorded were {_names(recorded)}"
    for name in sorted(recorded):
        old, new = recorded[name], found[name]
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            return f"{name} is {_form(new)}, recorded was {_form(old)}"
        far = _far(old, new)
        if far:
            return f"{name} differs in {far} of {old.size} values"
    return ""


def _far(old: np.ndarray, new: np.ndarray) -> int:
    """Counts the values that differ by more than is allowed."""
    if old.dtype.kind != "f":
        return int(np.count_nonzero(old != new))
    return int(np.count_nonzero(~np.isclose(new, old, atol=_ABSOLUTE, rtol=_RELATIVE, equal_nan=True)))


def _names(outputs: Mapping[str, np.ndarray]) -> str:
    return ", ".join(sorted(outputs)) or "none"


def _form(array: np.ndarray) -> str:
    kind = "text" if array.dtype == object else array.dtype.name
    return f"{kind} {list(array.shape)}"
