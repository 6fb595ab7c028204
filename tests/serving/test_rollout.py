"""The configuration file of a serving root, its warm-up records, and changes on a running server."""

import contextlib
import dataclasses
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
import toy_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_servers import PROJECT, free_port, model_server, wait_until
from tensorflow_serving.apis import prediction_log_pb2

from serving import local_server, rollout
from serving.client import Client, InvalidArgument, NotFound
from serving.model_server import config as server_config
from serving.rollout import CANARY, STABLE, RolloutError, RolloutFailed, Root, Site
from serving.rollout import model_config as rollout_config
from serving.rollout.model_config import ConfigFile, entry_of, pushed_models
from serving.rollout.overview import overview
from serving.rollout.records import RECORDS_FILE, RecordError, difference, read_records

# ---- on disk


def push_empty(root: Path, model: str, *versions: int | str) -> None:
    """Pushes models that are enough for all but a server."""
    for version in versions:
        folder = root / model / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"x" * 1000)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Root, Root]:
    return Root(tmp_path / "models", "real data"), Root(tmp_path / "demo" / "models", "sample data")


def current(roots):
    return ConfigFile(roots).current(pushed_models(roots))


def write_config(roots, *entries: str) -> Path:
    """Writes a configuration by hand; entries are what stands in a `config` beside platform and base path."""
    file = ConfigFile(roots).path
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f'config {{ model_platform: "tensorflow" base_path: "{roots[0].path}/emotion" {entry} }}'
        for entry in entries
    ]
    file.write_text("model_config_list { " + "\n".join(lines) + " }")
    return file


def test_models_are_folders_with_versions_that_hold_a_model(roots) -> None:
    push_empty(roots[0].path, "emotion", 2, 10, "0007")
    push_empty(roots[0].path, ".emotion-11", 11)
    push_empty(roots[0].path, "notes", "first")
    (roots[0].path / "emotion" / "12").mkdir()
    push_empty(roots[1].path, "emotion", 99)
    push_empty(roots[1].path, "gender", 5)
    models = pushed_models(roots)
    assert {name: (list(model.versions), model.root.title) for name, model in models.items()} == {
        "emotion": ([2, 7, 10], "real data"),
        "gender": ([5], "sample data"),
    }
    assert models["emotion"].versions[7].name == "0007"


def test_a_missing_root_has_no_models(roots) -> None:
    assert pushed_models(roots) == {}


def test_refresh_writes_what_a_server_takes(roots) -> None:
    push_empty(roots[0].path, "emotion", 1, 2)
    push_empty(roots[1].path, "gender", 5)
    file, notices = rollout.refresh(roots)
    assert notices == ()
    config = server_config.read_model_config(str(file))
    server_config.check_model_config(config)
    assert [(model.name, model.base_path) for model in config.model_config_list.config] == [
        ("emotion", f"{roots[0].path}/emotion"),
        ("gender", f"{roots[1].path}/gender"),
    ]
    assert all(
        model.model_version_policy.latest.num_versions == 1 and not model.version_labels
        for model in config.model_config_list.config
    )
    assert file.read_text().startswith("# Written by `hexaface serve`")
    assert "\n    name: " in file.read_text()


def test_no_models_are_a_legal_configuration(roots) -> None:
    file, _ = rollout.refresh(roots)
    server_config.check_model_config(server_config.read_model_config(str(file)))


def test_policies_and_labels_are_kept(roots) -> None:
    push_empty(roots[0].path, "emotion", 1, 2, 3)
    push_empty(roots[0].path, "gender", 1)
    write_config(
        roots,
        'name: "emotion" model_version_policy { specific { versions: [1, 2] } }'
        ' version_labels { key: "stable" value: 1 }',
        'name: "gender" model_version_policy { all {} }',
    )
    config, notices = current(roots)
    assert notices == []
    emotion = entry_of(config, "emotion")
    assert list(emotion.model_version_policy.specific.versions) == [1, 2]
    assert dict(emotion.version_labels) == {"stable": 1}
    assert entry_of(config, "gender").model_version_policy.WhichOneof("policy_choice") == "all"
    assert entry_of(config, "gender").base_path == f"{roots[0].path}/gender"


