import base64
import html
import io
import re
import uuid

import pytest
from django.test import Client
from PIL import Image
from portal_pictures import encoded

from serving.portal import model_server as connection

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
        ("gender", 'class="said">female<'),
        ("age", 'class="said">35 years<'),
        ("emotion", 'class="said">fear<'),
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
    assert 'class="said">female<' in answer


@pytest.mark.parametrize(
    ("second", "said"), [(ONE, "The same person"), ((30, 30, 30), "Two different people")]
)
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


def fragment(client, place):
    return client.get(place, headers={"X-Fragment": "result"}).content.decode()


def test_boxes_and_the_list_lead_to_each_other(client, served):
    page = fragment(client, send(client, "detection", image=encoded(TWO))["Location"])
    assert 'data-summary="2 faces found"' in page
    # The larger one is first.
    for number, percent in ((1, 88), (2, 99)):
        assert f'href="#face-{number}" id="box-{number}"' in page
        assert f'aria-label="Face {number}: {percent} % sure"' in page
        assert f'<li id="face-{number}"><a href="#box-{number}"' in page
    assert page.count("<circle") == 10


def test_other_applications_can_be_asked_about_a_picture_and_it_can_be_forgotten(client, served):
    place = send(client, "gender", image=encoded(ONE))["Location"]
    page = client.get(place).content.decode()
    others = re.findall(r'<a href="(/[a-z]+/[0-9a-f-]{36}/)">', page)
    assert {other.split("/")[1] for other in others} == {"detection", "age", "emotion", "everything"}
    assert all(client.get(other).status_code == 200 for other in others)
    [forget] = re.findall(r'action="(/uploads/[^"]+/forget/)"', page)
    told = client.get(client.post(forget)["Location"])
    assert "The picture is deleted." in told.content.decode()
    assert client.get(place).status_code == 404


def test_without_a_face_there_is_advice_and_a_way_to_forget(client, served):
    page = fragment(client, send(client, "emotion", image=encoded(NOBODY))["Location"])
    assert "No face was found" in page
    assert "<article" not in page
    assert "/forget/" in page


def test_what_a_threshold_stands_for_is_told(client, served):
    page = fragment(client, send(client, "verification", first=encoded(ONE), second=encoded(ONE))["Location"])
    assert "taken for one in about 1 of 100 comparisons" in page
    assert "<td>1 of 10</td>" in page


def test_an_unknown_error_rate_is_told(client, served, tmp_path):
    served.HOME = tmp_path
    connection.assessor.cache_clear()
    page = fragment(client, send(client, "verification", first=encoded(ONE), second=encoded(ONE))["Location"])
    assert "is not known here" in page
    assert "Other thresholds" not in page


def test_a_workspace_that_cannot_be_read_is_no_reason_to_fail(client, served, tmp_path):
    (tmp_path / "models").write_text("no folder")
    served.HOME = tmp_path
    connection.assessor.cache_clear()
    page = fragment(client, send(client, "verification", first=encoded(ONE), second=encoded(ONE))["Location"])
    assert "is not known here" in page


def test_which_picture_has_no_face_or_several_is_told(client, served):
    sent = send(client, "verification", first=encoded(ONE), second=encoded(NOBODY))
    page = fragment(client, sent["Location"])
    assert page.count("No face was found in the second picture") == 2  # for people, and for the announcement
    sent = send(client, "verification", first=encoded(TWO), second=encoded(ONE))
    assert "In the first picture 2 faces were found; the largest one was taken." in fragment(
        client, sent["Location"]
    )


def test_models_of_drawn_faces_are_told_from_others(client, served, tmp_path):
    place = send(client, "gender", image=encoded(ONE))["Location"]
    assert "drawn faces only" not in client.get(place).content.decode()
    assert "drawn faces only" not in client.get("/").content.decode()
    model = tmp_path / "demo" / "models" / "gender" / "3"
    model.mkdir(parents=True)
    (model / "saved_model.pb").touch()
    served.HOME = tmp_path
    assert "drawn faces only" in client.get(place).content.decode()
    assert "drawn faces only" in client.get("/").content.decode()
    # The model of faces is not among those of drawn ones here.
    place = send(client, "detection", image=encoded(ONE))["Location"]
    assert "drawn faces only" not in fragment(client, place)


def test_a_refused_picture_is_told_beside_its_field(client, portal):
    sent = {"first": io.BytesIO(encoded(ONE)), "second": io.BytesIO(b"text")}
    page = client.post("/verification/", sent)
    assert page.status_code == 400
    hidden, shown = re.findall(r'<p class="error field-error"([^>]*)>([^<]*)</p>', page.content.decode())
    assert "hidden" in hidden[0]
    assert "hidden" not in shown[0]
    assert "no picture" in shown[1]
    # Who has no scripts is led to the field, which has the message for its description.
    first, second = re.findall(r'<input type="file"[^>]*>', page.content.decode())
    assert "autofocus" not in first
    assert 'aria-describedby="second-hint second-error" aria-invalid="true" autofocus' in second
    sent = {"first": io.BytesIO(encoded(ONE)), "second": io.BytesIO(b"text")}
    answer = client.post("/verification/", sent, headers={"X-Fragment": "result"})
    assert answer.status_code == 400
    assert answer["X-Error-Field"] == "second"


