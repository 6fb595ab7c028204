import base64
import io
import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from PIL import Image
from portal_pictures import encoded

from serving.portal import model_server
from serving.portal.api import access, batches, keys, v1
from serving.portal.assessment.assessor import Assessor
from serving.portal.models import Allowance, ApiKey
from serving.portal.rates import Rate
from serving.portal.throttling import forget_idle, take

PROJECT = Path(__file__).parents[2]
NOBODY, ONE, TWO = (0, 0, 0), (90, 90, 90), (200, 200, 200)
TASKS = ("detection", "gender", "age", "emotion", "everything")
pytestmark = pytest.mark.django_db


@pytest.fixture
def key(db):
    return keys.create("tests", "100000/s")


@pytest.fixture
def program(key):
    """A client that sends a good key, and would show what goes wrong as a real one sees it."""
    return Client(headers={"X-API-Key": key}, raise_request_exception=False, enforce_csrf_checks=True)


@pytest.fixture
def stranger():
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


def file(data, name="portrait-of-jane.jpg"):
    return SimpleUploadedFile(name, data, "image/jpeg")


def send(client, name, *images, query="", **options):
    return client.post(f"/api/v1/{name}{query}", {"images": [file(each) for each in images]}, **options)


def error(response, status, code, field=None):
    """Checks the envelope, and returns the message."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert set(body) == {"error"}
    told = body["error"]
    assert told["code"] == code
    assert told.get("field") == field
    assert told["request_id"] == response["X-Request-ID"]
    assert told["message"]
    return told["message"]


# ---- answers


def test_faces_are_found(program, served):
    response = send(program, "detection", encoded(ONE))
    assert response.status_code == 200
    body = response.json()
    assert body["models"] == {"detection": 3}
    assert set(body["milliseconds"]) == {"decoding", "detection"}
    assert body["request_id"] == response["X-Request-ID"]
    [image] = body["images"]
    assert (image["status"], image["width"], image["height"]) == ("ok", 640, 480)
    assert (image["message"], image["left_out"]) == (None, 0)
    [face] = image["faces"]
    assert face["box"] == {"left": 160.0, "top": 120.0, "right": 480.0, "bottom": 360.0}
    assert face["score"] == pytest.approx(0.99)
    assert face["landmarks"] == {
        "left_eye": {"x": 256.0, "y": 216.0},
        "right_eye": {"x": 384.0, "y": 216.0},
        "nose": {"x": 320.0, "y": 264.0},
        "mouth_left": {"x": 272.0, "y": 312.0},
        "mouth_right": {"x": 368.0, "y": 312.0},
    }


def test_a_gender_has_scores_by_label(program, served):
    [face] = send(program, "gender", encoded(ONE)).json()["images"][0]["faces"]
    assert face["gender"] == {"label": "female", "scores": {"female": 0.8, "male": 0.2}}
    assert "age" not in face


def test_an_age_has_an_interval_and_a_distribution_if_asked_for(program, served):
    [face] = send(program, "age", encoded(ONE)).json()["images"][0]["faces"]
    age = face["age"]
    assert age["age"] == pytest.approx(35.3, abs=0.5)
    assert (age["low"], age["high"]) == pytest.approx((age["age"] - 5, age["age"] + 5), abs=0.001)
    assert age["distribution"] is None
    [face] = send(program, "age", encoded(ONE), query="?distribution=true").json()["images"][0]["faces"]
    shares = face["age"]["distribution"]
    assert len(shares) == 101
    assert sum(shares) == pytest.approx(1.0, abs=0.001)
    assert shares.index(max(shares)) == 35


def test_an_emotion_has_seven_scores(program, served):
    [face] = send(program, "emotion", encoded(ONE)).json()["images"][0]["faces"]
    assert face["emotion"]["label"] == "fear"
    assert list(face["emotion"]["scores"]) == [
        "angry",
        "disgust",
        "fear",
        "happy",
        "sad",
        "surprise",
        "neutral",
    ]


def test_everything_is_told_at_once(program, served):
    body = send(program, "everything", encoded(ONE)).json()
    assert body["models"] == {"detection": 3, "gender": 3, "age": 3, "emotion": 3}
    assert list(body["milliseconds"]) == ["decoding", "detection", "alignment", "gender", "age", "emotion"]
    [face] = body["images"][0]["faces"]
    assert {"box", "score", "landmarks", "aligned", "gender", "age", "emotion"} == set(face)
    assert face["aligned"] is True


@pytest.mark.parametrize("name", TASKS)
def test_a_bad_file_does_not_fail_the_others(program, served, name):
    response = send(program, name, encoded(TWO), b"no picture", encoded(NOBODY), b"", encoded(ONE))
    assert response.status_code == 200
    images = response.json()["images"]
    assert [image["status"] for image in images] == ["ok", "bad_image", "no_face", "bad_image", "ok"]
    assert [len(image["faces"]) for image in images] == [2, 0, 0, 0, 1]
    assert "JPEG, PNG or WebP" in images[1]["message"]
    assert "empty" in images[3]["message"]
    assert (images[1]["width"], images[2]["width"]) == (None, 640)


def test_where_all_files_are_bad_no_model_is_asked(program, portal):
    response = send(program, "everything", b"no picture")
    assert response.status_code == 200
    assert response.json()["models"] == {}
    assert response.json()["images"][0]["status"] == "bad_image"


def test_the_largest_face_comes_first(program, served):
    faces = send(program, "detection", encoded(TWO)).json()["images"][0]["faces"]
    widths = [face["box"]["right"] - face["box"]["left"] for face in faces]
    assert widths == sorted(widths, reverse=True)


def test_a_file_over_ten_megabytes_is_a_bad_image(program, served):
    large = encoded(ONE) + bytes(10 << 20)
    images = send(program, "detection", large, encoded(ONE)).json()["images"]
    assert [image["status"] for image in images] == ["bad_image", "ok"]
    assert "at most 10 MB" in images[0]["message"]


def compare(client, first, second, **fields):
    return client.post("/api/v1/verification", {"first": file(first), "second": file(second), **fields})


@pytest.mark.parametrize(("colour", "match"), [((100, 100, 100), True), ((150, 150, 150), False)])
def test_two_pictures_are_compared(program, served, colour, match):
    body = compare(program, encoded(ONE), encoded(colour)).json()
    assert body["status"] == "ok"
    assert body["is_match"] is match
    assert body["cosine_distance"] == pytest.approx((colour[0] - 90) / 255, abs=0.01)
    assert body["threshold"] == pytest.approx(0.2)
    assert body["false_accept_rate"] == 0.01
    assert body["table"] == [
        {"false_accept_rate": 0.01, "threshold": 0.2},
        {"false_accept_rate": 0.1, "threshold": 0.3},
    ]
    assert body["models"] == {"detection": 3, "verification": 3}
    assert [body[side]["status"] for side in ("first", "second")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("first", "second", "status", "sides"),
    [
        (encoded(ONE), encoded(NOBODY), "no_face", ["ok", "no_face"]),
        (encoded(TWO), encoded(ONE), "many_faces", ["many_faces", "ok"]),
        (encoded(TWO), encoded(NOBODY), "no_face", ["many_faces", "no_face"]),
        (encoded(ONE), b"no picture", "bad_image", [None, "bad_image"]),
        (b"", b"no picture", "bad_image", ["bad_image", "bad_image"]),
    ],
)
def test_what_cannot_be_compared_is_told_by_side(program, served, first, second, status, sides):
    response = compare(program, first, second)
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == status
    assert [body[side]["status"] for side in ("first", "second")] == sides
    for name in ("is_match", "cosine_distance", "threshold", "false_accept_rate", "table"):
        assert body[name] is None


def test_the_largest_of_many_faces_is_taken_if_asked_for(program, served):
    body = compare(program, encoded(TWO), encoded(TWO), largest="true").json()
    assert body["status"] == "ok"
    assert body["is_match"] is True
    assert body["first"]["status"] == "many_faces"


def test_rates_are_null_where_they_are_not_known(program, served, tmp_path):
    served.HOME = tmp_path
    body = compare(program, encoded(ONE), encoded(ONE)).json()
    assert (body["status"], body["false_accept_rate"], body["table"]) == ("ok", None, None)


def draw(client, **wanted):
    return client.post("/api/v1/synthesis", json.dumps(wanted), content_type="application/json")


def test_the_same_seed_draws_the_same_faces(program, served):
    body = draw(program, count=3, seed=7).json()
    assert body["seed"] == 7
    assert body["models"] == {"synthesis": 3, "gender": 3}
    assert len(body["faces"]) == 3
    for face in body["faces"]:
        assert Image.open(io.BytesIO(base64.b64decode(face["png"]))).format == "PNG"
        assert face["gender"]["label"] in ("female", "male")
    assert draw(program, count=3, seed=7).json()["faces"] == body["faces"]
    assert draw(program, count=3, seed=8).json()["faces"] != body["faces"]


def test_without_a_seed_one_is_drawn_and_told(program, served):
    body = draw(program, count=2).json()
    assert draw(program, count=2.0, seed=body["seed"]).json()["faces"] == body["faces"]


def test_models_are_listed_without_a_key(stranger, served):
    body = stranger.get("/api/v1/models").json()
    assert [model["name"] for model in body["served"]] == [
        "detection",
        "verification",
        "gender",
        "age",
        "emotion",
        "synthesis",
    ]
    assert body["models"]["gender"] == 3
    assert body["served"][0] == {
        "name": "detection",
        "available": True,
        "versions": [{"version": 3, "state": "AVAILABLE"}],
    }


# ---- what every answer has


def test_a_request_id_is_taken_up(program, portal):
    response = send(program, "detection", b"no picture", headers={"X-Request-ID": "my-request-17"})
    assert response.json()["request_id"] == response["X-Request-ID"] == "my-request-17"


def test_nothing_is_kept_and_no_session_is_read(program, served):
    for response in (send(program, "detection", encoded(ONE)), program.get("/api/v1/models")):
        assert response["Cache-Control"] == "no-store"
        assert not response.cookies
        assert "Cookie" not in response.get("Vary", "")
    assert not list(served.DATA.rglob("*.jpg"))


def test_no_picture_or_name_of_a_file_is_logged(program, served, caplog):
    caplog.set_level(logging.DEBUG)
    picture = encoded(ONE)
    send(program, "everything", picture, b"no picture")
    compare(program, picture, b"no picture")
    send(program, "detection")
    assert "portal.requests" in {record.name for record in caplog.records}
    for secret in ("jane", "portrait", "JFIF", base64.b64encode(picture)[:40].decode(), "no picture"):
        assert secret not in caplog.text


# ---- keys


@pytest.mark.parametrize("name", [*TASKS, "verification", "synthesis"])
def test_without_a_key_nothing_is_answered(stranger, portal, name):
    response = stranger.post(f"/api/v1/{name}")
    assert "X-API-Key" in error(response, 401, "unauthorized")
    assert response["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'


@pytest.mark.parametrize("wrong", ["hexaface_wrong", "é", "x" * 5000])
def test_a_wrong_key_is_refused(stranger, portal, key, wrong):
    error(stranger.post("/api/v1/detection", headers={"X-API-Key": wrong}), 401, "unauthorized")


def test_a_wrong_key_is_refused_where_none_is_needed(stranger, portal):
    portal.API_ANONYMOUS = True
    error(stranger.post("/api/v1/detection", headers={"X-API-Key": "hexaface_wrong"}), 401, "unauthorized")


def test_a_revoked_key_is_refused(program, portal):
    assert send(program, "detection", b"no picture").status_code == 200
    call_command("revoke_api_key", "tests")
    error(send(program, "detection", b"no picture"), 401, "unauthorized")


def test_a_key_is_shown_once_and_kept_as_a_hash(portal, capsys):
    call_command("create_api_key", "camera at the door", "--rate", "5/min")
    token = capsys.readouterr().out.strip()
    assert re.fullmatch(r"hexaface_[A-Za-z0-9_-]{43}", token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM portal_apikey")
        assert token.removeprefix("hexaface_") not in str(cursor.fetchall())
    call_command("list_api_keys")
    listed = capsys.readouterr().out
    assert re.search(r"camera at the door +5/min .* good", listed)
    assert token not in listed
    call_command("revoke_api_key", "camera at the door")
    call_command("list_api_keys")
    assert re.search(r"camera at the door +5/min .* revoked 20", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new", "--rate", "often"], "expected a rate such as 60/min"),
        (["new", "--rate", "0/min"], "expected a rate"),
        (["new", "--rate=-1/min"], "expected a rate"),
        (["new", "--rate", "5/year"], "expected a rate"),
        (["tests"], "there is or was a key named 'tests'"),
        ([" "], "name: expected 1 to 80"),
        (["x" * 81], "name: expected 1 to 80"),
        (["two\nlines"], "name: expected 1 to 80"),
    ],
)
def test_a_key_that_cannot_be_made_is_none(key, arguments, said):
    with pytest.raises(CommandError, match=said):
        call_command("create_api_key", *arguments)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("name", ["nobody", "tests"])
def test_only_a_good_key_can_be_revoked(key, name):
    keys.revoke("tests")
    with pytest.raises(CommandError, match="no good key"):
        call_command("revoke_api_key", name)


# ---- rates


def test_a_key_may_ask_as_often_as_its_rate_says(stranger, portal):
    first, second = (Client(headers={"X-API-Key": keys.create(name, "3/h")}) for name in "ab")
    left = []
    for _ in range(3):
        response = send(first, "detection", b"no picture")
        assert response.status_code == 200
        assert response["RateLimit-Limit"] == "3"
        left.append(response["RateLimit-Remaining"])
    assert left == ["2", "1", "0"]
    response = send(first, "detection", b"no picture")
    error(response, 429, "rate_limited")
    assert 1000 <= int(response["Retry-After"]) <= 1200
    assert response["RateLimit-Remaining"] == "0"
    assert send(second, "detection", b"no picture").status_code == 200


def test_an_address_may_ask_as_often_as_it_may_upload(stranger, portal):
    portal.API_ANONYMOUS, portal.UPLOAD_RATE = True, "2/h"
    answers = [send(stranger, "detection", b"no picture") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    other = send(stranger, "detection", b"no picture", REMOTE_ADDR="192.0.2.7")
    assert other.status_code == 200
    assert "127.0.0.1" not in str(list(Allowance.objects.values()))


def test_who_tries_keys_is_slowed_down_and_holders_of_good_ones_are_not(
    stranger, program, portal, monkeypatch
):
    monkeypatch.setattr(access, "REFUSED_RATE", "2/h")
    wrong = {"X-API-Key": "hexaface_wrong"}
    answers = [stranger.post("/api/v1/detection", headers=wrong) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    error(stranger.post("/api/v1/detection"), 429, "rate_limited")
    assert send(program, "detection", b"no picture").status_code == 200


def test_time_gives_requests_back(db, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("serving.portal.throttling.time.time", lambda: now[0])
    rate = Rate.parse("4/min")
    assert [take("somebody", rate).allowed for _ in range(5)] == [True] * 4 + [False]
    assert take("somebody", rate).wait == 15
    now[0] += 15
    assert [take("somebody", rate).allowed for _ in range(2)] == [True, False]
    now[0] += 3600
    forget_idle()
    assert not Allowance.objects.exists()
    assert take("somebody", rate).remaining == 3


def test_processes_share_a_rate(tmp_path):
    code = (
        "import django; django.setup()\n"
        "from serving.portal.rates import Rate\n"
        "from serving.portal.throttling import take\n"
        "print(sum(take('somebody', Rate.parse('50/d')).allowed for _ in range(40)))"
    )
    environment = os.environ | {
        "PORTAL_DATA": str(tmp_path),
        "PORTAL_SECRET_KEY": "of-this-test-" * 5,
        "DJANGO_SETTINGS_MODULE": "serving.portal.settings",
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "serving.portal.manage", "migrate", "-v0"]
    subprocess.run(command, check=True, env=environment, cwd=PROJECT)
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=PROJECT, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    allowed = [int(process.communicate(timeout=400)[0]) for process in running]
    assert sum(allowed) == 50


@pytest.mark.parametrize(
    ("text", "count", "seconds"), [("60/min", 60, 60), ("5/s", 5, 1), ("9/hour", 9, 3600), ("1/d", 1, 86400)]
)
def test_rates_are_read(text, count, seconds):
    assert Rate.parse(text) == Rate(count, seconds)


@pytest.mark.parametrize(
    "text", ["", "60", "60/", "/min", "0/min", "1.5/min", "60 / min", "9999999/s", "٣/min"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="expected a rate"):
        Rate.parse(text)


# ---- errors


def test_an_address_that_is_none(program, portal):
    for path in ("/api/", "/api/v1/", "/api/v1/faces", "/api/v1/detection/", "/api/v2/detection"):
        assert "/api/v1/docs" in error(program.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "options"])
def test_another_method(program, portal, method):
    response = getattr(program, method)("/api/v1/detection")
    error(response, 405, "method_not_allowed")
    assert response["Allow"] == "POST"


@pytest.mark.parametrize("path", ["models", "openapi.json", "docs"])
def test_what_is_read_cannot_be_posted(program, portal, path):
    error(program.post(f"/api/v1/{path}"), 405, "method_not_allowed")


def test_no_pictures(program, portal):
    assert "images" in error(send(program, "detection"), 422, "invalid", "images")
    told = program.post("/api/v1/detection", b"\xff\xd8", content_type="image/jpeg")
    error(told, 422, "invalid", "images")


def test_one_picture_of_two(program, portal):
    response = program.post("/api/v1/verification", {"first": file(encoded())})
    error(response, 422, "invalid", "second")


@pytest.mark.parametrize("value", ["perhaps", "1", "yes", ""])
def test_a_value_that_is_none(program, portal, value):
    response = send(program, "age", encoded(), query=f"?distribution={value}")
    error(response, 422, "invalid", "distribution")
    error(compare(program, encoded(), encoded(), largest=value), 422, "invalid", "largest")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({}, "count"),
        ({"count": 0}, "count"),
        ({"count": 65}, "count"),
        ({"count": "4"}, "count"),
        ({"count": True}, "count"),
        ({"count": 1, "seed": -1}, "seed"),
        ({"count": 1, "seed": 2**31}, "seed"),
        ({"count": 1, "sede": 5}, "sede"),
    ],
)
def test_faces_that_cannot_be_drawn(program, portal, wanted, field):
    error(draw(program, **wanted), 422, "invalid", field)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"count": 1' + b"0" * 5000 + b"}"])
def test_a_body_that_is_no_json(program, portal, body):
    error(program.post("/api/v1/synthesis", body, content_type="application/json"), 400, "bad_request")


@pytest.mark.parametrize("body", [b"[]", b"4", b"null", b'"count"', b""])
def test_a_body_that_is_no_object(program, portal, body):
    response = program.post("/api/v1/synthesis", body, content_type="application/json")
    assert response.status_code == 422, response.content
    assert response.json()["error"]["code"] == "invalid"


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/form-data; boundary=ä",
    ],
)
def test_a_form_that_cannot_be_read(program, portal, kind):
    error(program.post("/api/v1/detection", b"--x\r\n", content_type=kind), 400, "bad_request")


@pytest.mark.parametrize("charset", ["hex", "utf-16", "idna", "none"])
def test_what_a_form_calls_its_encoding_does_not_matter(program, served, charset):
    lines = [
        b"--x",
        b'Content-Disposition: form-data; name="images"; filename="a"',
        b"",
        b"no picture",
        b"--x--",
    ]
    response = program.generic(
        "POST",
        "/api/v1/detection",
        b"\r\n".join([*lines, b""]),
        content_type=f"multipart/form-data; boundary=x; charset={charset}",
    )
    assert response.status_code == 200, response.content
    assert response.json()["images"][0]["status"] == "bad_image"


def test_seventeen_pictures(program, portal):
    error(send(program, "detection", *[encoded(size=(16, 16))] * 17), 422, "invalid", "images")


def test_sixteen_pictures(program, served):
    images = send(program, "detection", *[encoded(ONE)] * 16).json()["images"]
    assert [image["status"] for image in images] == ["ok"] * 16


def test_too_many_pixels_together(program, portal, monkeypatch):
    monkeypatch.setattr(batches, "MAX_PIXELS", 3 * 640 * 480)
    assert send(program, "detection", *[b"no picture"] * 4).status_code == 200
    error(send(program, "detection", *[encoded()] * 4), 413, "too_large")


def test_a_request_that_is_too_long(program, portal):
    response = program.post("/api/v1/detection", CONTENT_LENGTH=str(200 << 20))
    error(response, 413, "too_large")
    long = json.dumps({"count": 1, "seed": 1, "pad": "x" * (2 << 20)})
    error(program.post("/api/v1/synthesis", long, content_type="application/json"), 413, "too_large")


def test_a_request_that_does_not_tell_its_length(program, portal):
    answer = program.post("/api/v1/gender", headers={"Transfer-Encoding": "chunked"})
    error(answer, 411, "length_required")
    document = program.get("/api/v1/openapi.json").json()
    assert "length_required" in document["components"]["schemas"]["ErrorCode"]["enum"]
    assert "| 411 | `length_required` |" in document["info"]["description"]
    assert "411" in document["paths"]["/api/v1/gender"]["post"]["responses"]


def test_a_host_that_is_not_the_portals(program, portal):
    error(program.get("/api/v1/models", headers={"Host": "elsewhere.example"}), 400, "bad_request")


@pytest.mark.parametrize("name", TASKS)
def test_a_model_server_that_is_down(program, portal, name):
    response = send(program, name, encoded(ONE))
    message = error(response, 503, "model_unavailable")
    assert "kept" not in message
    assert int(response["Retry-After"]) > 0


def test_other_questions_to_a_model_server_that_is_down(program, portal):
    for response in (
        compare(program, encoded(), encoded()),
        draw(program, count=1),
        program.get("/api/v1/models"),
    ):
        error(response, 503, "model_unavailable")
        assert int(response["Retry-After"]) > 0


def test_an_answer_that_is_no_number(program, served, monkeypatch):
    class Broken(Assessor):
        def assess(self, pictures, tasks=(), **options):
            found = super().assess(pictures, tasks, **options)
            face = replace(found.pictures[0].faces[0], score=float("nan"))
            return replace(found, pictures=(replace(found.pictures[0], faces=(face,)),))

    monkeypatch.setattr(v1, "assessor", lambda: Broken(model_server.client()))
    error(send(program, "detection", encoded(ONE)), 503, "model_unavailable")


def test_a_fault_of_the_portal(program, portal, monkeypatch, caplog):
    def fail():
        raise RuntimeError("the reason")

    monkeypatch.setattr(v1, "assessor", fail)
    response = send(program, "detection", encoded())
    assert "the reason" not in error(response, 500, "internal")
    assert "the reason" in caplog.text


# ---- the document


def test_the_document_tells_all(stranger, portal):
    document = stranger.get("/api/v1/openapi.json").json()
    assert set(document["paths"]) == {
        f"/api/v1/{name}" for name in (*TASKS, "verification", "synthesis", "models")
    }
    scheme = document["components"]["securitySchemes"]["ApiKeyAuth"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")
    names = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names.add(operation["operationId"])
            codes = {"200", "429", "500", "503"}
            codes |= {"400", "401", "411", "413", "422"} if method == "post" else set()
            assert set(operation["responses"]) == codes, path
            assert operation["tags"] and operation["summary"] and operation["description"]
            assert ("security" in operation) is (method == "post")
            for code in codes - {"200"}:
                content = operation["responses"][code]["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert len(names) == 8
    images = document["paths"]["/api/v1/detection"]["post"]["requestBody"]["content"]
    assert images["multipart/form-data"]["schema"]["properties"]["images"]["maxItems"] == 16


def test_the_page_of_the_document(stranger, portal):
    response = stranger.get(reverse("api-v1:openapi-view"))
    assert response.status_code == 200
    assert "/api/v1/openapi.json" in response.content.decode()
    policy = response["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "style" not in response.content.decode().replace("stylesheet", "")
    assert not response.cookies
