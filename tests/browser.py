"""The page in headless Chromium, as a reader would use it; and the pictures of README, taken there:

    python tests/browser.py FOLDER
"""

import io
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from latent_views.bundle import built

QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--hide-scrollbars")  # fmt: skip
PROJECTOR = (1280, 720)


@dataclass
class Page:
    """The page in a headless browser, as a reader would use it."""

    driver: webdriver.Chrome

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(f"return {code}", *arguments)

    def do(self, code: str, *arguments: object) -> None:
        self.driver.execute_script(code, *arguments)

    def open(self, address: str | Path) -> None:
        self.driver.get(address.as_uri() if isinstance(address, Path) else address)
        self.wait(lambda: self.script("Boolean(window.latent)"), "page")

    def size(self, width: int, height: int) -> None:
        view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)

    def media(self, **features: str) -> None:
        """What the reader's system asks for, such as `prefers_color_scheme="dark"`."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

    def text(self, selector: str = ".page") -> str:
        """What is written in the first such element that is shown; "" if there is none."""
        first = "[...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility())"
        return self.script(f"{first}?.innerText ?? ''", selector)

    def keys(self, selector: str, *keys: str) -> None:
        self.driver.find_element("css selector", selector).send_keys(*keys)

    def ask(self, question: str) -> None:
        """Type it, as fast as a paste, and press Enter."""
        field = self.driver.find_element("css selector", ".asking input")
        self.do("arguments[0].value = arguments[1]", field, question)
        field.send_keys(webdriver.Keys.ENTER)

    def press(self, name: str) -> None:
        """The first shown button with this name."""
        shown = "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
        self.script(f"{shown}.find((one) => one.textContent.trim() === arguments[0])", name).click()

    def wait(self, what: Callable[[], object], name: str, seconds: float = 30) -> None:
        """Until `what` is true. Raises Selenium's TimeoutException, which says `name`."""
        WebDriverWait(self.driver, seconds, 0.1).until(lambda _: what(), f"no {name} within {seconds} s")

    def axe(self) -> list[str]:
        """What axe finds that keeps people out: rule and element."""
        if not self.script("Boolean(window.axe)"):
            spec = find_spec("axe_core_python")
            assert spec and spec.origin
            self.do(Path(spec.origin).with_name("axe.min.js").read_text())
        failed = "(error) => arguments[0]([{id: String(error), nodes: []}])"
        found = self.driver.execute_async_script(f"axe.run().then((found) => arguments[0](found.violations), {failed})")
        serious = [one for one in found if one.get("impact") in ("serious", "critical", None)]
        return [f"{one['id']}: {node['html'][:120]}" for one in serious for node in one["nodes"] or [{"html": ""}]]


def find_browser() -> tuple[str, str] | None:
    """Chromium and its driver, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium() -> Iterator[Page]:
    """An empty window as large as a projector's. Raises FileNotFoundError without Chromium or its driver."""
    if not (found := find_browser()):
        raise FileNotFoundError("no Chromium with its driver here (apt install chromium-driver)")
    options, service = webdriver.ChromeOptions(), webdriver.ChromeService(found[1])
    options.binary_location = found[0]
    for argument in QUIET:
        options.add_argument(argument)
    with webdriver.Chrome(options, service) as driver:
        page = Page(driver)
        page.size(*PROJECTOR)
        yield page


def screenshots(folder: Path) -> None:
    """Pictures of the page, and a short animation: a search in words and one in thoughts, then a change of mind."""
    with chromium() as page:
        page.open(built())
        graph, distilled = (page.script(f"latent.thinkers.find((one) => {test}).id") for test in IN_PICTURES)
        page.do("latent.take(arguments[0])", graph)
        frames = list(played(page))
        page.do("latent.open(1)")
        frames += [(shot(page), 1200)]
        page.press("Swap all")
        for _ in range(8):
            frames.append((shot(page), 90))
        frames.append((frames.pop()[0], 2500))
        animation(folder / "thinking.gif", frames)
        page.do("latent.restore(); latent.besidePick.selectedIndex = latent.besidePick.length - 1; latent.refresh()")
        page.do("latent.open(0); latent.views[0].view.go(2)")
        still(page, folder / "search.png")
        page.do("latent.open(2)")
        still(page, folder / "look.png")
        page.do("latent.take(arguments[0]); latent.open(1)", distilled)
        page.press("Swap")
        still(page, folder / "instrument.png")


IN_PICTURES = "one.task === 'graph'", "one.writer === 'projection'"


def played(page: Page) -> Iterator[tuple[Image.Image, int]]:
    """Frames of one playing, with milliseconds."""
    for at in range(page.script("latent.views[0].view.length") + 1):
        page.do("latent.views[0].view.go(arguments[0])", at)
        time.sleep(0.4)  # the glow has a transition
        yield shot(page), 700


def still(page: Page, path: Path) -> None:
    time.sleep(0.7)  # transitions
    shot(page).save(path, optimize=True)


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")


def animation(path: Path, frames: list[tuple[Image.Image, int]]) -> None:
    """A GIF that any page shows."""
    small = [image.resize((960, 540), Image.Resampling.LANCZOS).quantize(192) for image, _ in frames]
    small[0].save(path, save_all=True, append_images=small[1:], duration=[ms for _, ms in frames], loop=0, optimize=True)


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]))
