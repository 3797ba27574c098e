"""The instrument without a browser: what it shows, what it refuses, what it never lets through; and the models that ship."""

import time

import pytest
import torch
from test_thoughts import tiny_reasoner

from latent_cot.generation import Answer
from latent_cot.models import load_reasoner
from latent_runs import plan
from latent_runs.records import fingerprint_state_dict
from latent_runs.results import command
from latent_tasks import Graph, load_task
from latent_views import ready
from latent_views.markup import bars, card, heat_map, says, tree
from latent_views.widgets import Instrument, Thinker

EVIL = "<img src=x onerror='alert(1)'>&\""
SHIPPED = ready.recorded()


def out_of_reach():
    raise ValueError("out of reach")


@pytest.fixture
def instrument() -> Instrument:
    task = load_task("arithmetic", sizes={"test": 3})
    coconut, codi = tiny_reasoner("gpt2").float(), tiny_reasoner("llama", "projection").float()
    thinkers = {"a": lambda: Thinker(coconut, task, 3, None, "nobody", max_new_tokens=8)}
    thinkers |= {"b": lambda: Thinker(codi, task, 2, codi, "itself", max_new_tokens=8), "c": out_of_reach}
    return Instrument(thinkers)


def shown(instrument: Instrument, name: str) -> str:
    return instrument.outputs[name].value


def test_all_that_is_shown_is_escaped():
    said = Answer("", EVIL, (1,), torch.zeros(2, 4), torch.zeros(3, 4))
    pieces = [
        says(EVIL),
        card("In words", said, 1.0, True, EVIL),
        heat_map("t", [EVIL], {"row": [(0.5, EVIL, EVIL)]}),
        bars({EVIL: 0.5}, {EVIL: 0.1}),
        tree(Graph((("a", EVIL), ("b", "c")), "a", (EVIL, "c")), {EVIL: 0.9}),
    ]
    for piece in pieces:
        assert "&lt;img" in piece and "<img" not in piece and "'alert" not in piece
    assert len(says("<" * 10_000)) < 2000


def test_a_tree_is_drawn_of_any_graph():
    edges = (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "e"))
    drawn = tree(Graph(edges, "a", ("b", "c")), {"b": 0.25})
    assert drawn.count("<circle") == 4 and "25%" in drawn


def test_a_question_is_answered_in_words_and_in_thoughts(instrument):
    assert "nobody" in shown(instrument, "aloud") and "positions" not in shown(instrument, "aloud")
    assert "3 thoughts + " in shown(instrument, "silent")
    instrument.model.value = "b"
    assert "0 thoughts + " in shown(instrument, "aloud") and "2 thoughts + " in shown(instrument, "silent")
    assert shown(instrument, "levels").count("<th>thought") == 2
    instrument.n_thoughts.value = 0
    assert "0 thoughts + " in shown(instrument, "silent") and shown(instrument, "levels") == ""


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "Type a question"),
        (" ", "Type a question"),
        ("<script>alert(1)</script>", "never seen: &lt;, script&gt;alert"),
        ("Ann has <eos> eggs", "never seen: &lt;eos&gt;"),
        ("12 " * 3333, "too long: 3333 tokens"),
        ("x" * 10_000, "never seen: xxx"),
        ("Ann has 12 zebras", "never seen: zebras"),
    ],
)
def test_what_cannot_be_read_is_refused_in_plain_words(instrument, question, message):
    asked = instrument.question.value
    instrument.question.value = question
    assert message in shown(instrument, "message")
    assert [name for name in instrument.outputs if name != "message" and shown(instrument, name)] == []
    instrument.buttons["Remove"].click()
    assert "no thought to change" in shown(instrument, "message")
    instrument.question.value = asked
    assert shown(instrument, "message") == "" and "3 thoughts" in shown(instrument, "silent")


def test_changes_of_thoughts_add_up_and_are_taken_back(instrument):
    before = instrument.current
    for action, message in (("Remove", "removed"), ("Swap with another problem's", "taken from"), ("Overwrite with", "“12”")):
        instrument.word.value = "12"
        instrument.buttons[action].click()
        done = shown(instrument, "message").replace("overwritten with ", "")
        assert f"Thought {instrument.which.value + 1} {message}" in done
        assert instrument.current != before and "as changed" in shown(instrument, "bars")
        instrument.which.value = (instrument.which.value + 1) % 3
    assert len(instrument.edits) == 3 and "2 thoughts" in shown(instrument, "silent")
    instrument.word.value = "zebra"
    instrument.buttons["Overwrite with"].click()
    assert "never seen: zebra" in shown(instrument, "message") and len(instrument.edits) == 3
    instrument.buttons["Restore"].click()
    assert instrument.current == before and instrument.edits == {} and "as changed" not in shown(instrument, "bars")


def test_a_model_out_of_reach_is_a_message(instrument):
    instrument.model.value = "c"
    assert "out of reach" in shown(instrument, "message") and shown(instrument, "silent") == ""
    instrument.buttons["Ask"].click()
    assert "not there" in shown(instrument, "message")
    instrument.model.value = "a"
    assert "3 thoughts" in shown(instrument, "silent")


def test_without_a_browser_it_shows_the_same_as_html(instrument):
    bundle = instrument._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert all(output.value in bundle["text/html"] for output in instrument.outputs.values())


def test_a_hub_out_of_reach_is_told_at_once(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    with pytest.raises(ValueError, match="hub is out of reach"):
        ready.released()


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


def test_every_shipped_thinker_answers_within_two_seconds():
    instrument = Instrument({name: load for name, load in ready.thinkers().items() if "released" not in name})
    for name in instrument.model.options:
        instrument.model.value = name
        started = time.process_time()
        instrument.buttons["Ask"].click()
        assert time.process_time() - started < 2
        assert shown(instrument, "message") == "" and " thoughts + " in shown(instrument, "silent")
        assert ("<svg" in shown(instrument, "tree")) == ("graph" in name)
