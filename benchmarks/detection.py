"""The detector beside the PyPI package `mtcnn`: milliseconds an image at three sizes, and average precision.

    .venv/bin/uv pip install --target PACKAGES --require-hashes -r requirements/benchmarks.txt
    PYTHONPATH=PACKAGES python benchmarks/detection.py VERSION_FOLDER --examples EXAMPLES

VERSION_FOLDER is a SavedModel of the task detection, EXAMPLES what FaceExampleGen wrote in the run that
trained it: the images are those of the test split, which training did not see. `--wider DIR` reads a folder
of WIDER FACE's form instead and splits it as a run with this folder does.

Both get the same encoded images, decode them themselves, and use the same number of threads, smallest face
and ratio of scales; thresholds are each one's own. They take turns image by image, so that a slow minute of
the machine meets both. Each image is asked for `--rounds` times, and the faster one counts: first calls with
a new size cost both something. AP is that of all faces of 20 pixels or more in images of 640 pixels; smaller
faces and regions that the data set ignores count neither way. It is given for the thresholds of use and for
low ones, which end the curve later. Prints Markdown tables.
"""

import argparse
import io
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# benchmarks/serving.py has the name of a package that this uses, and Python looks beside a script first.
sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]

SIDES, AP_SIDE = (320, 640, 1280), 640
LEAST_FACE = 20.0
SOURCE = "wider_face"
OURS, THEIRS = "HexaFace", "mtcnn"
# What mtcnn 1.0.0 takes if it is not told otherwise.
THRESHOLDS_OF_MTCNN = (0.6, 0.7, 0.8)
LOW_THRESHOLDS = (0.4, 0.3, 0.05)
# Images, at each size, before the measuring begins.
WARM_UP = 5

Thresholds = tuple[float, float, float]
Found = tuple[np.ndarray, np.ndarray]
"""Boxes [N, 4] (ymin, xmin, ymax, xmax), pixels, and scores [N]."""


@dataclass(frozen=True)
class Scene:
    """An encoded image and its boxes [N, 4], shares of height and width; ignored is bool [N]."""

    image: bytes
    boxes: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Detector:
    """One of the two: what finds faces in an encoded image, and the thresholds that it has of its own."""

    find: Callable[[bytes, Thresholds], Found]
    thresholds: Thresholds


@dataclass(frozen=True)
class Speed:
    """Figures of a detector at one size: milliseconds an image, and images a second in all."""

    median: float
    p90: float
    images_per_second: float


@dataclass(frozen=True)
class Precision:
    """AP, and recall and precision of all that was found, at some thresholds."""

    thresholds: Thresholds
    average_precision: float
    recall: float
    precision: float


def main() -> None:
    arguments = _arguments()
    _use_threads(arguments.threads)
    scenes = list(_scenes(arguments))[: arguments.images]
    if not any(map(_faces, scenes)):
        raise SystemExit(f"expected images of {SOURCE} with faces in {arguments.splits}, found none")
    detectors = {
        OURS: _ours(arguments.version, arguments.min_face, arguments.factor),
        THEIRS: _theirs(arguments.min_face, arguments.factor),
    }
    speeds = {}
    for side in SIDES:
        print(f"{side} px", file=sys.stderr)
        images = [_resized(scene.image, side) for scene in scenes]
        speeds[side] = _speeds(images, detectors, arguments.rounds)
    print("average precision", file=sys.stderr)
    precisions = {name: _precisions(scenes, detector) for name, detector in detectors.items()}
    ratios = {side: row[THEIRS].median / row[OURS].median for side, row in speeds.items()}
    about = _about(arguments, scenes)
    print("\n".join([*(f"{name}: {value}" for name, value in about.items()), ""]))
    print(_speed_table(speeds, ratios), _precision_table(precisions), sep="\n\n")
    if arguments.output:
        arguments.output.write_text(_as_json(about, speeds, ratios, precisions))
    if arguments.check and min(ratios.values()) <= 1.0:
        raise SystemExit(f"{OURS} is not faster at every size")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="folder of a SavedModel with the signature detect")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--examples", type=Path, help="folder with Split-test of FaceExampleGen")
    source.add_argument("--wider", type=Path, help="folder of WIDER FACE's form")
    parser.add_argument("--splits", nargs="+", default=["test"], choices=["train", "eval", "test"])
    parser.add_argument("--images", type=int, help="the first so many; all without")
    parser.add_argument("--min-face", type=float, default=20.0, help="pixels")
    parser.add_argument("--factor", type=float, default=0.709, help="ratio of two scales of the pyramid")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--check", action="store_true", help=f"fail if {OURS} is not faster at every size")
    return parser.parse_args()


