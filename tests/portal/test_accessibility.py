"""The portal for people who see little or nothing, or use no mouse: what axe-core finds, and what it cannot.

Every page is looked at in both themes and on a phone, with all that is folded opened.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from portal_browser import (
    ONE_PICTURE,
    PHONE,
    answered,
    choose,
    chrome,
    count,
    find,
    narrow,
    needs_chromium,
    open_page,
    texts,
    wait,
    widen,
    width_shown,
)
from portal_pictures import encoded
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium_axe_python import Axe

pytestmark = needs_chromium

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# Of Swagger's own elements: its headings leave h2 out, and its buttons have links in them.
OF_SWAGGER = ("heading-order", "nested-interactive", "target-size")
PICTURES = {"one": (90, 90, 90), "two": (200, 200, 200), "nobody": (0, 0, 0)}
_NOTHING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def axed(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    """A browser that loads axe-core with each page."""
    driver = chrome(tmp_path_factory.mktemp("profile"))
    source = Path(Axe(driver).script_url).read_text(encoding="utf-8")
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    yield driver
    driver.quit()


@pytest.fixture
def browser(axed) -> Iterator[webdriver.Chrome]:
    """The same, with nothing of the test before."""
    axed.delete_all_cookies()
    prefer(axed)
    widen(axed)
    yield axed


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, Path]:
    """Files of pictures by how many faces the models see in them, and `wrong`, which is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    files = {name: folder / f"{name}.jpg" for name in (*PICTURES, "wrong")}
    for name, colour in PICTURES.items():
        files[name].write_bytes(encoded(colour))
    files["wrong"].write_text("no picture")
    return files


def prefer(browser, **features: str) -> None:
    """Has the browser tell pages what its person prefers, such as `color_scheme="dark"`."""
    named = [
        {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})


def send(browser, **files: Path) -> None:
    """Chooses files by field, and sends the form."""
    for field, file in files.items():
        choose(browser, field, file)
    find(browser, "#start").click()


def unfold(browser) -> None:
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


# ---- what axe-core finds


def check(browser, page: str, but: tuple[str, ...] = ()) -> None:
    """The page, as it is now, has no fault: neither in the light theme nor in the dark one on a phone.

    The themes differ in colours alone, and the widths in none, so that these two stand for all four.

    Args:
        browser: On the page.
        page: What the page is called where it has faults.
        but: Rules that it cannot keep.
    """
    unfold(browser)
    prefer(browser, color_scheme="light")
    found = [f"{page}, light: {fault}" for fault in faults(browser, but)]
    prefer(browser, color_scheme="dark")
    narrow(browser)
    found += [f"{page}, dark, on a phone: {fault}" for fault in faults(browser, but)]
    if (width := width_shown(browser)) > PHONE[0]:
        found.append(f"{page}, on a phone: {width} pixels wide")
    widen(browser)
    assert not found, "\n".join(found)


def faults(browser, but: tuple[str, ...]) -> list[str]:
    """What axe-core finds: rule, what it asks for, and the elements."""
    answer = Axe(browser).run(options={"runOnly": list(TAGS), "resultTypes": ["violations"]})
    assert answer["passes"], "nothing was looked at"
    return [
        f"{fault['id']}: {fault['help']}"
        + "".join(f"\n    {node['target']}: {node['failureSummary']}" for node in fault["nodes"])
        for fault in answer["violations"]
        if fault["id"] not in but
    ]


