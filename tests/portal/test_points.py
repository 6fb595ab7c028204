"""Faces whose five points are all at one place: they are cut out by their boxes, and that is told."""

import io
from dataclasses import replace

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image
from portal_pictures import encoded

from serving.client import Box, Client
from serving.portal.api import keys
from serving.portal.assessment.assessor import Assessor
from serving.portal.assessment.pictures import receive
from serving.portal.model_server import client as model_client

pytestmark = pytest.mark.django_db

ONE, TWO = (90, 90, 90), (200, 200, 200)
TOLD = "It was cut out by its box, and the answer is worth less."


@pytest.fixture
def pointless(served, monkeypatch):
    """Lets all points of the smaller face of each answer be at one place; returns what else changes of it."""
    changes = {}
    detect = Client.detect

    def changed(self, images, **options):
        found = detect(self, images, **options)
        return [replace(each, faces=(spoilt(each.faces[0]), *each.faces[1:])) for each in found]

    def spoilt(face):
        return replace(face, keypoints=(face.keypoints[0],) * 5, **changes)

    monkeypatch.setattr(Client, "detect", changed)
    return changes


def send(client, name, **files):
    place = client.post(f"/{name}/", {field: io.BytesIO(data) for field, data in files.items()})["Location"]
    return client.get(place)


def ask(client, name, *, fields=None, **files):
    key = keys.create("tests", "100000/s")
    sent = {field: SimpleUploadedFile("x", data, "image/jpeg") for field, data in files.items()}
    answer = client.post(f"/api/v1/{name}", {**sent, **(fields or {})}, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize(
    ("name", "said"), [("gender", "male"), ("age", "years"), ("emotion", "sad"), ("everything", "years")]
)
def test_a_page_answers_for_all_faces(client, pointless, name, said):
    answer = send(client, name, image=encoded(TWO))
    assert answer.status_code == 200
    other, spoilt = answer.content.decode().split("<article")[1:]
    assert said in other
    assert said in spoilt
    assert (TOLD in other, TOLD in spoilt) == (False, True)


def test_where_nothing_is_cut_out_nothing_is_told(client, pointless):
    page = send(client, "detection", image=encoded(TWO)).content.decode()
    assert "Face 2" in page
    assert TOLD not in page


def test_two_pictures_are_compared(client, pointless):
    page = send(client, "verification", first=encoded(TWO), second=encoded(ONE)).content.decode()
    assert "Two different people" in page
    # Of the first picture, the larger face is compared, which has its points.
    assert "In the second picture the points of the face are all at one place" in page
    assert page.count(TOLD) == 1


def test_programs_are_told(client, pointless):
    [image] = ask(client, "gender", images=encoded(TWO))["images"]
    assert [(face["aligned"], face["gender"]["label"]) for face in image["faces"]] == [
        (True, "male"),
        (False, "male"),
    ]


def test_programs_are_told_of_both_pictures(client, pointless):
    largest = {"largest": "true"}
    found = ask(client, "verification", first=encoded(ONE), second=encoded(TWO), fields=largest)
    assert found["is_match"] is False
    assert [face["aligned"] for face in found["first"]["faces"]] == [False]
    assert [face["aligned"] for face in found["second"]["faces"]] == [True, False]


def test_what_finds_faces_only_tells_nothing_of_it(client, pointless):
    [image] = ask(client, "detection", images=encoded(ONE))["images"]
    assert set(image["faces"][0]) == {"box", "score", "landmarks"}


@pytest.mark.parametrize(
    ("box", "colour"),
    [
        (Box(0.0, 0.0, 1.0, 0.5), "red"),
        (Box(0.0, 0.5, 1.0, 1.0), "blue"),
        (Box(0.2, 0.9, 0.2, 0.9), "blue"),
        (Box(-3.0, -3.0, -2.0, -2.0), "red"),
        (Box(2.0, 2.0, 3.0, 3.0), "blue"),
        (Box(-9.0, -9.0, 9.0, 0.5), "red"),
        (Box(0.6, 0.9, 0.4, 0.7), "blue"),
    ],
    ids=["left", "right", "no area", "before", "behind", "across", "inside out"],
)
def test_what_is_cut_out_is_in_the_picture(pointless, box, colour):
    pointless["box"] = box
    image = Image.new("RGB", (640, 480), "red")
    image.paste("blue", (320, 0, 640, 480))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assessor = Assessor(model_client())
    [answer] = assessor.assess([receive(buffer.getvalue())], ("gender",)).pictures
    [face] = [face for face in answer.faces if not face.aligned]
    cut = np.asarray(Image.open(io.BytesIO(face.crop)).convert("RGB"), int)
    assert cut.shape == (112, 112, 3)
    wanted = np.array((255, 0, 0) if colour == "red" else (0, 0, 255))
    # The picture was written as a JPEG, which blurs the edge between the colours.
    assert np.abs(cut[:, 4:-4] - wanted).max() < 12
