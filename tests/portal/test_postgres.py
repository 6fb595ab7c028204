"""The portal on PostgreSQL, in a cluster that lives as long as the test."""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers import PROJECT, free_port, wait_until

PASSWORD = "of-the-tests"


def binaries() -> Path:
    """The folder of the newest PostgreSQL; skips where there is none."""
    found = shutil.which("initdb")
    folders = [file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and not folders:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return Path(found).parent if found else max(folders, key=lambda folder: float(folder.parent.name))


def owner() -> dict[str, object]:
    """Whom the database runs as: it refuses to be root's."""
    if os.getuid():
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def cluster() -> Iterator[tuple[str, Path]]:
    """A cluster; yields the address of an empty database, and the cluster's folder."""
    programs, who = binaries(), owner()
    # Not below pytest's folder, which only this user may enter.
    folder = Path(tempfile.mkdtemp(prefix="hexaface-postgres-"))
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    if who:
        for path in (folder, secret):
            os.chown(path, who["user"], who["group"])
    options = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, **who}
    port = free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, *arguments], check=True, stdout=subprocess.DEVNULL, **options)

    run("initdb", f"--pgdata={data}", "--username=portal", f"--pwfile={secret}", "--auth=scram-sha-256", "-N")
    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=20"
    control = (f"--pgdata={data}", f"--log={folder / 'log'}", "--silent")
    run("pg_ctl", "start", "--wait", *control, "-o", settings)
    try:
        yield f"postgres://portal:{PASSWORD}@127.0.0.1:{port}/postgres", folder
    finally:
        run("pg_ctl", "stop", "--mode=immediate", *control)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """What a process saw that used the portal on PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgres")
    with cluster() as (address, place):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
        ours = {
            "DATABASE_URL": address,
            "PORTAL_DATA": str(folder),
            "PORTAL_SECRET_KEY": "of-the-tests-" * 5,
            "PORTAL_HTTPS": "0",
            "PORTAL_HOSTS": "testserver",
            "PORTAL_UPLOAD_RATE": "2/h",
            "PORTAL_SESSION_UPLOADS": "3",
            "DJANGO_SETTINGS_MODULE": "serving.portal.settings",
            "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}",
        }
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import django; django.setup(); import portal_on_postgres as it; it.main()",
            ],
            env=environment | ours,
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (folder / "portal.db").exists()
    return json.loads(done.stdout) | {"place": place}


def test_tables_are_made(found):
    assert found["vendor"] == "postgresql"
    assert {"portal_upload", "portal_correction", "portal_apikey", "django_session"} <= set(found["tables"])
    assert found["timeout"] == 5


def test_pictures_are_kept_found_and_purged(found):
    assert found["uploads"] == {
        "kept": 3,
        "files": 3,
        "read": True,
        "oldest": "none",
        "stranger": "none",
        "purged": 1,
        "left": 2,
    }


def test_rate_limit(found):
    assert found["sent"] == [302, 302, 429]


def test_nothing_of_the_cluster_is_left(found):
    assert not found["place"].exists()
    # Those that the server has started end a little after it.
    wait_until(lambda: not _processes(found["place"]), 60, lambda: str(_processes(found["place"])))


def _processes(place: Path) -> list[str]:
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and str(place) in _command_line(pid)]


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.django_db
def test_migrations_are_complete():
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