def test_what_is_gone_from_disk_is_dropped_and_told(roots) -> None:
    push_empty(roots[0].path, "emotion", 3)
    write_config(
        roots,
        'name: "emotion" model_version_policy { specific { versions: 1 } }'
        ' version_labels { key: "stable" value: 1 }',
    )
    config, notices = current(roots)
    emotion = entry_of(config, "emotion")
    assert emotion.model_version_policy.latest.num_versions == 1
    assert not emotion.version_labels
    assert "version 1, labelled stable, is not on disk any more" in notices[0]
    assert "the newest is served" in notices[1]


def test_what_is_left_of_specific_versions_stays(roots) -> None:
    push_empty(roots[0].path, "emotion", 2, 3)
    write_config(roots, 'name: "emotion" model_version_policy { specific { versions: [1, 2] } }')
    config, notices = current(roots)
    assert list(entry_of(config, "emotion").model_version_policy.specific.versions) == [2]
    assert notices == ["emotion: 2 of the versions on disk are served"]


def test_a_labelled_version_is_always_loaded(roots) -> None:
    # A label of a version that is not loaded makes a server refuse all labels.
    push_empty(roots[0].path, "emotion", 1, 2, 3)
    write_config(roots, 'name: "emotion" version_labels { key: "stable" value: 1 }')
    config, _ = current(roots)
    assert list(entry_of(config, "emotion").model_version_policy.specific.versions) == [1, 3]


def test_a_model_without_versions_goes_and_one_from_elsewhere_stays(roots, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "mine").mkdir(parents=True)
    file = write_config(roots, 'name: "emotion"')
    more = f'config {{ name: "mine" base_path: "{tmp_path}/elsewhere/mine" model_platform: "tensorflow" }} }}'
    file.write_text(file.read_text().rstrip().removesuffix("}") + more)
    config, notices = current(roots)
    assert [entry.name for entry in config.model_config_list.config] == ["mine"]
    assert notices == [f"emotion: no version is left in {roots[0].path}/emotion; it is served no more"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model_config_list {", "not a model configuration"),
        ('model_config_list { config { nam: "x" } }', "nam"),
        ("\xff", "not a model configuration"),
        ('model_config_list { config { name: "a" } config { name: "a" } }', "model 'a'"),
        ("model_config_list { config { } }", "model ''"),
    ],
)
def test_a_broken_file_is_told_and_left(roots, text: str, found: str) -> None:
    push_empty(roots[0].path, "emotion", 1)
    file = ConfigFile(roots).path
    file.write_text(text)
    with pytest.raises(RolloutError, match=found) as error:
        rollout.refresh(roots)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert file.read_text() == text


def test_the_file_is_whole_at_every_moment(roots, monkeypatch: pytest.MonkeyPatch) -> None:
    push_empty(roots[0].path, "emotion", 1)
    file, _ = rollout.refresh(roots)
    before = file.read_text()
    push_empty(roots[0].path, "gender", 1)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(os, "fsync", fail)
        rollout.refresh(roots)
    assert file.read_text() == before
    assert {entry.name for entry in file.parent.iterdir() if entry.is_file()} == {
        file.name,
        ".models.config.lock",
    }


def test_a_file_that_would_not_change_is_not_written(roots) -> None:
    push_empty(roots[0].path, "emotion", 1)
    file, _ = rollout.refresh(roots)
    inode = file.stat().st_ino
    rollout.refresh(roots)
    assert file.stat().st_ino == inode
    # Others read it too, such as a container's user.
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_commands_wait_for_one_another(roots) -> None:
    file = ConfigFile(roots)
    with (
        file.locked(),
        pytest.raises(RolloutError, match="another command is changing it"),
        ConfigFile(roots).locked(seconds=0.2),
    ):
        pass
    with file.locked(seconds=0.2):
        pass