def test_both_themes_are_looked_at(browser, running):
    open_page(browser, running, "")
    grounds = []
    for theme in ("light", "dark"):
        prefer(browser, color_scheme=theme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(245, 246, 249)", "rgb(16, 20, 28)"]


PLAIN = {
    "home, a picture forgotten": "?forgotten",
    "privacy": "privacy/",
    "status": "status/",
    "picture that is gone": f"age/{_NOTHING}/",
}


@pytest.mark.parametrize("page", PLAIN)
def test_pages_that_are_read(browser, running, page):
    open_page(browser, running, PLAIN[page])
    check(browser, page)


def test_the_page_of_the_api(browser, running):
    open_page(browser, running, "api/v1/docs")
    wait(browser, lambda _: count(browser, ".opblock") >= 7)
    check(browser, "API", but=OF_SWAGGER)


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_applications_with_one_picture(browser, running, pictures, name):
    open_page(browser, running, f"{name}/")
    check(browser, f"{name}, empty")
    send(browser, image=pictures["two"])
    answered(browser)
    assert count(browser, ".correction-form") == (3 if name == "everything" else 1)
    check(browser, f"{name}, with a result")


@pytest.mark.parametrize("second", PICTURES)
def test_verification(browser, running, pictures, second):
    open_page(browser, running, "verification/")
    if second == "one":
        check(browser, "verification, empty")
    send(browser, first=pictures["one"], second=pictures[second])
    answered(browser)
    check(browser, f"verification with {second} in the second picture")


def test_synthesis(browser, running):
    open_page(browser, running, "synthesis/")
    check(browser, "synthesis, empty")
    find(browser, "#start").click()
    answered(browser)
    check(browser, "synthesis, with a result")


def test_a_picture_without_faces(browser, running, pictures):
    open_page(browser, running, "gender/")
    send(browser, image=pictures["nobody"])
    answered(browser)
    check(browser, "gender, no face")


def test_what_is_no_picture(browser, running, pictures):
    open_page(browser, running, "gender/")
    send(browser, image=pictures["wrong"])
    wait(browser, lambda _: find(browser, "#image-error").is_displayed())
    check(browser, "gender, no picture")


def test_a_portal_that_does_not_answer(browser, running, pictures):
    open_page(browser, running, "gender/")
    browser.set_network_conditions(offline=True, latency=0, throughput=-1)
    try:
        send(browser, image=pictures["one"])
        wait(browser, lambda _: count(browser, "#result .problem") == 1)
    finally:
        browser.delete_network_conditions()
    check(browser, "gender, no connection")


def test_the_camera(browser, running):
    open_page(browser, running, "detection/")
    wait(browser, lambda _: find(browser, "#image-field .camera").is_displayed())
    find(browser, "#image-field .camera").click()
    wait(browser, lambda _: find(browser, "#camera-take").is_enabled())
    check(browser, "camera")


def test_the_receipt_of_a_correction(browser, running, pictures):
    open_page(browser, running, "gender/")
    send(browser, image=pictures["one"])
    answered(browser)
    unfold(browser)
    right = {"female": "male", "male": "female"}[find(browser, "#result .said").text.lower()]
    find(browser, f"select[name=gender] option[value={right}]").click()
    find(browser, "input[name=consent]").click()
    find(browser, ".correction-form button").click()
    wait(browser, lambda _: count(browser, ".receipt") == 1)
    check(browser, "receipt")
    find(browser, ".receipt button").click()
    wait(browser, lambda _: "taken back" in find(browser, "h1").text)
    check(browser, "receipt, taken back")


# ---- what it does not find


def test_focus_is_seen_wherever_it_goes(browser, running, pictures):
    open_page(browser, running, "everything/")
    send(browser, image=pictures["two"])
    answered(browser)
    unfold(browser)
    stops = "a[href], button, summary, select, textarea, input:not([type=hidden], [type=radio])"
    expected = sum(
        each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, f"#result :is({stops})")
    )
    ways = [tab(browser) for _ in range(expected)]
    assert not [way for way in ways if not way["seen"]]
    assert [way["inside"] for way in ways] == [True] * expected, "the result is left too early"
    assert not tab(browser)["inside"]


def tab(browser) -> dict:
    """Presses Tab: what has the focus now, whether that is seen, and whether it is in the result."""
    ActionChains(browser).send_keys(Keys.TAB).perform()
    return browser.execute_script(
        """
        const there = document.activeElement;
        const ring = getComputedStyle(there);
        const box = there.querySelector(".over");
        const { top, bottom } = there.getBoundingClientRect();
        return {
          what: there.outerHTML.slice(0, 200),
          seen: top < innerHeight && bottom > 0 && (box
            ? parseFloat(getComputedStyle(box).strokeWidth) > 3
            : ring.outlineStyle === "solid" && parseFloat(ring.outlineWidth) >= 2),
          inside: document.getElementById("result").contains(there),
        };
        """
    )


def test_a_refused_field_says_why(browser, running, pictures):
    open_page(browser, running, "gender/")
    field = find(browser, "#image-file")
    for file in ("wrong", "wrong", None):
        if file:
            send(browser, image=pictures[file])
        else:
            # Nothing is chosen any more.
            browser.execute_script("arguments[0].value = ''", field)
            find(browser, "#start").click()
        wait(browser, lambda _: find(browser, "#result").get_attribute("aria-busy") != "true")
        wait(browser, lambda _: field.get_attribute("aria-invalid") == "true")
        assert field.get_attribute("aria-describedby").split() == ["image-hint", "image-error"]
        assert browser.switch_to.active_element == field
        # What is over is not announced any more.
        wait(browser, lambda _: find(browser, "#announcement").get_attribute("textContent") == "")
    choose(browser, "image", pictures["one"])
    assert field.get_attribute("aria-invalid") is None
    assert field.get_attribute("aria-describedby") == "image-hint"


def test_forms_and_buttons_of_a_kind_can_be_told_apart(browser, running, pictures):
    open_page(browser, running, "everything/")
    send(browser, image=pictures["two"])
    answered(browser)
    unfold(browser)
    for selector in (".correction-form", "#result summary", "#result h3"):
        names = [each.accessible_name for each in browser.find_elements(By.CSS_SELECTOR, selector)]
        assert all(names)
        assert len(names) == len(set(names)), names


@pytest.mark.parametrize("width", [PHONE[0], 640, 800])
def test_all_applications_are_in_sight_when_the_page_is_enlarged(browser, running, width):
    metrics = {"width": width, "height": 740, "deviceScaleFactor": 1280 / width, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    open_page(browser, running, "everything/")
    for link in browser.find_elements(By.CSS_SELECTOR, ".apps a"):
        place = link.rect
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= width, link.text
    assert len(texts(browser, ".apps a")) == 7


def test_nothing_moves_for_who_does_not_want_it(browser, running):
    moving = """
        const result = document.getElementById("result");
        result.setAttribute("aria-busy", "true");
        const image = getComputedStyle(document.querySelector(".samples img"));
        return [getComputedStyle(result, "::before").animationName, image.transitionDuration];
    """
    open_page(browser, running, "gender/")
    assert browser.execute_script(moving) == ["pass", "0.15s"]
    prefer(browser, reduced_motion="reduce")
    assert browser.execute_script(moving) == ["none", "0s"]
