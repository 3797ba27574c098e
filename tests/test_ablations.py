"""The options behind the ablations: each degenerates to what it departs from (float64, tiny random LMs)."""

import copy
import json
import random
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_methods import MARKERS, PROBLEM, RNG
from test_thoughts import TASK, close, encoded, families, gradients, prompts, sequences, tiny_reasoner, writers

from latent_backbones.tokens import check_words, tiny_tokenizer
from latent_cot.checkpoints import run_signature
from latent_cot.curriculum import Budget, distill, no_steps, replace_steps_with_thoughts
from latent_cot.evaluation import prompt
from latent_cot.generation import answer_batch
from latent_cot.methods import make
from latent_cot.methods.codi import CodiOptions, supervise_codi, with_static_teacher
from latent_cot.models import ReasonerSpec, build_reasoner, load_reasoner, save_reasoner, warm_start
from latent_cot.sequences import collate, encode
from latent_cot.supervision import read_question, supervise_language
from latent_cot.thoughts import think, think_in_parallel
from latent_cot.training import TrainOptions, train
from latent_reports import ladder
from latent_runs.lesson import Lesson
from latent_runs.plan import grid_path, read_grid
from latent_runs.settings import nested, typed_parameters
from latent_tasks import DataError, Problem, Task, load_task
from latent_tasks.chains import CHAINS, rewrite
from latent_tasks.problem import grade_number

RAGGED = (3, 0, 2, 1)


# --- PCCoT: thoughts in parallel -----------------------------------------------------------------------------------


def think_both_ways(reasoner, iterations):
    batch = collate(sequences(reasoner, RAGGED), reasoner.markers)
    having = reasoner.lm, read_question(reasoner, batch)[0], batch.n_thoughts, reasoner.writer
    return batch, think(*having), think_in_parallel(*having, iterations)


@families
@writers
@pytest.mark.parametrize("iterations", [3, 5])
def test_as_many_iterations_as_thoughts_are_the_latent_loop(family, writer, iterations):
    reasoner = tiny_reasoner(family, writer)
    batch, loop, parallel = think_both_ways(reasoner, iterations)
    assert torch.equal(parallel.real, loop.real) and torch.equal(parallel.context.mask, loop.context.mask)
    torch.testing.assert_close(parallel.thoughts[loop.real], loop.thoughts[loop.real], **close)
    torch.testing.assert_close(parallel.context.hidden, loop.context.hidden, **close)
    losses = {}
    for n in (0, iterations):
        reasoner.spec = replace(reasoner.spec, iterations=n)
        loss = sum(supervise_codi(reasoner, batch, CodiOptions()).values())
        losses[n] = (loss, gradients(reasoner, loss))
    torch.testing.assert_close(losses[iterations][0], losses[0][0], **close)
    assert losses[0][1].keys() == losses[iterations][1].keys()
    for name, gradient in losses[0][1].items():
        torch.testing.assert_close(losses[iterations][1][name], gradient, **close)


@families
def test_each_iteration_settles_one_more_thought(family):
    for iterations in (1, 2):
        _, loop, parallel = think_both_ways(tiny_reasoner(family), iterations)
        off = (loop.thoughts - parallel.thoughts)[0].norm(dim=-1)
        assert off[:iterations].max() < 1e-9 < off[iterations:].min()


@families
def test_parallel_thoughts_are_the_same_alone_and_in_company(family):
    reasoner = tiny_reasoner(family, "projection", iterations=2)
    company = prompts(reasoner, RAGGED)
    for together, one in zip(answer_batch(reasoner, company, 6), company, strict=True):
        (alone,) = answer_batch(reasoner, [one], 6)
        assert alone.tokens == together.tokens
        torch.testing.assert_close(alone.thoughts, together.thoughts, **close)


def test_parallel_thoughts_cannot_be_ended_one_by_one():
    with pytest.raises(ValueError, match="one by one"):
        tiny_reasoner("gpt2", learned_stop=True, iterations=2)


# --- SIM-CoT: what a thought stands for ----------------------------------------------------------------------------


def test_thoughts_stand_for_the_steps_that_they_replace():
    first, second, third = PROBLEM.steps
    arranged = {c: replace_steps_with_thoughts(2, 3, c)(PROBLEM, MARKERS, RNG).said for c in (0, 1, 2)}
    assert arranged == {0: (), 1: (first, second), 2: ((), first, (), second)}
    assert replace_steps_with_thoughts(3, 3, thoughts=False)(PROBLEM, MARKERS, RNG).said == ()
    assert distill(2, True)(PROBLEM, MARKERS, RNG).said == (first, second)
    assert no_steps(5)(PROBLEM, MARKERS, RNG).said == (first, second, third)