def test_overview_without_a_server(roots) -> None:
    push_empty(roots[0].path, "emotion", 1, 1700000000)
    (roots[0].path / "emotion" / "1" / RECORDS_FILE.parent).mkdir()
    (roots[0].path / "emotion" / "1" / RECORDS_FILE).write_bytes(b"")
    write_config(roots, 'name: "emotion" version_labels { key: "stable" value: 1 }')
    found = overview(Site(roots, f"127.0.0.1:{free_port()}"))
    assert not found.running
    (emotion,) = found.models
    assert (emotion.name, emotion.source, emotion.wanted) == ("emotion", "real data", (1, 1700000000))
    newest, oldest = emotion.versions
    assert (newest.number, newest.state, newest.labels, newest.has_records) == (1700000000, "", (), False)
    assert (newest.bytes, newest.pushed.timestamp()) == (1000, 1700000000)
    assert (oldest.number, oldest.labels, oldest.pushed, oldest.has_records) == (1, ("stable",), None, True)


def test_rollout_imports_no_tensorflow() -> None:
    code = (
        "import sys, serving.rollout, serving.rollout.overview, serving.local_server\n"
        "print({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'tfx', 'apache_beam'})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert run.stdout.strip() == "set()"


# ---- warm-up records

RECORDS = st.lists(st.binary(max_size=200), max_size=5)
SLOW_MACHINE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def framed(data: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(data) if length is None else length)
    return head + checksum(head) + data + checksum(data)


def checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@SLOW_MACHINE
@given(records=RECORDS)
def test_records_are_read_as_tensorflow_writes_them(tmp_path: Path, records: list[bytes]) -> None:
    file = tmp_path / "records"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    assert list(read_records(file)) == records
    assert file.read_bytes() == b"".join(framed(record) for record in records)


@SLOW_MACHINE
@given(records=RECORDS.filter(bool), data=st.data())
def test_a_file_that_is_cut_off_is_told(tmp_path: Path, records: list[bytes], data) -> None:
    whole = [framed(record) for record in records]
    text = b"".join(whole)
    cut = data.draw(st.integers(0, len(text) - 1))
    (tmp_path / "records").write_bytes(text[:cut])
    ends = [sum(map(len, whole[:count])) for count in range(len(whole) + 1)]
    read = []
    try:
        for record in read_records(tmp_path / "records"):
            read.append(record)
    except RecordError as error:
        assert "cut off" in str(error)
        assert cut not in ends
    else:
        assert cut in ends
    assert read == records[: len(read)]


@SLOW_MACHINE
@given(records=RECORDS.filter(bool), data=st.data())
def test_a_changed_bit_is_found(tmp_path: Path, records: list[bytes], data) -> None:
    text = bytearray(b"".join(framed(record) for record in records))
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "records").write_bytes(text)
    with pytest.raises(RecordError, match="damaged"):
        list(read_records(tmp_path / "records"))


@SLOW_MACHINE
@given(text=st.binary(max_size=400), length=st.integers(0, 2**64 - 1))
def test_no_length_is_believed(tmp_path: Path, text: bytes, length: int) -> None:
    (tmp_path / "records").write_bytes(framed(text, length)[:12] + text)
    with pytest.raises(RecordError):
        list(read_records(tmp_path / "records"))


@SLOW_MACHINE
@given(text=st.binary(min_size=1, max_size=400))
def test_any_other_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "records").write_bytes(text)
    with pytest.raises(RecordError):
        list(read_records(tmp_path / "records"))


