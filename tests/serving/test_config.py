import dataclasses

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.model_server.config import (
    PROMETHEUS_PATH,
    BatchingParameters,
    SSLConfig,
    check_model_config,
    read_batching_parameters,
    read_model_config,
    read_monitoring,
    read_ssl,
    single_model,
)
from serving.model_server.errors import Code, ServingError
from serving.model_server.flags import CPUS

READERS = {
    "ModelServerConfig": read_model_config,
    "BatchingParameters": read_batching_parameters,
    "MonitoringConfig": read_monitoring,
    "SSLConfig": read_ssl,
}
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
CERT = "-----BEGIN CERTIFICATE-----\nb3Blbg==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def file(tmp_path):
    """Writes a text file and returns its path."""

    def write(text):
        path = tmp_path / "file.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def refusal(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    assert "\n" not in caught.value.message
    return caught.value.code, caught.value.message


def models(*texts):
    """Returns a config with one entry a text; names and platforms may be left out."""
    entries = " ".join(f"config {{ {text} }}" for text in texts)
    return text_format.Parse(f"model_config_list {{ {entries} }}", ModelServerConfig())


def model(name="age", base_path="/m/age", platform="tensorflow"):
    return f'name: "{name}" base_path: "{base_path}" model_platform: "{platform}"'


def test_a_full_config_is_read(file):
    config = read_model_config(
        file(
            """
            # Commas, colons and comments are legal.
            model_config_list: {
              config: {
                name: 'age', base_path: "/abs/models/age", model_platform: "tensorflow",
                model_version_policy { specific { versions: 3 versions: 4 } }
                version_labels { key: "stable" value: 3 }
                version_labels { key: "canary" value: 4 }
              },
              config { name: "emotion" base_path: "gs://bucket/emotion" model_type: TENSORFLOW
                       model_version_policy { all {} } }
            }
            """
        )
    )
    age, emotion = config.model_config_list.config
    assert (age.name, age.base_path) == ("age", "/abs/models/age")
    assert list(age.model_version_policy.specific.versions) == [3, 4]
    assert dict(age.version_labels) == {"stable": 3, "canary": 4}
    assert emotion.model_version_policy.WhichOneof("policy_choice") == "all"
    check_model_config(config)


def test_flags_for_one_model_make_a_config():
    config = single_model("m", "/models/m")
    check_model_config(config)
    assert text_format.MessageToString(config, as_one_line=True) == (
        'model_config_list { config { name: "m" base_path: "/models/m" model_platform: "tensorflow" } }'
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("improperly formatted file", "1:1", 'has no field named "improperly".'),
        (
            'model_config_list {\n config { nme: "a" } }',
            "2:11",
            '"tensorflow.serving.ModelConfig" has no field named',
        ),
        ("model_config_list { config { name: 3 } }", "1:36", "Expected string but found: '3'"),
        ('model_config_list { config { name: "a\nb" } }', "1:36", "String missing ending quote"),
        ("model_config_list {\n", "1:19", 'Expected "}".'),
        (
            "model_config_list { config { version_labels { value: 99999999999999999999 } } }",
            "1:",
            ": 99999999999999999999. Invalid",
        ),
        (
            "model_config_list { config { model_version_policy { all {} latest {} } } }",
            "1:60",
            'Field "latest" is specified along with field "all"',
        ),
        ("custom_model_config {} model_config_list {}", "1:24", 'along with field "custom_model_config"'),
        (b"model_config_list {\n # \xff\n}", "2:4", "Expected UTF-8 text."),
        ("x" * 5000, "1:1", "has no field named"),
        (
            'model_config_list { config { base_path: "' + "x" * 3000 + '" name: 3 } }',
            "1:3050",
            "Expected string but found: '3'",
        ),
    ],
)
def test_a_broken_config_is_told_by_place_and_fault(text, where, what, file):
    path = file(text)
    code, message = refusal(read_model_config, path)
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith(f"Error parsing text-format tensorflow.serving.ModelServerConfig: {where}")
    assert what in message
    assert message.endswith(f"Invalid protobuf file: '{path}'")


@pytest.mark.parametrize("kind", READERS)
def test_every_file_may_be_missing_broken_or_a_folder(kind, file, tmp_path):
    assert refusal(READERS[kind], "/no/such.txt") == (
        Code.NOT_FOUND,
        "/no/such.txt; No such file or directory",
    )
    assert refusal(READERS[kind], str(tmp_path)) == (
        Code.INVALID_ARGUMENT,
        f"Cannot read '{tmp_path}': Is a directory",
    )
    assert refusal(READERS[kind], "a\0b")[0] == Code.INVALID_ARGUMENT
    message = refusal(READERS[kind], file("\n  nonsense: 1"))[1]
    assert message.startswith(f"Error parsing text-format tensorflow.serving.{kind}: 2:3: ")
    assert "hexaface.wire" not in message


