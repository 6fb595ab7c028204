import dataclasses
import math
from pathlib import Path

import pytest

from data_validation.errors import InputError
from pipelines.settings import Workspace, load, profile_names, setting_names
from pipelines.task_settings import EmotionSettings, VerificationSettings
from pipelines.tasks import TASKS


def refusal(*overrides, profile="demo"):
    with pytest.raises(InputError) as caught:
        load(profile, "emotion", overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def profile(tmp_path):
    """Writes a profile and returns its path as text."""

    def write(text, name="mine.yaml"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(file)

    return write


WEIGHTS = ("model.weights=vgg.h5", f"model.weights_sha256={'ab' * 32}")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_for_every_task(name, task):
    # The report's own backbones come with weights that only the user can have.
    overrides = WEIGHTS if name == "paper" and task not in ("detection", "emotion", "synthesis") else ()
    assert isinstance(load(name, task, overrides), TASKS[task].settings)


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        (
            "gender",
            ["model.backbone=vgg16"],
            "model.weights: expected a file or URL for model.backbone=vgg16",
        ),
        ("gender", ["model.backbone=vgg16", WEIGHTS[0]], "model.weights_sha256: expected the hash of"),
        *(
            (task, [f"model.backbone={name}", setting], f"{setting.split('=')[0]}: expected none for model.")
            for task, name in (("gender", "compact"), ("gender", "embedding"), ("verification", "compact"))
            for setting in WEIGHTS
        ),
        ("gender", ["model.backbone=vgg16", *WEIGHTS, "train.warm_start=true"], "train.warm_start: "),
        ("gender", ["model.weights_sha256=ABC"], "model.weights_sha256: expected "),
        (
            "age",
            ["model.backbone=vgg16", *WEIGHTS],
            "model.backbone: expected 'compact', 'embedding' or 'vggface'",
        ),
        (
            "age",
            ["model.backbone=compact", "model.trained_layers=last"],
            "model.trained_layers: last needs layers that are trained",
        ),
        *(
            (
                task,
                ["model.backbone=embedding", "train.warm_start=true"],
                "train.warm_start: model.backbone=em",
            )
            for task in ("gender", "age")
        ),
        ("verification", ["model.backbone=embedding"], "model.backbone: expected 'compact' or 'vggface'"),
        (
            "verification",
            ["model.backbone=vggface", *WEIGHTS, "train.warm_start=true"],
            "train.warm_start: model.backbone=vggface is frozen",
        ),
        ("age", ["evaluation.min_accuracy=0.5"], "unknown setting evaluation.min_accuracy"),
        ("emotion", ["data.min_face_score=2.0"], "unknown setting data.min_face_score"),
    ],
)
def test_settings_that_do_not_go_together(task, overrides, message):
    with pytest.raises(InputError) as caught:
        load("demo", task, overrides)
    assert str(caught.value).startswith(message)
    assert str(caught.value).count("(profile demo or --set)") == 1


def test_the_embedding_s_trunk_is_not_always_frozen():
    """What is refused is the warm start, whatever is trained on the trunk."""
    overrides = ["model.backbone=embedding", "model.trained_layers=all", "train.warm_start=true"]
    with pytest.raises(InputError) as caught:
        load("demo", "age", overrides)
    assert "frozen" not in str(caught.value)
    assert load("demo", "age", overrides[:2]).model.trained_layers == "all"


BOX = "left, top, width and height, or nothing"


@pytest.mark.parametrize("name", ["data.att_box", "data.lfw_box"])
@pytest.mark.parametrize(
    ("value", "place", "expected"),
    [
        ("[1, 2, 3]", "", BOX),
        ("[1, 2, 3, 4, 5]", "", BOX),
        ("[1, 2, 0, 4]", "", BOX),
        ("[1, 2, 3, 0]", "", BOX),
        ("[-1, 2, 3, 4]", ".0", "greater than or equal to 0"),
        ("[1, 2, 3, 100001]", ".3", "less than or equal to 100000"),
        ("[1, 2.5, 3, 4]", ".1", "a valid integer"),
        ("[1, 2, 3, a]", ".3", "a valid integer"),
        ("'1, 2, 3, 4'", "", "a list"),
        ("7", "", "a list"),
    ],
)
def test_malformed_boxes_are_named(name, value, place, expected):
    with pytest.raises(InputError) as caught:
        load("demo", "verification", [f"{name}={value}"])
    assert str(caught.value).startswith(f"{name}{place}: expected {expected}")
    assert str(caught.value).endswith(" (profile demo or --set)")


