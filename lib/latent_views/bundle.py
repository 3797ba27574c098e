"""The static page: one HTML file with models, code and style in it, that opens without Python, server or network: `make page`.

    python -m latent_views.bundle [FOLDER]
"""

import json
import string
import sys
from functools import cache
from pathlib import Path
from typing import Any

from latent_runs.places import ROOT
from latent_views.exported import page_data

SOURCES = Path(__file__).with_name("page")
MODULES = "numbers tokenizer model thinking tasks elements drawing watch change look count page".split()  # what needs what comes later


@cache
def code() -> str:
    """The page's JavaScript, its files joined."""
    return "\n".join((SOURCES / f"{name}.js").read_text() for name in MODULES)


def html(data: dict[str, Any]) -> str:
    """The whole page. In its data no "<" can end the element that they stand in."""
    inlined = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = string.Template((SOURCES / "page.html").read_text())
    return page.substitute(style=(SOURCES / "style.css").read_text(), data=inlined, code=code())


def write_page(folder: Path) -> Path:
    """Write FOLDER/index.html. Raises ValueError without a trained model, OSError where it cannot be written."""
    text = html(page_data())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    try:
        path = write_page(Path(*sys.argv[1:2]) if sys.argv[1:] else ROOT / "page")
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
