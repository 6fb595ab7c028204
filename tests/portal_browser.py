"""Chromium for the portal's tests, and what people do with it."""

import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on this machine"
)

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "--window-size=1280,900",
)
# The narrowest that has to do without scrolling sideways: WCAG 2.2, 1.4.10.
PHONE = (320, 740)
ONE_PICTURE = ("detection", "gender", "age", "emotion", "everything")
SECONDS = 120


def chrome(folder: Path, *, scripts: bool = True) -> webdriver.Chrome:
    """A browser with a profile of its own; the caller quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    prefs = {"download.default_directory": str(folder)}
    if not scripts:
        prefs["profile.managed_default_content_settings.javascript"] = 2
    options.add_experimental_option("prefs", prefs)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(SECONDS)
    return driver


def sample(name: str) -> Path:
    """One of the drawn pictures that the portal offers."""
    import serving.portal

    return Path(serving.portal.__file__).parent / "static" / "portal" / "samples" / f"{name}.jpg"


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def count(browser, selector) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


def texts(browser, selector) -> list[str]:
    return [each.text for each in browser.find_elements(By.CSS_SELECTOR, selector)]


def wait(browser, condition, seconds=SECONDS):
    # What is looked at may be replaced at that moment.
    return WebDriverWait(browser, seconds, 0.05, [StaleElementReferenceException]).until(condition)


def answered(browser) -> None:
    """Waits for an answer or a problem."""
    wait(browser, lambda _: count(browser, "#result .answer, #result .problem") == 1)
    wait(browser, lambda _: find(browser, "#result").get_attribute("aria-busy") != "true")
    assert count(browser, "#result .problem") == 0, find(browser, "#result").text


def open_page(browser, site, path) -> None:
    browser.get(f"{site.url}/{path}")


def choose(browser, field, file) -> None:
    find(browser, f"#{field}-file").send_keys(str(file))


def seen(browser, selector) -> None:
    """Waits until something can be seen: a picture has no size before it is decoded."""
    wait(browser, lambda _: find(browser, selector).is_displayed())


def narrow(browser) -> None:
    """Makes the window that of a phone."""
    width, height = PHONE
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def widen(browser) -> None:
    """Makes the window what it was before `narrow`."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def width_shown(browser) -> int:
    """Pixels that the page takes, those that can be scrolled to with them."""
    return browser.execute_script("return document.documentElement.scrollWidth")
