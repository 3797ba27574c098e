"""The instrument as a page: notebook 06 without its code and its lesson, served by Voilà on loopback.

    python -m latent_views.demo [--port N]               serve it and open a browser, until Ctrl-C
    python -m latent_views.demo --screenshots FOLDER     drive it in headless Chromium and keep pictures
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from latent_runs.places import NOTEBOOKS

NOTEBOOK = NOTEBOOKS / "06_decoding_thoughts.ipynb"
SHOWN = "instrument"  # the tag of the cells that make the page
ENTER, LEFT, ELEMENT = "\ue007", "\ue012", "element-6066-11e4-a52e-4f735466cecf"  # of the WebDriver standard


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


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: Callable[[], Any], name: str, seconds: float = 60) -> Any:
    """The first true value of `what`, whose errors count as not yet. Raises TimeoutError."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except OSError as error:
            last = error
        time.sleep(0.1)
    raise TimeoutError(f"no {name} within {seconds} s ({last})")


def request(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """One call of the WebDriver protocol."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise OSError(json.load(error)["value"]["message"]) from error


class Page:
    """The page in a headless browser, as a reader would use it."""

    def __init__(self, session: str):
        self.session = session

    def call(self, path: str, **body: Any) -> Any:
        return request("POST", f"{self.session}/{path}", body)

    def script(self, code: str, *arguments: Any) -> Any:
        return self.call("execute/sync", script=f"return {code}", args=arguments)

    def text(self, selector: str = ".instrument") -> str:
        """What is written in the first such element; "" if there is none."""
        return self.script("document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def element(self, xpath: str) -> str:
        return self.call("element", using="xpath", value=xpath)[ELEMENT]

    def keys(self, label: str, keys: str) -> None:
        """Press keys in the control with this label, after emptying a text field."""
        xpath = f"//label[normalize-space()='{label}']/..//*[self::input or self::select or @role='slider']"
        element = self.element(xpath)
        if "input" in self.script("arguments[0].tagName.toLowerCase()", {ELEMENT: element}):
            self.call(f"element/{element}/clear")
        self.call(f"element/{element}/value", text=keys)

    def press(self, button: str) -> None:
        element = self.element(f'//button[normalize-space()="{button}"]')
        self.call(f"element/{element}/click")

    def picture(self, path: Path, selector: str = ".instrument") -> None:
        found = self.call("element", using="css selector", value=selector)[ELEMENT]
        path.write_bytes(base64.b64decode(request("GET", f"{self.session}/element/{found}/screenshot")))


@contextmanager
def opened(width: int = 1400, height: int = 1650) -> Iterator[Page]:
    """Serve the page and open it in headless Chromium."""
    browser, driver = find_browser()
    port, driver_port = free_port(), free_port()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", f"--window-size={width},{height}"]
    with tempfile.TemporaryDirectory() as profile, served(port, "--no-browser"):
        process = subprocess.Popen([driver, f"--port={driver_port}"], stdout=subprocess.DEVNULL)
        try:
            chrome = {"binary": browser, "args": [*options, f"--user-data-dir={profile}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome}}}
            root = f"http://127.0.0.1:{driver_port}"
            session = wait_for(lambda: request("POST", f"{root}/session", wanted)["sessionId"], "browser")
            page = Page(f"{root}/session/{session}")
            wait_for(lambda: socket.create_connection(("127.0.0.1", port), timeout=5), "server")
            page.call("url", url=f"http://127.0.0.1:{port}/")
            wait_for(lambda: "In thoughts" in page.text(), "first answer")
            yield page
            request("DELETE", page.session)
        finally:
            process.terminate()
            process.wait(20)


def screenshots(folder: Path) -> None:
    """Pictures of the instrument with one thought changed, and of a search after one thought and after two."""
    with opened() as page:
        page.press("2")
        page.press("Swap with another problem's")
        wait_for(lambda: "Thought 2 taken" in page.text(".says"), "change")
        page.picture(folder / "instrument.png")
        page.keys("Model", "Coconut, stages")
        wait_for(lambda: "Which node" in page.text(), "tree")
        for n_left in (2, 1):
            before = page.text()
            page.keys("Thoughts", LEFT)
            wait_for(lambda: f"{n_left} thought" in page.text() != before, "fewer thoughts")
            wait_for(lambda: "Where does it look" in page.text(), "the last of what is shown")
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
