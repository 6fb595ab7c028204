"""Tells what a data folder holds, by reading it as the pipeline would."""

import io
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from components.readers.catalog import (
    ReaderOptions,
    UnknownDataError,
    fingerprint,
    open_readers,
    select_spans,
)
from components.readers.identity import LABEL as IDENTITY
from components.readers.record import SPLITS, FaceRecord, Reader, RecordDropped, RecordRejected
from components.samples.contact_sheet import contact_sheet
from data_validation.errors import InputError
from data_validation.image_quality import MIN_SIDE, ImageQuality, UnreadableImageError, measure

_SHEET_COLUMNS = 8
_SHEET_CELL = 96
_MAX_REASONS = 10
# Of a label with more values than these, such as persons, there is a summary and not a row each.
_MAX_VALUES = 20


@dataclass
class _Findings:
    labels: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    rejected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    quality: list[ImageQuality] = field(default_factory=list)
    pictures: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))


def describe_folder(folder: Path, sheet: Path | None, console: Console) -> None:
    """Prints the data sets of a folder: splits, labels, sizes, brightness, what is not read and why.

    Args:
        folder: A data folder, with or without spans.
        sheet: PNG to draw some images of each label into, of the first 20 where there are more.
        console: Where to print.

    Raises:
        InputError: The folder holds no known data set, or the PNG cannot be written.
    """
    spans, newest = select_spans(folder, window=1)
    readers = [reader for span in spans for reader in _open(span)]
    if newest:
        console.print(f"span {newest} (the newest)")
    for reader in readers:
        findings = _read(reader, console)
        _print(reader.source, findings, console)
        if sheet:
            file = sheet if len(readers) == 1 else sheet.with_stem(f"{sheet.stem}-{reader.source}")
            _draw(file, findings)
            text = f"drawn: {file}{_left_out(findings)}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f"fingerprint of the files {fingerprint(spans)}", highlight=False)


def _open(folder: Path) -> list[Reader]:
    """Opens the data sets of a folder, or the folder itself where it holds persons: those have no mark."""
    try:
        return open_readers(folder, ReaderOptions())
    except UnknownDataError as unknown:
        try:
            return open_readers(folder, ReaderOptions(label=IDENTITY))
        except UnknownDataError:
            raise unknown from None


def _read(reader: Reader, console: Console) -> _Findings:
    findings = _Findings()
    for item in track(list(reader.items()), f"reading {reader.source}", console=console, transient=True):
        try:
            record = reader.load(item)
            quality = measure(record.image, MIN_SIDE)
        except (RecordRejected, UnreadableImageError) as error:
            findings.rejected[str(error)] += 1
            continue
        except RecordDropped as outcome:
            findings.dropped[str(outcome)] += 1
            continue
        _note(findings, record, quality)
    return findings


def _note(findings: _Findings, record: FaceRecord, quality: ImageQuality) -> None:
    for feature, value in record.labels.items():
        findings.labels[feature][str(value), record.split] += 1
    # The first label is the task's own, the others are attributes.
    label = str(next(iter(record.labels.values())))
    if label in findings.pictures or len(findings.pictures) < _MAX_VALUES:
        pictures = findings.pictures[label]
        if len(pictures) < _SHEET_COLUMNS:
            pictures.append(record.image)
    findings.sizes[quality.width, quality.height] += 1
    findings.quality.append(quality)


def _print(source: str, findings: _Findings, console: Console) -> None:
    kept = len(findings.quality)
    summary = f"[bold]{source}[/]: {kept} images, {findings.rejected.total()} that cannot be read"
    if findings.dropped:
        summary += f", {findings.dropped.total()} left out by cleaning"
    console.print(summary)
    for feature, counts in findings.labels.items():
        table = Table(box=None, pad_edge=False)
        table.add_column(feature)
        for split in (*SPLITS, "all"):
            table.add_column(split, justify="right")
        for name, numbers in _rows(counts):
            table.add_row(name, *(str(number).removesuffix(".0") for number in numbers))
        console.print(table)
    if kept:
        widest = ", ".join(
            f"{width}x{height} ({count})" for (width, height), count in findings.sizes.most_common(3)
        )
        console.print(
            f"sizes as read {widest}; brightness {_mean(q.brightness for q in findings.quality):.2f}, "
            f"contrast {_mean(q.contrast for q in findings.quality):.2f}, "
            f"sharpness {_mean(q.sharpness for q in findings.quality):.3f} (means)",
            highlight=False,
        )
    _print_reasons(findings.rejected, console)
    _print_reasons(findings.dropped, console)


def _rows(counts: Counter[tuple[str, str]]) -> list[tuple[str, list[float]]]:
    """Returns the rows of a label's table: numbers by split, and of all."""
    values = list(dict.fromkeys(value for value, _ in sorted(counts)))
    columns = [[counts[value, split] for value in values] for split in SPLITS]
    columns.append([sum(numbers) for numbers in zip(*columns, strict=True)])
    if len(values) <= _MAX_VALUES:
        return [(value, [column[row] for column in columns]) for row, value in enumerate(values)]
    present = [[count for count in column if count] for column in columns]
    return [
        ("different values", [len(column) for column in present]),
        ("images", [sum(column) for column in present]),
        ("images a value (median)", [median(column or [0]) for column in present]),
    ]


def _left_out(findings: _Findings) -> str:
    """Says of how many labels the sheet shows nothing."""
    counts = next(iter(findings.labels.values()))
    total, drawn = len({value for value, _ in counts}), len(findings.pictures)
    return f" (the first {drawn} of {total} labels, the others are left out)" if drawn < total else ""


def _print_reasons(reasons: Counter[str], console: Console) -> None:
    for reason, count in reasons.most_common(_MAX_REASONS):
        console.print(f"  {count} x {reason}", highlight=False, markup=False)
    if len(reasons) > _MAX_REASONS:
        console.print(f"  and {len(reasons) - _MAX_REASONS} other reasons", highlight=False, markup=False)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _draw(file: Path, findings: _Findings) -> None:
    pictures = [
        (Image.open(io.BytesIO(encoded)).convert("RGB"), label)
        for label, images in sorted(findings.pictures.items())
        for encoded in images
    ]
    if not pictures:
        raise InputError(f"{file}: there is no readable image to draw")
    try:
        contact_sheet(pictures, _SHEET_COLUMNS, _SHEET_CELL).save(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be written: {error}") from error
