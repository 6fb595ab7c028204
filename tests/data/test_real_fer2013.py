"""The complete FER-2013 in its folder form: the published counts, and the known copies."""

import os
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from components.readers.catalog import ReaderOptions, open_readers
from components.readers.record import RecordDropped
from data_validation.image_quality import measure

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = os.environ.get("HEXAFACE_DATA", "")
    archive = Path(place) / "fer2013_jpg.tar.gz"
    if not place or not archive.is_file():
        pytest.skip("HEXAFACE_DATA names no folder with fer2013_jpg.tar.gz")
    target = tmp_path_factory.mktemp("fer2013")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target


def test_published_counts(folder: Path) -> None:
    """Splits of the challenge (Goodfellow et al. 2013) and its rarest and commonest class."""
    (reader,) = open_readers(folder, ReaderOptions())
    records = [reader.load(item) for item in reader.items()]
    assert Counter(record.split for record in records) == {"train": 28709, "eval": 3589, "test": 3589}
    emotions = Counter(record.labels["emotion"] for record in records if record.split == "train")
    assert emotions["disgust"] == 436
    assert emotions["happy"] == 7215
    assert len({record.filename for record in records}) == len(records)


def test_copies_of_training_images_are_dropped(folder: Path) -> None:
    """568 evaluation and test images share a group with training."""
    (reader,) = open_readers(folder, ReaderOptions(drop_test_duplicates=True))
    dropped = 0
    for item in reader.items():
        try:
            reader.load(item)
        except RecordDropped:
            dropped += 1
    assert dropped == 568


def test_flat_images_are_seen(folder: Path) -> None:
    """13 images of the set show nothing."""
    (reader,) = open_readers(folder, ReaderOptions())
    flat = sum(measure(reader.load(item).image).contrast < 0.01 for item in reader.items())
    assert flat == 13
