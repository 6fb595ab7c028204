"""Pictures that are kept: for whom, for how long, and what deletes them."""

import io
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import ceil
from pathlib import Path

import hostile_files as hostile
import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone
from portal_pictures import encoded

from serving.portal import throttling, uploads
from serving.portal.api import keys
from serving.portal.assessment.pictures import pixels_to_decode, receive
from serving.portal.models import Upload

pytestmark = pytest.mark.django_db
MEGABYTE = 1 << 20


def files(portal) -> list[str]:
    return sorted(file.stem for file in (portal.DATA / "uploads").glob("*"))


@pytest.mark.django_db(transaction=True)  # the command closes old connections
def test_a_picture_whose_time_is_over_is_not_found_and_then_deleted(portal, capsys):
    session, picture = SessionStore(), receive(encoded())
    old, new = uploads.keep(session, [(picture, False)] * 2)
    Upload.objects.filter(id=old.id).update(created=timezone.now() - timedelta(minutes=61))
    with pytest.raises(uploads.NoUpload):
        uploads.find(session, old.id)
    assert len(files(portal)) == 2
    call_command("purge_uploads")
    assert "1 pictures deleted" in capsys.readouterr().out
    assert files(portal) == [str(new.id)]
    assert uploads.read(uploads.find(session, new.id)) == picture.jpeg


def test_a_picture_that_comes_while_others_are_deleted_stays(portal, monkeypatch):
    session, picture = SessionStore(), receive(encoded())
    uploads.keep(session, [(picture, False)])
    listed = Path.iterdir

    def while_listing(folder):
        uploads.keep(session, [(picture, False)])
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", while_listing)
    gone = uploads.purge()
    monkeypatch.undo()
    assert (gone, len(files(portal))) == (0, 2)


def test_a_file_that_no_record_names_is_deleted(portal):
    [upload] = uploads.keep(SessionStore(), [(receive(encoded()), False)])
    upload.delete()
    assert uploads.purge() == 1
    assert files(portal) == []


def test_a_session_keeps_so_many(portal):
    portal.SESSION_UPLOADS = 2
    session, picture = SessionStore(), receive(encoded())
    kept = [uploads.keep(session, [(picture, False)])[0] for _ in range(3)]
    assert files(portal) == sorted(str(upload.id) for upload in kept[1:])


@pytest.mark.parametrize(("again", "other"), [("first", "second"), ("second", "first")])
def test_a_picture_that_a_request_uses_is_not_the_one_that_goes(client, portal, again, other):
    portal.SESSION_UPLOADS = 2
    oldest, newer = (send(client, "detection", "image")["Location"].split("/")[2] for _ in range(2))
    new = {f"{again}-kept": oldest, other: io.BytesIO(encoded())}
    used = client.post("/verification/", new)["Location"].split("/")[2:4]
    assert oldest in used
    assert files(portal) == sorted(used)
    assert newer not in used


# ---- room for all of them


def send(client, name, *fields, **options):
    return client.post(f"/{name}/", {field: io.BytesIO(encoded()) for field in fields}, **options)


@pytest.fixture
def room_for(portal):
    """Sets the bound to so many pictures."""
    one = 4096 * ceil(len(receive(encoded()).jpeg) / 4096)

    def bound(pictures: int) -> None:
        portal.UPLOADS_BYTES = pictures * one

    return bound


def test_so_much_is_kept_of_all_sessions_and_no_more(portal, room_for, caplog):
    room_for(2)
    assert [send(Client(), "detection", "image").status_code for _ in range(2)] == [302, 302]
    kept = files(portal)
    refused = send(Client(), "detection", "image")
    assert refused.status_code == 507
    assert int(refused["Retry-After"]) == 300
    assert "There is no room for more pictures now. Nothing was kept" in refused.content.decode()
    assert "PORTAL_UPLOADS_MB" in caplog.text
    assert files(portal) == kept
    assert Upload.objects.count() == 2


