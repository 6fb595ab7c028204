import io
import logging
import re
import uuid

import pytest
from portal_pictures import encoded

from serving.portal.logs import WithoutAddresses

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines():
    """What a handler with the portal's filter writes."""
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(WithoutAddresses())
    loggers = [logging.getLogger(), logging.getLogger("django.request"), logging.getLogger("portal.requests")]
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.INFO)
    yield handler.stream.getvalue
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_the_filter_is_in_the_settings(settings):
    assert "without_addresses" in settings.LOGGING["handlers"]["stderr"]["filters"]


def test_addresses_of_pictures_are_not_logged(client, portal, lines):
    upload = uuid.uuid4()
    assert client.get(f"/gender/{upload}/").status_code == 404
    assert str(upload) not in lines()
    assert "/gender/<uuid:upload_id>/ 404" in lines()


def test_what_fails_is_logged_with_its_trace_and_without_its_address(client, portal, lines, monkeypatch):
    from serving.portal import uploads

    def fail(*_):
        raise RuntimeError("on purpose")

    monkeypatch.setattr(uploads, "find", fail)
    client.raise_request_exception = False
    upload = uuid.uuid4()
    answer = client.get(f"/gender/{upload}/")
    assert answer.status_code == 500
    assert "on purpose" not in answer.content.decode()
    assert "RuntimeError: on purpose" in lines()
    assert f"{answer['X-Request-ID']} failed" in lines()
    assert str(upload) not in lines()


def test_a_trace_does_not_tell_which_picture_it_is_of(client, portal, lines, monkeypatch):
    from serving.portal import uploads

    def full(file, _):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(uploads, "_write", full)
    client.raise_request_exception = False
    assert client.post("/detection/", {"image": io.BytesIO(encoded())}).status_code == 500
    assert re.search(r"No space left on device: '.*/uploads/\(id\)\.jpg'", lines())
    assert not re.search(r"[0-9a-f]{4}-[0-9a-f]{4}", lines())


def test_a_trace_does_not_tell_what_a_kept_picture_shows(client, portal, lines, monkeypatch):
    from serving.portal import uploads

    def full(file, _):
        place = "corrections/emotion/span-20261129/Training/sad/98340466058873714938.png"
        raise OSError(28, "No space left on device", f"{file.parents[1]}/{place}")

    monkeypatch.setattr(uploads, "_write", full)
    client.raise_request_exception = False
    assert client.post("/detection/", {"image": io.BytesIO(encoded())}).status_code == 500
    assert re.search(r"No space left on device: '.*/corrections/emotion/\(id\)'", lines())
    assert "sad" not in lines() and "9834" not in lines()


@pytest.mark.parametrize(
    "sent",
    [{f"field{number}": "x" for number in range(300)}, {"text": "x" * (2 << 20)}],
    ids=["fields", "long field"],
)
def test_what_strangers_send_makes_no_trace(client, portal, lines, sent):
    assert client.post("/detection/", sent).status_code == 400
    assert "/detection/ 400" in lines()
    assert "Traceback" not in lines()
