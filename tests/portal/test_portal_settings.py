"""What the portal takes from the environment, each time in a process of its own."""

import json
import os
import subprocess
import sys

import certificates
import pytest
from model_servers import PROJECT

KEY = "q7Zr-8vTn2LxWc5YbKd0MfGhJs3PaEuRi6OlVtBzXnQwCyDe"  # of this test only
GOOD = {"PORTAL_SECRET_KEY": KEY + "4kHg", "PORTAL_HOSTS": "portal.example"}
FOREIGN = ("PORTAL_", "DJANGO_", "DATABASE_", "HEXAFACE_", "MLFLOW_")


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    ours = {"PYTHONPATH": str(PROJECT), "DJANGO_SETTINGS_MODULE": "serving.portal.settings"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment | ours | variables, cwd=PROJECT, capture_output=True, text=True
    )


def check(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return python("-m", "serving.portal.manage", "check", *arguments, **variables)


def test_settings_of_production_are_clean(tmp_path):
    done = check("--deploy", "--fail-level", "DEBUG", PORTAL_DATA=str(tmp_path), **GOOD)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_below_a_path_the_portal_does_not_speak_for_the_whole_host(tmp_path):
    place = {"PORTAL_DATA": str(tmp_path), "PORTAL_PREFIX": "/faces"}
    done = check("--deploy", "--fail-level", "DEBUG", **place, **GOOD)
    assert (done.returncode, "no issues (2 silenced)" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORTAL_SECRET_KEY", "", "PORTAL_SECRET_KEY: expected 50 random"),
        (
            "PORTAL_SECRET_KEY",
            "short-one",
            "PORTAL_SECRET_KEY: expected 50 random characters or more, found 9",
        ),
        ("PORTAL_DEBUG", "maybe", "PORTAL_DEBUG: expected 1 or 0, found 'maybe'"),
        ("PORTAL_HTTPS", "2", "PORTAL_HTTPS: expected 1 or 0, found '2'"),
        ("PORTAL_PROXIES", "-1", "PORTAL_PROXIES: expected a number from 0 to 10, found '-1'"),
        ("PORTAL_MODEL_SECONDS", "nan", "PORTAL_MODEL_SECONDS: expected a number from 0.1"),
        ("PORTAL_UPLOAD_MINUTES", "0", "PORTAL_UPLOAD_MINUTES: expected a number from 1 to 1440"),
        ("PORTAL_SESSION_UPLOADS", "many", "PORTAL_SESSION_UPLOADS: expected a number from 2 to 1000"),
        (
            "PORTAL_MODEL_SERVER",
            "https://x:1",
            "PORTAL_MODEL_SERVER: expected host:port or grpcs://host:port",
        ),
        ("PORTAL_MODEL_SERVER", "grpcs://", "PORTAL_MODEL_SERVER: expected host:port or grpcs://host:port"),
        ("PORTAL_MODEL_CA", "/no/ca.pem", "PORTAL_MODEL_CA: /no/ca.pem: cannot be read: No such file"),
        ("PORTAL_PREFIX", "faces", "PORTAL_PREFIX: expected a path such as /faces, found 'faces'"),
        ("PORTAL_PREFIX", "//evil.example", "PORTAL_PREFIX: expected a path such as /faces, found '//evil"),
        ("PORTAL_PREFIX", "/a/../b", "PORTAL_PREFIX: expected a path such as /faces, found '/a/../b'"),
        ("PORTAL_UPLOADS_MB", "0.5", "PORTAL_UPLOADS_MB: expected a number from 1 to 1e+06, found '0.5'"),
        ("DATABASE_URL", "secretword", "DATABASE_URL: expected an address such as postgres://"),
        ("DATABASE_URL", "postgres://u:secretword@host:port/x", "DATABASE_URL: expected an address"),
    ],
)
def test_what_is_wrong_is_told_by_name(name, value, said):
    done = check(**GOOD | {name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
    assert "short-one" not in done.stderr
    assert "secretword" not in done.stderr


def test_certificates_are_for_tls(tmp_path):
    file, _ = certificates.make("localhost").write(tmp_path, "ca")
    done = check(**GOOD, PORTAL_MODEL_CA=str(file), PORTAL_MODEL_SERVER="models.example:8500")
    assert done.returncode == 2
    assert done.stderr == (
        "error: PORTAL_MODEL_CA: expected an address grpcs://host:port in PORTAL_MODEL_SERVER, found "
        "'models.example:8500', which is asked without encryption\n"
    )
    done = check(**GOOD, PORTAL_MODEL_CA=str(file), PORTAL_MODEL_SERVER="grpcs://models.example:8500")
    assert done.returncode == 0, done.stderr


SHOW = """
import django, json
django.setup()
from django.conf import settings
from django.test import Client
wanted = ("SECURE_", "SESSION_COOKIE_", "CSRF_COOKIE_", "DEBUG", "NINJA_", "DATABASES", "STATIC_URL")
found = {name: getattr(settings, name) for name in dir(settings) if name.startswith(wanted)}
print(json.dumps(found, default=str))
request = {"HTTP_HOST": "portal.example", "HTTP_X_FORWARDED_PROTO": "https"}
response = Client().get("/api/nothing-here", **request)
print(response.status_code, response.headers.get("Strict-Transport-Security", ""))
"""


def show(**variables: str) -> tuple[dict, str]:
    done = python("-c", SHOW, **GOOD | variables)
    assert done.returncode == 0, done.stderr
    values, answer = done.stdout.splitlines()
    return json.loads(values), answer


def test_nobody_is_believed_without_proxies(tmp_path):
    values, answer = show(PORTAL_DATA=str(tmp_path))
    assert values["SECURE_PROXY_SSL_HEADER"] is None
    assert (values["DEBUG"], values["SESSION_COOKIE_SECURE"], values["CSRF_COOKIE_SECURE"]) == (
        False,
        True,
        True,
    )
    assert answer.split()[0] == "301"  # to HTTPS, whatever the header says


def test_a_proxy_tells_of_https(tmp_path):
    values, answer = show(PORTAL_DATA=str(tmp_path), PORTAL_PROXIES="1")
    assert values["NINJA_NUM_PROXIES"] == 1
    assert answer == "404 max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize(
    ("prefix", "https", "path", "guard"),
    [
        ("", "1", "/", "__Host-"),
        ("", "0", "/", ""),
        ("/faces/", "1", "/faces/", "__Secure-"),
        ("/of/faces", "0", "/of/faces/", ""),
    ],
)
def test_cookies_are_of_the_prefix(tmp_path, prefix, https, path, guard):
    values, _ = show(PORTAL_DATA=str(tmp_path), PORTAL_PREFIX=prefix, PORTAL_HTTPS=https)
    for what in ("SESSION", "CSRF"):
        assert values[f"{what}_COOKIE_PATH"] == path
        assert values[f"{what}_COOKIE_NAME"] == f"{guard}hexaface_{what.lower()}"
    assert values["STATIC_URL"] == f"{path}static/"


def test_paths_may_have_any_characters(tmp_path):
    folder = tmp_path / "50% of #1?"
    values, _ = show(PORTAL_DATA=str(folder))
    assert values["DATABASES"]["default"]["NAME"] == str(folder / "portal.db")


# ---- gunicorn's

GUNICORN = """
import json
from gunicorn.app.wsgiapp import WSGIApplication
import sys
sys.argv = ["gunicorn", "--config", "python:serving.portal.gunicorn_settings"]
found = WSGIApplication().cfg
names = ("forwarded_allow_ips", "preload_app", "accesslog", "workers", "threads", "bind", "keepalive",
         "wsgi_app")
print(json.dumps({name: getattr(found, name) for name in names} | {"class": found.worker_class_str}))
print("serving.portal.wsgi" in sys.modules)
"""


def gunicorn(**variables: str) -> dict:
    done = python("-c", GUNICORN, **variables)
    assert done.returncode == 0, done.stderr
    found, loaded = done.stdout.splitlines()
    # The process that forks has nothing of the portal in it, nor a client of gRPC.
    assert loaded == "False"
    return json.loads(found)


def test_gunicorn_takes_its_settings():
    found = gunicorn(FORWARDED_ALLOW_IPS="*")
    assert found == {
        "forwarded_allow_ips": [],
        "preload_app": False,
        "accesslog": None,
        "workers": 2,
        "threads": 16,
        "bind": ["127.0.0.1:8000"],
        "keepalive": 5,
        "wsgi_app": "serving.portal.wsgi",
        "class": "serving.portal.gunicorn_worker.Worker",
    }


def test_gunicorn_believes_the_proxy():
    found = gunicorn(PORTAL_PROXIES="1", PORTAL_WORKERS="3", PORTAL_THREADS="12", PORTAL_BIND="0.0.0.0:80")
    chosen = [found[name] for name in ("forwarded_allow_ips", "workers", "threads", "bind")]
    assert chosen == [["*"], 3, 12, ["0.0.0.0:80"]]


def test_gunicorn_refuses_by_name():
    done = python("-c", GUNICORN, PORTAL_WORKERS="none")
    assert done.returncode != 0
    assert "PORTAL_WORKERS: expected a number from 1 to 64" in done.stdout + done.stderr