def test_boxes_are_four_numbers_or_none():
    values = load("cpu", "verification", ["data.att_box=[1, 2, 30, 40]", "data.lfw_box=[]"])
    assert (values.data.att_box, values.data.lfw_box) == ((1, 2, 30, 40), ())
    assert load("cpu", "verification").data == VerificationSettings().data


def test_profiles_are_those_that_the_documents_name():
    assert {"demo", "cpu", "paper"} <= set(profile_names())


def test_paper_profile_has_the_report_s_parameters():
    paper = load("paper", "emotion")
    assert (paper.model.network, paper.train.optimizer, paper.train.epochs) == ("report_vgg", "sgd", 1000)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.epochs=3", lambda values: values.train.epochs == 3),
        ("train.learning_rate=1", lambda values: values.train.learning_rate == 1.0),
        ("train.learning_rate=1.0e-3", lambda values: values.train.learning_rate == 0.001),
        ("train.warm_start=true", lambda values: values.train.warm_start is True),
        ("train.augmentation.shift=0.25", lambda values: values.train.augmentation.shift == 0.25),
        ("train.augmentation={flip: false, zoom: 0.5}", lambda values: values.train.augmentation.zoom == 0.5),
        ("model.network=report_vgg", lambda values: values.model.network == "report_vgg"),
        (
            "run.beam_args=[--runner=FlinkRunner, '--x=a=b']",
            lambda values: values.run.beam_args[1] == "--x=a=b",
        ),
        ("run.beam_args=[]", lambda values: values.run.beam_args == ()),
    ],
)
def test_overrides(override, read):
    assert not read(load("demo", "emotion"))
    assert read(load("demo", "emotion", [override]))


def test_numbers_in_the_usual_exponent_form():
    assert load("demo", "emotion", ["train.learning_rate=1e-3"]).train.learning_rate == 0.001


def test_a_nested_override_leaves_its_neighbours_alone():
    before = load("paper", "emotion")
    after = load("paper", "emotion", ["train.augmentation.shift=0.3", "train.epochs=5"])
    augmentation = dataclasses.replace(before.train.augmentation, shift=0.3)
    train = dataclasses.replace(before.train, augmentation=augmentation, epochs=5)
    assert after == dataclasses.replace(before, train=train)
    assert after != before
    assert load("paper", "emotion") == before


def test_the_last_override_wins():
    assert load("demo", "emotion", ["train.epochs=3", "train.epochs=4"]).train.epochs == 4


@pytest.mark.parametrize(
    ("override", "name", "hint"),
    [
        ("train.epoch=3", "train.epoch", "train.epochs"),
        ("train.learningrate=0.1", "train.learningrate", "train.learning_rate"),
        ("train.augmentation.flp=true", "train.augmentation.flp", "train.augmentation.flip"),
        ("epochs=3", "epochs", "train.epochs"),
    ],
)
def test_unknown_keys_are_named_with_a_hint(override, name, hint):
    assert refusal(override) == f"unknown setting {name} (profile demo or --set); did you mean {hint}?"


def test_unknown_keys_like_no_other_have_no_hint():
    assert refusal("zzzz=1") == "unknown setting zzzz (profile demo or --set)"


