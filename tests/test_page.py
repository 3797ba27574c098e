"""The page: its models are PyTorch's, it says nothing untrue, it is hard to break, everybody in the room can use it."""

import base64
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from browser import chromium, find_browser
from selenium.webdriver import Keys

from latent_cot.generation import answer
from latent_cot.thoughts import read, think
from latent_probes.donors import donate, donor_rate
from latent_probes.planning import classify
from latent_probes.probing import add_noise, overwrite, read_along, remove
from latent_runs.trained import method_of
from latent_tasks import GENERATED, Problem, load_task
from latent_views.bundle import built
from latent_views.exported import asked_alike
from latent_views.ready import load, recorded
from latent_views.thinkers import Thinker

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium with its driver here (apt install chromium-driver)")

SHIPPED = {f"{record['variant']}--s{record['seed']}": (path, record) for path, record in asked_alike(recorded()).items()}
THINKERS = {name: path for name, (path, record) in SHIPPED.items() if method_of(record).n_thoughts}
GRAPH, CODI = "graph-coconut_mixed--s0", "arithmetic-codi--s0"
MANY = {GRAPH: 1000, CODI: 1000}  # problems; of the other models 100
FLOATS = "btoa(String.fromCharCode(...new Uint8Array(Float32Array.from({}).buffer)))"


@pytest.fixture(scope="module")
def page():
    with chromium() as page:
        page.open(built())
        yield page


