"""The page as one HTML file, with models, code and style in it: it opens without Python, server or network.

    python -m latent_views.bundle [FOLDER]       write FOLDER/index.html, by default page/index.html: `make page`
"""

import hashlib
import json
import os
import re
import string
import sys
from pathlib import Path
from typing import Any

from latent_runs.places import RECORDED, ROOT
from latent_runs.results import MODEL

HERE = Path(__file__).parent
SOURCES = HERE / "page"
MODULES = "numbers tokenizer model thinking tasks elements drawing watch change look count page".split()
FOLDER = ROOT / "page"


def code() -> str:
    """The page's JavaScript, its files joined."""
    return "\n".join((SOURCES / f"{name}.js").read_text() for name in MODULES)


def style() -> str:
    return (SOURCES / "style.css").read_text()


def html(data: dict[str, Any]) -> str:
    """The whole page. In its data no "<" can end the element that they stand in."""
    inlined = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = string.Template((SOURCES / "page.html").read_text())
    return page.substitute(style=style(), data=inlined, code=code(), made_of=made_of())


def made_of() -> str:
    """What a built page depends on: the shipped models and their records, this package, as a checksum."""
    models = sorted(RECORDED.rglob(MODEL))
    records = [path.with_name("result.json") for path in models]
    files = [*models, *records, *sorted(SOURCES.iterdir()), *sorted(HERE.glob("*.py"))]
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


def data_of(path: Path) -> dict[str, Any]:
    """What a built page was given."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[0])


def built(folder: Path = FOLDER) -> Path:
    """FOLDER/index.html, written anew where it is not what it would be made of now. Raises ValueError without a trained model,
    OSError where it cannot be written."""
    path = folder / "index.html"
    if not path.is_file() or f'content="{made_of()}"' not in path.read_text(encoding="utf-8")[:1000]:
        from latent_views.exported import page_data  # torch takes seconds to import, and a built page needs none of it

        text = html(page_data())
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")  # whole or not at all: others may be opening it
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    return path


if __name__ == "__main__":
    try:
        path = built(Path(sys.argv[1])) if sys.argv[1:] else built()
    except (OSError, ValueError) as error:
        sys.exit(f"The page cannot be made: {error}")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")
