"""The lessons as pages: all there, every link leads somewhere, widgets are pictures, named lessons are links."""

from html import unescape

import pytest

from latent_runs.places import NOTEBOOKS
from latent_views.site import WIDGET, broken, build


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


def test_every_lesson_is_a_page_with_its_stored_outputs(site):
    names = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert names | {"index", "glossary", "questions", "report"} == {path.stem for path in site.glob("*.html")}
    index = (site / "index.html").read_text()
    assert all(f'href="{name}.html"' in index for name in names)
    assert "cot" in (site / "03_coconut_stages.html").read_text() and "<svg" in (site / "report.html").read_text()


def test_widgets_are_pictures_and_named_lessons_are_links(site):
    assert WIDGET in (NOTEBOOKS / "06_decoding_thoughts.ipynb").read_text()
    page = (site / "06_decoding_thoughts.html").read_text()
    assert WIDGET not in page and "The instrument:" in unescape(page)
    assert 'href="03_coconut_stages.html"' in (site / "00_start_here.html").read_text()


def test_a_solution_is_folded(site):
    page = (site / "00_start_here.html").read_text()
    fold = page[page.index("<details") :]
    assert fold.index("def") < fold.index("</details>"), "the code stands outside of its fold"


def test_a_link_that_leads_nowhere_is_found(site, tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        '<h2 id="here"></h2><a href="#here">1</a><a href="#gone">2</a><a href="b.html">3</a><img src="c.png"><a href="https://x.org">4</a>'
    )
    assert [*broken([page])] == ["a.html: #gone", "a.html: b.html", "a.html: c.png"]