def test_a_script_is_told_that_there_is_no_room(room_for):
    room_for(0)
    answer = send(Client(), "age", "image", headers={"X-Fragment": "result"})
    assert answer.status_code == 507
    page = answer.content.decode()
    assert "<html" not in page
    # To send it again, since nothing was kept that another page could show.
    assert 'class="button retry"' in page
    assert 'data-status="507"' in page


@pytest.mark.parametrize("fields", [["image"], ["first", "second"]])
def test_what_a_session_loses_for_its_new_pictures_makes_room(client, portal, room_for, fields):
    room_for(2)
    portal.SESSION_UPLOADS = 2
    before = [send(client, "detection", "image")["Location"].split("/")[2] for _ in range(2)]
    name = "verification" if fields[1:] else "detection"
    # What is another session's makes none.
    assert send(Client(), name, *fields).status_code == 507
    assert files(portal) == sorted(before)
    used = send(client, name, *fields)["Location"].split("/")[2:-1]
    assert files(portal) == sorted([*before[len(fields) :], *used])
    assert Upload.objects.count() == 2


def test_who_is_refused_loses_nothing(client, portal, room_for, monkeypatch):
    portal.SESSION_UPLOADS = 2
    for _ in range(2):
        send(client, "detection", "image")
    before = files(portal)
    room_for(1)
    assert send(client, "detection", "image").status_code == 507
    assert files(portal) == before
    # What is here already needs no room.
    pair = dict(zip(("first-kept", "second-kept"), before, strict=True))
    assert client.post("/verification/", pair).status_code == 302
    room_for(2)
    monkeypatch.setattr(uploads, "_write", lambda *_: os.fsync(-1))
    client.raise_request_exception = False
    assert send(client, "detection", "image").status_code == 500
    assert files(portal) == before
    assert Upload.objects.count() == 2


def test_of_two_pictures_both_are_kept_or_none(portal, room_for):
    room_for(1)
    assert send(Client(), "verification", "first", "second").status_code == 507
    assert (files(portal), Upload.objects.count()) == ([], 0)
    room_for(2)
    assert send(Client(), "verification", "first", "second").status_code == 302


@pytest.mark.django_db(transaction=True)  # the command closes old connections
@pytest.mark.parametrize("way", ["forgotten", "over"])
def test_what_is_deleted_makes_room(portal, room_for, way):
    room_for(1)
    client = Client()
    assert send(client, "detection", "image").status_code == 302
    assert send(client, "detection", "image").status_code == 507
    upload = Upload.objects.get()
    if way == "forgotten":
        client.post(f"/uploads/{upload.id}/forget/")
    else:
        Upload.objects.update(created=timezone.now() - timedelta(minutes=61))
        # Until its file is gone it takes room.
        assert send(client, "detection", "image").status_code == 507
        call_command("purge_uploads")
    assert send(client, "detection", "image").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_of_those_who_come_together_no_more_find_room_than_there_is(portal, room_for):
    room_for(3)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: _send_and_close(), range(8)))
    assert set(codes) <= {302, 507}
    assert codes.count(302) == len(files(portal)) == Upload.objects.count() <= 3
    # What those who were refused had asked for is free again.
    codes += [send(Client(), "detection", "image").status_code for _ in range(4)]
    assert codes.count(302) == len(files(portal)) == 3


def _send_and_close() -> int:
    try:
        return send(Client(), "detection", "image").status_code
    finally:
        connection.close()


def test_a_tiny_picture_counts_for_what_it_takes_on_the_disk(portal):
    [upload] = uploads.keep(SessionStore(), [(receive(encoded(size=(16, 16))), False)])
    assert len(uploads.read(upload)) < 1000
    assert upload.size == 4096


def test_programs_need_no_room(portal, room_for):
    room_for(0)
    key = keys.create("tests", "100/s")
    sent = {"images": SimpleUploadedFile("x", b"no picture", "image/jpeg")}
    assert Client().post("/api/v1/detection", sent, headers={"X-API-Key": key}).status_code == 200


