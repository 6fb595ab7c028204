"""ExampleGen for face data sets: reads, measures, splits and counts.

It writes one split of gzipped TFRecords each for `train`, `eval` and `test`, and beside them

- `ingestion.json`: how many records of which split, source and label, what was rejected or dropped and why,
  how many faces were aligned where that is wanted, and a fingerprint of the contents that does not depend on
  paths, times or order;
- `rejected.jsonl`: each rejected record with its reason;
- `pairs.jsonl`: the pairs that data sets list for comparison.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, base_driver, executor_spec
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec
from tfx.utils import path_utils

from components.aligned_reading import align_record
from components.compat import tfx
from components.face_finder import FaceFinder, read_rgb
from components.pairs import save_pairs
from components.readers.catalog import ReaderOptions, fingerprint, open_readers, select_spans
from components.readers.record import SPLITS, FaceRecord, Reader, RecordDropped, RecordRejected
from data_validation.errors import InputError
from data_validation.image_quality import MIN_SIDE, UnreadableImageError, measure
from data_validation.ingestion import INGESTION_FILE, REJECTED_FILE, Ingestion

_RECORDS, _REJECTED, _COUNTS = "records", "rejected", "counts"
_MODULUS = 1 << 256
_Value = bytes | str | int | float | np.ndarray


def to_example(record: FaceRecord) -> tf.train.Example:
    """Builds the training example of a record.

    Args:
        record: A record of a reader.

    Returns:
        An Example with `image/*`, `source`, `split`, and the record's labels and ragged features.

    Raises:
        UnreadableImageError: The image does not decode, or is too small to be a face.
    """
    quality = measure(record.image, MIN_SIDE)
    # Pillow is kinder to damaged files than TensorFlow, which is what training and serving decode with.
    read_rgb(record.image)
    values: dict[str, _Value] = {
        "image/encoded": record.image,
        "image/filename": record.filename,
        "image/height": quality.height,
        "image/width": quality.width,
        "image/bytes": quality.byte_size,
        "image/brightness": quality.brightness,
        "image/contrast": quality.contrast,
        "image/sharpness": quality.sharpness,
        "source": record.source,
        "split": record.split,
        **record.labels,
        **record.ragged,
    }
    return tf.train.Example(
        features=tf.train.Features(feature={name: _feature(value) for name, value in values.items()})
    )


def _feature(value: _Value) -> tf.train.Feature:
    if isinstance(value, np.ndarray):
        # The kind is set even where there are no values: an empty list is not a missing feature.
        if value.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


class _LoadRecord(beam.DoFn):
    """Loads an item and says what became of it, on three outputs: records, rejections and counts."""

    def __init__(self, detector: str) -> None:
        self._detector = detector
        self._finder: FaceFinder | None = None

    def setup(self) -> None:
        """Loads the detection model, once a worker: a loaded one cannot be sent there."""
        self._finder = FaceFinder(Path(self._detector)) if self._detector else None

    def process(self, element: Any) -> Iterator[beam.pvalue.TaggedOutput]:
        # Untyped: Beam would check the annotation against the Reader protocol at run time.
        reader: Reader = element[0]
        item = element[1]
        try:
            record = reader.load(item)
            alignment = ""
            if self._finder:
                record, alignment = align_record(record, self._finder.find)
            serialized = to_example(record).SerializeToString(deterministic=True)
        except (RecordRejected, UnreadableImageError) as error:
            reason = str(error)
            yield beam.pvalue.TaggedOutput(
                _REJECTED, json.dumps({"file": reader.name(item), "source": reader.source, "reason": reason})
            )
            yield beam.pvalue.TaggedOutput(_COUNTS, ("rejected", reader.source, reason))
        except RecordDropped as outcome:
            yield beam.pvalue.TaggedOutput(_COUNTS, ("dropped", reader.source, str(outcome)))
        else:
            yield beam.pvalue.TaggedOutput(_RECORDS, (record.split, serialized))
            labels = tuple(sorted((key, str(value)) for key, value in record.labels.items()))
            yield beam.pvalue.TaggedOutput(_COUNTS, ("records", record.split, record.source, labels))
            if alignment:
                yield beam.pvalue.TaggedOutput(_COUNTS, ("alignment", record.split, record.source, alignment))
            for feature, values in record.ragged.items():
                for value in values.tolist() if values.dtype.kind == "i" else ():
                    yield beam.pvalue.TaggedOutput(
                        _COUNTS, ("flags", record.split, record.source, feature, str(value))
                    )


class ReadFaces(beam.PTransform):
    """Reads data sets; yields `(split, serialized Example)`, rejections as JSON lines and outcomes."""

    def __init__(self, readers: list[Reader], detector: str = "") -> None:
        """Declares the reading.

        Args:
            readers: The data sets.
            detector: Folder of the detection model that finds the faces to align; empty to align none.
        """
        super().__init__()
        self._readers = readers
        self._detector = detector

    def expand(self, pipeline: beam.Pipeline) -> beam.pvalue.PCollection:
        """Builds the steps; Beam calls it."""
        return (
            pipeline
            | "Readers" >> beam.Create(self._readers)
            | "ListItems" >> beam.FlatMap(lambda reader: ((reader, item) for item in reader.items()))
            # Spreads the items over the workers: listing is cheap, loading is not.
            | "Spread" >> beam.Reshuffle()
            | "Load" >> beam.ParDo(_LoadRecord(self._detector)).with_outputs(_RECORDS, _REJECTED, _COUNTS)
        )


class _SumDigests(beam.CombineFn):
    """Adds up digests of records: a fingerprint of the contents whatever their order."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, total: int, serialized: bytes) -> int:
        import hashlib

        return (total + int.from_bytes(hashlib.sha256(serialized).digest(), "big")) % _MODULUS

    def merge_accumulators(self, totals: Iterable[int]) -> int:
        return sum(totals) % _MODULUS

    def extract_output(self, total: int) -> str:
        return f"{total:064x}"


