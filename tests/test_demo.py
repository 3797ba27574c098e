"""The page of `make demo`, as a reader in a browser uses it."""

import pytest
from browser import Page, find_browser, opened
from selenium.webdriver import Keys

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium with its driver here (apt install chromium-driver)")


@pytest.fixture(scope="module")
def page():
    with opened() as page:
        yield page


def silent(page: Page) -> str:
    """What stands below "In thoughts", but for the time it took."""
    return page.text().partition("In thoughts")[2].partition(" positions")[0]


def ask(page: Page, question: str) -> None:
    page.keys("or type", question + Keys.ENTER)


def test_ask_think_less_and_remove_a_thought(page):
    before = silent(page)
    ask(page, "Ann has 12 eggs, loses 7, times 3, eats 8: how many?")
    page.wait(lambda: "<< 12 - 7 = 5 >>" in page.text() and "6 thoughts" in silent(page) != before, "answer", 10)
    before = silent(page)
    page.keys("Thoughts", Keys.LEFT)
    page.wait(lambda: "5 thoughts" in silent(page), "answer after five thoughts", 10)
    before = silent(page)
    page.press("2")
    page.press("Remove")
    page.wait(lambda: "Thought 2 removed." in page.text(".says"), "message", 10)
    assert "4 thoughts" in silent(page) and "as changed" in page.text()
    assert silent(page).partition("thoughts")[0][:-3] != before.partition("thoughts")[0][:-3], "the same answer"
    assert page.script("getComputedStyle(document.querySelector('.instrument .big')).fontSize") == "30px"


def test_what_no_model_can_read_gets_a_plain_message(page):
    attack = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"
    for question, message in (
        (attack, "words this model has never seen: <, script"),
        ("12 " * 3333, "too long"),
        ("x" * 10_000, "words this model has never seen: xxx"),
        ("Ann has 12 zebras: how many?", "words this model has never seen: zebras"),
        ("", "Type a question"),
    ):
        ask(page, question)
        page.wait(lambda: message in page.text(".says"), message, 10)
        assert len(page.text(".says")) < 400 and "In thoughts" not in page.text()
        ask(page, "Ann has 12 eggs, loses 7, times 3, eats 8: how many?")
        page.wait(lambda: "The answer is:" in silent(page), "answer of a widget still alive", 10)
    assert page.script("document.title") != "taken over"
    assert not page.script("document.querySelectorAll('.instrument img, .instrument script').length")
