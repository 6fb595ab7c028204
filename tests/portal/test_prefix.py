"""The portal below a path of a host that has other applications, behind a proxy that takes the path off."""

import re
from urllib.parse import urlsplit

import pytest
import requests
from model_servers import wait_until
from portal_browser import choose, chrome, count, find, needs_chromium, wait
from portal_pictures import encoded
from portal_server import below, portal_server

PREFIX = "/of/faces"


@pytest.fixture(scope="module")
def direct(models, workspace, tmp_path_factory):
    """The portal itself, which only the proxy reaches."""
    folder = tmp_path_factory.mktemp("prefix")
    variables = {"HEXAFACE_HOME": str(workspace), "PORTAL_PREFIX": PREFIX, "PORTAL_API_ANONYMOUS": "1"}
    with portal_server(folder, models.address, **variables) as portal:
        yield portal


@pytest.fixture(scope="module")
def address(direct):
    """Of the portal, as browsers know it."""
    with below(direct, PREFIX) as proxy:
        yield proxy


def host(address: str) -> str:
    return address.removesuffix(PREFIX)


def test_all_addresses_of_a_page_are_below_the_prefix(address):
    for page in ("", "detection/", "verification/", "synthesis/?count=4&seed=7", "privacy/", "status/"):
        answer = requests.get(f"{address}/{page}", timeout=60)
        assert answer.status_code == 200
        found = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', answer.text))
        assert len(found) > 8
        assert [place for place in found if not place.startswith(f"{PREFIX}/")] == []
        for place in found:
            if place.startswith(f"{PREFIX}/static/"):
                file = requests.get(host(address) + place, timeout=60)
                assert (file.status_code, file.headers["Cache-Control"][:9]) == (200, "max-age=3")


def test_a_picture_is_sent_shown_and_forgotten(address):
    session = requests.Session()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', session.get(f"{address}/gender/").text)[1]
    assert {cookie.path for cookie in session.cookies} == {f"{PREFIX}/"}
    sent = session.post(
        f"{address}/gender/",
        data={"csrfmiddlewaretoken": token},
        files={"image": ("x", encoded())},
        allow_redirects=False,
    )
    result = sent.headers["Location"]
    assert (sent.status_code, result[: len(PREFIX) + 8]) == (302, f"{PREFIX}/gender/")
    assert {cookie.path for cookie in session.cookies} == {f"{PREFIX}/"}
    page = session.get(host(address) + result)
    assert "female" in page.text
    picture = re.search(r'<image href="([^"]+)"', page.text)[1]
    assert session.get(host(address) + picture).headers["Content-Type"] == "image/jpeg"
    # Whoever comes to the address without its last slash is led to it.
    led = session.get(host(address) + result.rstrip("/"), allow_redirects=False)
    assert (led.status_code, led.headers["Location"]) == (301, result)
    forget = re.search(r'action="([^"]+/forget/)"', page.text)[1]
    told = session.post(host(address) + forget, {"csrfmiddlewaretoken": token})
    assert "The picture is deleted." in told.text
    assert session.get(host(address) + result).status_code == 404


def test_programs_are_answered(address):
    answer = requests.post(f"{address}/api/v1/gender", files={"images": encoded()}, timeout=60)
    assert answer.json()["images"][0]["faces"][0]["gender"]["label"] == "female"
    document = requests.get(f"{address}/api/v1/openapi.json", timeout=60).json()
    assert f"{PREFIX}/api/v1/gender" in document["paths"]
    missing = requests.get(f"{address}/api/v1/nothing", timeout=60)
    assert missing.status_code == 404
    assert f"{PREFIX}/api/v1/docs lists" in missing.json()["error"]["message"]


def test_probes_come_with_and_without_the_proxy(direct, address):
    for base in (direct.url, address):
        assert requests.get(f"{base}/healthz", timeout=60).text == "ok"
        # An answer of a busy machine may be late.
        wait_until(lambda base=base: requests.get(f"{base}/readyz", timeout=60).json()["ready"], 60)


@needs_chromium
def test_scripts_of_pages_work(address, tmp_path):
    browser = chrome(tmp_path / "profile")
    try:
        browser.get(f"{address}/gender/")
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(encoded())
        choose(browser, "image", photo)
        find(browser, "#start").click()
        wait(browser, lambda _: count(browser, "#result .answer"))
        # Without a reload, and at the address of the result.
        assert "scripted" in find(browser, "html").get_attribute("class")
        assert re.fullmatch(rf"{PREFIX}/gender/[0-9a-f-]{{36}}/", urlsplit(browser.current_url).path)
        browser.get(f"{address}/api/v1/docs")
        wait(browser, lambda _: count(browser, ".opblock"))
        errors = [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert errors == []
    finally:
        browser.quit()
