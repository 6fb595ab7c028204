"""The client and TLS: whom it trusts, on both transports."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import ThreadingHTTPServer
from pathlib import Path

import certificates
import fake_model_server
import grpc
import numpy as np
import pytest
from model_servers import Server, model_server
from serving_requests import model_config

from serving.client import Client, ServerError, Unavailable


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ours(folder) -> Path:
    """The certificate of the servers of this module, which are asked by an address, not by this name."""
    certificate = certificates.make("127.0.0.1", "localhost")
    (folder / "ssl.config").write_text(certificate.ssl_config())
    file, _ = certificate.write(folder, "ours")
    return file


@pytest.fixture(scope="module")
def strange(folder) -> Path:
    """The certificate of nobody."""
    file, _ = certificates.make("127.0.0.1").write(folder, "strange")
    return file


@pytest.fixture(scope="module")
def secure(toys, folder, ours) -> Iterator[Server]:
    """A model server whose gRPC port speaks TLS."""
    config = folder / "models.config"
    config.write_text(model_config(adder=f'base_path: "{toys}/adder"'))
    ssl_config = folder / "ssl.config"
    with model_server(f"--model_config_file={config}", f"--ssl_config_file={ssl_config}") as server:
        yield server


def test_the_model_server_answers(secure, ours):
    with Client(f"grpcs://{secure.address}", ca_file=ours) as client:
        assert client.status("adder")[0].state == "AVAILABLE"
        answer = client.predict("adder", {"x": np.float32([1.0])}, timeout=60.0)
        assert answer.version == 2
    with Client(f"grpcs://localhost:{secure.port}", ca_file=str(ours)) as client:
        assert client.status("adder")


def test_credentials_are_taken_as_they_are(secure, ours):
    trusted = grpc.ssl_channel_credentials(ours.read_bytes())
    for target in (secure.address, f"grpcs://{secure.address}"):
        with Client(target, credentials=trusted) as client:
            assert client.status("adder")


def asked(*arguments, **options) -> None:
    with Client(*arguments, retries=0, timeout=10.0, **options) as client:
        client.status("adder")


def test_who_shows_no_certificate_of_ours_is_not_asked(secure, strange):
    with pytest.raises(Unavailable):
        asked(f"grpcs://{secure.address}")
    with pytest.raises(Unavailable):
        asked(f"grpcs://{secure.address}", ca_file=strange)


@contextlib.contextmanager
def deaf(certificate: certificates.Certificate | None) -> Iterator[int]:
    """The port of a server that knows no method, which is an answer to whoever gets so far."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", certificate.credentials())
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_who_speaks_without_tls_is_not_asked(secure, ours):
    with deaf(None) as port, pytest.raises(Unavailable):
        asked(f"grpcs://127.0.0.1:{port}", ca_file=ours)
    with pytest.raises(Unavailable):
        asked(secure.address)


def test_a_certificate_is_for_a_name(tmp_path):
    for name, error in (("models.example", Unavailable), ("localhost", ServerError)):
        certificate = certificates.make(name)
        file, _ = certificate.write(tmp_path, name)
        with deaf(certificate) as port, pytest.raises(ServerError) as caught:
            asked(f"grpcs://localhost:{port}", ca_file=file)
        assert type(caught.value) is error


# ---- REST


@contextlib.contextmanager
def rest_server(certificate: Path) -> Iterator[str]:
    """A server by HTTPS, its key beside its certificate; yields its URL."""
    handler = type("Bound", (fake_model_server.Handler,), {"fake": fake_model_server.Fake()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def rest(ours) -> Iterator[str]:
    with rest_server(ours) as url:
        yield url


def test_rest_answers(rest, ours):
    with Client.rest(rest, ca_file=ours) as client:
        [answer] = client.gender([b"abc"])
        assert answer.label == "male"
    with Client(rest, transport="rest", ca_file=ours) as client:
        assert client.status("gender")


def test_a_signed_certificate_is_known_by_itself_and_by_who_signed_it(tmp_path):
    authority = certificates.make("authority.example")
    files = [authority.write(tmp_path, "authority")[0]]
    files.append(certificates.make("127.0.0.1", signer=authority).write(tmp_path, "signed")[0])
    with rest_server(files[1]) as url:
        for file in files:
            with Client.rest(url, ca_file=file) as client:
                assert client.status("gender")


def test_rest_asks_nobody_whom_it_does_not_know(rest, strange):
    for options in ({}, {"ca_file": strange}):
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            asked(rest, transport="rest", **options)


# ---- what cannot be


@pytest.mark.parametrize(
    ("target", "transport"),
    [
        ("127.0.0.1:8500", "grpc"),
        (None, "grpc"),
        ("unix:/run/x", "grpc"),
        ("http://127.0.0.1:8501", "rest"),
        ("127.0.0.1:8501", "rest"),
    ],
)
def test_whoever_names_certificates_is_not_left_without_encryption(ours, target, transport):
    with pytest.raises(ValueError, match=r"ca_file: for a target that begins with (grpcs|https)://, got"):
        Client(target, transport=transport, ca_file=ours)


@pytest.mark.parametrize("target", ["grpcs://127.0.0.1:8500", "https://127.0.0.1:8501"])
def test_files_that_hold_no_certificates(folder, target):
    transport = "grpc" if target.startswith("grpcs") else "rest"
    nothing = folder / "nothing.pem"
    nothing.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    for file, reason in (
        (nothing, f"{nothing}: expected certificates in PEM, found none"),
        (folder / "absent.pem", f"{folder / 'absent.pem'}: cannot be read: No such file or directory"),
        (folder, f"{folder}: cannot be read: Is a directory"),
        ("", ": cannot be read: No such file or directory"),
    ):
        with pytest.raises(ValueError) as caught:
            Client(target, transport=transport, ca_file=file)
        assert str(caught.value) == f"ca_file: {reason}"


def test_certificates_are_named_once(ours):
    with pytest.raises(ValueError, match="leave ca_file out"):
        Client("grpcs://x:1", credentials=grpc.ssl_channel_credentials(), ca_file=ours)


@pytest.mark.parametrize("target", ["grpcs://", "https://"])
def test_a_target_has_an_address(target):
    with pytest.raises(ValueError, match="target: the text is empty"):
        Client(target, transport="grpc" if target == "grpcs://" else "rest")