@pytest.mark.parametrize(
    ("override", "name", "found"),
    [
        ("train.epochs=3.5", "train.epochs", "3.5"),
        ("train.epochs='3'", "train.epochs", "'3'"),
        ("train.epochs=true", "train.epochs", "True"),
        ("train.epochs=", "train.epochs", "None"),
        ("train.epochs=many", "train.epochs", "'many'"),
        ("train.learning_rate=true", "train.learning_rate", "True"),
        ("train.learning_rate='0.1'", "train.learning_rate", "'0.1'"),
        ("train.warm_start=1", "train.warm_start", "1"),
        ("train.warm_start='true'", "train.warm_start", "'true'"),
        ("train.seed.x=3", "train.seed", "{'x': 3}"),
        ("train=3", "train", "3"),
        ("run.beam_args=--runner=X", "run.beam_args", "'--runner=X'"),
        ("run.beam_args=[a, 1]", "run.beam_args.1", "1"),
        ("model.network=compactt", "model.network", "'compactt'"),
        ("train.epochs=0", "train.epochs", "0"),
        ("train.epochs=-1", "train.epochs", "-1"),
        ("train.learning_rate=0", "train.learning_rate", "0"),
        ("train.learning_rate=.nan", "train.learning_rate", "nan"),
        ("train.learning_rate=.inf", "train.learning_rate", "inf"),
        ("train.weight_decay=-.inf", "train.weight_decay", "-inf"),
        ("model.dropout=1.0", "model.dropout", "1.0"),
        ("data.max_rejected_fraction=1.01", "data.max_rejected_fraction", "1.01"),
        ("data.max_rejected_fraction=.nan", "data.max_rejected_fraction", "nan"),
        ("data.spans=0", "data.spans", "0"),
        ("run.retries=11", "run.retries", "11"),
        ("evaluation.min_accuracy=-0.1", "evaluation.min_accuracy", "-0.1"),
        ("train.augmentation.cutout=1.5", "train.augmentation.cutout", "1.5"),
        ("train.augmentation.coarse=1.01", "train.augmentation.coarse", "1.01"),
    ],
)
def test_values_of_a_wrong_type_or_range_are_named(override, name, found):
    message = refusal(override)
    assert message.startswith(f"{name}: expected ")
    assert message.endswith(f", found {found} (profile demo or --set)")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_refuses_is_refused(seed):
    assert "train.seed" in refusal(f"train.seed={seed}")


def test_several_faults_are_all_named():
    message = refusal("train.epochs=0", "model.dropout=2", "data.span=1")
    assert "\n" not in message
    for name in ("train.epochs", "model.dropout", "data.span"):
        assert name in message


@pytest.mark.parametrize("override", ["train.epochs", "", "=3", "train"])
def test_an_override_without_key_or_value_is_refused(override):
    assert refusal(override) == f"--set {override}: expected section.key=value"


def test_an_override_below_a_scalar_is_refused():
    assert refusal("train.epochs.x=3") == "--set train.epochs.x=3: epochs is no section"


@pytest.mark.parametrize("value", ["[", "{a: ", "'", "!!python/object:os.system x", "*x"])
def test_an_override_that_is_no_yaml_is_refused(value):
    assert refusal(f"train.epochs={value}").startswith(
        f"--set train.epochs={value}: the value is not valid: "
    )


@pytest.mark.parametrize("value", ["2024-01-01", "!!set {a}", "!!binary aGk=", "&a [*a]"])
def test_a_yaml_value_of_another_kind_is_refused(value):
    assert "train.epochs" in refusal(f"train.epochs={value}")


# Profiles


@pytest.mark.parametrize(
    ("name", "hint"), [("dmeo", "demo"), ("papr", "paper"), ("CPU", None), ("zzz", None)]
)
def test_unknown_profile_is_named_with_a_hint(name, hint):
    known = ", ".join(profile_names())
    ending = f"; did you mean {hint}?" if hint else ""
    assert refusal(profile=name) == f"profile {name!r}: expected {known} or a YAML file{ending}"


def test_missing_profile_file_is_named(tmp_path):
    assert refusal(profile=str(tmp_path / "gone.yaml")).startswith(
        f"profile '{tmp_path}/gone.yaml': expected "
    )


def test_own_profile(profile):
    file = profile("all:\n  train:\n    epochs: 5\n    seed: 9\nemotion:\n  train:\n    epochs: 6\n")
    values = load(file, "emotion")
    assert (values.train.epochs, values.train.seed) == (6, 9)
    assert values.model == EmotionSettings().model


def test_empty_profile_is_the_defaults(profile):
    assert load(profile(""), "emotion") == EmotionSettings()
    assert load(profile("# nothing\n", "other.yml"), "emotion") == EmotionSettings()


def test_typo_in_a_profile_names_the_key_and_the_profile(profile):
    file = profile("emotion:\n  train:\n    epohcs: 5\n")
    assert refusal(profile=file) == (
        f"unknown setting train.epohcs (profile {file} or --set); did you mean train.epochs?"
    )


def test_wrong_value_in_a_profile_names_the_key_and_the_profile(profile):
    file = profile("all:\n  data:\n    spans: two\n")
    message = refusal(profile=file)
    assert message.startswith("data.spans: expected ")
    assert f"found 'two' (profile {file} or --set)" in message


