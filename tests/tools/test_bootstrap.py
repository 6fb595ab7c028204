"""tools/bootstrap.sh where something is missing or was interrupted: all with stand-ins, no network."""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "bootstrap.sh"
NEEDED = [
    "awk",
    "bash",
    "cat",
    "cut",
    "dirname",
    "find",
    "flock",
    "grep",
    "id",
    "mkdir",
    "sha256sum",
    "sleep",
    "sort",
]

# Answers what the script asks of a Python 3.10: path, version, a venv (whose python is this text), pip.
PYTHON = """#!/bin/bash
case "$*" in
"-I -c"*) echo "$0" ;;
-ISc*) echo 3.10.99 ;;
"-m venv"*) mkdir -p "$3/bin" && cat "$0" > "$3/bin/python" && chmod +x "$3/bin/python" ;;
"-m pip"*) grep -q '^uv==' .venv/first.txt && cat "$UV_STANDIN" > .venv/bin/uv && chmod +x .venv/bin/uv ;;
esac
"""
UV = """#!/bin/bash
if [ "$1" = pip ]; then echo "$@" >> uv.log; fi
if [ "$2" = sync ] && [ -e uv.fails ]; then echo "no route to host" >&2; exit 1; fi
for _ in {1..2400}; do if [ "$2" = sync ] && [ -e uv.hangs ]; then sleep 0.05; fi; done
"""


def script(path: Path, text: str = "#!/bin/bash\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Machine:
    """A machine with a project on it, whose PATH has only what a test puts there."""

    def __init__(self, folder: Path):
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.project = folder / "my project"
        self.uv_standin = script(folder / "uv", UV)
        self.bin.mkdir()
        for tool in [*NEEDED, "chmod", "cp"]:
            (self.bin / tool).symlink_to(shutil.which(tool) or pytest.skip(f"{tool} is not here"))
        script(self.bin / "uname", "#!/bin/bash\necho Linux x86_64\n")
        script(self.bin / "g++")
        self.bootstrap = script(self.project / "tools" / "bootstrap.sh", SCRIPT.read_text())
        self.lock = self.project / "requirements" / "tfx-1.16.txt"
        self.lock.parent.mkdir()
        self.lock.write_text("tfx==1.16.0 \\\n    --hash=sha256:00\nuv==1.0 \\\n    --hash=sha256:11\n")
        (self.project / "setup.py").touch()
        (self.project / "pipelines").mkdir()
        (self.project / "pipelines" / "__init__.py").touch()

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.home), "UV_STANDIN": str(self.uv_standin)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.bootstrap), *arguments]
        return subprocess.run(
            command, env=self.environment, cwd="/", capture_output=True, text=True, timeout=120
        )

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.bootstrap)], env=self.environment, stdout=subprocess.PIPE, text=True
        )

    def uv_calls(self) -> list[str]:
        return [line.split()[1] for line in (self.project / "uv.log").read_text().splitlines()]

    def wait_for_sync(self) -> None:
        end = time.monotonic() + 120
        while not (self.project / "uv.log").exists():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """A machine on which the environment has been made."""
    script(machine.bin / "python3.10", PYTHON)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.uv_calls() == ["sync", "install"]
    (machine.project / "uv.log").unlink()
    return machine


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_python_on_path_is_found(machine: Machine):
    python = script(machine.bin / "python3.10", PYTHON)
    assert machine.run("--find-python").stdout == f"{python}\n"


def test_a_shim_that_fails_is_passed_over_for_the_newest_of_pyenv(machine: Machine):
    script(
        machine.bin / "python3.10", "#!/bin/bash\necho 'pyenv: python3.10: command not found' >&2\nexit 127\n"
    )
    script(machine.home / ".pyenv/versions/3.10.9/bin/python3.10", PYTHON)
    newest = script(machine.home / ".pyenv/versions/3.10.13/bin/python3.10", PYTHON)
    done = machine.run("--find-python")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{newest}\n", "")


def test_pyenv_is_searched_without_a_shim(machine: Machine):
    python = script(machine.home / ".pyenv/versions/3.10.13/bin/python3.10", PYTHON)
    assert machine.run("--find-python").stdout == f"{python}\n"


@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="needs to run under Python 3.10")
def test_of_an_active_environment_the_python_behind_it_is_taken(machine: Machine):
    active = {**machine.environment, "PATH": f"{Path(sys.executable).parent}:{machine.bin}"}
    found = subprocess.run([machine.bootstrap, "--find-python"], env=active, capture_output=True, text=True)
    assert found.stdout == f"{Path(sys.executable).resolve()}\n"


def test_a_python_of_uv_is_found_without_uv(machine: Machine):
    python = script(machine.home / ".local/share/uv/python/cpython-3.10.16-linux/bin/python3.10", PYTHON)
    assert machine.run("--find-python").stdout == f"{python}\n"


