import math
import threading
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving.model_server import metrics
from serving.model_server.metrics import OVERFLOW, UNKNOWN_MODEL, Metrics

# Names and types in the order in which the binary lists them.
TYPES = {
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    ":tensorflow:core:graph_run_time_usecs": "counter",
    ":tensorflow:core:graph_run_time_usecs_histogram": "histogram",
    ":tensorflow:core:graph_runs": "counter",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:wrapped_run_count": "counter",
    ":tensorflow:serving:model_warmup_latency": "histogram",
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_example_count_total": "counter",
    ":tensorflow:serving:request_example_counts": "histogram",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:request_log_count": "counter",
    ":tensorflow:serving:runtime_latency": "histogram",
}
# As a real server prints them.
_LATENCY_LIMITS = (
    "10 18 32.4 58.32 104.976 188.957 340.122 612.22 1102 1983.59 3570.47 6426.84 11568.3 20823 37481.3"
    " 67466.4 121440 218591 393464 708235 1.27482e+06 2.29468e+06 4.13043e+06 7.43477e+06 1.33826e+07"
    " 2.40887e+07 4.33596e+07 7.80473e+07 1.40485e+08 2.52873e+08 4.55172e+08 8.19309e+08 1.47476e+09 +Inf"
)
LATENCY_LIMITS = _LATENCY_LIMITS.split()


def samples(page):
    """Returns a page's numbers by name and labels, as Prometheus' own parser reads them."""
    text, found = page.decode(), {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser renames counters; what counts is the name on the page.
            name = sample.name if f"\n{sample.name}{{" in text else sample.name.removesuffix("_total")
            assert f"\n{name}{{" in text
            found[name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(page, name, **labels):
    return samples(page)[f":tensorflow:{name}", tuple(sorted(labels.items()))]


def limits(page, name):
    lines = [line for line in page.decode().splitlines() if line.startswith(f":tensorflow:{name}_bucket")]
    return [line.split('le="')[1].split('"')[0] for line in lines]


def test_all_metrics_are_there_from_the_start():
    assert Metrics().text().decode() == "".join(f"# TYPE {name} {kind}\n" for name, kind in TYPES.items())


def test_names_and_types_survive_the_parser():
    families = list(text_string_to_metric_families(Metrics().text().decode()))
    assert [family.type for family in families] == list(TYPES.values())


def test_the_page_of_one_request():
    page = Metrics(["age"])
    page.request_done("age", "Predict", "GRPC", "OK", 0.0005)
    labels = 'model_name="age",API="Predict",entrypoint="GRPC"'
    counts = [0] * 7 + [1] * 27
    expected = [
        "# TYPE :tensorflow:serving:request_latency histogram",
        *(
            f':tensorflow:serving:request_latency_bucket{{{labels},le="{limit}"}} {count}'
            for limit, count in zip(LATENCY_LIMITS, counts, strict=True)
        ),
        f":tensorflow:serving:request_latency_sum{{{labels}}} 500",
        f":tensorflow:serving:request_latency_count{{{labels}}} 1",
    ]
    lines = page.text().decode().splitlines()
    start = lines.index(expected[0])
    assert lines[start : start + len(expected)] == expected
    assert ':tensorflow:serving:request_count{model_name="age",status="OK"} 1' in lines


def test_every_method_counts_where_it_should():
    page = Metrics()
    page.serve(["age"])
    page.request_done("age", "predict", "REST", "OK", 0.25)
    page.request_done("age", "predict", "REST", "INVALID_ARGUMENT", 0.25)
    page.ran("age", "Predict", 0.5)
    page.ran("age", "Predict", 1.0)
    page.examples("age", 3)
    page.examples("age", 4)
    page.request_logged("age", "OK")
    page.warmed_up("/m/age/1", 2.0)
    page.loaded("/m/age/1", 3.0)
    page.loaded("/m/age/1", 1.0, ok=False)
    page.queued("batch_threads", 0.001)
    page.batch_ran()
    text = page.text()
    assert value(text, "serving:request_count", model_name="age", status="OK") == 1
    assert value(text, "serving:request_count", model_name="age", status="INVALID_ARGUMENT") == 1
    labels = {"model_name": "age", "API": "predict", "entrypoint": "REST"}
    # Only answered requests have a latency.
    assert value(text, "serving:request_latency_count", **labels) == 1
    assert value(text, "serving:request_latency_sum", **labels) == 250_000
    labels = {"model_name": "age", "API": "Predict", "runtime": "TF1"}
    assert value(text, "serving:runtime_latency_count", **labels) == 2
    assert value(text, "serving:runtime_latency_sum", **labels) == 1_500_000
    assert value(text, "core:graph_runs") == 2
    assert value(text, "core:graph_run_time_usecs") == 1_500_000
    assert value(text, "core:graph_run_time_usecs_histogram_count") == 2
    assert value(text, "serving:request_example_count_total", model="age") == 7
    assert value(text, "serving:request_example_counts_sum", model="age") == 7
    assert value(text, "serving:request_example_counts_count", model="age") == 2
    assert value(text, "serving:request_log_count", model_name="age", status_code="OK") == 1
    assert value(text, "serving:model_warmup_latency_sum", model_path="/m/age/1", status="OK") == 2_000_000
    assert value(text, "cc:saved_model:load_attempt_count", model_path="/m/age/1", status="success") == 1
    assert value(text, "cc:saved_model:load_attempt_count", model_path="/m/age/1", status="fail") == 1
    assert value(text, "cc:saved_model:load_latency", model_path="/m/age/1") == 4_000_000
    assert (
        value(text, "serving:batching_session:queuing_latency_sum", thread_pool_name="batch_threads") == 1000
    )
    assert value(text, "serving:batching_session:wrapped_run_count") == 1


def test_buckets():
    page = Metrics(["age"])
    page.examples("age", 1)
    page.queued("pool", 0)
    page.ran("age", "Predict", 0)
    text = page.text()
    assert limits(text, "serving:runtime_latency") == LATENCY_LIMITS
    assert limits(text, "serving:request_example_counts") == [str(2**n) for n in range(15)] + ["+Inf"]
    queuing = limits(text, "serving:batching_session:queuing_latency")
    assert (queuing[:3], len(queuing)) == (["100", "120", "144"], 53)
    runs = limits(text, "core:graph_run_time_usecs_histogram")
    assert (runs[:2], runs[-2:]) == (["1000", "2000"], ["5.24288e+08", "+Inf"])
    # A value that equals a limit counts above it, as in the binary's own test.
    assert value(text, "serving:request_example_counts_bucket", model="age", le="1") == 0
    assert value(text, "serving:request_example_counts_bucket", model="age", le="2") == 1


def test_a_clock_that_steps_back_counts_as_nothing():
    page = Metrics(["age"])
    page.ran("age", "Predict", -1.0)
    labels = {"model_name": "age", "API": "Predict", "runtime": "TF1"}
    assert value(page.text(), "serving:runtime_latency_sum", **labels) == 0


def test_unknown_models_share_one_series():
    page = Metrics(["age"])
    for number in range(5000):
        page.request_done(f"guess{number}", "Predict", "GRPC", "NOT_FOUND", 0.001)
        page.ran(f"guess{number}", "Predict", 0.001)
        page.examples(f"guess{number}", 1)
        page.request_logged(f"guess{number}", "OK")
    page.request_done("age", "Predict", "GRPC", "OK", 0.001)
    text = page.text()
    assert len(text.splitlines()) < 200
    assert value(text, "serving:request_count", model_name=UNKNOWN_MODEL, status="NOT_FOUND") == 5000
    assert value(text, "serving:request_count", model_name="age", status="OK") == 1


def test_known_models_stay_known():
    page = Metrics(["old"])
    page.serve(["new"])
    for name in ("old", "new"):
        page.request_logged(name, "OK")
        assert value(page.text(), "serving:request_log_count", model_name=name, status_code="OK") == 1


def test_no_metric_grows_without_bound(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    page = Metrics()
    for number in range(10):
        page.loaded(f"/m/{number}", 1)
        page.queued(f"pool{number}", 1)
    page.loaded("/m/0", 1)
    text = page.text()
    assert value(text, "cc:saved_model:load_latency", model_path="/m/0") == 2_000_000
    assert value(text, "cc:saved_model:load_latency", model_path=OVERFLOW) == 7_000_000
    assert value(text, "serving:batching_session:queuing_latency_count", thread_pool_name=OVERFLOW) == 7


def test_servers_share_nothing():
    first, second = Metrics(["age"]), Metrics(["age"])
    first.request_logged("age", "OK")
    assert b"age" not in second.text()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\\nb", 'x"} 1\n:fake{y="', "é", "", "\r", "a\\"])
def test_any_name_is_escaped(name):
    page = Metrics([name])
    page.request_logged(name, "OK")
    assert value(page.text(), "serving:request_log_count", model_name=name, status_code="OK") == 1


def test_a_name_that_is_no_text_does_not_break_the_page():
    page = Metrics(["\udcff"])
    page.request_logged("\udcff", "OK")
    assert b'model_name="?"' in page.text()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2000)), max_size=30))