@pytest.mark.parametrize("config", [ModelServerConfig(), models()])
def test_no_models_at_all_are_legal(config):
    check_model_config(config)
    check_model_config(config, ModelServerConfig())
    check_model_config(models(), models(model()))


def test_a_reload_may_replace_the_whole_set():
    check_model_config(models(model("b"), model("a")), models(model("a"), model("c")))


@pytest.mark.parametrize("base_path", ["/", "/m", "gs://b/m", "s3://b", "file:///m"])
def test_absolute_paths_and_uris_are_legal(base_path):
    check_model_config(models(model(base_path=base_path)))


BOTH = (
    "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
)
NEITHER = (
    "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
    " ModelServerConfig::model_platform."
)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (models(model("a"), model("b"), model("a")), "Illegal to list model a multiple times in config list"),
        (
            models(model("")),
            "Expected every model in config list to have a name; got name()= with base_path()=/m/age",
        ),
        (
            models(model(base_path="")),
            "Expected model age to have an absolute path or URI; got base_path()=",
        ),
        (
            models(model("a"), model("b", "./m")),
            "Expected model b to have an absolute path or URI; got base_path()=./m",
        ),
        (
            models(model(base_path="C:/m")),
            "Expected model age to have an absolute path or URI; got base_path()=C:/m",
        ),
        (models(model(platform="torch")), "Model age requests unsupported platform torch"),
        (models('name: "a" base_path: "/a"'), f"{NEITHER} Model: a"),
        (models(model() + " model_type: TENSORFLOW"), f"{BOTH} Model: age"),
        (
            models('name: "a" base_path: "/a" model_type: OTHER'),
            "ModelServerConfig::model_type choice 2 not supported. Model: a",
        ),
        (
            text_format.Parse('custom_model_config { type_url: "x" }', ModelServerConfig()),
            "ModelServer does not yet support custom model config.",
        ),
    ],
)
def test_configs_that_cannot_be_served(config, message):
    assert refusal(check_model_config, config) == (Code.INVALID_ARGUMENT, message)
    assert refusal(check_model_config, config, ModelServerConfig()) == (Code.INVALID_ARGUMENT, message)


def test_a_platform_cannot_change():
    message = (
        "Illegal to change a model's platform. For model age platform was tensorflow and new platform"
        " requested is torch"
    )
    assert refusal(check_model_config, models(model(platform="torch")), models(model())) == (
        Code.INVALID_ARGUMENT,
        message,
    )
    # The two ways to say the same platform are no change.
    old = 'name: "age" base_path: "/m" model_type: TENSORFLOW'
    check_model_config(models(model()), models(old))
    check_model_config(models(old), models(model()))


@pytest.mark.parametrize(
    "new", [ModelServerConfig(), text_format.Parse("custom_model_config {}", ModelServerConfig())]
)
def test_a_list_of_models_gives_way_only_to_another(new):
    assert refusal(check_model_config, new, models(model())) == (
        Code.FAILED_PRECONDITION,
        "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to"
        " another.",
    )


