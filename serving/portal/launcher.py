"""Runs the portal of a workspace with all that it needs: model server, web server, purge of old pictures."""

import contextlib
import ipaddress
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving import local_server, rollout
from serving.portal.processes import ENDING, ProcessGroup
from serving.rollout.model_config import pushed_models, workspace_roots

MODEL_HOST = "127.0.0.1"
PURGE_SECONDS = 300
# A running request may end; honcho kills what takes longer than five seconds.
_GRACE_SECONDS = 3
_KEY_FILE, _KEY_BYTES, _ONLY_OWNER = "secret_key", 50, 0o600
_ADDRESS = re.compile(r"(grpcs://)?(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):[0-9]{1,5}", re.ASCII)
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_POLL_SECONDS, _ANSWER_SECONDS, _PATIENCE_SECONDS = 0.5, 5.0, 90.0
# What `http_proxy` names need not reach this machine.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LaunchError(ValueError):
    """The portal cannot be started; the message is one line that says why."""


@dataclass(frozen=True)
class PortalOptions:
    """How the portal is run.

    Attributes:
        home: Absolute path of the workspace.
        host: Address that the portal listens on.
        port: Its port.
        model_port: Port of 127.0.0.1 for the model server, which is asked by gRPC.
        model_server: "host:port" of a model server that runs already, or "grpcs://host:port" to ask it by
            TLS; empty to start one.
    """

    home: Path
    host: str = "127.0.0.1"
    port: int = 8000
    model_port: int = 8500
    model_server: str = ""

    @property
    def model_address(self) -> str:
        """Address of the model server."""
        return self.model_server or f"{MODEL_HOST}:{self.model_port}"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the portal."""
        return f"http://{_bracketed(_ANY_ADDRESS.get(self.host, self.host))}:{self.port}"


def run(options: PortalOptions) -> int:
    """Runs the portal until Ctrl-C or SIGTERM.

    Returns:
        The exit code: 0 when it was told to end, 1 if a part of it ended by itself.

    Raises:
        LaunchError: It cannot be started; nothing runs.
        OSError: The workspace cannot be written to.
    """
    for number in ENDING:
        # Until the group takes them; what runs meanwhile is ended on the way out.
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _check_ports(options)
        models = [] if options.model_server else _model_server(options)
    except rollout.RolloutError as error:
        raise LaunchError(str(error)) from error
    environment = environment_of(options)
    _prepare(environment)
    group = ProcessGroup()
    print("The portal is starting; loading the models takes a while.", flush=True)
    if models:
        group.add("models", models, environment)
    group.add("portal", _web_server(options), environment)
    group.add("purge", _manage("purge_uploads", "--every", str(PURGE_SECONDS)), environment)
    return group.run(lambda: _announce(options, group))


# ---- before anything runs


def _check_ports(options: PortalOptions) -> None:
    local_server.check_port("--port", options.host, options.port)
    if options.model_server:
        if not _ADDRESS.fullmatch(options.model_server):
            expected = "expected HOST:PORT or grpcs://HOST:PORT"
            raise LaunchError(f"--model-server {options.model_server!r}: {expected}")
        return
    if options.port == options.model_port:
        raise LaunchError(f"--model-port {options.model_port}: expected another than --port")
    try:
        local_server.check_port("--model-port", MODEL_HOST, options.model_port)
    except rollout.RolloutError as error:
        hint = f"if a model server runs there, --model-server {options.model_address} uses it"
        raise LaunchError(f"{error}; {hint}") from error


def _model_server(options: PortalOptions) -> list[str]:
    """Writes the files of a model server of the workspace; returns its command."""
    roots = workspace_roots(options.home)
    if not pushed_models(roots):
        raise LaunchError(f"{options.home}: no model has been pushed yet; `make demo` makes some")
    config_file, _ = rollout.refresh(roots)
    local_server.write_files(config_file.parent)
    # The portal asks by gRPC only.
    listening = local_server.ServerOptions(MODEL_HOST, options.model_port, rest_port=0)
    return [sys.executable, "-m", "serving.model_server", *local_server.arguments(config_file, listening)]


def environment_of(options: PortalOptions) -> dict[str, str]:
    """Returns the environment of the portal's processes: this process's own, and what it does not say.

    Raises:
        OSError: The secret key cannot be read or written.
    """
    folder = options.home / "portal"
    defaults = {"PORTAL_DATA": str(folder)}
    if not _is_set("PORTAL_SECRET_KEY"):
        defaults["PORTAL_SECRET_KEY"] = secret_key(folder)
    if _is_loopback(options.host):
        # Nobody else can listen to what is said within a machine.
        defaults["PORTAL_HTTPS"] = "0"
    elif options.host not in _ANY_ADDRESS:
        defaults["PORTAL_HOSTS"] = f"localhost,127.0.0.1,[::1],{_bracketed(options.host)}"
    return {
        **os.environ,
        **{name: value for name, value in defaults.items() if not _is_set(name)},
        "DJANGO_SETTINGS_MODULE": "serving.portal.settings",
        "HEXAFACE_HOME": str(options.home),
        "PORTAL_MODEL_SERVER": options.model_address,
        # So that lines are seen when they are written.
        "PYTHONUNBUFFERED": "1",
    }


def secret_key(folder: Path) -> str:
    """Returns the secret key that is kept in a folder, made when it is first asked for.

    Raises:
        OSError: It cannot be read or written.
    """
    file = folder / _KEY_FILE
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Readable by its owner only from the beginning, and there as a whole or not at all.
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{_KEY_FILE}.")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as out:
                out.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
                out.flush()
                os.fsync(out.fileno())
            # Of two that are made at once, the first is everybody's.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, file)
        finally:
            os.unlink(temporary)
    file.chmod(_ONLY_OWNER)
    return file.read_text(encoding="ascii").strip()


def _prepare(environment: Mapping[str, str]) -> None:
    """Brings database and static files up to date, in a process that has the portal's environment."""
    done = subprocess.run(
        _manage("prepare_portal"), env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        # Its own errors are one line; of any other the last line tells what it was.
        lines = (done.stderr.strip() or f"it ended with code {done.returncode}").splitlines()
        said = re.sub("^(error|CommandError): ", "", lines[-1])
        raise LaunchError(f"the portal cannot be prepared: {said}")


def _web_server(options: PortalOptions) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "--config", "python:serving.portal.gunicorn_settings"),
        *("--bind", f"{_bracketed(options.host)}:{options.port}"),
        *("--graceful-timeout", str(_GRACE_SECONDS)),
    ]


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "serving.portal.manage", *arguments]


