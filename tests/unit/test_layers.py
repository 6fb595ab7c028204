import ast
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ROOMS = ("pipelines", "components", "trainers", "data_validation", "serving")
BELOW = {
    "pipelines": {"components", "trainers", "data_validation", "serving"},
    "components": {"trainers", "data_validation", "serving"},
    "trainers": {"data_validation"},
    "data_validation": set(),
    "serving": set(),
}
FORBIDDEN = {
    "pipelines": set(),
    "components": set(),
    "trainers": {"tfx", "apache_beam", "kfp"},
    "data_validation": {"tfx", "apache_beam", "kfp"},
    "serving": {"tfx", "apache_beam", "kfp"},
}


def files(room):
    return sorted((PROJECT / room).rglob("*.py"))


def module_name(file):
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source):
    """Names the modules that a source imports anywhere in it, with importlib's and __import__'s texts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def tops(room):
    for file in files(room):
        for line, name in imported(file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(PROJECT)}:{line}", name.split(".")[0]


def fresh(code, *arguments):
    """Runs code in an interpreter of its own and returns its output."""
    # Without what this process has set for itself.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment | {"PYTHONPATH": str(PROJECT)},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_the_parser_sees_all_kinds_of_imports():
    lines = [
        "import a.b, c",
        "from d.e import f",
        "def g():",
        "    if 1:",
        "        import h",
        "    import_module('i.j')",
        "from . import k",
    ]
    assert sorted(imported("\n".join(lines))) == [(1, "a.b"), (1, "c"), (2, "d.e"), (5, "h"), (6, "i.j")]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down_only(room):
    assert files(room), f"{room} has no modules"
    wrong = [
        f"{where} imports {top}"
        for where, top in tops(room)
        if top in set(ROOMS) - BELOW[room] - {room} or top in FORBIDDEN[room]
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_imports_the_tests_or_benchmarks(room):
    assert [where for where, top in tops(room) if top in ("tests", "benchmarks", "pytest")] == []


def test_every_room_is_known():
    rooms = {file.parent.name for file in PROJECT.glob("*/__init__.py")}
    assert rooms == set(ROOMS)


HEAVY = "tensorflow", "apache_beam", "tfx", "tf_keras", "keras", "mlflow", "pandas", "matplotlib", "jax"


def test_command_line_imports_nothing_heavy():
    code = "import sys, json, pipelines.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(fresh(code))}
    assert "pipelines" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["data", "--help"], ["portal", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys, atexit, pipelines.cli\n"
        "atexit.register(lambda: print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules})))\n"
        "sys.argv[0] = 'hexaface'\n"
        "pipelines.cli.app()"
    )
    output = fresh(code, *arguments)
    assert "Usage: hexaface" in output
    assert set(output.splitlines()[-1].split()) & set(HEAVY) == set()


@pytest.mark.parametrize("command", [["hexaface", "--help"], ["python", "-c", "import pipelines.cli"]])
def test_command_line_starts_within_a_second(command):
    command = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    seconds = []
    for _ in range(3):
        # Processor time, so that other work on the machine does not count.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, cwd=PROJECT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 1.0


def is_portal(file):
    return file.is_relative_to(PROJECT / "serving" / "portal")


def test_any_order_of_imports_ends_with_keras_2():
    # The portal's modules need Django's settings, and have a test of their own.
    names = [
        module_name(file)
        for room in ROOMS
        for file in files(room)
        if not is_portal(file)
        and not any(
            part.startswith("_") and part != "__init__.py" for part in file.relative_to(PROJECT).parts
        )
    ]
    seed = random.SystemRandom().randrange(10**6)
    random.Random(seed).shuffle(names)
    code = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import tensorflow as tf, tf_keras\n"
        "print(tf.keras.Model is tf_keras.Model)"
    )
    assert fresh(code, *names).splitlines()[-1] == "True", f"order of seed {seed}: {names}"


# ---- the portal

# It says so itself: what loads MLflow is a program of its own.
MLFLOW_READER = "serving.portal.operations.mlflow_reader"


def portal_modules():
    return [module_name(file) for file in files("serving") if is_portal(file) and file.name != "wsgi.py"]


def test_the_portal_loads_nothing_heavy(tmp_path):
    names = [name for name in portal_modules() if name != MLFLOW_READER]
    assert {"serving.portal.settings", "serving.portal.urls", "serving.portal.launcher"} < set(names)
    seed = random.SystemRandom().randrange(10**6)
    random.Random(seed).shuffle(names)
    code = (
        "import os, sys, importlib, json, django\n"
        "os.environ.update(DJANGO_SETTINGS_MODULE='serving.portal.settings',\n"
        f"    PORTAL_DATA={str(tmp_path)!r}, PORTAL_SECRET_KEY='of-this-test-' * 5)\n"
        "django.setup()\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "import serving.portal.wsgi\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = {name.split(".")[0] for name in json.loads(fresh(code, *names).splitlines()[-1])}
    assert {"django", "grpc", "numpy"} < loaded
    assert loaded & {*HEAVY, "tensorflow_serving", "ml_metadata"} == set(), f"order of seed {seed}: {names}"


def test_only_one_program_of_the_portal_knows_mlflow():
    knowing = {
        module_name(file)
        for file in files("serving")
        for _, name in imported(file.read_text(encoding="utf-8"))
        if name.split(".")[0] == "mlflow"
    }
    assert knowing == {MLFLOW_READER}


def test_what_answers_about_pictures_knows_no_django():
    room = PROJECT / "serving" / "portal" / "assessment"
    found = [
        f"{file.name}:{line} imports {name}"
        for file in files("serving")
        if file.is_relative_to(room)
        for line, name in imported(file.read_text(encoding="utf-8"))
        if name.split(".")[0] in ("django", "ninja", "csp")
        or (name.startswith("serving.portal") and not name.startswith("serving.portal.assessment"))
    ]
    assert any(file.is_relative_to(room) for file in files("serving"))
    assert found == []


def test_the_portal_asks_models_through_the_client_only():
    rooms = ("serving.model_server", "tensorflow", "tensorflow_serving")
    found = [
        f"{module_name(file)}:{line} imports {name}"
        for file in files("serving")
        if is_portal(file)
        for line, name in imported(file.read_text(encoding="utf-8"))
        if name.startswith(rooms)
    ]
    assert found == []