def test_large_records_and_many_records_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "records"
    file.write_bytes(framed(b"x" * 101))
    with pytest.raises(RecordError, match="at most 100 bytes, found 101"):
        list(read_records(file, max_bytes=100))
    file.write_bytes(framed(b"") * 1001)
    with pytest.raises(RecordError, match="at most 1000 records"):
        list(read_records(file))
    with pytest.raises(RecordError, match="cannot be read"):
        list(read_records(tmp_path / "missing"))


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("recorded", "found", "words"),
    [
        ({"y": floats(1.0)}, {"y": floats(1.00005)}, ""),
        ({"y": floats(1.0)}, {"y": floats(1.0003)}, "y differs in 1 of 1"),
        ({"y": floats(9000.0)}, {"y": floats(9000.01)}, ""),
        ({"y": floats(np.nan, np.inf)}, {"y": floats(np.nan, np.inf)}, ""),
        ({"y": floats(np.nan, 1)}, {"y": floats(1, np.nan)}, "2 of 2"),
        ({"y": floats(1.0)}, {"z": floats(1.0)}, "outputs z, recorded were y"),
        ({"y": floats(1.0)}, {"y": floats(1.0, 1.0)}, "float32 [2], recorded was float32 [1]"),
        ({"y": np.array([1, 2])}, {"y": np.array([1, 3])}, "1 of 2"),
        ({"y": np.array([1])}, {"y": floats(1.0)}, "y is float32 [1], recorded was int64 [1]"),
        ({"y": np.array([b"a"], object)}, {"y": np.array([b"a"], object)}, ""),
        ({"y": np.array([b"secret"], object)}, {"y": np.array([b"b"], object)}, "y differs in 1 of 1"),
        ({"y": floats()}, {"y": floats()}, ""),
    ],
)
def test_differences_are_told_without_what_was_answered(recorded, found, words: str) -> None:
    told = difference(recorded, found)
    assert words in told
    assert bool(words) == bool(told)
    assert "secret" not in told


# ---- changes on a running server


@dataclasses.dataclass
class Place:
    """A serving root, a server of it, and models that can be pushed."""

    site: Site
    address: str
    toys: Path
    said: list[str] = dataclasses.field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.site.roots[0].path

    @property
    def file(self) -> Path:
        return self.root / "models.config"

    def push(self, model: str, *versions: int) -> None:
        """Pushes versions: the first answers x / 2 + 2, all others x / 2 + 3."""
        for version in versions:
            toy_models.push(self.toys / "adder" / ("1" if version == 1 else "2"), self.root / model, version)

    def record(self, model: str, version: int, *answers: float | None) -> None:
        """Writes warm-up records of x = 2 with these answers; None leaves the answer out."""
        file = self.root / model / str(version) / RECORDS_FILE
        file.parent.mkdir()
        with tf.io.TFRecordWriter(str(file)) as writer:
            for answer in answers:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = "any"
                request.inputs["x"].CopyFrom(tf.make_tensor_proto([2.0]))
                if answer is not None:
                    log.predict_log.response.outputs["y"].CopyFrom(tf.make_tensor_proto([answer]))
                writer.write(log.SerializeToString())

    def say(self, line: str) -> None:
        self.said.append(line)

    def ask(self, model: str, label: str | None = None) -> tuple[int, float]:
        """Returns which version answers and its constant."""
        with Client(self.address, retries=0) as client:
            answer = client.predict(model, {"x": floats(0.0)}, label=label)
        return answer.version, float(answer.outputs["y"][0])

    def loaded(self, model: str) -> set[int]:
        with Client(self.address) as client, contextlib.suppress(NotFound):
            return {status.version for status in client.status(model) if status.state == "AVAILABLE"}
        return set()

    def wait_for_loaded(self, model: str, *versions: int) -> None:
        wait_until(lambda: self.loaded(model) == set(versions), 120, lambda: str(self.loaded(model)))

    def labels(self, model: str) -> dict[str, int]:
        config, _ = current(self.site.roots)
        return dict(entry_of(config, model).version_labels)


