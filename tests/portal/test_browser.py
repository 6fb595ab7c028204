"""The portal as people use it: in Chromium, on answers of a real model server.

By default on models whose answers can be told by hand; marked slow, also on those that `make demo` has
trained, here or in the workspace that HEXAFACE_TRAINED names.
"""

import os
import shutil
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import portal_models
import pytest
import requests
from model_servers import PROJECT, model_server
from portal_browser import (
    ONE_PICTURE,
    PHONE,
    SECONDS,
    answered,
    choose,
    chrome,
    count,
    find,
    narrow,
    needs_chromium,
    open_page,
    sample,
    seen,
    texts,
    wait,
    widen,
    width_shown,
)
from portal_pictures import encoded
from portal_server import Portal, portal_server
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from serving.portal.assessment import pictures

pytestmark = needs_chromium


@pytest.fixture(scope="module", params=["told by hand", pytest.param("trained", marks=pytest.mark.slow)])
def site(request, tmp_path_factory) -> Iterator[Portal]:
    """A running portal."""
    if request.param == "told by hand":
        yield request.getfixturevalue("running")
        return
    home = Path(os.environ.get("HEXAFACE_TRAINED") or PROJECT / "hexaface_runs")
    missing = [task for task in portal_models.TASKS if not (home / "demo" / "models" / task).is_dir()]
    if missing:
        pytest.skip(f"no {missing[0]} model of the demo in {home} (make demo, or HEXAFACE_TRAINED=WORKSPACE)")
    from serving.rollout import refresh
    from serving.rollout.model_config import workspace_roots

    copy = tmp_path_factory.mktemp("trained")
    shutil.copytree(home / "demo" / "models", copy / "demo" / "models")
    config, _ = refresh(workspace_roots(copy))
    with (
        model_server(f"--model_config_file={config}") as models,
        portal_server(copy, models.address, HEXAFACE_HOME=str(copy)) as portal,
    ):
        yield portal