@families
@pytest.mark.parametrize("supervise", [supervise_language, lambda r, b: supervise_codi(r, b, CodiOptions())])
def test_step_supervision_only_adds_its_loss(family, supervise):
    """The other parts stay; the new one is the decoder's cross-entropy, one thought at a time."""
    plain, reasoner = tiny_reasoner(family, "projection"), tiny_reasoner(family, "projection", step_decoder_layers=1)
    company = sequences(reasoner, RAGGED)
    batch = collate(company, reasoner.markers)
    losses, without = supervise(reasoner, batch), supervise(plain, batch)
    found = losses.pop("steps")
    assert losses.keys() == without.keys()
    for part in without:
        torch.testing.assert_close(losses[part], without[part], **close)
    total, n_tokens = 0.0, 0
    for s, answer in zip(company, answer_batch(plain, company, 1), strict=True):
        for thought, step in zip(answer.thoughts, s.said):
            (words,) = reasoner.embed(torch.tensor([step]))
            states = reasoner.step_decoder(torch.cat([thought[None], words])[None])[0, :-1]
            total = total + F.cross_entropy(reasoner.head(states), torch.tensor(step), reduction="sum")
            n_tokens += len(step)
    torch.testing.assert_close(found, total / n_tokens, **close)
    grown = gradients(reasoner, found)
    assert all(grown[f"writer.{n}"].any() for n, _ in reasoner.writer.named_parameters())
    assert any("step_decoder" in n and g.any() for n, g in grown.items())


def test_micro_batches_share_the_count_of_steps():
    reasoner = tiny_reasoner("gpt2", step_decoder_layers=1)
    batch = collate(sequences(reasoner, RAGGED), reasoner.markers)
    parts = [supervise_language(reasoner, batch.rows(rows))["steps"] for rows in (slice(0, 1), slice(1, 2), slice(2, 4))]
    assert parts[1] == 0  # nobody there has a thought
    torch.testing.assert_close(sum(parts), supervise_language(reasoner, batch)["steps"], **close)


def test_step_decoder_is_trained_saved_and_not_asked_at_inference(tmp_path):
    spec = ReasonerSpec(words=TASK.words, writer="hidden", d_model=16, step_decoder_layers=1)
    reasoner = build_reasoner(spec)
    problems = encoded(reasoner, 8)
    before = copy.deepcopy(reasoner.step_decoder.state_dict())
    method = make("codi", {"n_thoughts": 2}, Budget(steps=2, lr=1e-2))
    train(reasoner, method, problems, TrainOptions(batch_size=8), progress_bar=False)
    assert any(not torch.equal(w, before[n]) for n, w in reasoner.step_decoder.state_dict().items())
    save_reasoner(reasoner, tmp_path)
    again, asked = load_reasoner(tmp_path), [prompt(p, reasoner.markers, 2) for p in problems]
    again.step_decoder = None
    assert [a.tokens for a in answer_batch(again, asked, 4)] == [a.tokens for a in answer_batch(reasoner, asked, 4)]


# --- CODI: who teaches, at which levels, at which token ------------------------------------------------------------


@families
def test_a_static_teacher_with_the_same_weights_teaches_the_same(family):
    reasoner = tiny_reasoner(family, "projection")
    static = copy.deepcopy(reasoner)
    batch = collate(sequences(reasoner, RAGGED), reasoner.markers)
    own, other = (supervise_codi(reasoner, batch, CodiOptions(), teacher) for teacher in (None, static))
    for part in own:
        torch.testing.assert_close(other[part], own[part], **close)
    torch.testing.assert_close(gradients(reasoner, sum(other.values())), gradients(reasoner, sum(own.values())), **close)
    assert all(p.grad is None for p in static.parameters())


def test_a_static_teacher_stays_and_only_it_is_looked_up_to():
    reasoner, static = tiny_reasoner("gpt2", "projection"), tiny_reasoner("gpt2", "projection", seed=1)
    batch = collate(sequences(reasoner, RAGGED), reasoner.markers)
    alone = CodiOptions(teacher_weight=0.0)
    losses = supervise_codi(reasoner, batch, alone, static)
    multitask = supervise_codi(reasoner, batch, CodiOptions(), static)
    assert losses.keys() == {"student", "distill"} and multitask.keys() == {"student", "teacher", "distill"}
    torch.testing.assert_close(multitask["distill"], losses["distill"], **close)
    torch.testing.assert_close(multitask["teacher"], supervise_codi(reasoner, batch, CodiOptions())["teacher"], **close)
    with torch.no_grad():
        for parameter in static.parameters():
            parameter.mul_(1.5)
    assert abs(supervise_codi(reasoner, batch, alone, static)["distill"] - losses["distill"]) > 1e-3


