"""The instrument as a page: notebook 06 without its code and its lesson, served by Voilà on loopback.

    python -m latent_views.demo [--port N]               serve it and open a browser, until Ctrl-C
    python -m latent_views.demo --screenshots FOLDER     drive it in headless Chromium (Selenium) and keep pictures
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from latent_runs.places import NOTEBOOKS

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

NOTEBOOK = NOTEBOOKS / "06_decoding_thoughts.ipynb"
SHOWN = "instrument"  # the tag of the cells that make the page
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update")  # fmt: skip


@contextmanager
def served(port: int, *options: str) -> Iterator[subprocess.Popen]:
    """Voilà on 127.0.0.1, with the tagged cells of the notebook and the kernel of this environment."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if SHOWN in cell.metadata.get("tags", ())]
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(notebook, path := Path(folder, NOTEBOOK.name))
        command = [sys.executable, "-m", "voila", str(path), "--Voila.ip=127.0.0.1", f"--port={port}", *options]
        process = subprocess.Popen(command, env=os.environ | {"JUPYTER_PREFER_ENV_PATH": "1"})
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


@dataclass
class Page:
    """The page in a headless browser, as a reader would use it."""

    driver: Chrome

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
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, seconds, 0.1).until(lambda _: what(), f"no {name} within {seconds} s")

    def picture(self, path: Path) -> None:
        self.driver.find_element("class name", "instrument").screenshot(str(path))


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def opened(width: int = 1400, height: int = 1650) -> Iterator[Page]:
    """Serve the page and open it in headless Chromium. Raises FileNotFoundError without Chromium or its driver."""
    from selenium import webdriver

    if not (found := find_browser()):
        raise FileNotFoundError("no Chromium with its driver here (apt install chromium-driver)")
    options, service = webdriver.ChromeOptions(), webdriver.ChromeService(found[1])
    options.binary_location = found[0]
    for argument in (*QUIET, f"--window-size={width},{height}"):
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
            page.keys("Thoughts", "\ue012")  # the left arrow of the WebDriver standard
            page.wait(lambda: f"{n_left} thought" in page.text() != before, "fewer thoughts")
            page.wait(lambda: "Where does it look" in page.text(), "the last of what is shown")
        page.picture(folder / "search.png")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m latent_views.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8866)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.screenshots:
        screenshots(options.screenshots)
        return 0
    with served(options.port) as process:
        return process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