@pytest.fixture
def fresh(page):
    """The page as it opens."""
    page.size(1280, 720)
    page.media(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    page.do("document.body.dataset.theme = 'auto'; latent.index = -1; latent.take(arguments[0])", GRAPH)
    page.do("latent.another(); latent.open(0)")
    return page


@cache
def thinker(name: str, n: int = 100) -> Thinker:
    found = load(THINKERS[name])
    return replace(found, task=load_task(found.task.name, sizes={"test": n}))


def asked(page, name: str, questions: list[str], options: dict | None = None) -> list[dict]:
    """What the page's own model answers: `thoughts`, `looks` of each, what it has `written` and by how much each word won, and
    the logits of the `next` word after the thoughts."""
    found = [page.script(ASKED, name, questions[i : i + 100], options or {}) for i in range(0, len(questions), 100)]
    return [{**row, **{k: numbers(row[k]) for k in ("next", "thoughts", "looks")}} for part in found for row in part]


ASKED = """((model) => arguments[1].map((question) => {
  const floats = (row) => btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(row).buffer)));
  const won = (state) => { const [a, b] = [...model.logits(state)].sort((x, y) => y - x); return a - b; };
  const {had, written, text, before, spoken} = latent.answer(model, question, arguments[2]);
  return {written, text, next: floats(model.logits(spoken.state)), thoughts: had.map((one) => floats(one.vector)),
          looks: had.map((one) => floats(one.writtenBy.looks)), won: before.map((one) => won(one.state))};
}))(latent.modelOf(arguments[0]))"""


def numbers(packed):
    return [numbers(one) for one in packed] if isinstance(packed, list) else np.frombuffer(base64.b64decode(packed), "<f4")


def test_a_model_that_is_asked_other_questions_is_left_to_the_lessons(page):
    left_out = {path.parent.name for path in recorded()} - {*SHIPPED}
    assert left_out == {"ladder_4-coconut--s0", "ladder_4-codi--s0"}
    assert {*page.script("latent.data.models.map((model) => model.id)")} == {*SHIPPED}


# --- the models are PyTorch's --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", THINKERS)
def test_thoughts_and_answers_are_those_of_pytorch(page, name):
    model = thinker(name, MANY.get(name, 100))
    problems = model.task.splits["test"]
    expected = answer(model.reasoner, [model.prompt(p, model.n_thoughts) for p in problems], model.max_new_tokens)
    near_ties = 0
    for there, here in zip(asked(page, name, [p.question for p in problems]), expected):
        if tuple(there["written"]) == here.tokens and len(there["thoughts"]) == len(here.thoughts):
            off = torch.tensor(np.array(there["thoughts"])) - here.thoughts
            assert off.norm() <= 1e-4 * here.thoughts.norm()
        else:
            first = next(i for i, (a, b) in enumerate(zip(there["written"], here.tokens)) if a != b)
            assert there["won"][first] < 1e-4
            near_ties += 1
    assert near_ties <= max(1, len(problems) // 1000)


CHANGES = {
    "remove": (0, None),
    "swap": (1, None),
    "word": (0, "?"),
    "scale": (1, 0.5),
    "noise": (2, 0.5),
}


@pytest.mark.parametrize("again", [False, True], ids=["kept", "again"])
@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_changes_are_those_of_pytorch(page, name, kind, again):
    model, (place, by) = thinker(name), CHANGES[kind]
    reasoner, *problems = model.reasoner, *model.task.splits["test"][:6]
    donor = problems.pop()
    (other,) = read_along(reasoner, [model.prompt(donor, model.n_thoughts)])
    word = reasoner.embed(reasoner.tokenizer("?", add_special_tokens=False, return_tensors="pt").input_ids)[0, 0].detach()
    change = {
        "remove": remove(place), "swap": overwrite(place, other.thoughts[place]), "word": overwrite(place, word),
        "scale": overwrite(place, torch.zeros_like(word), 0.5), "noise": add_noise(place, 0.5),
    }[kind]  # fmt: skip
    told = {"changes": [{"thought": place, "kind": kind, "by": donor.question if kind == "swap" else by}], "again": again}
    for problem, there in zip(problems, asked(page, name, [p.question for p in problems], told)):
        asks = model.prompt(problem, model.n_thoughts - (again and kind == "remove"))
        if again and kind != "remove":
            intervene = rethought(model, problem, place, change)
        else:
            intervene = None if again else change
        (reading,) = read_along(reasoner, [asks], intervene)
        np.testing.assert_allclose(np.array(there["thoughts"]), reading.thoughts, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(there["next"], reading.logits[-1], rtol=1e-3, atol=1e-3)


def rethought(model: Thinker, problem: Problem, place: int, change):
    """The model thinks, the changed thought at its place, and goes on from there."""
    reasoner, asks = model.reasoner, model.prompt(problem, model.n_thoughts)
    ids = torch.tensor([asks.question])

    def write(hidden, i):
        thought = reasoner.writer(hidden, i)
        if i != place:
            return thought
        padded = thought[:, None].expand(-1, place + 1, -1)
        return change(padded)[:, place]

    with torch.no_grad():
        context, _ = read(reasoner.lm, reasoner.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        thoughts = think(reasoner.lm, context, torch.tensor([model.n_thoughts]), write).thoughts
    return lambda _: thoughts


@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_a_row_of_looks_is_the_position_that_wrote_the_thought(page, name):
    model = thinker(name)
    problem = model.task.splits["test"][0]
    (reading,) = read_along(model.reasoner, [model.prompt(problem, model.n_thoughts)])
    (there,) = asked(page, name, [problem.question])
    for i, looks in enumerate(there["looks"]):
        row = reading.attention.mean(0)[reading.n_question - 1 + i]
        np.testing.assert_allclose(looks, row[: len(looks)], atol=1e-5)


def test_a_count_is_the_donor_rate_of_pytorch(fresh):
    model = thinker(CODI, 202)
    problems = model.task.splits["test"]
    given = donate(
        model.reasoner, problems, model.n_thoughts, model.marked, layout=model.layout, max_new_tokens=model.max_new_tokens,
        batch_size=len(problems),
    )[2:]  # fmt: skip
    rate = donor_rate(model.task, given)
    fresh.do("latent.take(arguments[0]); latent.open(3)", CODI)
    fresh.press("Count on 200 problems")
    fresh.wait(lambda: "200 of 200" in fresh.text(".page"), "count", 60)
    shown = fresh.script("[...document.querySelectorAll('.counts td:last-child')].map((e) => e.textContent)")
    assert rate and shown[2:] == [f"{round(rate[name] * rate['n'])} of {rate['n']}" for name in ("given", "otherwise")]
    assert f"Donor rate: {round(100 * rate['rate'])} points" in fresh.text(".page")


# --- nothing untrue ------------------------------------------------------------------------------------------------


WORDS = "const words = (m, q) => m.tokenizer.encode(q).map((id) => m.tokenizer.words[id]);"
OUTSIDE = f"""((m) => {{ {WORDS}
  return arguments[1].map((q) => latent.tasks[m.task].outside(words(m, q), m.options)); }})(latent.modelOf(arguments[0]))"""
VERDICTS = f"""((m) => {{ {WORDS}
  return arguments[1].map((q) => {{
    const said = latent.answer(m, q, {{n: arguments[2], marked: false}}).text;
    return {{...latent.verdict(m, words(m, q), said, arguments[2]), said}};
  }}); }})(latent.modelOf(arguments[0]))"""
KINDS = [
    (CODI, {}), (CODI, {"n_steps": [1, 2]}), (CODI, {"n_steps": [4, 5]}), (CODI, {"max_operand": 15}),
    (CODI, {"wording": "unseen"}), (GRAPH, {}), (GRAPH, {"depth": 3}), (GRAPH, {"width": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_what_a_model_was_not_trained_on_is_said_to_be_so(fresh, name, options):
    trained = GENERATED[thinker(name).task.name]()
    problems = load_task(thinker(name).task.name, sizes={"test": 40}, **options).splits["test"]
    found = fresh.script(OUTSIDE, name, [p.question for p in problems])
    assert [sentence is None for sentence in found] == [trained.makes(p) for p in problems]
    strange = next((p for p in problems if not trained.makes(p)), None)
    if strange:
        fresh.do("latent.take(arguments[0])", name)
        fresh.ask(strange.question)
        assert "Not what this model was trained on, expect nonsense." in fresh.text(".message")


@pytest.mark.parametrize("k", [0, 1, 2])
def test_right_stands_beside_a_written_path_only_if_there_is_one(fresh, k):
    model = thinker(GRAPH)
    problems = model.task.splits["test"]
    classes = set()
    for problem, seen in zip(problems, fresh.script(VERDICTS, GRAPH, [p.question for p in problems], k)):
        outcome = classify(seen["said"], problem)
        classes.add(outcome)
        assert seen["right"] == model.task.grade(seen["said"], problem)
        if outcome == "Hallucination":
            assert seen["broken"] and not seen["text"].startswith("✓")
        if seen["text"].startswith("✓"):
            assert outcome in ("Correct Path", "Longer Path", "Correct Label")
    assert "Correct Path" in classes


@pytest.mark.parametrize(
    ("written", "broken"),
    [("<< 12 - 7 = 5 >> << 5 * 3 = 15 >>", None), ("<< 12 - 7 = 6 >> << 6 * 3 = 18 >>", "12 - 7 = 6 is not true"), ("", None)],
)
def test_a_written_step_that_is_not_true_is_named(fresh, written, broken):
    assert fresh.script("latent.tasks.arithmetic.broken(arguments[0])", written) == broken


def test_after_a_change_every_view_says_so_and_restoring_takes_it_back(fresh):
    before = fresh.text(".sides")
    fresh.press("Change its mind")
    fresh.press("thought 2as it was")
    fresh.press("Swap")
    assert "thought 2 swapped" in fresh.text(".message")
    assert fresh.script("document.querySelectorAll('.thoughts .changed').length") == 1
    assert fresh.script("latent.donor.question.slice(0, 60)") in fresh.text(".donor") and "donor's" in fresh.text(".bars")
    fresh.press("Watch")
    assert "changed" in fresh.text(".sides .panel:nth-child(2) h2") and "2: swapped" in fresh.text(".sides")
    fresh.press("Look inside")
    assert "thought 2, swapped" in fresh.text(".shades")
    fresh.press("Restore")
    fresh.press("Watch")
    assert without_time(fresh.text(".sides")) == without_time(before) and "changed" not in fresh.text(".message")


def without_time(text: str) -> list[str]:
    return [line.rpartition(",")[0] if line.endswith(" ms") else line for line in text.splitlines()]


def test_later_thoughts_are_kept_or_thought_again(fresh):
    fresh.press("Change its mind")
    fresh.press("Scale")
    vectors = "latent.run.had.map((one) => [...one.vector])"
    was = fresh.script("latent.before.had.map((one) => [...one.vector])")
    kept = fresh.script(vectors)
    assert kept[0] != was[0] and kept[1:] == was[1:]
    fresh.keys(".switch", Keys.SPACE)
    again = fresh.script(vectors)
    assert fresh.script("document.querySelector('.switch').getAttribute('aria-checked')") == "true"
    assert again[0] == kept[0] and again[1] != was[1]


def test_forced_to_speak_earlier_it_bets_on_a_branch(fresh):
    fresh.keys(".controls label:last-child input", Keys.LEFT)
    assert "2 thoughts" in fresh.text(".controls") and fresh.script("latent.run.had.length") == 2
    fresh.keys(".controls label:last-child input", Keys.HOME)
    assert fresh.script("latent.run.had.length") == 0
    fresh.press("Change its mind")
    assert fresh.script("[...document.querySelectorAll('.actions button')].filter((b) => !b.disabled).length") == 0


def test_nothing_glows_beside_it_where_nobody_writes_the_thoughts(fresh):
    pauses = [name for name in THINKERS if thinker(name).reasoner.spec.writer == "pause"]
    assert pauses, "no pause model ships"
    fresh.do("latent.besidePick.value = arguments[0]; latent.refresh(); latent.views[0].view.go(1)", pauses[0])
    lit = "[...document.querySelectorAll('.sides .panel')].map((p) => p.querySelectorAll('.share:not(:empty)').length)"
    dark, bright = fresh.script(lit)
    assert dark == 0 and bright >= 1


# --- hard to break -------------------------------------------------------------------------------------------------


STRANGE = [
    "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">",
    "12 " * 3333, "x" * 10_000, "Ann has 12 zebras: how many?", "", "  ,, ", "🦊 how many?", "كم عدد البيض؟", "<eos>", "a>b",
    "?", "a>a ? a a from a", "a>b b>a ? a b from c", "how many", "Ann has 12 eggs, loses 7: how many?", "٣ eggs",
    "__proto__ constructor",
]  # fmt: skip


@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_whatever_is_typed_the_page_lives_and_says_why_in_a_line(fresh, name):
    fresh.do("latent.take(arguments[0])", name)
    usual = fresh.script("latent.text.value")
    place = "document.querySelector('main').getBoundingClientRect().top"
    top = fresh.script(place)
    for question in STRANGE:
        fresh.ask(question)
        assert 0 < len(fresh.text(".message")) < 400
        assert not {"TypeError", "RangeError", "ReferenceError"} & set(fresh.text(".message").split(":"))
        assert fresh.script(place) == top, "the page jumped"
        for i in range(4):
            fresh.do("latent.open(arguments[0])", i)
        fresh.do("latent.open(0)")
    fresh.ask(usual)
    assert "Answer: " in fresh.text(".sides") and fresh.script("document.title") == "Watch a model think"
    assert fresh.script("document.querySelectorAll('.page img, .page script').length") == 0


def test_twenty_fast_clicks_and_counting_meanwhile(fresh):
    fresh.do("latent.open(3); latent.views[3].view.run()")
    fresh.do("for (let i = 0; i < 20; i++) { latent.another(); latent.change({kind: 'remove'}); latent.open(i % 4); }")
    fresh.wait(lambda: not fresh.script("latent.views[3].view.what.disabled"), "end of the count that was left")
    assert fresh.script("latent.changes.size") == 1 and "removed" in fresh.text(".message")


def test_it_asks_nobody_and_opens_from_a_file(fresh):
    assert built().stat().st_size < 5e6
    assert fresh.script("location.protocol") == "file:"
    asked = fresh.script("performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in asked if not name.startswith("data:")] == []
    assert "default-src 'none'" in built().read_text()[:1000]


def test_the_first_answer_comes_within_two_seconds(page):
    """The best of three: other tests run beside this one."""
    spent = []
    for _ in range(3):
        page.open(built())
        assert "Answer: " in page.text(".sides")
        spent.append(page.script("latent.ready"))
    assert min(spent) < 2000


# --- for everybody in the room -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_axe_finds_nothing_that_keeps_people_out(fresh, name, scheme):
    fresh.media(prefers_color_scheme=scheme)
    fresh.do("latent.take(arguments[0]); latent.change({kind: 'swap', by: latent.donor.question})", name)
    for i in range(4):
        fresh.do("latent.open(arguments[0])", i)
        assert fresh.axe() == []


SIZES = """[...document.querySelectorAll('.page *')]
  .filter((e) => e.checkVisibility() && e.tagName !== 'title')
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .map((e) => [parseFloat(getComputedStyle(e).fontSize) * (e.getScreenCTM ? e.getScreenCTM().a : 1), e.textContent])"""


@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_on_a_projector_all_is_seen_and_nothing_is_small(fresh, name):
    fresh.do("latent.take(arguments[0])", name)
    for change in ("another()", "changeAll()", "restore(); latent.change({kind: 'noise', by: 1})") * 4:
        for i in (0, 1):  # what is clicked and what moves are on one screen
            fresh.do(f"latent.{change}; latent.open({i})")
            assert fresh.script("document.documentElement.scrollHeight") <= 720
    for i in range(4):
        fresh.do("latent.open(arguments[0])", i)
        assert [(size, text) for size, text in fresh.script(SIZES) if size < 17.9] == []


@pytest.mark.parametrize("size", [(390, 800), (640, 360), (1920, 1080)], ids=["phone", "zoomed", "wide"])
@pytest.mark.parametrize("name", [GRAPH, CODI])
def test_nothing_is_off_the_screen(fresh, name, size):
    fresh.size(*size)
    fresh.do("latent.take(arguments[0])", name)
    for i in range(4):
        fresh.do("latent.open(arguments[0])", i)
        assert fresh.script("document.documentElement.scrollWidth") <= size[0]


def test_all_of_it_works_from_the_keyboard(fresh):
    fresh.keys("[role=tab][aria-selected=true]", Keys.ARROW_RIGHT)
    assert fresh.script("document.activeElement.textContent") == "Change its mind"
    fresh.keys(".thoughts .chip", Keys.ARROW_RIGHT)
    assert fresh.script("document.activeElement.textContent").startswith("thought 2")
    assert fresh.script("document.activeElement.getAttribute('aria-pressed')") == "true"
    fresh.do("document.querySelector('[role=tab][aria-selected=true]').focus()")
    visited = []
    for _ in range(19):
        fresh.driver.switch_to.active_element.send_keys(Keys.TAB)
        visited.append(fresh.script("((e) => [e.outerHTML, getComputedStyle(e).outlineWidth])(document.activeElement)"))
    assert len({html for html, _ in visited}) == 19 and {width for _, width in visited} == {"4px"}


def test_with_reduced_motion_nothing_moves(fresh):
    fresh.media(prefers_reduced_motion="reduce")
    assert fresh.script("getComputedStyle(document.querySelector('.glow')).transitionDuration") == "0s"


def test_play_goes_on_by_itself_and_ends_with_both_answers(fresh):
    fresh.do("latent.views[0].view.speed.value = '125'")
    fresh.press("▶ Play")
    assert "Answer" not in fresh.text(".sides")
    fresh.wait(lambda: fresh.text(".sides").count("Answer: ") == 2, "both answers")
    fresh.wait(lambda: "▶ Play" in fresh.text(".controls"), "the end")
    assert " ms" in fresh.text(".clock")


# --- the other forms -----------------------------------------------------------------------------------------------


RENDER = """const [code, data, done] = arguments, el = document.body.appendChild(document.createElement('div'));
  import(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})))
    .then((found) => found.default.render({model: {get: () => JSON.parse(data)}, el}))
    .then(() => done(null), (error) => done(String(error)))"""


def test_in_a_lesson_the_same_page_is_a_widget(page):
    from latent_views.widgets import Instrument

    instrument = Instrument()
    data = json.dumps(instrument.data)
    page.driver.get("about:blank")
    assert page.driver.execute_async_script(RENDER, str(instrument._esm), data) is None
    assert "Answer: " in page.text(".sides")