def test_a_method_with_a_static_teacher_is_codi_but_for_its_teacher():
    """A run of the one does not go on from a checkpoint of the other."""
    plain = make("codi", {"n_thoughts": 2}, Budget(steps=2))
    reasoner, static = tiny_reasoner("gpt2", "projection"), tiny_reasoner("gpt2", "projection", seed=1)
    taught = with_static_teacher(plain, static)
    batch = collate(sequences(reasoner, RAGGED), reasoner.markers)
    expected = supervise_codi(reasoner, batch, plain.options, static)
    assert taught.supervise(reasoner, batch) == expected != plain.supervise(reasoner, batch)
    assert replace(taught, supervise=plain.supervise, options=plain.options) == plain
    assert vars(taught.options) == vars(plain.options), "whoever asks for a setting finds it"
    problems = encoded(reasoner, 8)
    assert run_signature(reasoner, taught, problems, TrainOptions()) != run_signature(reasoner, plain, problems, TrainOptions())


@families
def test_distilled_levels_add_up_to_all(family):
    reasoner = tiny_reasoner(family, "projection")
    batch = collate(sequences(reasoner, (2, 1)), reasoner.markers)

    def at(*levels):
        return supervise_codi(reasoner, batch, CodiOptions(levels=levels))["distill"]

    torch.testing.assert_close(at(), at(0, 1, 2), **close)
    torch.testing.assert_close(at(), (at(0) + at(1) + at(-1)) / 3, **close)
    assert len({round(at(level).item(), 9) for level in range(3)}) == 3


def test_the_distilled_token_moves_on_both_sides():
    at_door = distill(2, True)(PROBLEM, MARKERS, RNG)
    for offset in (-1, 1):
        moved = distill(2, True, offset)(PROBLEM, MARKERS, RNG)
        assert (moved.door, moved.teacher_door) == (at_door.door + offset, at_door.teacher_door + offset)
        assert replace(moved, door=at_door.door, teacher_door=at_door.teacher_door) == at_door
    for offset in (-2, 2):  # before <eot>; the end of the sequence, which is never read
        with pytest.raises(ValueError, match="no token"):
            distill(2, True, offset)(PROBLEM, MARKERS, RNG)


def test_a_lora_model_starts_from_a_model_without(tmp_path):
    start = build_reasoner(ReasonerSpec(words=TASK.words, d_model=16), seed=1)
    train(start, make("cot", {}, Budget(steps=2, lr=1e-2)), encoded(start, 8), TrainOptions(batch_size=8), progress_bar=False)
    save_reasoner(start, tmp_path)
    lora = build_reasoner(ReasonerSpec(words=TASK.words, d_model=16, writer="projection", lora_rank=2), seed=2)
    warm_start(lora, tmp_path)
    ids = torch.tensor([encoded(start, 1)[0].question])
    torch.testing.assert_close(lora.eval().lm(input_ids=ids).logits, start.lm(input_ids=ids).logits)
    assert all(p.requires_grad == ("lora_" in n) for n, p in lora.lm.named_parameters())


# --- the ladder ----------------------------------------------------------------------------------------------------


def test_each_rung_of_the_ladder_has_one_start_one_budget_and_a_thought_a_step():
    """So that rows of a rung differ in who writes the thoughts, what language remains and what is supervised alone."""
    rungs: dict[tuple[int, int], dict[str, tuple]] = {}
    for run in read_grid(grid_path("tiny")):
        if (found := ladder.ROW.fullmatch(run.variant)) and found[3] != "cot":
            told = nested(run.parameters)
            budget = Budget(steps=told["steps"], **told.get("training", {}), lr=told["lr"])
            made = make(told["method"], told.get("options", {}), budget)
            assert run.after and run.after.variant == f"ladder_{found[1]}-cot"
            n_steps = sum(stage.steps for stage in made.curriculum)
            rung = int(found[1]), int(found[2] or 1000)
            rungs.setdefault(rung, {})[found[3]] = (n_steps, made.n_thoughts, told["data"], told["model"]["n_layers"])
    assert {*rungs} == {*((hops, 1000) for hops in (1, 2, 3, 4, 6)), (3, 3000)}
    for (hops, updates), rows in rungs.items():
        thoughts = {name: n for name, (_, n, *_) in rows.items()}
        assert {n_steps for n_steps, *_ in rows.values()} == {updates}, hops
        assert {n for name, n in thoughts.items() if name not in ("no_cot", "no_thought")} == {max(1, hops - 1)}
        assert {n for name, n in thoughts.items() if name in ("no_cot", "no_thought")} == {0}
        assert all(data["options"] == {"depth": hops, "width": 1} and layers == 2 for *_, data, layers in rows.values())
    telling = {run.variant for run in read_grid(grid_path("tiny")) if run.variant.startswith("ladder_") and not run.extra}
    assert telling == {f"ladder_4-{name}" for name in ("cot", "no_cot", "pause", "codi", "codi_decoder", "coconut")}
    assert {*rungs[2, 1000]} == {*rungs[6, 1000]} > {"no_cot", "pause", "codi_free", "codi", "codi_decoder", "csft", "coconut"}


