"""The register, and what every method in it can do: one that is added is held to the same."""

import importlib
import math
import random
import typing
import zlib
from dataclasses import dataclass, is_dataclass, replace

import pytest
import torch
from safetensors.torch import load_file
from test_thoughts import TASK, close, gradients, tiny_reasoner
from test_training import Killed, assert_same, killed_at, weights

from latent_cot import methods as register
from latent_cot.curriculum import Budget
from latent_cot.evaluation import evaluate, prompt
from latent_cot.generation import answer_batch
from latent_cot.methods import METHODS, TITLES, Entry, Method, NoOptions, entry, make, method
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner, load_reasoner, save_reasoner
from latent_cot.sequences import Batch, Encoded, Layout, collate, encode
from latent_cot.training import TrainOptions, train
from latent_cot.writers import WRITERS, build_writer, writer
from latent_probes.decodings import decode_all
from latent_probes.probing import decode_thoughts, read_along
from latent_runs.places import NOTEBOOKS
from latent_runs.settings import typed_parameters

D_ASSISTANT = 16
OPTIONS = {  # where a method needs them, or has more thoughts than these tests have time for
    "icot": {"longest_chain": 15},
    "codi": {"n_thoughts": 2, "divide_by_std": False},  # a standard deviation is a statistic of the company
    "softcot": {"n_thoughts": 2, "contrast_weight": 0.5},
    "soft_thinking": {"n_thoughts": 5},
    "colar": {"n_thoughts": 4, "compression": 3},
    "csft": {"n_thoughts": 2},
}
BUDGET = Budget(steps=2, steps_per_stage=1, start_steps=1, lr=1e-3, warmup=1)
ONE_BATCH = TrainOptions(batch_size=4, validations=1, checkpoint_every=1)
every_method = pytest.mark.parametrize("name", METHODS)


def a_method(name: str) -> Method:
    return make(name, OPTIONS.get(name, {}), BUDGET)


def writer_options(made: Method) -> dict:
    return dict(made.writer_options) | ({"d_assistant": D_ASSISTANT} if made.writer == "assistant" else {})


def a_reasoner(made: Method, **how) -> Reasoner:
    return tiny_reasoner("gpt2", made.writer, writer_options=writer_options(made), **how)


def encoder(made: Method):
    """`encode`, and an assistant's states where the method has them: two kinds of three, a function of the question."""

    def states(problem) -> torch.Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(problem.question.encode()))
        return torch.randn(2, 3, D_ASSISTANT, generator=generator, dtype=torch.float64)

    def encode_with_states(problems, tokenizer, layout: Layout = Layout()) -> list[Encoded]:
        found = encode(problems, tokenizer, layout)
        return [replace(e, states=states(p)) for e, p in zip(found, problems)] if made.writer == "assistant" else found

    return encode_with_states


def some(made: Method, reasoner: Reasoner, n: int) -> list[Encoded]:
    return encoder(made)(TASK.splits["train"][:n], reasoner.tokenizer)


def prompts(made: Method, reasoner: Reasoner, n: int) -> list:
    return [prompt(p, reasoner.markers, made.n_thoughts, made.thinks_between_markers) for p in some(made, reasoner, n)]


def arranged(made: Method, reasoner: Reasoner, n: int, stage: int = -1) -> list:
    rng = random.Random(0)
    return [made.curriculum[stage].arrange(p, reasoner.markers, rng) for p in some(made, reasoner, n)]


# --- the register --------------------------------------------------------------------------------------------------


@pytest.fixture
def scratch():
    """What a test registers is gone afterwards."""
    before = [(one, dict(one)) for one in (METHODS, TITLES, WRITERS)]
    yield
    for one, was in before:
        one.clear()
        one.update(was)