def _use_threads(count: int) -> None:
    from data_validation import environment  # noqa: F401 - chooses Keras 2, with which mtcnn is faster too

    # isort: split

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


# Images


def _scenes(arguments: argparse.Namespace) -> Iterator[Scene]:
    if arguments.wider:
        return _scenes_of_folder(arguments.wider, arguments.splits)
    return _scenes_of_examples(arguments.examples, arguments.splits)


def _scenes_of_folder(folder: Path, splits: list[str]) -> Iterator[Scene]:
    from components.readers.catalog import ReaderOptions, open_readers

    for reader in open_readers(folder, ReaderOptions(label="boxes")):
        for item in reader.items() if reader.source == SOURCE else ():
            record = reader.load(item)
            if record.split in splits:
                yield _scene(record.image, record.ragged)


def _scenes_of_examples(folder: Path, splits: list[str]) -> Iterator[Scene]:
    import tensorflow as tf

    for split in splits:
        files = sorted(map(str, (folder / f"Split-{split}").glob("*.gz")))
        if not files:
            raise SystemExit(f"{folder}: expected Split-{split} with TFRecords, found none")
        for serialized in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(serialized).features.feature
            # Other data sets have one box an image, whatever else it shows.
            if feature["source"].bytes_list.value[0].decode() == SOURCE:
                ragged = {
                    name: np.array(feature[name].int64_list.value or feature[name].float_list.value)
                    for name in feature
                    if name.startswith("boxes/")
                }
                yield _scene(feature["image/encoded"].bytes_list.value[0], ragged)


def _scene(image: bytes, ragged: dict[str, np.ndarray]) -> Scene:
    edges = [ragged[f"boxes/{edge}"] for edge in ("ymin", "xmin", "ymax", "xmax")]
    return Scene(image, np.stack(edges, axis=1).reshape(-1, 4), ragged["boxes/ignored"].astype(bool))


def _resized(encoded: bytes, longest: int) -> bytes:
    """Gives an image its longest side in pixels; one that has it stays the file that it is."""
    with Image.open(io.BytesIO(encoded)) as image:
        if max(image.size) == longest:
            return encoded
        width, height = (max(1, round(side * longest / max(image.size))) for side in image.size)
        buffer = io.BytesIO()
        image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(
            buffer, "JPEG", quality=95
        )
        return buffer.getvalue()


def _size(encoded: bytes) -> tuple[int, int]:
    """Height and width in pixels."""
    with Image.open(io.BytesIO(encoded)) as image:
        return image.height, image.width


# Detectors


def _ours(version: Path, min_face: float, factor: float) -> Detector:
    import tensorflow as tf

    settings = json.loads((version / "assets.extra" / "cascade.json").read_text())
    # The loaded object goes when nothing holds it, and its variables with it.
    model = tf.saved_model.load(str(version))

    def find(image: bytes, thresholds: Thresholds) -> Found:
        answer = model.signatures["detect"](
            image_bytes=tf.constant([image]),
            min_face=tf.constant([min_face]),
            factor=tf.constant([factor]),
            thresholds=tf.constant([thresholds]),
        )
        row = {name: values.numpy()[0] for name, values in answer.items()}
        count = int(row["num_detections"])
        boxes = row["detection_boxes"][:count] * np.tile(_size(image), 2)
        return boxes, row["detection_scores"][:count]

    return Detector(find, tuple(settings["thresholds"]))


def _theirs(min_face: float, factor: float) -> Detector:
    try:
        from mtcnn import MTCNN
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}; {__file__} says at its top how to get it") from error

    model = MTCNN()

    def find(image: bytes, thresholds: Thresholds) -> Found:
        rows = model.detect_faces(
            image,
            box_format="xyxy",
            output_type="numpy",
            min_face_size=min_face,
            scale_factor=factor,
            threshold_pnet=thresholds[0],
            threshold_rnet=thresholds[1],
            threshold_onet=thresholds[2],
        )
        # Number of the image, left, top, right, bottom, score, landmarks.
        return rows[:, [2, 1, 4, 3]], rows[:, 5]

    return Detector(find, THRESHOLDS_OF_MTCNN)


# Speed


def _speeds(images: list[bytes], detectors: dict[str, Detector], rounds: int) -> dict[str, Speed]:
    for image in images[:WARM_UP]:
        for detector in detectors.values():
            detector.find(image, detector.thresholds)
    seconds = {name: np.full([rounds, len(images)], np.inf) for name in detectors}
    for number in range(rounds):
        for place, image in enumerate(images):
            # Each one begins as often as the other: what the first leaves in the caches is no advantage.
            for name in list(detectors)[:: 1 if (place + number) % 2 else -1]:
                detector = detectors[name]
                start = time.perf_counter()
                detector.find(image, detector.thresholds)
                seconds[name][number, place] = time.perf_counter() - start
    return {name: _speed(values.min(axis=0)) for name, values in seconds.items()}


