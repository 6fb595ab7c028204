"""Takes pictures of every page of a running portal, in both themes and two widths, to be looked at.

`python tools/portal_screenshots.py ADDRESS FOLDER [--only WORD]`; needs chromium and its driver.
What the browser's console complains of is printed.
"""

import argparse
import base64
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WIDTHS = {"wide": 1280, "phone": 360}
THEMES = ("light", "dark")
SECONDS = 30
_HEIGHT = 900
_SAMPLES = Path(__file__).resolve().parents[1] / "serving" / "portal" / "static" / "portal" / "samples"
_NOTHING = "00000000-0000-4000-8000-000000000000"

PLAIN = {
    "home": "",
    "privacy": "privacy/",
    "404": f"age/{_NOTHING}/",
    "status": "status/",
    "api": "api/v1/docs",
}
FORMS = ("detection", "verification", "gender", "age", "emotion", "synthesis", "everything")
SAMPLES = {
    "detection": {"image": "group"},
    "gender": {"image": "pair"},
    "age": {"image": "group"},
    "emotion": {"image": "group"},
    "everything": {"image": "group"},
}
PAIRS = {
    "verification-same": {"first": "ann-1", "second": "ann-2"},
    "verification-other": {"first": "ann-1", "second": "group"},
    "verification-nobody": {"first": "ann-1", "second": "room"},
}


class Visit:
    """A browser at a portal."""

    def __init__(self, address: str, folder: Path, only: str) -> None:
        """Starts the browser; its folder is a new one, so that it knows nothing."""
        self._address, self._folder, self._only = address.rstrip("/"), folder, only
        self._home = tempfile.TemporaryDirectory()
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"):
            options.add_argument(f"--{flag}")
        for flag in ("background-networking", "component-update", "sync"):
            options.add_argument(f"--disable-{flag}")
        options.add_argument(f"--user-data-dir={self._home.name}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService("/usr/bin/chromedriver")
        self._browser = webdriver.Chrome(options=options, service=service)

    def close(self) -> None:
        """Ends the browser."""
        self._browser.quit()
        self._home.cleanup()

    def set_look(self, theme: str, width: int) -> None:
        """Chooses a theme and a width in pixels."""
        self._theme, self._width = theme, width
        preference = {"name": "prefers-color-scheme", "value": theme}
        self._browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
        size = {"width": width, "height": _HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self._browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def wants(self, name: str) -> bool:
        """Tells whether a page is one of those that were asked for."""
        return self._only in name

    def open(self, path: str) -> None:
        """Opens a page."""
        self._browser.get(f"{self._address}/{path}")

    def send(self, choices: dict[str, str]) -> None:
        """Chooses samples; the click on the last one sends the form."""
        for field, sample in choices.items():
            selector = f"input[name='{field}-sample'][value='{sample}'] + img"
            self._browser.find_element(By.CSS_SELECTOR, selector).click()
        self.wait()

    def upload(self, sample: str) -> None:
        """Sends a sample as a file of somebody's own, which may be corrected."""
        file = _SAMPLES / f"{sample}.jpg"
        self._browser.find_element(By.ID, "image-file").send_keys(str(file))
        self._browser.find_element(By.ID, "start").click()
        self.wait()

    def draw(self) -> None:
        """Has faces drawn."""
        self._browser.find_element(By.ID, "id_seed").send_keys("7")
        self._browser.find_element(By.ID, "start").click()
        self.wait()

    def correct(self) -> None:
        """Says that the answer is wrong."""
        self.unfold()
        for selector in ("select[name=emotion] option[value=fear]", "input[name=consent]"):
            self._browser.find_element(By.CSS_SELECTOR, selector).click()
        self._browser.find_element(By.CSS_SELECTOR, ".correction-form button").click()

    def wait(self) -> None:
        """Waits for the result."""
        done = "#result:not([aria-busy='true']) :is([data-summary], [data-code])"
        WebDriverWait(self._browser, SECONDS).until(lambda each: each.find_elements(By.CSS_SELECTOR, done))

    def wait_for_rest(self) -> None:
        """Waits until what a page still reads is there: figures, or the document of the API."""
        unread = "#figures[data-waiting], .swagger-ui .loading-container, #swagger-ui:empty"
        wait = WebDriverWait(self._browser, SECONDS)
        wait.until_not(lambda each: each.find_elements(By.CSS_SELECTOR, unread))

    def unfold(self) -> None:
        """Opens what is folded."""
        self._browser.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")

    def shoot(self, name: str) -> None:
        """Writes the whole page; tells of what is wider than it, and of what the console says."""
        script = "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        width, height = self._browser.execute_script(script)
        if width > self._width:
            print(f"{name}: {width} pixels wide, wider than the window of {self._width}")
        for line in self._browser.get_log("browser"):
            print(f"{name}: console: {line['message']}")
        clip = {"x": 0, "y": 0, "width": self._width, "height": min(height, 5000), "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        shot = self._browser.execute_cdp_cmd("Page.captureScreenshot", options)
        (self._folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def pages(visit: Visit) -> Iterator[str]:
    """Opens page after page, and yields what each is called."""
    for name, path in PLAIN.items():
        if visit.wants(name):
            visit.open(path)
            visit.wait_for_rest()
            yield name
    for name in FORMS:
        if visit.wants(f"{name}-form"):
            visit.open(f"{name}/")
            yield f"{name}-form"
    for name, choices in SAMPLES.items():
        if visit.wants(f"{name}-result"):
            visit.open(f"{name}/")
            visit.send(choices)
            visit.unfold()
            yield f"{name}-result"
    for name, choices in PAIRS.items():
        if visit.wants(name):
            visit.open("verification/")
            visit.send(choices)
            visit.unfold()
            yield name
    if visit.wants("receipt"):
        visit.open("emotion/")
        visit.upload("bob")
        visit.correct()
        yield "receipt"
    if visit.wants("synthesis-result"):
        visit.open("synthesis/")
        visit.draw()
        yield "synthesis-result"


def main() -> None:
    """Takes them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="of the portal, such as http://127.0.0.1:8000")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--only", default="", help="pages whose name has this word")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    visit = Visit(given.address, given.folder, given.only)
    try:
        for theme, (name, width) in itertools.product(THEMES, WIDTHS.items()):
            visit.set_look(theme, width)
            for page in pages(visit):
                visit.shoot(f"{page}-{name}-{theme}")
    finally:
        visit.close()


if __name__ == "__main__":
    main()