# ---- sessions


@pytest.mark.parametrize("key", ["a" * 8, "b" * 32, "c" * 60, '"\\000aaaaaaaa"'])
def test_a_cookie_that_was_not_made_here_is_no_session(client, portal, key):
    sent = {"cookie": f"hexaface_session={key}"}
    assert client.get(f"/detection/{uuid.uuid4()}/", headers=sent).status_code == 404
    picture = {"image": io.BytesIO(encoded())}
    assert client.post("/detection/", picture, headers=sent).status_code == 302
    [upload] = Upload.objects.all()
    assert upload.session == client.cookies["hexaface_session"].value != key
    assert Session.objects.filter(session_key=upload.session).exists()


def test_of_files_that_no_form_has_nothing_is_kept_in_memory(portal):
    def sizes(path: str) -> list[int]:
        content = {f"other{number}": io.BytesIO(bytes(1000)) for number in range(3)}
        return [file.size for file in RequestFactory().post(path, content).FILES.values()]

    assert sizes("/detection/") == [1000, 1000, 0]
    assert sizes("/api/v1/detection") == [1000] * 3


def test_a_picture_is_not_kept_where_the_other_one_cannot_be(client, portal, monkeypatch):
    write, written = uploads._write, []

    def full(file, content):
        if written:
            raise OSError(28, "No space left on device")
        written.append(file)
        write(file, content)

    monkeypatch.setattr(uploads, "_write", full)
    client.raise_request_exception = False
    pair = {"first": io.BytesIO(encoded()), "second": io.BytesIO(encoded((1, 2, 3)))}
    assert client.post("/verification/", pair).status_code == 500
    assert len(written) == 1
    assert (files(portal), Upload.objects.count()) == ([], 0)


# ---- how often


def test_results_are_asked_for_as_often_as_pictures_may_be_sent(client, portal):
    portal.UPLOAD_RATE = "2/h"
    paths = [f"/detection/{uuid.uuid4()}/", "/verification/{0}/{0}/".format(uuid.uuid4())] * 2
    assert [client.get(path).status_code for path in paths] == [404, 404, 429, 429]
    # Pictures are counted for themselves, and forms can be looked at.
    assert client.post("/detection/", {"image": io.BytesIO(encoded())}).status_code == 302
    assert client.get("/detection/").status_code == 200


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8", False),
        ("", "unknown", False),
    ],
)
def test_who_has_many_addresses_is_counted_once(one, other, same):
    found = [throttling.address(RequestFactory().get("/", REMOTE_ADDR=address)) for address in (one, other)]
    assert (found[0] == found[1]) is same


@pytest.mark.parametrize("path", ["/", "/privacy/", "/detection/", "/verification/", "/synthesis/"])
def test_pages_answer_those_who_want_the_head_only(portal, path):
    assert Client().head(path).status_code == 200


# ---- before anything is decoded


@pytest.mark.parametrize(
    "data",
    [
        hostile.with_chunks(hostile.chunk(b"prVt") * 800_000),
        hostile.with_segments(b"\xff\xe9\0\2" * 2_000_000),
        hostile.with_segments(b"\xff" * 9 * MEGABYTE),
        hostile.noise() + bytes(10 * MEGABYTE),
    ],
    ids=["chunks", "segments", "markers", "too long"],
)
def test_pixels_of_a_file_with_a_million_parts_are_not_looked_for(data):
    started = time.process_time()
    assert pixels_to_decode(data) == 0
    assert time.process_time() - started < 1.0
    assert pixels_to_decode(encoded()) == 640 * 480


def test_pixels_of_a_webp_that_is_refused_are_not_counted():
    assert pixels_to_decode(hostile.large_webp(4000, 4000)) == 16_000_000
    assert pixels_to_decode(hostile.large_webp(4001, 4000)) == 0
