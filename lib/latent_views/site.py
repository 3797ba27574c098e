"""The lessons as pages to read without installing anything: `make site`, or `python -m latent_views.site FOLDER`.

Notebooks become HTML with their stored outputs, widgets pictures; a lesson that is named in the text is a link. Beside them
lie the glossary, the answers to users and the report. Nothing is run. Links that lead nowhere are an error.
"""

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from latent_runs.places import NOTEBOOKS, RECORDED

WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = '<img src="images/instrument.png" alt="The instrument: a question, its thoughts, and what they decode to">'
NAMED = re.compile(r"`(\d\d_\w+)`")
PAGES = {"glossary": "Glossary", "questions": "Questions that users of the official code ask"}
STYLE = "body{font:17px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"


def build(folder: Path) -> list[Path]:
    """Write all pages into `folder` and return them. Raises ValueError for links that lead nowhere."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(NOTEBOOKS / "images", folder / "images", dirs_exist_ok=True)
    shutil.copyfile(RECORDED / "report" / "report.html", folder / "report.html")
    lessons = {path.stem: nbformat.read(path, as_version=4) for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    names, titles = [*lessons], {name: title(lesson) for name, lesson in lessons.items()}
    for i, (name, lesson) in enumerate(lessons.items()):
        around = {"← ": names[max(i - 1, 0) : i], "→ ": names[i + 1 : i + 2]}
        links = [f"[{arrow}{titles[other]}]({other}.html)" for arrow, some in around.items() for other in some]
        way = " · ".join(["[All lessons](index.html)", *links])
        for cell in lesson.cells:
            if cell.cell_type == "markdown":
                cell.source = NAMED.sub(lambda m: f"[`{m[1]}`]({m[1]}.html)" if m[1] in lessons else m[0], cell.source)
            for output in cell.get("outputs", ()):
                if WIDGET in output.get("data", ()):
                    output.data = {"text/html": PICTURE}
        new = nbformat.v4.new_markdown_cell
        lesson.cells = [new(way), *lesson.cells, new(way)]
        page, _ = HTMLExporter().from_notebook_node(lesson, {"metadata": {"name": titles[name]}})
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    for name, heading in PAGES.items():
        _write(folder / f"{name}.html", heading, (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8"))
    listed = [f"- [{titles[name]}]({name}.html)" for name in names]
    listed += [f"- [{heading}]({name}.html)" for name, heading in PAGES.items()] + ["- [Results](report.html)"]
    _write(folder / "index.html", "latent-cot", "# Language models that think without words\n\n" + "\n".join(listed))
    pages = sorted(folder.glob("*.html"))
    if lost := [*broken(pages)]:
        raise ValueError("links that lead nowhere:\n" + "\n".join(lost))
    return pages


def title(lesson: nbformat.NotebookNode) -> str:
    """Its first heading."""
    return lesson.cells[0].source.splitlines()[0].lstrip("# ")


def _write(path: Path, heading: str, markdown: str) -> None:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(heading)}</title><style>{STYLE}</style>'
    way = "" if path.stem == "index" else '<p><a href="index.html">All lessons</a></p>'
    path.write_text(f"{head}{way}{markdown2html(markdown)}</html>\n", encoding="utf-8")


class Links(HTMLParser):
    """What a page links to or shows, and what in it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors = set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "href" and tag == "a" or name == "src" and tag == "img"):
                self.targets.append(value)
            elif value and name in ("id", "name"):
                self.anchors.add(unquote(value))


def broken(pages: Sequence[Path]) -> Iterator[str]:
    """Links inside the folder of these pages to a page, picture or anchor that is not there."""
    read = {}
    for page in pages:
        read[page.name] = Links()
        read[page.name].feed(page.read_text(encoding="utf-8"))
    for page in pages:
        for target in read[page.name].targets:
            name, anchor = urldefrag(target)
            if re.match(r"[a-z]+:", target):  # elsewhere, or the picture itself
                continue
            there = (page.parent / unquote(name)).is_file() if name else True
            other = read.get(unquote(name) or page.name)
            if not there or (anchor and other and unquote(anchor) not in other.anchors):
                yield f"{page.name}: {target}"


if __name__ == "__main__":
    print(f"{len(build(Path(sys.argv[1])))} pages in {sys.argv[1]}")
