"""The ExampleGen node by itself: what it writes, counts, refuses and hashes."""

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.compat import tfx
from components.face_example_gen import FaceExampleGenDriver, FaceExampleGenExecutor, to_example
from components.readers.record import SPLITS, FaceRecord
from data_validation.errors import InputError
from data_validation.image_quality import UnreadableImageError
from data_validation.ingestion import Ingestion
from data_validation.labels import FACE_COUNTS

GREY = " ".join(str(value % 251) for value in range(48 * 48))
SCENES = 40
USAGES = ("Training", "Training", "PublicTest", "PrivateTest")


def good_rows(count: int = 8) -> list[str]:
    return [
        f"{index % 7},{index} {GREY[GREY.index(' ') + 1 :]},{USAGES[index % 4]}" for index in range(count)
    ]


def write_csv(folder: Path, rows: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    return folder


def generate(
    sources: Sequence[Path], output: Path, detector: tfx.dsl.Artifact | None = None, **changes: Any
) -> tuple[Path, dict[str, Any]]:
    """Runs driver and executor as TFX does; returns the artifact's folder and the driver's properties."""
    artifact = tfx.types.standard_artifacts.Examples()
    artifact.uri = str(output)
    output.mkdir(parents=True)
    properties = {
        "sources": json.dumps([str(source) for source in sources]),
        "spans": 1,
        "reader_options": json.dumps({"drop_test_duplicates": False}),
        "max_rejected_fraction": 0.5,
        "code_fingerprint": "x",
        **changes,
    }
    info = SimpleNamespace(exec_properties=properties, output_dict={"examples": [artifact]})
    answer = FaceExampleGenDriver(None).run(info)
    resolved = {
        key: getattr(value, value.WhichOneof("value")) for key, value in answer.exec_properties.items()
    }
    inputs = {"detector": [detector]} if detector else {}
    FaceExampleGenExecutor().Do(inputs, {"examples": [artifact]}, resolved)
    return output, resolved


def examples(output: Path, split: str) -> list[tf.train.Example]:
    files = sorted(map(str, output.glob(f"Split-{split}/*")))
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return [tf.train.Example.FromString(record) for record in dataset.as_numpy_iterator()]


def numbers(example: tf.train.Example, feature: str) -> list[int]:
    return list(example.features.feature[feature].int64_list.value)


def write_scenes(folder: Path) -> Path:
    """Pictures of WIDER FACE's form, each with a box inside and one that reaches outside."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(SCENES):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"images/{number}.png")
        lines += [f"{number}.png", "2", "1 1 9 9 0 0 0 0 0 0", "30 9 20 9 0 0 0 0 0 0"]
    (folder / "wider_face_bbx_gt.txt").write_text("\n".join(lines))
    return folder


def black_png(side: int) -> bytes:
    """A grey PNG that is the same with every version of a compressor: nothing is compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side), level=0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text(example: tf.train.Example, feature: str) -> str:
    return example.features.feature[feature].bytes_list.value[0].decode()


def test_writes_the_splits_of_the_data_set(tmp_path: Path) -> None:
    output, _ = generate([write_csv(tmp_path / "data", good_rows())], tmp_path / "out")
    names = {
        split: {text(example, "image/filename") for example in examples(output, split)}
        for split in ("train", "eval", "test")
    }
    assert names == {
        "train": {f"fer2013.csv:{line}" for line in (2, 3, 6, 7)},
        "eval": {"fer2013.csv:4", "fer2013.csv:8"},
        "test": {"fer2013.csv:5", "fer2013.csv:9"},
    }
    assert {text(example, "split") for example in examples(output, "eval")} == {"eval"}
    account = Ingestion.load(output)
    assert not account.flags and not account.alignment


def test_rejected_records_are_written_with_their_reason(tmp_path: Path) -> None:
    rows = [*good_rows(), f"9,{GREY},Training", f"0,{GREY},Nowhere"]
    output, _ = generate([write_csv(tmp_path / "data", rows)], tmp_path / "out")
    rejected = [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]
    assert {entry["file"]: entry["reason"] for entry in rejected} == {
        "fer2013.csv:10": "emotion: expected a code from 0 to 6, found '9'",
        "fer2013.csv:11": "Usage: expected Training, PublicTest, PrivateTest, found 'Nowhere'",
    }
    account = Ingestion.load(output)
    assert account.total("rejected") == 2
    assert account.total("records") == 8


def test_dropped_records_do_not_count_against_the_budget(tmp_path: Path) -> None:
    rows = [*good_rows(), *(row.replace("Training", "PrivateTest") for row in good_rows(2))]
    options = json.dumps({"drop_test_duplicates": True})
    output, _ = generate(
        [write_csv(tmp_path / "data", rows)],
        tmp_path / "out",
        reader_options=options,
        max_rejected_fraction=0.0,
    )
    account = Ingestion.load(output)
    assert account.dropped == {("fer2013", "same picture as a training image"): 2}
    assert len(examples(output, "test")) == 2


def test_a_full_budget_names_reasons_and_a_file(tmp_path: Path) -> None:
    rows = [*good_rows(), f"9,{GREY},Training"]
    with pytest.raises(
        InputError, match=r"1 of 9 records rejected \(11\.1%\).*found '9'; first: fer2013\.csv:10"
    ):
        generate([write_csv(tmp_path / "data", rows)], tmp_path / "out", max_rejected_fraction=0.1)


