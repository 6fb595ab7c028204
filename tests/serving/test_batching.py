"""Requests that share a batch get what they would get alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from serving_requests import png

from serving.model_server import saved_model, servable
from serving.model_server.config import BatchingParameters
from serving.model_server.errors import Code, ServingError

PARAMETERS = BatchingParameters(
    max_batch_size=8, max_execution_batch_size=8, batch_timeout_micros=20_000, num_batch_threads=1
)


@pytest.fixture(scope="module")
def batched(toys):
    model = servable.load(toys / "adder" / "1", servable.LoadOptions(batching=PARAMETERS))
    yield model
    model.close()


def together(model, requests, outputs):
    """Sends requests at the same time; returns answers or errors, and how many were let into a batch.

    They have company from first to last, or those that a busy machine holds up would go alone.
    """
    batches = []
    original = model._call_batched

    def counted(signature, form):
        batches.append(signature)
        return original(signature, form)

    model._call_batched = counted
    barrier = threading.Barrier(len(requests))

    def one(request):
        barrier.wait()
        try:
            return model.run(request[0], request[1], outputs)
        except ServingError as error:
            return error

    try:
        with model._company.join(), ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(one, requests)), batches
    finally:
        model._call_batched = original


def test_each_request_gets_its_own_rows(batched):
    requests = [("serving_default", {"x": np.full(n, n, np.float32)}) for n in (1, 2, 3, 1, 4, 2)]
    answers, calls = together(batched, requests, ["y"])
    for (_, inputs), [y] in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(y, inputs["x"] / 2 + 2)
    assert len(calls) == len(requests), "a request did not take the way through a batch"


def test_strings_and_tables_are_batched(batched):
    requests = [("look_up", {"word": np.array([word], object)}) for word in (b"a", b"b", b"c", b"a")]
    answers, _ = together(batched, requests, ["number", "echo_bytes"])
    assert [answer[0].tolist() for answer in answers] == [[1], [2], [-1], [1]]
    assert [answer[1].tolist() for answer in answers] == [[b"a"], [b"b"], [b"c"], [b"a"]]


def test_a_bad_image_fails_alone(batched):
    good, bad = png(5, 4), b"not an image"
    requests = [("size", {"image_bytes": np.array([image], object)}) for image in (good, bad, good, good)]
    answers, calls = together(batched, requests, ["size"])
    assert len(calls) == 4
    assert answers[1].code is Code.INVALID_ARGUMENT
    assert "Unknown image file format" in answers[1].message
    for number in (0, 2, 3):
        assert answers[number][0].tolist() == [[4, 5]]


def test_tf1_variables_are_batched(toys):
    folder = toys / "half" / "00000123"
    model = servable.load(folder, servable.LoadOptions(batching=PARAMETERS))
    requests = [("serving_default", {"x": np.array([[n]], np.float32)}) for n in range(5)]
    answers, calls = together(model, requests, ["y"])
    assert [answer[0].tolist() for answer in answers] == [[[n / 2 + 2]] for n in range(5)]
    assert len(calls) == 5
    model.close()


def test_signatures_without_a_batch_dimension_run_alone(batched):
    assert "scalar" not in batched._batched
    assert batched.run("scalar", {"x": np.float32(1)}, ["y"]) == [3.0]


def test_a_single_request_does_not_wait_for_others(toys):
    slow = replace(PARAMETERS, batch_timeout_micros=60_000_000)
    model = servable.load(toys / "adder" / "1", servable.LoadOptions(batching=slow))
    started = time.monotonic()
    for _ in range(2):
        model.run("serving_default", {"x": np.zeros(1, np.float32)}, ["y"])
    assert time.monotonic() - started < 30
    model.close()


def test_company_is_who_runs_at_the_same_time_or_did_a_moment_ago(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(saved_model, "time", SimpleNamespace(monotonic=lambda: now[0]))
    company = saved_model._Company()
    with company.join() as first, company.join() as second:
        assert (first, second) == (False, True)
    with company.join() as soon_after:
        assert soon_after
    now[0] += 1.0
    with company.join() as later:
        assert not later


def test_a_full_queue_refuses(toys):
    tight = replace(
        PARAMETERS,
        max_batch_size=1,
        max_execution_batch_size=1,
        max_enqueued_batches=1,
        batch_timeout_micros=0,
    )
    model = servable.load(toys / "adder" / "1", servable.LoadOptions(batching=tight))
    requests = [("slow", {"rounds": np.array([200], np.int32)})] * 12
    answers, _ = together(model, requests, ["done"])
    refused = [answer for answer in answers if isinstance(answer, ServingError)]
    assert refused
    assert {error.code for error in refused} == {Code.UNAVAILABLE}
    assert "queue" in refused[0].message
    model.close()


def test_batches_are_padded_and_large_requests_split(toys):
    parameters = replace(
        PARAMETERS,
        max_batch_size=32,
        max_execution_batch_size=8,
        allowed_batch_sizes=(4, 8),
        enable_large_batch_splitting=True,
    )
    model = servable.load(toys / "adder" / "1", servable.LoadOptions(batching=parameters))
    requests = [("serving_default", {"x": np.arange(n, dtype=np.float32)}) for n in (20, 3, 1)]
    answers, calls = together(model, requests, ["y"])
    for (_, inputs), [y] in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(y, inputs["x"] / 2 + 2)
    assert len(calls) == 3
    model.close()


def test_a_version_may_bring_its_own_parameters(toys, tmp_path):
    import shutil

    folder = tmp_path / "1"
    shutil.copytree(toys / "adder" / "1", folder)
    (folder / saved_model.BATCHING_FILE).write_text("max_batch_size { value: 0 }")
    options = servable.LoadOptions(batching=PARAMETERS, per_model_batching=True)
    with pytest.raises(ServingError, match="max_batch_size must be positive"):
        servable.load(folder, options)
    servable.load(folder, replace(options, per_model_batching=False)).close()


def test_batched_equals_direct(batched, toys):
    direct = tf.saved_model.load(str(toys / "adder" / "1")).signatures["two"]
    x, n = np.array([0.5, 1.5], np.float32), np.array([1, 2], np.int32)
    answers, _ = together(batched, [("two", {"x": x, "n": n})] * 3, ["sum", "twice_bytes"])
    expected = direct(x=tf.constant(x), n=tf.constant(n))
    for total, twice in answers:
        np.testing.assert_array_equal(total, expected["sum"])
        np.testing.assert_array_equal(twice, expected["twice_bytes"])