def test_official_defaults_of_batching(file):
    defaults = {
        "max_batch_size": 1000,
        "batch_timeout_micros": 0,
        "max_enqueued_batches": 10,
        "num_batch_threads": CPUS,
        "thread_pool_name": "batch_threads",
        "allowed_batch_sizes": (),
        "pad_variable_length_inputs": False,
        "enable_large_batch_splitting": False,
        "max_execution_batch_size": 1000,
    }
    assert dataclasses.asdict(read_batching_parameters(file(""))) == defaults
    assert dataclasses.asdict(BatchingParameters()) == defaults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "max_batch_size { value: 128 } batch_timeout_micros { value: 0 }"
            " max_enqueued_batches { value: 1000000 } num_batch_threads { value: 8 }",
            {"max_batch_size": 128, "max_enqueued_batches": 1000000, "num_batch_threads": 8},
        ),
        ("max_batch_size { value: 7 }", {"max_batch_size": 7}),
        (
            'thread_pool_name { value: "x" } pad_variable_length_inputs: true max_batch_size: { value: 4 }'
            " allowed_batch_sizes: [1, 2] allowed_batch_sizes: 4",
            {
                "thread_pool_name": "x",
                "pad_variable_length_inputs": True,
                "max_batch_size": 4,
                "allowed_batch_sizes": (1, 2, 4),
            },
        ),
        # Large requests are split into batches of the execution size.
        (
            "enable_large_batch_splitting { value: true } max_batch_size { value: 64 }"
            " max_execution_batch_size { value: 16 } allowed_batch_sizes: 8 allowed_batch_sizes: 16",
            {
                "enable_large_batch_splitting": True,
                "max_batch_size": 64,
                "max_execution_batch_size": 16,
                "allowed_batch_sizes": (8, 16),
            },
        ),
        (
            "enable_large_batch_splitting { value: true } max_batch_size { value: 64 }",
            {"enable_large_batch_splitting": True, "max_batch_size": 64},
        ),
        # Without splitting that size has no meaning.
        ("max_batch_size { value: 64 } max_execution_batch_size { value: 16 }", {"max_batch_size": 64}),
    ],
)
def test_batching_parameters_are_read(text, expected, file):
    expected = {"max_execution_batch_size": expected["max_batch_size"]} | expected
    assert read_batching_parameters(file(text)) == dataclasses.replace(BatchingParameters(), **expected)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("max_batch_size {}", "max_batch_size must be positive; was 0"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        (
            "allowed_batch_sizes: 1 allowed_batch_sizes: 2",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 1000",
        ),
        (
            "allowed_batch_sizes: 1000 allowed_batch_sizes: 1000",
            "allowed_batch_sizes must be positive and increasing; was [1000, 1000]",
        ),
        (
            "allowed_batch_sizes: 0 allowed_batch_sizes: 1000",
            "allowed_batch_sizes must be positive and increasing; was [0, 1000]",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 16 }"
            " allowed_batch_sizes: 1000",
            "Last entry in allowed_batch_sizes must be equal to max_execution_batch_size; last entry was"
            " 1000; expected 16",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 1001 }",
            "max_execution_batch_size must be less than or equal to max_batch_size; was 1001; expected at"
            " most 1000",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size {}",
            "max_execution_batch_size must be positive; was 0",
        ),
    ],
)
def test_impossible_batching_parameters(text, fault, file):
    path = file(text)
    assert refusal(read_batching_parameters, path) == (
        Code.INVALID_ARGUMENT,
        f"Invalid BatchingParameters in '{path}': {fault}",
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ('prometheus_config { path: "/metrics" }', ""),
        ("prometheus_config { enable: true }", PROMETHEUS_PATH),
        ("prometheus_config: { enable: true, path: '/monitoring/prometheus/metrics' }", PROMETHEUS_PATH),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
    ],
)
def test_monitoring(text, path, file):
    assert read_monitoring(file(text)) == path


def test_a_monitoring_path_is_a_url_path(file):
    path = file('prometheus_config { enable: true path: "metrics" }')
    assert refusal(read_monitoring, path) == (
        Code.INVALID_ARGUMENT,
        f"Invalid MonitoringConfig in '{path}': prometheus_config.path must start with /; was metrics",
    )


def ssl_text(**fields):
    return "\n".join(
        f'{name}: "{text_format.text_encoding.CEscape(value, as_utf8=True)}"'
        for name, value in fields.items()
    )


def test_ssl(file):
    text = ssl_text(server_key=KEY, server_cert=CERT)
    assert read_ssl(file(text)) == SSLConfig(KEY, CERT, "", False)
    text = ssl_text(server_key=KEY, server_cert=CERT, custom_ca=CERT) + " client_verify: true"
    config = read_ssl(file(text))
    assert config == SSLConfig(KEY, CERT, CERT, True)
    assert "c2VjcmV0" not in repr(config)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ssl_text(server_cert=CERT), "server_key must hold PEM text; was empty"),
        (ssl_text(server_key=KEY), "server_cert must hold PEM text; was empty"),
        (
            ssl_text(server_key="/etc/key.pem", server_cert=CERT),
            "server_key must hold PEM text, not a file's name; was 12 characters",
        ),
        (
            ssl_text(server_key=KEY, server_cert=CERT) + " client_verify: true",
            "custom_ca must hold PEM text where client_verify is set; was empty",
        ),
    ],
)
def test_unusable_ssl(text, fault, file):
    path = file(text)
    assert refusal(read_ssl, path) == (Code.INVALID_ARGUMENT, f"Invalid SSLConfig in '{path}': {fault}")


@pytest.mark.parametrize(
    "text", ['server_key: "c2VjcmV0', "server_key: c2VjcmV0", 'server_key: "\\xffc2VjcmV0"']
)
def test_no_key_is_quoted(text, file):
    assert "c2VjcmV0" not in refusal(read_ssl, file(text))[1]


NAMES = ["model_config_list", "config", "name", "server_key", "max_batch_size", "value", "prometheus_config"]
TOKENS = st.sampled_from([*NAMES, *"{}:<[]\"'\\\n#,", '"a"', "1", "-1", "1e9", "type.googleapis.com/x"])


@pytest.mark.parametrize("kind", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.one_of(st.binary(), st.lists(TOKENS, max_size=12).map(lambda words: " ".join(words).encode())))
def test_no_file_breaks_a_reader(kind, file, data):
    path = file(data)
    try:
        READERS[kind](path)
    except ServingError as error:
        assert path in error.message