@every_method
def test_every_method_is_registered_whole(name):
    known, made = entry(name), a_method(name)
    assert (known.name, made.name, TITLES[name]) == (name, name, known.title) and known.title.strip()
    assert is_dataclass(known.options) and known.options.__dataclass_params__.frozen
    assert made.writer in WRITERS and made.curriculum
    assert (NOTEBOOKS / f"{known.lesson}.ipynb").is_file()
    told = typed_parameters(known.lesson)
    if "method" in told and told["method"].kind is not str:
        assert name in typing.get_args(told["method"].kind), "its lesson does not take it"


def test_titles_tell_all_rows_apart():
    assert len(set(TITLES.values())) == len(TITLES) >= len(METHODS)


def test_two_methods_of_one_name_are_refused(scratch):
    def cot(options: NoOptions, budget: Budget) -> Method: ...

    before = dict(METHODS), dict(TITLES)
    with pytest.raises(ValueError, match="two methods are called 'cot'"):
        method("Another", "02_explicit_baselines")(cot)
    assert before == (METHODS, TITLES)


def test_one_call_registers_all_there_is_to_know(scratch):
    @dataclass(frozen=True)
    class Options:
        n: int = 1

    @method("My own", "09_own_method", row={"steps": 3}, also={"own_long": "My own, longer"})
    def own(options: Options, budget: Budget) -> Method:
        return Method("own", "hidden", (), n_thoughts=options.n)

    assert entry("own") == Entry("own", "My own", own, Options, "09_own_method", {"steps": 3})
    assert [*TITLES.items()][-2:] == [("own", "My own"), ("own_long", "My own, longer")]
    assert make("own", {"n": 4}, BUDGET).n_thoughts == 4


def test_a_registered_row_is_a_run_of_the_miniatures_grid(scratch):
    from latent_runs.plan import grid_path, read_grid

    @method("My own", "09_own_method", row={"after": "arithmetic-cot", "steps": 3, "options.n": 2})
    def own(options: NoOptions, budget: Budget) -> Method: ...

    (run,) = (run for run in read_grid(grid_path("tiny")) if run.variant == "arithmetic-own")
    assert (run.notebook, run.after.variant) == ("09_own_method", "arithmetic-cot")
    assert run.parameters == {"method": "own", "steps": 3, "options.n": 2}
    assert not any(run.variant == "arithmetic-own" for run in read_grid(grid_path("paper")))


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (lambda: entry("cott"), ValueError, r"^no method 'cott'; known: no_cot, cot, pause"),
        (lambda: make("", {}, BUDGET), ValueError, r"^no method ''; known: no_cot, cot, pause"),
        (lambda: make("cot", {"n_thoughts": 1}, BUDGET), TypeError, "'n_thoughts'"),
        (lambda: make("colar", {"compresion": 1}, BUDGET), TypeError, "'compresion'"),
        (lambda: make("icot", {}, BUDGET), ValueError, "longest_chain"),
        (lambda: tiny_reasoner("gpt2", "hiden"), ValueError, r"^no writer 'hiden'; known: nobody, hidden, pause"),
        (lambda: tiny_reasoner("gpt2", writer_options={"width": 1}), TypeError, "'width'"),
        (lambda: tiny_reasoner("gpt2", "projection", writer_options={"widht": 1}), TypeError, "'widht'"),
        (lambda: tiny_reasoner("gpt2", "assistant"), TypeError, "'d_assistant'"),
    ],
)
def test_what_nobody_knows_is_one_clear_error(what, error, message):
    with pytest.raises(error, match=message):
        what()


def test_a_writer_of_ones_own_is_built_with_its_options(scratch):
    @writer("constant", "still")
    class Constant(torch.nn.Module):
        def __init__(self, lm, tokenizer, value: float = 0.0):
            super().__init__()
            self.value = value

        def forward(self, hidden, i):
            return torch.full_like(hidden, self.value + i)

    reasoner = tiny_reasoner("gpt2", "still", writer_options={"value": 2.0})
    (said,) = answer_batch(reasoner, [replace(prompts(a_method("coconut"), reasoner, 1)[0], n_thoughts=2)], 3)
    assert said.thoughts.unique().tolist() == [2.0, 3.0]
    assert isinstance(build_writer("constant", reasoner.lm, reasoner.tokenizer), Constant)


