"""The page inside a lesson, without a browser; asking a model; the models that ship."""

import time

import pytest

from latent_cot.generation import answer
from latent_cot.models import load_reasoner
from latent_runs import plan
from latent_runs.records import fingerprint_state_dict
from latent_runs.results import command
from latent_runs.trained import method_of
from latent_tasks import Problem
from latent_views import ready
from latent_views.widgets import Question, opening

SHIPPED = ready.recorded()
THINKERS = [path for path, record in SHIPPED.items() if method_of(record).n_thoughts]


def test_a_stored_lesson_shows_a_plain_question_and_what_was_answered():
    shown = opening()
    assert shown.count("reads as") == 3 and "The answer is:" in shown and "right answer" in shown
    assert "&gt;" in shown and "<script" not in shown


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "Type a question"),
        (" ", "Type a question"),
        ("<script>alert(1)</script>", "never seen: <, script>alert"),
        ("Ann has <eos> eggs", "never seen: <eos>"),
        ("12 " * 3333, "too long: 3333 tokens"),
        ("x" * 10_000, "never seen: xxx"),
        ("Ann has 12 zebras", "never seen: zebras"),
    ],
)
def test_what_cannot_be_read_is_refused_in_plain_words(question, message):
    thinker = ready.load(next(path for path in THINKERS if "arithmetic" in path.parent.name))
    with pytest.raises(ValueError) as refused:
        thinker.prompt(Problem(question, (), ""), thinker.n_thoughts)
    assert message in str(refused.value)


def test_any_model_answers_what_is_typed_and_says_what_it_cannot_read():
    thinker = ready.load(next(path for path in THINKERS if "arithmetic-codi" in path.parent.name))
    form = Question(thinker)  # opens on an answer, which is stored for where no kernel runs
    bundle = form._repr_mimebundle_()
    assert (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"] == form.said.value
    said = "in words", "in thoughts", "with the thoughts about", "right answer"
    assert all(form.said.value.count(part) == 1 for part in said)
    assert form.said.value.count("reads as") == thinker.n_thoughts
    form.pick.index = 2
    assert form.typed.value == thinker.task.splits["test"][2].question
    form.typed.value = "Ann has 12 eggs, loses 7, times 3, buys 8: how many?"
    form.ask.click()
    assert form.typed.value in form.said.value and "right answer" not in form.said.value  # of one's own nobody knows it
    for refused in ("<b>Ann has 12 zebras</b>", ""):
        form.typed.value = refused
        form.ask.click()
        assert ("never seen" if refused else "Type a question") in form.said.value and "<b>" not in form.said.value


# --- models that ship ----------------------------------------------------------------------------------------------


def test_models_ship_with_their_records_in_little_space():
    assert {(record["notebook"], record["parameters"]["task"]) for record in SHIPPED.values()} >= {
        ("04_codi_self_distillation", "arithmetic"),
        ("03_coconut_stages", "arithmetic"),
        ("03_coconut_stages", "graph"),
    }
    assert sum(path.stat().st_size for path in SHIPPED) < 12e6


def told(parameters: dict, name: str):
    """What a record says that its run was told; records of before the groups have every parameter under a name of its own."""
    group, _, key = name.partition(".")
    if "run" in parameters:
        return parameters[group][key] if key else parameters[name]
    return parameters[{"start_steps": "stage_0_steps", "steps": "last_steps"}.get(key or name, key or name)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_model_is_the_one_that_was_recorded(path):
    record = SHIPPED[path]
    assert fingerprint_state_dict(load_reasoner(path.parent).state_dict()) == record["model_fingerprint"]
    runs = {run.id: run for run in plan.read_grid(plan.grid_path(record["tier"]), [record["seed"]])}
    run = runs[f"{record['notebook']}/{record['variant']}--s{record['seed']}"]
    assert run.keep_model and run.id in command(record)
    apart = "run.init_from", "data.out_of_domain"  # where its start lies; what else it was asked, once trained
    asked = {name: value for name, value in run.arguments.items() if name not in apart}
    assert {name: told(record["parameters"], name) for name in asked} == asked, "the grid now asks for something else"


def test_a_model_is_found_where_it_ships_or_where_it_was_trained(tmp_path, monkeypatch):
    shipped = next(iter(SHIPPED))
    assert ready.find(shipped.parent.relative_to(ready.RECORDED).as_posix()) == shipped
    monkeypatch.setattr(ready, "RUNS", tmp_path)
    name = "small/03_coconut_stages/words-coconut--s2"
    with pytest.raises(FileNotFoundError, match=r"make tables TIER=small SEEDS=2 ONLY='03_coconut_stages/words-coconut--s2'"):
        ready.find(name)
    with pytest.raises(FileNotFoundError, match="no model of words-coconut is here: it is none of those that ship"):
        ready.find("words-coconut")
    (tmp_path / name).mkdir(parents=True)
    trained = tmp_path / name / ready.MODEL
    trained.touch()
    assert ready.find(name) == trained


def test_problems_for_a_model_are_those_that_it_was_trained_on():
    path = ready.find("tiny/03_coconut_stages/ladder_4-coconut--s0")
    some = ready.problems(path, 40)
    assert len(some) == 40 and some[: ready.N_OFFERED] == ready.load(path).task.splits["test"]
    assert all(len(problem.question.split()) == 8 + 5 and len(problem.steps) == 3 for problem in some), "two chains of four"


@pytest.mark.parametrize("path", THINKERS, ids=lambda path: path.parent.name)
def test_every_shipped_thinker_answers_in_words_and_in_thoughts_within_two_seconds(path):
    thinker = ready.load(path)
    problem = thinker.task.splits["test"][0]
    started = time.process_time()
    (said,) = answer(thinker.reasoner, [thinker.prompt(problem, thinker.n_thoughts)], thinker.max_new_tokens)
    assert said.tokens and len(said.thoughts) > 0
    if thinker.aloud is not None:
        (aloud,) = answer(thinker.aloud, [thinker.prompt(problem, 0, marked=False)], thinker.max_new_tokens)
        assert aloud.tokens and not len(aloud.thoughts)
    assert time.process_time() - started < 2