# ---- once it runs


def _announce(options: PortalOptions, group: ProcessGroup) -> None:
    """Tells the address as soon as the portal and the models answer, or after a while what does not."""
    end = time.monotonic() + _PATIENCE_SECONDS
    missing = _missing(options.url)
    while missing and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        missing = _missing(options.url)
    group.say("", f"The portal is at {options.url} (Ctrl-C ends it)")
    if _needs_proxy(options):
        group.say("Browsers are sent to HTTPS, which a proxy must offer; PORTAL_HTTPS=0 leaves that out.")
    if prefix := os.environ.get("PORTAL_PREFIX", "").rstrip("/"):
        group.say(f"Its pages are below {prefix}/ (PORTAL_PREFIX), which a proxy must offer and take off.")
    if options.host in _ANY_ADDRESS and not _is_set("PORTAL_HOSTS"):
        group.say("Other machines need its name or address in PORTAL_HOSTS.")
    if missing:
        group.say(f"Not ready yet: {', '.join(missing)}; {options.url}/status/ tells more")
    group.say("")


def _needs_proxy(options: PortalOptions) -> bool:
    return not _is_loopback(options.host) and not _is_set("PORTAL_HTTPS")


def _missing(url: str) -> list[str]:
    """Asks a portal what of it is not ready."""
    try:
        with _DIRECTLY.open(f"{url}/readyz", timeout=_ANSWER_SECONDS):
            return []
    except urllib.error.HTTPError as error:
        with error, contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            parts = json.load(error)["parts"]
            return [name for name, told in parts.items() if told != "ok"] or ["the portal"]
    except OSError:
        # It is not listening yet.
        return ["the portal"]
    return ["the portal"]


# ---- addresses


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
