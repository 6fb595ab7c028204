"""The portal in front of a model server that speaks TLS."""

import certificates
import fake_model_server
import pytest
from model_servers import wait_until
from portal_pictures import encoded
from portal_server import Visitor, portal_server


@pytest.fixture
def secure(tmp_path):
    """A model server, and the file of its certificate."""
    certificate = certificates.make("127.0.0.1")
    file, _ = certificate.write(tmp_path, "server")
    with fake_model_server.serve(str(tmp_path / "socket"), certificate.credentials()) as server:
        yield f"grpcs://{server.grpc_target}", file


def test_a_server_whose_certificate_is_known_is_asked(secure, tmp_path):
    address, file = secure
    with portal_server(tmp_path, address, PORTAL_MODEL_CA=str(file)) as portal:
        visitor = Visitor(portal)
        # An answer of a busy machine may be late.
        wait_until(lambda: visitor.get("/readyz").status_code == 200, 60)
        assert visitor.get(visitor.upload(encoded(), "gender")).status_code == 200


def test_a_server_that_shows_another_certificate_is_not_asked(secure, tmp_path):
    address, _ = secure
    other, _ = certificates.make("127.0.0.1").write(tmp_path, "other")
    with portal_server(tmp_path, address, PORTAL_MODEL_CA=str(other)) as portal:
        visitor = Visitor(portal)
        wait_until(lambda: visitor.get("/readyz").json()["parts"]["models"] != "late", 60)
        assert visitor.get("/readyz").json()["parts"]["models"] in ("failed", "late")
        answer = visitor.get(visitor.upload(encoded(), "gender"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "Traceback" not in portal.log