def kept_in_form(page):
    """The pictures that the form of a page has already, by field."""
    return dict(re.findall(r'<input type="hidden" class="kept" name="([^"]+)" value="([^"]+)">', page))


def test_the_form_of_a_result_asks_again_about_its_picture(client, served):
    place = send(client, "gender", image=encoded(ONE))["Location"]
    form = kept_in_form(client.get(place).content.decode())
    assert client.post("/gender/", form)["Location"] == place
    assert client.post("/age/", form)["Location"] == place.replace("gender", "age")
    # What is chosen counts.
    assert client.post("/gender/", {**form, "image": io.BytesIO(encoded(TWO))})["Location"] != place
    assert client.post("/gender/", {**form, "image-sample": "bob"})["Location"] != place
    assert kept_in_form(client.get("/gender/").content.decode()) == {}


def test_one_picture_of_a_pair_can_be_replaced(client, served):
    place = send(client, "verification", first=encoded(ONE), second=encoded(ONE))["Location"]
    _, _, first, second, _ = place.split("/")
    form = kept_in_form(client.get(place).content.decode())
    assert form == {"first-kept": first, "second-kept": second}
    new = client.post("/verification/", {**form, "second": io.BytesIO(encoded((30, 30, 30)))})["Location"]
    assert new.split("/")[2] == first
    assert new.split("/")[3] != second
    assert "Two different people" in client.get(new).content.decode()


@pytest.mark.parametrize(("again", "bad"), [("first", "second"), ("second", "first")])
def test_after_an_error_the_form_still_has_the_picture_that_was_kept(client, portal, again, bad):
    upload = send(client, "gender", image=encoded(ONE))["Location"].split("/")[2]
    form = {f"{again}-kept": upload}
    for wrong in ({bad: io.BytesIO(b"text")}, {}, {f"{bad}-kept": str(uuid.uuid4())}):
        answer = client.post("/verification/", {**form, **wrong})
        assert answer.status_code == 400
        assert kept_in_form(answer.content.decode()) == form
    stranger = Client().post("/verification/", {**form, bad: io.BytesIO(b"text")})
    assert kept_in_form(stranger.content.decode()) == {}


def test_a_picture_that_was_to_be_replaced_does_not_come_back_with_an_error(client, portal):
    form = {"image-kept": send(client, "gender", image=encoded(ONE))["Location"].split("/")[2]}
    for new in ({"image": io.BytesIO(b"text")}, {"image-sample": "nobody"}):
        answer = client.post("/gender/", {**form, **new})
        assert answer.status_code == 400
        assert kept_in_form(answer.content.decode()) == {}


@pytest.mark.parametrize("whose", ["stranger's", "forgotten", "none"])
def test_a_picture_that_is_not_kept_for_the_session_is_not_taken(client, portal, whose):
    upload = send(client, "gender", image=encoded(ONE))["Location"].split("/")[2]
    asking = Client() if whose == "stranger's" else client
    if whose == "forgotten":
        client.post(f"/uploads/{upload}/forget/")
    answer = asking.post("/gender/", {"image-kept": "../x" if whose == "none" else upload})
    assert answer.status_code == 400
    assert "The picture is not here any more; please choose it again." in answer.content.decode()


def test_a_model_server_that_is_down_leaves_a_picture_to_try_again(client, portal):
    place = send(client, "age", image=encoded(ONE))["Location"]
    answer = client.get(place)
    assert answer.status_code == 503
    assert f'class="button retry" href="{place}"' in answer.content.decode()
    assert "<h1" in answer.content.decode()


def test_generated_faces_can_be_kept(client, served):
    page = client.get("/synthesis/?count=4&seed=7").content.decode()
    faces = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    links = re.findall(r'<a href="([^"]+&amp;face=\d+)"', page)
    assert len(links) == 4
    kept = client.get(html.unescape(links[2]))
    assert kept["Content-Disposition"] == 'attachment; filename="face-7-3.png"'
    assert base64.b64encode(kept.content).decode() == faces[2]
    whole = Image.open(io.BytesIO(client.get("/synthesis/faces.png?count=4&seed=7").content))
    assert re.fullmatch(r"generated by synthesis/\d+, seed 7", whole.info["Description"])
    assert whole.size == (2 * 64, 2 * 76)


@pytest.mark.parametrize("face", ["0", "5", "-1", "x", "", "9" * 5000, "\u0662"])
def test_a_face_that_is_not_there_is_no_page(client, served, face):
    query = {"count": "4", "seed": "7", "face": face}
    assert client.get("/synthesis/faces.png", query).status_code == 404


def test_an_empty_seed_after_another_one_is_random(client, portal):
    # What the button "Another seed" sends without a script.
    sent = client.get("/synthesis/?count=3&seed=7&seed=")
    assert sent.status_code == 302
    assert re.fullmatch(r"/synthesis/\?count=3&seed=\d+", sent["Location"])


@pytest.mark.parametrize("page", ["", "detection/", "verification/", "synthesis/", "everything/", "privacy/"])
def test_pages_have_no_style_and_no_script_of_their_own(client, portal, page):
    text = client.get(f"/{page}").content.decode()
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|https?://", text)
    assert re.findall(r"<script[^>]*>", text) == ['<script src="/static/portal/portal.js" defer>']