@pytest.fixture(scope="module")
def started(toys: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("workspace")
    roots = Root(folder / "models", "real data"), Root(folder / "demo" / "models", "sample data")
    roots[0].path.mkdir()
    toy_models.push(toys / "adder" / "1", roots[0].path / "keeper", 1)
    file, _ = rollout.refresh(roots)
    local_server.write_files(file.parent)
    own = ("--host", "--port", "--rest_api_port")
    flags = [
        flag
        for flag in local_server.arguments(file, local_server.ServerOptions())
        if flag.split("=")[0] not in own
    ]
    with model_server(*flags) as server:
        yield Place(Site(roots, server.address, load_seconds=120), server.address, toys)


@pytest.fixture
def place(started: Place):
    yield dataclasses.replace(started, said=[])
    for folder in started.root.iterdir():
        if folder.is_dir() and folder.name != "keeper":
            shutil.rmtree(folder)
    # At once, since the next test pushes other models of the same names.
    serve(started)
    started.wait_for_loaded("m")


def test_promote_loads_verifies_labels_and_unloads(place: Place) -> None:
    place.push("m", 1)
    assert rollout.promote(place.site, "m", say=place.say) == 1
    assert place.said[-1] == "m 1: no warm-up records; checked only that it is AVAILABLE"
    place.push("m", 2)
    place.record("m", 2, 4.0, None)
    place.said.clear()
    assert rollout.promote(place.site, "m", say=place.say) == 2
    assert place.said == [
        "m 2: loading",
        "m 2: loaded, labelled canary",
        "m 2: 2 recorded requests answered, 1 compared with the recorded answer",
        "m: 1 is unloaded",
    ]
    assert place.ask("m", STABLE) == place.ask("m") == (2, 3.0)
    assert place.labels("m") == {STABLE: 2}
    with pytest.raises(InvalidArgument, match="canary"):
        place.ask("m", CANARY)
    place.wait_for_loaded("m", 2)
    # What was there before, and what was never asked for, is as it was.
    assert place.ask("keeper") == (1, 2.0)
    assert overview(place.site).models[1].versions[0].state == "AVAILABLE"


def test_a_server_that_is_started_again_serves_the_same(place: Place) -> None:
    place.push("m", 1, 2)
    rollout.promote(place.site, "m", 1, say=place.say)
    config = server_config.read_model_config(str(place.file))
    (entry,) = (model for model in config.model_config_list.config if model.name == "m")
    assert list(entry.model_version_policy.specific.versions) == [1]
    assert dict(entry.version_labels) == {STABLE: 1}


def test_keep_leaves_the_version_before_loaded(place: Place) -> None:
    place.push("m", 1, 2)
    rollout.promote(place.site, "m", 1, say=place.say)
    rollout.promote(place.site, "m", 2, keep=True, say=place.say)
    assert place.loaded("m") == {1, 2}
    rollout.promote(place.site, "m", 1, keep=True, say=place.say)
    assert place.said[-1] == "m: requests without a label still go to 2, which is kept"
    assert (place.ask("m", STABLE), place.ask("m")) == ((1, 2.0), (2, 3.0))


def test_other_labels_and_a_policy_of_all_versions_stay(place: Place) -> None:
    place.push("m", 1, 2, 3)
    rollout.promote(place.site, "m", 1, say=place.say)
    rollout.set_label(place.site, "m", "shadow", 3, say=place.say)
    rollout.promote(place.site, "m", 2, say=place.say)
    assert place.labels("m") == {STABLE: 2, "shadow": 3}
    place.wait_for_loaded("m", 2, 3)
    text = place.file.read_text()
    start = text.index("specific", text.index('name: "m"'))
    place.file.write_text(text[:start] + "all {}" + text[text.index("}", start) + 1 :])
    rollout.promote(place.site, "m", 3, say=place.say)
    place.wait_for_loaded("m", 1, 2, 3)
    assert place.ask("m", STABLE) == (3, 3.0)


def refused(place: Place, version: int, *words: str) -> None:
    """A promotion that must fail, and leave version 1 stable."""
    rollout.promote(place.site, "m", 1, say=place.say)
    before = place.file.read_bytes()
    with pytest.raises(RolloutFailed) as error:
        rollout.promote(place.site, "m", version, say=place.say)
    for word in (*words, "the configuration is the old one again; version 1 (stable) still serves"):
        assert word in str(error.value)
    assert place.file.read_bytes() == before
    assert place.ask("m", STABLE) == (1, 2.0)
    place.wait_for_loaded("m", 1)
    with pytest.raises(InvalidArgument):
        place.ask("m", CANARY)


def test_another_answer_than_recorded_is_refused(place: Place) -> None:
    place.push("m", 1, 2)
    place.record("m", 2, 4.0, 4.5)
    refused(
        place, 2, "version 2: recorded request 2: the answer is not the recorded one: y differs in 1 of 1"
    )


def test_a_version_that_cannot_be_loaded_is_refused(place: Place) -> None:
    place.push("m", 1, 2)
    (place.root / "m" / "2" / "saved_model.pb").write_bytes(b"no model")
    refused(place, 2, "m: version 2 could not be loaded: ", "saved_model.pb")


def test_a_stable_version_that_is_broken_can_be_left(place: Place) -> None:
    place.push("m", 1, 2)
    rollout.promote(place.site, "m", 2, say=place.say)
    shutil.rmtree(place.root / "m")
    with Client(place.address, timeout=120) as client:  # as after a start with the broken file
        client.reload_config(current(place.site.roots)[0])
    place.push("m", 1, 2)
    (place.root / "m" / "2" / "saved_model.pb").write_bytes(b"no model")
    assert place.labels("m") == {STABLE: 2}
    assert rollout.rollback(place.site, "m", say=place.say) == 1
    assert place.ask("m", STABLE) == (1, 2.0)


def test_records_that_cannot_be_read_are_refused(place: Place) -> None:
    # The server reads them itself when it loads a version, so they are spoilt after that.
    place.push("m", 1, 2)
    place.record("m", 2, 4.0)
    rollout.promote(place.site, "m", 1, say=place.say)
    rollout.set_label(place.site, "m", "x", 2, say=place.say)
    (place.root / "m" / "2" / RECORDS_FILE).write_bytes(framed(b"no log"))
    with pytest.raises(RolloutFailed, match="recorded request 1: not a PredictionLog"):
        rollout.promote(place.site, "m", 2, say=place.say)
    assert place.labels("m") == {STABLE: 1, "x": 2}
    assert place.ask("m", STABLE) == (1, 2.0)
    assert place.ask("m", "x") == (2, 3.0)


def test_a_disk_that_is_full_takes_all_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.push("m", 1, 2)

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    rollout.promote(place.site, "m", 1, say=place.say)
    # Undone at once: what cleans up after the test writes too.
    with (
        monkeypatch.context() as patch,
        pytest.raises(RolloutFailed, match=r"disk is full.*version 1 .stable. still serves"),
    ):
        patch.setattr(rollout_config, "write_atomically", fail)
        rollout.promote(place.site, "m", 2, say=place.say)
    assert place.ask("m", STABLE) == (1, 2.0)
    place.wait_for_loaded("m", 1)


def test_ctrl_c_takes_all_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.push("m", 1, 2)
    place.record("m", 2, 4.0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    rollout.promote(place.site, "m", 1, say=place.say)
    monkeypatch.setattr(rollout, "replay", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rollout.promote(place.site, "m", 2, say=place.say)
    assert "interrupted; the configuration is the old one again" in place.said[-1]
    assert place.ask("m", STABLE) == (1, 2.0)
    place.wait_for_loaded("m", 1)


def test_records_of_other_calls_are_left_to_the_server(place: Place) -> None:
    place.push("m", 1)
    file = place.root / "m" / "1" / RECORDS_FILE
    rollout.promote(place.site, "m", say=place.say)
    file.parent.mkdir()
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.name = "m"
    file.write_bytes(framed(log.SerializeToString()))
    rollout.promote(place.site, "m", say=place.say)
    assert "0 recorded requests answered" in place.said[-1]
    assert "1 of other calls were left out" in place.said[-1]


def test_rollback_goes_to_the_version_below(place: Place) -> None:
    place.push("m", 1, 2, 5)
    rollout.promote(place.site, "m", 2, say=place.say)
    assert rollout.rollback(place.site, "m", say=place.say) == 1
    assert place.ask("m", STABLE) == place.ask("m") == (1, 2.0)
    before = place.file.read_bytes()
    with pytest.raises(RolloutError, match=r"nothing to go back to: 1 is stable.* are 1, 2, 5"):
        rollout.rollback(place.site, "m", say=place.say)
    assert place.file.read_bytes() == before


def test_rollback_without_a_label_goes_below_what_answers(place: Place) -> None:
    place.push("m", 1, 2)
    serve(place)
    assert rollout.rollback(place.site, "m", say=place.say) == 1
    assert place.ask("m", STABLE) == place.ask("m") == (1, 2.0)


def serve(place: Place) -> None:
    """Serves what is on disk, as a server that is started now."""
    rollout.refresh(place.site.roots)
    with Client(place.address, timeout=120) as client:
        client.reload_config(current(place.site.roots)[0])


def test_labels_are_put_moved_and_removed(place: Place) -> None:
    place.push("m", 1, 2, 3)
    serve(place)
    rollout.set_label(place.site, "m", "x", 1, say=place.say)
    assert "newer versions are no longer loaded by themselves" in place.said[-1]
    assert place.ask("m", "x") == (1, 2.0)
    assert place.ask("m") == (3, 3.0)
    rollout.set_label(place.site, "m", "x", 2, say=place.say)
    assert place.ask("m", "x") == (2, 3.0)
    place.wait_for_loaded("m", 2, 3)
    with pytest.raises(RolloutError, match="label 'z': there is none; there are: x"):
        rollout.remove_label(place.site, "m", "z", say=place.say)
    rollout.remove_label(place.site, "m", "x", say=place.say)
    with pytest.raises(InvalidArgument):
        place.ask("m", "x")
    place.wait_for_loaded("m", 3)
    rollout.set_label(place.site, "m", "y", 3, say=place.say)
    rollout.remove_label(place.site, "m", "y", say=place.say)
    assert place.said[-1] == "m: no label is left; 3 stays loaded"
    assert place.ask("m") == (3, 3.0)


def test_stable_answers_all_the_time(place: Place) -> None:
    place.push("m", 1, 2)
    rollout.promote(place.site, "m", 1, say=place.say)
    stop, failures, versions = threading.Event(), list[str](), set[int]()

    def ask() -> None:
        with Client(place.address, retries=0) as client:
            while not stop.is_set():
                try:
                    versions.add(client.predict("m", {"x": floats(0.0)}, label=STABLE).version)
                except Exception as error:
                    failures.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        rollout.promote(place.site, "m", 2, say=place.say)
        rollout.rollback(place.site, "m", say=place.say)
        time.sleep(1.5)  # the server polls the file meanwhile
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert versions == {1, 2}


def test_what_there_is_not_is_told_with_what_there_is(place: Place) -> None:
    place.push("emotion", 1700000000, 1700000001)
    promote = rollout.promote
    with pytest.raises(
        RolloutError, match=r"'emotoin': there is none.*emotion, keeper; did you mean emotion\?"
    ):
        promote(place.site, "emotoin", say=place.say)
    with pytest.raises(
        RolloutError, match=r"1700000003 is not in .*; there: 1700000000, 1700000001; did you"
    ):
        promote(place.site, "emotion", 1700000003, say=place.say)
    with pytest.raises(RolloutError, match="label 'a/b': expected"):
        rollout.set_label(place.site, "emotion", "a/b", 1700000000, say=place.say)
    with pytest.raises(RolloutError, match="there are: none"):
        rollout.remove_label(place.site, "emotion", "x", say=place.say)


def test_without_a_server_nothing_is_changed(place: Place) -> None:
    place.push("m", 1)
    before = place.file.read_bytes()
    nobody = dataclasses.replace(place.site, server=f"127.0.0.1:{free_port()}")
    for change in (
        lambda: rollout.promote(nobody, "m", say=place.say),
        lambda: rollout.rollback(nobody, "m", say=place.say),
        lambda: rollout.set_label(nobody, "m", "x", 1, say=place.say),
    ):
        with pytest.raises(RolloutError, match=r"no model server answers at .*`hexaface serve`.*--server"):
            change()
    with pytest.raises(RolloutError, match="server 'http://x'"):
        rollout.promote(dataclasses.replace(place.site, server="http://x"), "m", say=place.say)
    assert place.file.read_bytes() == before


def test_the_server_of_another_workspace_is_left_alone(place: Place, tmp_path: Path) -> None:
    other = Root(tmp_path / "models", "real data")
    site = Site([other], place.address)
    push_empty(other.path, "other", 1)
    with pytest.raises(RolloutError, match=r"none of the models in .* is it another workspace's"):
        rollout.promote(site, "other", say=place.say)
    push_empty(other.path, "keeper", 7)
    with pytest.raises(RolloutError, match=r"this server has keeper 1, not in"):
        rollout.promote(site, "keeper", say=place.say)
    assert place.ask("keeper") == (1, 2.0)
    with pytest.raises(NotFound):
        place.ask("other")