@pytest.fixture(scope="module")
def scripted(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    driver = chrome(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    driver = chrome(tmp_path_factory.mktemp("plain"), scripts=False)
    yield driver
    driver.quit()


@pytest.fixture
def browser(scripted) -> Iterator[webdriver.Chrome]:
    """A browser with nothing of the test before; whatever a page complained of fails the test."""
    scripted.delete_all_cookies()
    scripted.set_window_size(1280, 900)
    scripted.get_log("browser")
    yield scripted
    errors = [line for line in scripted.get_log("browser") if line["level"] == "SEVERE"]
    # Answers of 4xx and 5xx are told as well; tests that want them look at them.
    assert [line["message"] for line in errors if "status of" not in line["message"]] == []


@pytest.fixture
def photo(tmp_path) -> Path:
    """A picture with one face, for models that can be told by hand; for trained ones, the drawn woman."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(encoded((90, 90, 90)))
    return file


def check_answer(browser, name) -> None:
    """What every application must show of a picture with somebody in it."""
    shown = find(browser, "#result").text
    assert count(browser, "#result svg [data-face]") >= 1, shown
    if name == "detection":
        assert "% sure" in shown
        assert count(browser, "#result svg circle") >= 5
    said = [text.lower() for text in texts(browser, "#result .said")]
    assert bool(said) == (name in ("gender", "age", "emotion"))
    if name == "gender":
        assert set(said) <= {"female", "male"}
    if name == "age":
        assert all(text.endswith(" years") for text in said)
        assert "probably" in shown
    if name == "emotion":
        assert set(said) <= set(portal_models.EMOTIONS)
        assert count(browser, "#result .face:first-of-type .bars > div") == 7
    if name == "everything":
        assert texts(browser, "#result .face:first-of-type dt")[:3] == ["Gender", "Age", "Emotion"]
    if name != "detection":
        # The face was cut out, and can be seen once the browser has decoded it.
        width = "return document.querySelector('#result img.crop').naturalWidth"
        wait(browser, lambda _: browser.execute_script(width) == 112)


# ---- from upload to result


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_a_picture_is_answered_without_a_reload(browser, site, name):
    open_page(browser, site, f"{name}/")
    browser.execute_script("window.same = true")
    choose(browser, "image", sample("group"))
    seen(browser, "#image-field .preview")
    find(browser, "#start").click()
    answered(browser)
    check_answer(browser, name)
    assert browser.execute_script("return window.same"), "the page was loaded again"
    # The address is that of the result, which can be opened again.
    assert browser.current_url != f"{site.url}/{name}/"
    before = find(browser, "#result-title").text
    browser.refresh()
    answered(browser)
    assert find(browser, "#result-title").text == before
    check_answer(browser, name)


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_a_picture_is_answered_without_scripts(plain, site, name):
    open_page(plain, site, f"{name}/")
    choose(plain, "image", sample("group"))
    find(plain, "#start").click()
    check_answer_without_scripts(plain, name)


def check_answer_without_scripts(browser, name) -> None:
    # The page's own script, had it run, would have marked it.
    assert count(browser, "html.scripted") == 0
    wait(browser, lambda _: count(browser, "#result .answer") == 1)
    assert count(browser, "#result svg [data-face]") >= 1
    if name != "detection":
        assert count(browser, "#result img.crop") >= 1


def test_two_pictures_are_compared(browser, site):
    open_page(browser, site, "verification/")
    choose(browser, "first", sample("ann-1"))
    choose(browser, "second", sample("ann-2"))
    find(browser, "#start").click()
    answered(browser)
    assert find(browser, "#result-title").text in ("The same person", "Two different people")
    assert count(browser, "#verdict img") == 2
    assert "threshold" in find(browser, "#result .scale").get_attribute("aria-label")
    assert "two different people are taken for one" in find(browser, "#error-rate").text


def test_two_pictures_are_compared_without_scripts(plain, site):
    open_page(plain, site, "verification/")
    choose(plain, "first", sample("ann-1"))
    choose(plain, "second", sample("ann-2"))
    find(plain, "#start").click()
    wait(plain, lambda _: count(plain, "#verdict img") == 2)


def test_faces_are_drawn(browser, site):
    open_page(browser, site, "synthesis/")
    for name, value in (("count", "4"), ("seed", "7")):
        field = find(browser, f"[name={name}]")
        field.clear()
        field.send_keys(value)
    find(browser, "#start").click()
    answered(browser)
    assert count(browser, ".drawn-faces img") == 4
    assert sum(int(text.split()[0]) for text in texts(browser, "#genders dd:last-child")) == 4
    sheet = requests.get(find(browser, "#download").get_attribute("href"), timeout=SECONDS)
    assert sheet.headers["Content-Type"] == "image/png"
    assert struct.unpack(">II", sheet.content[16:24]) == (2 * 64, 2 * 76)
    first = find(browser, ".drawn-faces img").get_attribute("src")
    find(browser, "#another-seed").click()
    wait(browser, lambda _: first not in drawn(browser))
    assert len(drawn(browser)) == 4


def drawn(browser) -> list[str]:
    """Addresses of the generated faces on the page, once there are any."""
    wait(browser, lambda _: count(browser, ".drawn-faces img, #result .problem"))
    return [face.get_attribute("src") for face in browser.find_elements(By.CSS_SELECTOR, ".drawn-faces img")]


def test_faces_are_drawn_without_scripts(plain, site):
    open_page(plain, site, "synthesis/")
    find(plain, "#start").click()
    wait(plain, lambda _: count(plain, ".drawn-faces img") == 16)


# ---- other ways to bring a picture


def test_one_click_on_a_sample_is_enough(browser, site):
    open_page(browser, site, "detection/")
    find(browser, ".samples img").click()
    answered(browser)


def test_a_picture_can_be_dropped_and_pasted(browser, site):
    script = """
        const [kind, base64] = arguments;
        const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "x.jpg", { type: "image/jpeg" }));
        const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
        (kind === "drop" ? document.querySelector(".drop") : document.body).dispatchEvent(event);
    """
    import base64

    data = base64.b64encode(sample("bob").read_bytes()).decode()
    for kind in ("drop", "paste"):
        open_page(browser, site, "detection/")
        browser.execute_script(script, kind, data)
        seen(browser, "#image-field .preview")
        find(browser, "#start").click()
        answered(browser)


def test_the_camera_takes_a_picture(browser, site):
    open_page(browser, site, "detection/")
    seen(browser, "#image-field .camera")
    find(browser, "#image-field .camera").click()
    wait(browser, lambda _: find(browser, "#camera-take").is_enabled())
    find(browser, "#camera-take").click()
    seen(browser, "#image-field .preview")
    stopped = "return document.getElementById('camera-view').srcObject === null"
    assert browser.execute_script(stopped), "the camera is still on"
    find(browser, "#start").click()
    wait(browser, lambda _: count(browser, "#result .answer") == 1)


# ---- keyboard


def tab_to(browser, selector, most=60):
    """Presses Tab until something has the focus."""
    for _ in range(most):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        there = browser.switch_to.active_element
        if browser.execute_script("return arguments[0].matches(arguments[1])", there, selector):
            return there
    raise AssertionError(f"{selector} cannot be reached by Tab")


def press(browser, *keys) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def taken_to_the_answer(browser) -> None:
    """Whoever cannot see the answer is taken to it, and told."""
    answered(browser)
    assert browser.switch_to.active_element.get_attribute("id") == "result-title"
    wait(browser, lambda _: find(browser, "#announcement").get_attribute("textContent"))


def test_the_way_to_an_answer_by_keyboard(browser, site):
    open_page(browser, site, "")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    skip = browser.switch_to.active_element
    assert skip.get_attribute("href").endswith("#main")
    assert skip.is_displayed()
    tab_to(browser, "a[href='/detection/']")
    press(browser, Keys.ENTER)
    wait(browser, lambda _: browser.current_url.endswith("/detection/"))
    tab_to(browser, "input[type=radio]")
    press(browser, Keys.SPACE)
    tab_to(browser, "#start")
    press(browser, Keys.ENTER)
    taken_to_the_answer(browser)
    tab_to(browser, "[data-face]")
    assert count(browser, "#result svg .lit[data-face]") == 1


@pytest.mark.parametrize("name", [name for name in ONE_PICTURE if name != "detection"])
def test_a_picture_is_answered_by_keyboard(browser, site, name):
    open_page(browser, site, f"{name}/")
    tab_to(browser, "input[type=radio]")
    press(browser, Keys.SPACE)
    tab_to(browser, "#start")
    press(browser, Keys.ENTER)
    taken_to_the_answer(browser)
    check_answer(browser, name)


def test_two_pictures_are_compared_by_keyboard(browser, site):
    open_page(browser, site, "verification/")
    tab_to(browser, "input[name=first-sample]")
    press(browser, Keys.SPACE)
    tab_to(browser, "input[name=second-sample]")
    press(browser, Keys.SPACE, Keys.ARROW_RIGHT)
    tab_to(browser, "#start")
    press(browser, Keys.ENTER)
    taken_to_the_answer(browser)
    assert count(browser, "#verdict img") == 2


def test_faces_are_drawn_by_keyboard(browser, site):
    open_page(browser, site, "synthesis/")
    for name, value in (("count", "4"), ("seed", "7")):
        tab_to(browser, f"[name={name}]")
        press(browser, Keys.CONTROL + "a" + Keys.NULL, value)
    press(browser, Keys.ENTER)
    taken_to_the_answer(browser)
    assert count(browser, ".drawn-faces img") == 4


def test_an_answer_is_corrected_by_keyboard(browser, site):
    open_page(browser, site, "gender/")
    choose(browser, "image", sample("bob"))
    find(browser, "#start").click()
    answered(browser)
    right = {"female": "male", "male": "female"}[find(browser, "#result .said").text.lower()]
    tab_to(browser, ".correction summary")
    press(browser, Keys.ENTER)
    # A list is chosen from by the first letters.
    tab_to(browser, ".correction-form select[name=gender]")
    press(browser, right)
    tab_to(browser, ".correction-form [name=consent]")
    press(browser, Keys.SPACE)
    tab_to(browser, ".correction-form button:not(.second)")
    press(browser, Keys.ENTER)
    wait(browser, lambda _: "/corrections/" in browser.current_url)
    assert right in find(browser, ".receipt").text
    tab_to(browser, ".receipt button")
    press(browser, Keys.ENTER)
    wait(browser, lambda _: "taken back" in find(browser, "h1").text)


def test_focus_can_be_seen(browser, site):
    open_page(browser, site, "detection/")
    outline = (
        "const style = getComputedStyle(document.activeElement);"
        "return style.outlineStyle !== 'none' || style.boxShadow !== 'none'"
        " || getComputedStyle(document.activeElement.parentElement).outlineStyle !== 'none'"
    )
    for _ in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        assert browser.execute_script(outline), browser.switch_to.active_element.get_attribute("outerHTML")


# ---- what goes wrong


def test_what_is_no_picture_is_told_beside_the_field(browser, site, tmp_path):
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("no picture")
    open_page(browser, site, "gender/")
    choose(browser, "image", wrong)
    find(browser, "#start").click()
    seen(browser, "#image-error")
    assert "no picture that can be read" in find(browser, "#image-error").text
    assert browser.switch_to.active_element.get_attribute("id") == "image-file"
    # Another one, and the message is gone.
    choose(browser, "image", sample("bob"))
    wait(browser, lambda _: not find(browser, "#image-error").is_displayed())
    find(browser, "#start").click()
    answered(browser)


def test_nothing_is_sent_that_is_too_large(browser, site, tmp_path):
    large = tmp_path / "large.jpg"
    large.write_bytes(encoded() + bytes(11 << 20))
    open_page(browser, site, "gender/")
    choose(browser, "image", large)
    wait(browser, lambda _: "at most 10 MB" in find(browser, "#image-error").text)


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_was_not_taken_is_sent_again(browser, served, live_server, monkeypatch):
    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(pictures, "_places", places)
    monkeypatch.setattr(pictures, "_PATIENCE", 0.05)
    browser.get(f"{live_server.url}/detection/")
    choose(browser, "image", sample("bob"))
    with places:
        find(browser, "#start").click()
        wait(browser, lambda _: count(browser, "#result .problem") == 1)
        assert "Too much is being asked" in find(browser, "#result").text
    find(browser, "#result .retry").click()
    answered(browser)
    assert count(browser, "#result-title") == 1
    check_answer(browser, "detection")


def test_the_form_of_a_reloaded_result_has_its_picture(browser, site, photo):
    open_page(browser, site, "verification/")
    choose(browser, "first", sample("ann-1"))
    choose(browser, "second", sample("ann-2"))
    find(browser, "#start").click()
    answered(browser)
    address = browser.current_url
    browser.refresh()
    answered(browser)
    find(browser, "#start").click()
    answered(browser)
    assert browser.current_url == address
    # One of them is replaced; the other one need not be chosen again.
    before = find(browser, "#second-field .preview").get_attribute("src")
    choose(browser, "second", photo)
    wait(browser, lambda _: find(browser, "#second-field .preview").get_attribute("src").startswith("blob:"))
    find(browser, "#start").click()
    wait(browser, lambda _: browser.current_url != address)
    answered(browser)
    assert browser.current_url.split("/")[-3] == address.split("/")[-3]
    # Where the choice is taken back, the picture of before is what the form shows and sends.
    find(browser, "#second-file").clear()
    wait(browser, lambda _: find(browser, "#second-field .preview").get_attribute("src") == before)
    find(browser, "#start").click()
    wait(browser, lambda _: browser.current_url == address)


def test_a_picture_can_be_forgotten(browser, site):
    open_page(browser, site, "detection/")
    choose(browser, "image", sample("bob"))
    find(browser, "#start").click()
    answered(browser)
    address = browser.current_url
    find(browser, ".forget button").click()
    wait(browser, lambda _: browser.current_url != address)
    browser.get(address)
    assert "Nothing here" in find(browser, "main").text


def test_a_wrong_answer_can_be_corrected_and_taken_back(browser, site):
    open_page(browser, site, "emotion/")
    choose(browser, "image", sample("bob"))
    find(browser, "#start").click()
    answered(browser)
    find(browser, ".correction summary").click()
    said = find(browser, "#result .said").text.lower()
    right = next(name for name in portal_models.EMOTIONS if name != said)
    find(browser, f"select[name=emotion] option[value={right}]").click()
    # Without consent the browser itself sends nothing.
    find(browser, ".correction-form button").click()
    assert "/corrections/" not in browser.current_url
    find(browser, "input[name=consent]").click()
    find(browser, ".correction-form button").click()
    wait(browser, lambda _: "/corrections/" in browser.current_url)
    assert right in find(browser, ".receipt").text
    find(browser, ".receipt button").click()
    wait(browser, lambda _: "taken back" in find(browser, "h1").text)


@pytest.mark.parametrize("kind", [interaction.POINTER_MOUSE, interaction.POINTER_TOUCH])
def test_a_missed_face_is_drawn_on_the_picture(browser, site, kind):
    open_page(browser, site, "detection/")
    choose(browser, "image", sample("group"))
    find(browser, "#start").click()
    answered(browser)
    start_to_correct(browser)
    address = browser.current_url
    first, second = drag(browser, kind, (0.1, 0.2), (0.4, 0.6)), drag(browser, kind, (0.9, 0.9), (0.5, 0.7))
    assert_boxes(browser, [first, second])
    find(browser, ".correction .undo").click()
    assert_boxes(browser, [first])
    wait(
        browser,
        lambda _: find(browser, "#announcement").get_attribute("textContent") == "A face was removed.",
    )
    # Also on the page of the result itself, in any direction, and no further than the picture.
    browser.refresh()
    answered(browser)
    start_to_correct(browser)
    find(browser, "textarea[name=missed]").send_keys("1,2,30,40")
    beyond, inside = (
        drag(browser, kind, (0.6, 0.5), (1.02, 0.8)),
        drag(browser, kind, (0.62, 0.4), (0.8, 0.7)),
    )
    assert_boxes(browser, [[1, 2, 30, 40], beyond, inside])
    assert browser.current_url == address, "a link of a face was followed"
    find(browser, "input[name=consent]").click()
    find(browser, ".correction-form button:not([type])").click()
    wait(browser, lambda _: "/corrections/" in browser.current_url)
    assert "faces in the picture" in find(browser, ".receipt").text
    # So that it can be given once more.
    find(browser, ".receipt button").click()
    wait(browser, lambda _: "taken back" in find(browser, "h1").text)


def test_the_picture_is_drawn_on_only_while_it_is_corrected(browser, site):
    open_page(browser, site, "detection/")
    choose(browser, "image", sample("group"))
    find(browser, "#start").click()
    answered(browser)
    drag(browser, interaction.POINTER_MOUSE, (0.1, 0.2), (0.4, 0.6))
    start_to_correct(browser)
    assert_boxes(browser, [])
    # A click on a face still leads to it.
    find(browser, ".found .over").click()
    assert browser.current_url.endswith("#face-1")
    assert_boxes(browser, [])
    find(browser, ".correction summary").click()
    drag(browser, interaction.POINTER_MOUSE, (0.1, 0.2), (0.4, 0.6))
    assert_boxes(browser, [])


def start_to_correct(browser) -> None:
    find(browser, ".correction summary").click()
    seen(browser, ".correction .undo")


def drag(browser, kind, start, end) -> list[float]:
    """Draws on the picture, between shares of its sides; returns the box in its pixels."""
    picture = find(browser, ".marked svg")
    browser.execute_script("arguments[0].scrollIntoView({ block: 'center' })", picture)
    left, top, shown_width, shown_height, width, height = browser.execute_script(
        "const { left, top, width, height } = arguments[0].getBoundingClientRect();"
        "const whole = arguments[0].viewBox.baseVal;"
        "return [left, top, width, height, whole.width, whole.height]",
        picture,
    )
    actions = ActionBuilder(browser, mouse=PointerInput(kind, kind), duration=50)
    pointer = actions.pointer_action
    places = [(left + x * shown_width, top + y * shown_height) for x, y in (start, end)]
    pointer.move_to_location(*map(round, places[0])).pointer_down()
    pointer.move_to_location(*map(round, places[1])).pointer_up()
    actions.perform()
    (x1, x2), (y1, y2) = (sorted(min(each, 1) for each in pair) for pair in zip(start, end, strict=True))
    return [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]


def assert_boxes(browser, expected) -> None:
    """The textarea and the picture have these boxes, but for a rounding."""
    lines = find(browser, "textarea[name=missed]").get_property("value").split()
    assert len(lines) == len(expected)
    for line, box in zip(lines, expected, strict=True):
        assert [int(number) for number in line.split(",")] == pytest.approx(box, abs=4)
    shapes = browser.execute_script(
        "return [...document.querySelectorAll('.marked.drawable .missed')].map((each) =>"
        " ['x', 'y', 'width', 'height'].map((name) => each.getAttribute(name)).join())"
    )
    assert shapes == lines


def test_pages_of_models_and_of_the_api_obey_the_policy(browser, site):
    open_page(browser, site, "status/")
    assert count(browser, "table.status tbody tr") == 6
    open_page(browser, site, "api/v1/docs")
    wait(browser, lambda _: count(browser, ".opblock") >= 7)


# ---- small screens


@pytest.mark.parametrize("page", ["", *(f"{name}/" for name in ONE_PICTURE), "verification/", "synthesis/"])
def test_a_phone_shows_all_of_it(browser, site, page):
    narrow(browser)
    open_page(browser, site, page)
    assert_fits(browser)


@pytest.mark.parametrize("name", ["detection", "everything"])
def test_a_phone_shows_the_whole_answer(browser, site, name):
    narrow(browser)
    open_page(browser, site, f"{name}/")
    choose(browser, "image", sample("group"))
    find(browser, "#start").click()
    answered(browser)
    assert_fits(browser)


def assert_fits(browser) -> None:
    try:
        assert width_shown(browser) <= PHONE[0]
    finally:
        widen(browser)