def test_the_papers_come_first_and_the_folder_is_found():
    assert [*METHODS][:4] == ["no_cot", "cot", "pause", "icot"]
    modules = {known.build.__module__.rpartition(".")[2] for known in METHODS.values()}
    assert {"explicit", "coconut", "codi", "softcot", "soft_thinking", "colar"} <= modules
    assert all(importlib.import_module(f"{register.__name__}.{module}").__doc__ for module in modules)


# --- every method --------------------------------------------------------------------------------------------------


@every_method
def test_it_trains_and_only_what_is_trainable_moves(name):
    made = a_method(name)
    reasoner = a_reasoner(made)
    before, trainable = weights(reasoner), {n for n, p in reasoner.named_parameters() if p.requires_grad}
    history = train(reasoner, made, some(made, reasoner, 8), ONE_BATCH, progress_bar=False)
    assert len(history) == sum(stage.steps for stage in made.curriculum)
    parts = history.select_dtypes("number").drop(columns="problems_per_second")
    last = parts[history["stage"] == made.curriculum[-1].name].dropna(axis=1, how="all")
    assert last.map(math.isfinite).all(axis=None) and (history["loss"] > 0).all()
    moved = {n for n, w in weights(reasoner).items() if not torch.equal(w, before[n])}
    assert moved and moved <= trainable


@every_method
def test_its_writers_weights_get_a_gradient(name):
    made = a_method(name)
    reasoner = a_reasoner(made)
    losses = made.supervise(reasoner, collate(arranged(made, reasoner, 4), reasoner.markers))
    found = gradients(reasoner, sum(losses.values()))
    own = [n for n, _ in reasoner.named_parameters() if n.startswith("writer.")]
    assert [n for n in own if n not in found or not found[n].any()] == []


def counted(batch: Batch, whole: Batch) -> Batch:
    """A batch of some of a whole batch's problems, with the whole one's counts."""

    def language(one, all_):
        return one and replace(one, n_supervised=all_.n_supervised)

    counts = {"n_problems": whole.n_problems, "n_said": whole.n_said}
    return replace(
        batch, language=language(batch.language, whole.language), teacher=language(batch.teacher, whole.teacher), **counts
    )


@every_method
@pytest.mark.parametrize("stage", [0, -1])
def test_its_losses_are_the_same_alone_and_in_company(name, stage):
    """And add up, problem by problem, to those of the batch."""
    made = a_method(name)
    reasoner = a_reasoner(made)
    company = arranged(made, reasoner, 5, stage)
    batch = collate(company, reasoner.markers)
    assert not batch.question_mask.all()
    together = made.supervise(reasoner, batch)
    total = dict.fromkeys(together, 0.0)
    for i, one in enumerate(company):
        alone = made.supervise(reasoner, counted(collate([one], reasoner.markers), batch))
        row = made.supervise(reasoner, batch.rows(slice(i, i + 1)))
        assert alone.keys() == row.keys() == together.keys()
        for part in together:
            torch.testing.assert_close(row[part], alone[part], **close)
            total[part] = total[part] + alone[part]
    for part, loss in together.items():
        torch.testing.assert_close(total[part], loss, **close)


@every_method
def test_its_thoughts_and_answers_are_the_same_alone_and_in_company(name):
    made = a_method(name)
    reasoner = a_reasoner(made)
    company = prompts(made, reasoner, 5)
    for one, together in zip(company, answer_batch(reasoner, company, 6), strict=True):
        (alone,) = answer_batch(reasoner, [one], 6)
        assert (alone.tokens, alone.text, alone.id) == (together.tokens, together.text, together.id)
        torch.testing.assert_close(alone.thoughts, together.thoughts, **close)
        torch.testing.assert_close(alone.states, together.states, **close)


