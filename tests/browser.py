"""The demo page in headless Chromium, as a reader would use it; and the pictures of README, taken there:

    python tests/browser.py FOLDER
"""

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from latent_views.demo import served

QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--window-size=1400,1650")  # fmt: skip


@dataclass
class Page:
    """The page in a headless browser, as a reader would use it."""

    driver: webdriver.Chrome

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(f"return {code}", *arguments)

    def text(self, selector: str = ".instrument") -> str:
        """What is written in the first such element; "" if there is none."""
        return self.script("document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def keys(self, label: str, keys: str) -> None:
        """Press keys in the control with this label, after emptying a text field."""
        xpath = f"//label[normalize-space()='{label}']/..//*[self::input or self::select or @role='slider']"
        control = self.driver.find_element("xpath", xpath)
        if control.tag_name == "input":
            control.clear()
        control.send_keys(keys)

    def press(self, button: str) -> None:
        self.driver.find_element("xpath", f'//button[normalize-space()="{button}"]').click()

    def wait(self, what: Callable[[], object], name: str, seconds: float = 60) -> None:
        """Until `what` is true. Raises Selenium's TimeoutException, which says `name`."""
        WebDriverWait(self.driver, seconds, 0.1).until(lambda _: what(), f"no {name} within {seconds} s")

    def picture(self, path: Path) -> None:
        self.driver.find_element("class name", "instrument").screenshot(str(path))


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def opened() -> Iterator[Page]:
    """Serve the page and open it in headless Chromium. Raises FileNotFoundError without Chromium or its driver."""
    if not (found := find_browser()):
        raise FileNotFoundError("no Chromium with its driver here (apt install chromium-driver)")
    options, service = webdriver.ChromeOptions(), webdriver.ChromeService(found[1])
    options.binary_location = found[0]
    for argument in QUIET:
        options.add_argument(argument)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with served(port, "--no-browser"), webdriver.Chrome(options, service) as driver:
        page = Page(driver)
        page.wait(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "server")
        driver.get(f"http://127.0.0.1:{port}/")
        page.wait(lambda: "In thoughts" in page.text(), "first answer")
        yield page


def screenshots(folder: Path) -> None:
    """Pictures of the instrument with one thought changed, and of a search after one thought and after two."""
    with opened() as page:
        page.press("2")
        page.press("Swap with another problem's")
        page.wait(lambda: "Thought 2 taken" in page.text(".says"), "change")
        page.picture(folder / "instrument.png")
        page.keys("Model", "Coconut, mixed")
        page.wait(lambda: "Which node" in page.text(), "tree")
        for n_left in (2, 1):
            before = page.text()
            page.keys("Thoughts", webdriver.Keys.LEFT)
            page.wait(lambda: f"{n_left} thought" in page.text() != before, "fewer thoughts")
            page.wait(lambda: "Where does it look" in page.text(), "the last of what is shown")
        page.picture(folder / "search.png")


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]))