def test_a_record_holds_the_validation_accuracy_that_settings_are_chosen_on(tmp_path):
    told = {name: parameter.value for name, parameter in typed_parameters("02_explicit_baselines").items()}
    told |= {"method": "no_cot", "steps": 2, "run": {"dir": str(tmp_path)}, "model": {"d_model": 16}}
    told |= {"data": {"n_train": 8, "n_valid": 4, "n_test": 4}, "training": {"batch_size": 4, "validations": 2}}
    lesson = Lesson("02_explicit_baselines", told)
    recipe, reasoner, problems = lesson.load()
    history = lesson.train(reasoner, recipe, problems)
    lesson.record(reasoner, lesson.measure(reasoner, recipe)[0])
    recorded = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert recorded["validation"] == history["validation"].max() >= 0


# --- the chain in other words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chain, expected",
    [
        ("results", ("5", "-3", "150")),
        ("operators", ("- 5", "- -3", "* / 150")),
        (
            "sentences",
            (
                "now we take 12 minus 7 , which means that there are 5 of them in all .",
                "now we take -1 minus 2 , which means that there are -3 of them in all .",
                "now we take 600 times 25 over 100 , which means that there are 150 of them in all .",
            ),
        ),
    ],
)
def test_chains_say_the_same_steps(chain, expected):
    problem = Problem("q", ("<<12-7=5>>", "<<-1-2=-3>>", "<<600*25/100=150>>"), "150", "p")
    task = Task("t", {"test": (problem,)}, grade_number)
    assert rewrite(task, chain).splits["test"] == (replace(problem, steps=expected),)
    assert rewrite(task, "equations") == task


def test_a_step_that_is_no_equation_and_an_unknown_chain_are_refused():
    task = Task("t", {"test": (Problem("q", ("<<1+1=2>>", "so two"), "2", "p7"),)}, grade_number)
    with pytest.raises(DataError, match="'p7': 'so two' is no equation"):
        rewrite(task, "results")
    with pytest.raises(ValueError, match="known: equations, results"):
        load_task("arithmetic", sizes={"train": 1}, chain="haiku")


@pytest.mark.parametrize("chain", CHAINS)
def test_rewritten_tasks_know_their_words_and_keep_their_questions(chain):
    task, plain = (load_task("arithmetic", sizes={"train": 50}, chain=c) for c in (chain, "equations"))
    tokenizer = tiny_tokenizer(task.words)
    for new, old in zip(task.splits["train"], plain.splits["train"], strict=True):
        assert (new.question, new.answer, new.id) == (old.question, old.answer, old.id) and new.steps != old.steps
        check_words(" ".join(new.steps), tokenizer)
        assert task.grade(new.steps[-1], new)
    assert task.words[: len(plain.words)] == plain.words and task.fingerprint != plain.fingerprint
    lengths = {c: sum(map(len, encode(t.splits["train"], tokenizer)[0].steps)) for c, t in (("new", task), ("old", plain))}
    assert (lengths["new"] > lengths["old"]) == (chain == "sentences")


def test_published_equations_can_be_rewritten(data_dir):
    load = partial(load_task, "gsm8k-aug", data_dir=data_dir, sizes={"train": 3000})
    task, plain = load(chain="operators"), load()
    rng = random.Random(0)
    for new, old in rng.sample([*zip(task.splits["train"], plain.splits["train"], strict=True)], 50):
        assert [s.split()[-1] for s in new.steps] == [s.rpartition("=")[2].strip("<> ") for s in old.steps]