def test_a_python_that_uv_knows_of_is_found(machine: Machine):
    python = script(machine.home / "elsewhere/python3.10", PYTHON)
    script(machine.bin / "uv", f'#!/bin/bash\n[ "$*" = "python find 3.10" ] && echo "{python}"\n')
    assert machine.run("--find-python").stdout == f"{python}\n"


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("pyenv", "pyenv install 3.10"),
        ("apt-cache", "apt-get install -y python3.10 python3.10-venv"),
        ("uv", "uv python install 3.10"),
    ],
)
def test_without_python_one_line_names_the_command_that_installs_it(
    machine: Machine, tool: str, command: str
):
    script(machine.bin / tool)
    on_ubuntu_22 = "jammy" in Path("/etc/os-release").read_text()
    expected = "apt-get install -y python3.10 python3.10-venv" if on_ubuntu_22 else command
    for option in ["--find-python", "--check"]:
        assert expected in refusal(machine.run(option))


def test_uv_fetches_a_python_where_there_is_none(machine: Machine):
    python = machine.home / ".local/share/uv/python/cpython-3.10.16-linux/bin/python3.10"
    standin = script(machine.home / "python", PYTHON)
    fetch = f'[ "$1 $2" = "python install" ] && mkdir -p "{python.parent}" && cp "{standin}" "{python}"'
    script(machine.bin / "uv", f"#!/bin/bash\n{fetch}\n")
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert f"with {python}" in done.stdout


def test_without_a_compiler_one_line_names_the_command_before_anything_is_made(machine: Machine):
    script(machine.bin / "python3.10", PYTHON)
    script(machine.bin / "apt-get")
    (machine.bin / "g++").unlink()
    assert "apt-get install -y g++" in refusal(machine.run())
    assert not (machine.project / ".venv").exists()


def test_another_kind_of_machine_is_refused_by_name(machine: Machine):
    script(machine.bin / "uname", "#!/bin/bash\necho Darwin arm64\n")
    assert "Darwin arm64" in refusal(machine.run())


def test_an_unknown_option_is_refused(machine: Machine):
    assert "--chekc" in refusal(machine.run("--chekc"))


def test_nothing_to_do_takes_no_time_and_says_nothing(ready: Machine):
    # Processor time, so that other work on the machine does not count.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = ready.run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "is ready" in ready.run("--check").stdout


def test_a_changed_lock_updates_the_environment_without_rebuilding_it(ready: Machine):
    kept = ready.project / ".venv" / "kept"
    kept.touch()
    ready.lock.write_text(ready.lock.read_text().replace("tfx==1.16.0", "tfx==1.16.1"))
    assert "up to date" in ready.run().stdout
    assert ready.uv_calls() == ["sync", "install"]
    assert kept.exists()
    assert ready.run().stdout == ""


def test_a_new_room_is_installed(ready: Machine):
    script(ready.project / "serving" / "__init__.py", "")
    assert ready.run().returncode == 0
    assert ready.uv_calls() == ["sync", "install"]


def test_an_environment_made_by_hand_is_kept(ready: Machine):
    (ready.project / ".venv" / ".hexaface").unlink()
    assert "up to date" in ready.run().stdout


def test_a_failure_is_told_and_the_next_run_starts_afresh(ready: Machine):
    half = ready.project / ".venv" / "half"
    half.touch()
    (ready.project / "uv.fails").touch()
    ready.lock.write_text(ready.lock.read_text() + "six==1.0\n")
    failed = ready.run()
    assert failed.returncode == 1
    assert "no route to host" in failed.stderr
    (ready.project / "uv.fails").unlink()
    again = ready.run()
    assert again.returncode == 0
    assert "Making the environment" in again.stdout
    assert not half.exists()


def test_what_a_killed_removal_left_is_removed(ready: Machine):
    environment = ready.project / ".venv"
    (environment / ".hexaface").write_text("unfinished\n")
    shutil.rmtree(environment / "bin")
    left = script(environment / "lib" / "left.py", "")
    assert ready.run().returncode == 0
    assert not left.exists()


def test_a_moved_project_is_made_again(ready: Machine):
    moved = ready.project.with_name("moved")
    ready.project.rename(moved)
    ready.bootstrap = moved / "tools" / "bootstrap.sh"
    assert "Making the environment" in ready.run().stdout


def test_a_killed_set_up_is_not_taken_as_good_and_the_next_waits_for_its_children(machine: Machine):
    script(machine.bin / "python3.10", PYTHON)
    hangs = machine.project / "uv.hangs"
    hangs.touch()
    killed = machine.start()
    machine.wait_for_sync()
    killed.kill()
    killed.wait(10)
    assert "missing or out of date" in machine.run("--check").stdout

    second = machine.start()
    assert second.stdout is not None
    assert "waiting" in second.stdout.readline()
    hangs.unlink()
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "Making the environment" in said
    assert machine.run().stdout == ""
    if killed.stdout:
        killed.stdout.close()