def test_what_was_put_in_comes_out(observed):
    page = Metrics("ab")
    for name, seconds in observed:
        page.request_done(name, "Predict", "GRPC", "OK", seconds)
    found = samples(page.text())
    bounds = [10 * 1.8**n for n in range(33)]
    for name in {name for name, _ in observed}:
        micros = [int(seconds * 1e6) for each, seconds in observed if each == name]
        labels = (("API", "Predict"), ("entrypoint", "GRPC"), ("model_name", name))
        assert found[":tensorflow:serving:request_latency_count", labels] == len(micros)
        assert found[":tensorflow:serving:request_latency_sum", labels] == sum(micros)
        for number, limit in enumerate(LATENCY_LIMITS):
            key = tuple(sorted((*labels, ("le", limit))))
            below = sum(bisect_right(bounds, each) <= number for each in micros)
            assert found[":tensorflow:serving:request_latency_bucket", key] == below
    assert all(math.isfinite(each) for each in found.values())


def test_threads_lose_nothing():
    page = Metrics(["age"])

    def work():
        for _ in range(2000):
            page.request_done("age", "Predict", "GRPC", "OK", 0.001)
            page.examples("age", 2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        # Pages taken meanwhile agree with themselves.
        found = samples(page.text())
        counts = [each for (name, _), each in found.items() if name.endswith("request_example_counts_sum")]
        assert counts == [
            each for (name, _), each in found.items() if name.endswith("request_example_count_total")
        ]
    for thread in threads:
        thread.join()
    text = page.text()
    assert value(text, "serving:request_count", model_name="age", status="OK") == 16_000
    assert value(text, "serving:request_example_count_total", model="age") == 32_000