def test_a_budget_that_is_just_enough_is_enough(tmp_path: Path) -> None:
    rows = [*good_rows(), f"9,{GREY},Training"]
    generate([write_csv(tmp_path / "data", rows)], tmp_path / "out", max_rejected_fraction=1 / 9)


def test_a_split_without_records_is_refused(tmp_path: Path) -> None:
    rows = [row.replace("PrivateTest", "PublicTest") for row in good_rows()]
    with pytest.raises(InputError, match="no records for the split test"):
        generate([write_csv(tmp_path / "data", rows)], tmp_path / "out")


def test_data_without_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no records for the split train, eval, test \(of 0 kept\)$"):
        generate([write_csv(tmp_path / "data", [])], tmp_path / "out")


def test_pictures_of_one_person_are_in_one_split(tmp_path: Path) -> None:
    (tmp_path / "data" / "Ann_Lee").mkdir(parents=True)
    for number in range(3):
        picture = Image.effect_noise((64, 64), 60 + number).convert("RGB")
        picture.save(tmp_path / "data" / "Ann_Lee" / f"{number}.jpg")
    with pytest.raises(InputError, match=r"no records for the split eval, test \(of 3 kept\)$"):
        generate([tmp_path / "data"], tmp_path / "out", reader_options=json.dumps({"label": "identity"}))


def test_content_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    """Order, place and times do not matter; a pixel does."""
    folder = write_csv(tmp_path / "data", good_rows())
    moved = write_csv(tmp_path / "moved", good_rows())
    changed = write_csv(tmp_path / "changed", [good_rows()[0].replace("250", "249"), *good_rows()[1:]])
    prints = [
        Ingestion.load(generate([source], tmp_path / f"out{number}")[0]).content_fingerprint
        for number, source in enumerate((folder, moved, changed))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_reads_the_newest_spans(tmp_path: Path) -> None:
    for span in (1, 2, 10):
        write_csv(tmp_path / "data" / f"span-{span}", good_rows(4 * span))
    output, resolved = generate([tmp_path / "data"], tmp_path / "one")
    assert resolved["span"] == 10
    assert Ingestion.load(output).total("records") == 40
    output, _ = generate([tmp_path / "data"], tmp_path / "two", spans=2)
    assert Ingestion.load(output).total("records") == 48
    assert Ingestion.load(output).span == 10


def test_changed_data_changes_the_input_fingerprint(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "data", good_rows())
    _, before = generate([folder], tmp_path / "before")
    write_csv(folder, good_rows(12))
    _, after = generate([folder], tmp_path / "after")
    assert before["input_fingerprint"] != after["input_fingerprint"]


def test_flags_of_boxes_are_counted(tmp_path: Path) -> None:
    """A row a value, not a row a box; pictures are counted by their label."""
    data = write_scenes(tmp_path / "data")
    output, _ = generate([data], tmp_path / "out", reader_options=json.dumps({"label": "boxes"}))
    account = Ingestion.load(output)
    assert account.total("records") == SCENES
    assert account.distribution("boxes", "train").keys() <= set(FACE_COUNTS)
    found = [example for split in SPLITS for example in examples(output, split)]
    values = [value for each in found for value in numbers(each, "boxes/clipped")]
    # Of each picture one box reaches outside and the other does not.
    assert (values.count(1), values.count(0)) == (SCENES, SCENES)
    assert account.flag_total("boxes/clipped") == account.flag_total("boxes/clipped", 0) == SCENES
    assert account.flag_total("boxes/ignored") == 0
    assert account.flag_total("boxes/clipped", split="train") == account.split_total("train")
    assert {feature for _, _, feature, _ in account.flags} == {"boxes/clipped", "boxes/ignored"}
    account.save(output)
    assert Ingestion.load(output) == account


def test_bytes_of_records_without_ragged_features_stay_the_same():
    """Fingerprints of data that was read before must not change."""
    record = FaceRecord("1.png", black_png(16), "train", "ferg", {"emotion": "sad", "age": 3, "share": 0.5})
    digest = hashlib.sha256(to_example(record).SerializeToString(deterministic=True)).hexdigest()
    assert digest == "762a7d593e0c7574c3d7fb16e0691d64219664a8cafe45596b56ee8de10f5d6f"


@pytest.mark.parametrize("values", [[], [0.25], [0.5, 1.0, 0.0]])
def test_ragged_features_keep_kind_and_length(values: list[float]) -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "PNG")
    ragged = {"shares": np.array(values, np.float32), "flags": np.array(values, np.int64)}
    features = to_example(FaceRecord("1", buffer.getvalue(), "train", "s", {}, ragged)).features.feature
    # An empty list has its kind too: it is not a missing feature.
    assert features["shares"].WhichOneof("kind") == "float_list"
    assert list(features["shares"].float_list.value) == values
    assert features["flags"].WhichOneof("kind") == "int64_list"
    assert list(features["flags"].int64_list.value) == [int(value) for value in values]


def test_images_too_small_to_be_faces_are_rejected():
    buffer = io.BytesIO()
    Image.new("RGB", (15, 40)).save(buffer, "PNG")
    record = FaceRecord("1.png", buffer.getvalue(), "train", "ferg", {})
    with pytest.raises(UnreadableImageError, match=r"^image of 15x40 is smaller than 16x16$"):
        to_example(record)