@every_method
def test_it_answers_under_all_controls(name):
    made = a_method(name)
    reasoner, problems = a_reasoner(made), TASK.splits["train"][:6]
    ask = {"n_thoughts": made.n_thoughts, "marked": made.thinks_between_markers, "max_new_tokens": 6, "encoder": encoder(made)}
    found = {control: evaluate(reasoner, TASK, problems, **ask, control=control) for control in
             ("thoughts", "removed", "swapped", "mean")}  # fmt: skip
    for control, result in found.items():
        assert [a.id for a in result.answers] == [p.id for p in problems]
        assert all(a.tokens and a.thoughts.isfinite().all() for a in result.answers), control
    lengths = {control: [len(a.thoughts) for a in result.answers] for control, result in found.items()}
    assert lengths["swapped"] == lengths["mean"] == lengths["thoughts"] and lengths["removed"] == [0] * 6
    assert all(0 < n <= made.n_thoughts for n in lengths["thoughts"]) or not made.n_thoughts


@every_method
def test_it_goes_on_where_it_was_killed_bit_for_bit(name, tmp_path):
    made = a_method(name)
    untouched = a_reasoner(made, dropout=0.2)
    problems = some(made, untouched, 8)
    train(untouched, made, problems, ONE_BATCH, progress_bar=False)
    for step in range(1, sum(stage.steps for stage in made.curriculum)):
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            train(a_reasoner(made, dropout=0.2), killed_at(made, step), problems, ONE_BATCH, folder=folder, progress_bar=False)
        assert load_file(folder / "checkpoint.safetensors")
        heir = a_reasoner(made, dropout=0.2)
        train(heir, killed_at(made, -1), problems, ONE_BATCH, folder=folder, progress_bar=False)
        assert_same(weights(heir), weights(untouched))


@every_method
def test_it_comes_back_from_its_folder(name, tmp_path):
    made = a_method(name)
    how = {"writer": made.writer, "writer_options": writer_options(made), "d_model": 16, "embedding_std": 1.0}
    spec = ReasonerSpec(words=TASK.words, **how)
    reasoner = build_reasoner(spec, seed=1)
    save_reasoner(reasoner, tmp_path)
    again = load_reasoner(tmp_path)
    assert again.spec == spec
    assert_same(weights(reasoner), weights(again))
    asked = prompts(made, reasoner, 3)
    assert [a.tokens for a in answer_batch(again.double(), asked, 4)] == [
        a.tokens for a in answer_batch(reasoner.double(), asked, 4)
    ]


@every_method
def test_its_thoughts_can_be_read(name):
    made = a_method(name)
    reasoner, problems = a_reasoner(made), TASK.splits["train"][:3]
    asked = prompts(made, reasoner, 3)
    said, top = answer_batch(reasoner, asked, 4), 4
    for reading, one in zip(read_along(reasoner, asked), said, strict=True):
        torch.testing.assert_close(reading.thoughts, one.thoughts, **close)
        torch.testing.assert_close(reading.behind[-1], one.states[:-1], **close)
        assert int(reading.logits[-1].argmax()) == one.tokens[0]
        words = decode_thoughts(reasoner, one.thoughts, top)
        assert len(words) == len(one.thoughts) and all(len(row) == top for row in words)
    ask = {"n_thoughts": made.n_thoughts, "marked": made.thinks_between_markers, "encoder": encoder(made)}
    result = evaluate(reasoner, TASK, problems, max_new_tokens=4, **ask)
    for decoding, one in zip(decode_all(reasoner, result, top), said, strict=True):
        assert (decoding.prediction, len(decoding.decoded)) == (one.text, len(one.thoughts) + 1)
        assert all(len(row) == top for row in decoding.decoded)