def _partition(element: tuple[str, bytes], count: int) -> int:
    del count
    return SPLITS.index(element[0])


class FaceExampleGenExecutor(base_beam_executor.BaseBeamExecutor):
    """Runs the readers on Beam and writes the splits."""

    def Do(
        self,
        input_dict: dict[str, list[tfx.dsl.Artifact]],
        output_dict: dict[str, list[tfx.dsl.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits, `ingestion.json` and `rejected.jsonl`.

        Raises:
            InputError: No record is left in a split, or too many were rejected.
        """
        detector = input_dict.get("detector")
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples_utils.set_payload_format(examples, tfx.proto.PayloadFormat.Value("FORMAT_TF_EXAMPLE"))
        root = Path(examples.uri)
        options = ReaderOptions(**json.loads(exec_properties["reader_options"]))
        folders = [Path(folder) for folder in json.loads(exec_properties["folders"])]
        readers = [reader for folder in folders for reader in open_readers(folder, options)]
        self._run(readers, root, path_utils.serving_model_path(detector[0].uri) if detector else "")
        save_pairs(readers, root)
        ingestion = Ingestion.load(root, span=exec_properties["span"])
        _check(ingestion, folders, exec_properties["max_rejected_fraction"])
        ingestion.save(root)
        examples.set_string_custom_property("content_fingerprint", ingestion.content_fingerprint)

    def _run(self, readers: list[Reader], root: Path, detector: str) -> None:
        with self._make_beam_pipeline() as pipeline:
            outcome = pipeline | "ReadFaces" >> ReadFaces(readers, detector)
            splits = outcome[_RECORDS] | "Split" >> beam.Partition(_partition, len(SPLITS))
            for name, split in zip(SPLITS, splits, strict=True):
                (
                    split
                    | f"Payload[{name}]" >> beam.Values()
                    | f"Shuffle[{name}]" >> beam.Reshuffle()
                    | f"Write[{name}]"
                    >> beam.io.WriteToTFRecord(
                        str(root / f"Split-{name}" / "data_tfrecord"), file_name_suffix=".gz"
                    )
                )
            outcome[_REJECTED] | "WriteRejected" >> beam.io.WriteToText(
                str(root / REJECTED_FILE), shard_name_template=""
            )
            counts = outcome[_COUNTS] | "Count" >> beam.combiners.Count.PerElement()
            digest = (
                outcome[_RECORDS]
                | "Contents" >> beam.Values()
                | "Fingerprint" >> beam.CombineGlobally(_SumDigests())
            )
            (
                counts
                | "CountList" >> beam.combiners.ToList()
                | "Summary"
                >> beam.Map(
                    lambda counts, digest: json.dumps({"counts": counts, "content_fingerprint": digest}),
                    beam.pvalue.AsSingleton(digest),
                )
                | "WriteSummary" >> beam.io.WriteToText(str(root / INGESTION_FILE), shard_name_template="")
            )


def _check(ingestion: Ingestion, folders: list[Path], max_rejected_fraction: float) -> None:
    """Refuses data of which too much was rejected, or a split without records."""
    where = ", ".join(str(folder) for folder in folders)
    rejected, kept = ingestion.total("rejected"), ingestion.total("records")
    total = rejected + kept
    if total and rejected / total > max_rejected_fraction:
        reasons = Counter({reason: count for (_, reason), count in ingestion.rejected.items()})
        most = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        raise InputError(
            f"{where}: {rejected} of {total} records rejected ({rejected / total:.1%}), more than "
            f"data.max_rejected_fraction={max_rejected_fraction:g} allows: {most}; "
            f"first: {ingestion.first_rejected}"
        )
    empty = [split for split in SPLITS if not ingestion.split_total(split)]
    if empty:
        sources = ", ".join(sorted({source for _, source, _ in ingestion.records}))
        all_test = f", all for the test: {sources}" if kept and kept == ingestion.split_total("test") else ""
        dropped = Counter({reason: count for (_, reason), count in ingestion.dropped.items()})
        rules = "; ".join(f"{count} x {reason}" for reason, count in dropped.most_common(3))
        raise InputError(
            f"{where}: no records for the split {', '.join(empty)} (of {kept} kept"
            f"{all_test}{f', {dropped.total()} left out by cleaning: {rules}' if rules else ''})"
        )


class FaceExampleGenDriver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Chooses the spans to read and hashes the files, so that changed data is never taken from cache."""

    def __init__(self, metadata_handle: Any) -> None:
        # TFX checks for the older base class and launches by the newer one.
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: Any) -> driver_output_pb2.DriverOutput:
        """Adds `folders`, `span` and `input_fingerprint` to the execution properties.

        Raises:
            InputError: A data folder is missing or holds no known data set.
        """
        properties = execution_info.exec_properties
        folders, span = resolve_folders(
            [Path(source) for source in json.loads(properties["sources"])], properties["spans"]
        )
        options = ReaderOptions(**json.loads(properties["reader_options"]))
        for folder in folders:
            open_readers(folder, options)  # the plain error now, instead of a Beam trace later
        result = driver_output_pb2.DriverOutput()
        for key, value in properties.items():
            _set(result.exec_properties[key], value)
        _set(result.exec_properties["folders"], json.dumps([str(folder) for folder in folders]))
        _set(result.exec_properties["span"], span)
        _set(result.exec_properties["input_fingerprint"], fingerprint(folders))
        output = execution_info.output_dict["examples"][0]
        output.set_int_custom_property("span", span)
        result.output_artifacts["examples"].artifacts.append(output.mlmd_artifact)
        return result


def _set(value: Any, content: str | int | float) -> None:
    if isinstance(content, str):
        value.string_value = content
    elif isinstance(content, int):
        value.int_value = content
    else:
        value.double_value = content


def resolve_folders(sources: list[Path], spans: int) -> tuple[list[Path], int]:
    """Applies `select_spans` to every source.

    Args:
        sources: Data folders.
        spans: How many of the newest spans of each.

    Returns:
        All folders to read and the highest span number.
    """
    selected = [select_spans(source, spans) for source in sources]
    return [folder for folders, _ in selected for folder in folders], max(span for _, span in selected)


class FaceExampleGenSpec(component_spec.ComponentSpec):
    """Parameters, inputs and outputs of FaceExampleGen."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads plain class attributes
        "sources": component_spec.ExecutionParameter(type=str),
        "spans": component_spec.ExecutionParameter(type=int),
        "reader_options": component_spec.ExecutionParameter(type=str),
        "max_rejected_fraction": component_spec.ExecutionParameter(type=float),
        "code_fingerprint": component_spec.ExecutionParameter(type=str),
        # Set by the driver.
        "folders": component_spec.ExecutionParameter(type=str, optional=True),
        "span": component_spec.ExecutionParameter(type=int, optional=True),
        "input_fingerprint": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {  # noqa: RUF012
        "detector": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Model, optional=True)
    }
    OUTPUTS = {  # noqa: RUF012
        "examples": component_spec.ChannelParameter(type=tfx.types.standard_artifacts.Examples)
    }


class FaceExampleGen(base_beam_component.BaseBeamComponent):
    """Reads face data sets in their published formats into training examples."""

    SPEC_CLASS = FaceExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(FaceExampleGenExecutor)
    DRIVER_CLASS = FaceExampleGenDriver

    def __init__(
        self,
        sources: list[str],
        options: ReaderOptions,
        spans: int,
        max_rejected_fraction: float,
        code_fingerprint: str,
        detector: tfx.dsl.Channel | None = None,
    ) -> None:
        """Declares the node.

        Args:
            sources: Data folders, each one data set or several, with or without `span-<number>` folders.
            options: Cleaning rules of the readers.
            spans: How many of the newest spans to read.
            max_rejected_fraction: Share of unreadable records above which the node fails, 0 to 1.
            code_fingerprint: Changes when the code that reads changes, so that the cache is not used.
            detector: A detection model that finds the faces to align; None to take pictures as readers give
                them. Another model makes the node run again.
        """
        super().__init__(
            spec=FaceExampleGenSpec(
                detector=detector,
                sources=json.dumps(sources),
                spans=spans,
                reader_options=json.dumps(vars(options), sort_keys=True),
                max_rejected_fraction=float(max_rejected_fraction),
                code_fingerprint=code_fingerprint,
                examples=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Examples),
            )
        )