@pytest.mark.parametrize("text", ["a: [", "\tall: 1", "all: {\n", b"\xff\xfe\xfa"])
def test_malformed_yaml_names_the_file(profile, text):
    file = profile(text)
    assert refusal(profile=file).startswith(f"{file}: not valid YAML: ")


@pytest.mark.parametrize(
    ("section", "ending"), [("emotoin", "; did you mean emotion?"), ("zzz", ""), ("train", "")]
)
def test_unknown_section_is_named(profile, section, ending):
    file = profile(f"{section}:\n  epochs: 3\n")
    assert refusal(profile=file) == f"{file}: unknown section {section!r}{ending}"


def test_unknown_section_that_is_no_text_is_named(profile):
    file = profile("1:\n  epochs: 3\n")
    assert refusal(profile=file).startswith(f"{file}: unknown section '1'")


@pytest.mark.parametrize("text", ["- all\n", "word\n", "3\n", "emotion: 3\n", "all:\n", "emotion: [1]\n"])
def test_sections_that_are_no_mapping_are_refused(profile, text):
    file = profile(text)
    assert refusal(profile=file) == f"{file}: expected sections, `all` and one a task, each with settings"


def test_a_section_of_settings_that_is_no_mapping_is_named(profile):
    message = refusal(profile=profile("emotion:\n  train: fast\n"))
    assert message.startswith("train: expected ")
    assert "found 'fast'" in message


# The settings themselves


def frozen_parts():
    values = EmotionSettings()
    parts = [values]
    for part in parts:
        parts += [child for child in vars(part).values() if dataclasses.is_dataclass(child)]
    return parts


@pytest.mark.parametrize("part", frozen_parts(), ids=lambda part: type(part).__name__)
def test_settings_are_frozen(part):
    for name in vars(part):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)


def test_setting_names_are_the_leaves():
    names = setting_names(EmotionSettings())
    assert len(names) == len(set(names))
    assert {"data.spans", "train.epochs", "train.augmentation.flip", "run.beam_args"} <= set(names)
    assert not {"data", "train", "train.augmentation"} & set(names)
    for name in names:
        value = EmotionSettings()
        for part in name.split("."):
            value = getattr(value, part)
        assert not dataclasses.is_dataclass(value), name


def test_as_dict_gives_the_same_settings_back():
    values = load("paper", "emotion")
    plain = values.as_dict()
    assert plain["train"]["augmentation"]["rotate_degrees"] == 0.0
    assert math.isclose(plain["train"]["learning_rate"], 0.01)
    plain["train"]["epochs"] = 3
    assert values.train.epochs == 1000


# The workspace


def test_workspace_is_made_and_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = Workspace.at(Path("a/b"))
    assert place.root == tmp_path / "a/b"
    assert list(place.root.iterdir()) == []


def test_workspace_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEXAFACE_HOME", raising=False)
    assert Workspace.at(None).root == tmp_path / "hexaface_runs"
    monkeypatch.setenv("HEXAFACE_HOME", str(tmp_path / "home"))
    assert Workspace.at(None).root == tmp_path / "home"
    monkeypatch.setenv("HEXAFACE_HOME", "")
    assert Workspace.at(None).root == tmp_path / "hexaface_runs"


@pytest.mark.parametrize("below", ["", "below", "far/below"])
def test_workspace_at_a_file_names_the_path(tmp_path, below):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / below
    with pytest.raises(InputError) as caught:
        Workspace.at(path)
    assert str(caught.value).startswith(f"{path}: expected a folder to write to: ")


def test_workspace_that_refuses_writing_names_the_path():
    # /proc refuses even root.
    with pytest.raises(InputError, match=r"^/proc/hexaface: expected a folder to write to: "):
        Workspace.at(Path("/proc/hexaface"))
    with pytest.raises(InputError, match=r"^/proc/self: expected|^/proc/\d+: expected"):
        Workspace.at(Path("/proc/self"))


@pytest.mark.parametrize("path", ["~nobody-of-that-name/runs", "loop/runs"])
def test_workspace_at_an_impossible_path_names_it(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match="runs"):
        Workspace.at(Path(path))


def test_tracking_uri(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Workspace.at(tmp_path)
    assert place.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert place.tracking_uri == "http://tracking:5000"
