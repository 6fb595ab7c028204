import io
import re

import pytest
from portal_pictures import encoded

pytestmark = pytest.mark.django_db

NOBODY, ONE, TWO = (0, 0, 0), (90, 90, 90), (200, 200, 200)


def send(client, name, **files):
    return client.post(f"/{name}/", {field: io.BytesIO(data) for field, data in files.items()})


@pytest.mark.parametrize("page", ["", "detection/", "verification/", "synthesis/", "everything/", "privacy/"])
def test_pages_open(client, portal, page):
    response = client.get(f"/{page}")
    assert response.status_code == 200
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert re.fullmatch("[0-9a-f]{32}", response["X-Request-ID"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("detection", "Face 1"),
        ("gender", "female"),
        ("age", "35 years"),
        ("emotion", "fear"),
        ("everything", "35 years"),
    ],
)
def test_a_picture_is_assessed(client, served, name, said):
    sent = send(client, name, image=encoded(ONE))
    assert sent.status_code == 302
    answer = client.get(sent["Location"])
    assert answer.status_code == 200
    assert said in answer.content.decode()


def test_every_face_gets_an_answer(client, served):
    answer = client.get(send(client, "gender", image=encoded(TWO))["Location"]).content.decode()
    assert "Face 1" in answer
    assert "Face 2" in answer
    assert answer.count("<article") == 2


def test_nobody_is_no_error(client, served):
    answer = client.get(send(client, "age", image=encoded(NOBODY))["Location"])
    assert answer.status_code == 200
    assert "No face" in answer.content.decode()


def test_a_script_gets_the_result_alone(client, served):
    place = send(client, "gender", image=encoded(ONE))["Location"]
    answer = client.get(place, headers={"X-Fragment": "result"}).content.decode()
    assert "<html" not in answer
    assert "female" in answer


@pytest.mark.parametrize(("second", "said"), [(ONE, "The same person"), ((40, 40, 40), "The same person")])
def test_two_pictures_are_compared(client, served, second, said):
    sent = send(client, "verification", first=encoded(ONE), second=encoded(second))
    assert said in client.get(sent["Location"]).content.decode()


def test_the_same_seed_draws_the_same_faces(client, served):
    def drawn(address):
        return re.findall(r'src="(data:image/png[^"]+)"', client.get(address).content.decode())

    faces = drawn("/synthesis/?count=5&seed=7")
    assert len(faces) == 5
    assert drawn("/synthesis/?count=5&seed=7") == faces
    assert drawn("/synthesis/?count=5&seed=8") != faces