def _speed(seconds: np.ndarray) -> Speed:
    median, p90 = 1000.0 * np.percentile(seconds, [50, 90])
    return Speed(float(median), float(p90), float(1.0 / seconds.mean()))


# Average precision


def _precisions(scenes: list[Scene], detector: Detector) -> list[Precision]:
    images = [_resized(scene.image, AP_SIDE) for scene in scenes]
    return [_precision(scenes, images, detector, each) for each in (detector.thresholds, LOW_THRESHOLDS)]


def _precision(
    scenes: list[Scene], images: list[bytes], detector: Detector, thresholds: Thresholds
) -> Precision:
    from components.evaluation.detection_ranking import (
        AnnotatedFaces,
        average_precision,
        curve,
        rank,
        together,
    )

    rankings = [
        rank(AnnotatedFaces(*_annotated(scene)), *detector.find(image, thresholds), LEAST_FACE)
        for scene, image in zip(scenes, images, strict=True)
    ]
    ranking = together(rankings)
    found = curve(ranking)
    # Where nothing was found, the curve is empty.
    ends = [float(values[-1]) if len(values) else 0.0 for values in (found.recall, found.precision)]
    return Precision(thresholds, average_precision(ranking), *ends)


def _annotated(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes and their heights in pixels of the image at AP_SIDE, and which are ignored."""
    size = np.array(_size(scene.image))
    boxes = scene.boxes * np.tile(size * (AP_SIDE / size.max()), 2)
    return boxes, boxes[:, 2] - boxes[:, 0], scene.ignored


def _faces(scene: Scene) -> int:
    """How many faces of a scene count."""
    _, heights, ignored = _annotated(scene)
    return int((~ignored & (heights >= LEAST_FACE)).sum())


# Output


def _about(arguments: argparse.Namespace, scenes: list[Scene]) -> dict[str, str]:
    from components.evaluation.detection_ranking import IOU

    longest = [max(_size(scene.image)) for scene in scenes]
    enlarged = ", ".join(f"{sum(each < side for each in longest)} to {side} px" for side in SIDES)
    versions = (f"{name} {metadata.version(name)}" for name in ("tensorflow", "tf-keras", "mtcnn"))
    return {
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.platform()}",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
        "images": f"{len(scenes)} of {' and '.join(arguments.splits)}; enlarged: {enlarged}",
        "faces": f"{sum(map(_faces, scenes))} of {LEAST_FACE:g} px or more at {AP_SIDE} px",
        "settings": f"min_face {arguments.min_face:g}, factor {arguments.factor:g}, IoU {IOU:g}, "
        f"{arguments.threads} threads, faster of {arguments.rounds} calls",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _speed_table(speeds: dict[int, dict[str, Speed]], ratios: dict[int, float]) -> str:
    lines = [
        f"| longest side | detector | median ms | p90 ms | images/s | {OURS} faster, times |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for side, row in speeds.items():
        for name, speed in row.items():
            ratio = f"{ratios[side]:.2f}" if name == OURS else ""
            figures = f"{speed.median:.1f} | {speed.p90:.1f} | {speed.images_per_second:.1f}"
            lines.append(f"| {side} px | {name} | {figures} | {ratio} |")
    return "\n".join(lines)


def _precision_table(precisions: dict[str, list[Precision]]) -> str:
    lines = [
        f"| detector, {AP_SIDE} px | thresholds | AP | recall at the end | precision there |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, rows in precisions.items():
        for row in rows:
            figures = f"{row.average_precision:.3f} | {row.recall:.3f} | {row.precision:.3f}"
            thresholds = ", ".join(f"{value:g}" for value in row.thresholds)
            lines.append(f"| {name} | {thresholds} | {figures} |")
    return "\n".join(lines)


def _as_json(
    about: dict[str, str],
    speeds: dict[int, dict[str, Speed]],
    ratios: dict[int, float],
    precisions: dict[str, list[Precision]],
) -> str:
    values: dict[str, Any] = {
        "about": about,
        "speed": {
            side: {name: asdict(speed) for name, speed in row.items()} | {"ratio": ratios[side]}
            for side, row in speeds.items()
        },
        "precision": {name: [asdict(row) for row in rows] for name, rows in precisions.items()},
    }
    return json.dumps(values, indent=2) + "\n"


if __name__ == "__main__":
    main()
