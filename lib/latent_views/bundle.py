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
MODULES = "numbers tokenizer model thinking tasks elements drawing watch change look count telling page".split()
FOLDER = ROOT / "page"


def code() -> str:
    """The page's JavaScript, its files joined."""
    return "\n".join((SOURCES / f"{name}.js").read_text(encoding="utf-8") for name in MODULES)


def style() -> str:
    return (SOURCES / "style.css").read_text(encoding="utf-8")


def html(data: dict[str, Any]) -> str:
    """The whole page. In its data no "<" can end the element that they stand in."""
    inlined = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = string.Template((SOURCES / "page.html").read_text(encoding="utf-8"))
    return page.substitute(style=style(), data=inlined, code=code(), made_of=made_of())


def made_of() -> str:
    """What the page's data depend on, as a checksum: the shipped models with their records, and the modules that read them."""
    models = sorted(RECORDED.rglob(MODEL))
    records = [path.with_name("result.json") for path in models]
    makers = [HERE / f"{name}.py" for name in ("exported", "probes", "ready", "thinkers")]
    return hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in [*models, *records, *makers])).hexdigest()


def data_of(path: Path) -> dict[str, Any] | None:
    """What a built page was given; None where there is none, or other models are here now."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1]) if found and f'content="{made_of()}"' in text[:1000] else None


def built(folder: Path = FOLDER) -> Path:
    """FOLDER/index.html, up to date. Raises ValueError without a trained model, OSError where it cannot be written."""
    path = folder / "index.html"
    data = data_of(path)
    if data is None:
        from latent_views.exported import page_data  # torch takes seconds to import, and data that are there need none of it

        data = page_data()
    text = html(data)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
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
