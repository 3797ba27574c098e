"""SoftCoT: only the projection learns, the assistant is read once, its states are a problem's own, errors are clear."""

import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_thoughts import FAMILIES, TASK, close, families, tiny_reasoner

from latent_backbones.tokens import markers_of, tiny_tokenizer
from latent_backbones.weights import load_official, save_tensors
from latent_cot.curriculum import Budget, all_steps
from latent_cot.evaluation import Evaluation, evaluate, majority, prompt
from latent_cot.generation import Answer, answer, answer_batch
from latent_cot.methods import make
from latent_cot.methods import softcot as softcot_module
from latent_cot.methods.softcot import (
    Assistant,
    assistant_layout,
    chat_layout,
    contrastive_loss,
    first_layers,
    instruction,
    schooling,
)
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner
from latent_cot.sequences import ContextTooLong, Layout, collate, encode
from latent_cot.supervision import supervise_language
from latent_cot.thoughts import read, read_given, think
from latent_cot.training import TrainOptions, train
from latent_tasks import Problem, load_task

PROBLEMS = TASK.splits["train"]
CHAT = "{% for m in messages %}<eos>{{ m['role'] }}: {{ m['content'] | trim }}<bot>{% endfor %}<eot>"
OTHER_WORDS = tuple(reversed(TASK.words))  # another tokenizer: the same words, other ids
OPTIONS = TrainOptions(batch_size=4, validations=1)


def an_assistant(n_thoughts: int = 5, **options) -> Assistant:
    """One layer, width 16, float64, with a tokenizer of its own."""
    spec = ReasonerSpec(words=OTHER_WORDS, d_model=16, n_heads=2, context=128, embedding_std=1.0)
    return Assistant(build_reasoner(spec, seed=1).double(), Layout(), n_thoughts, **options)


def a_pair(family: str = "gpt2", **options) -> tuple[Reasoner, Assistant]:
    return tiny_reasoner(family, "assistant", markers=False, writer_options={"d_assistant": 16}), an_assistant(**options)


def arranged(assistant: Assistant, base: Reasoner, n_thoughts: int, n: int = 5) -> list:
    problems = assistant.encode(PROBLEMS[:n], base.tokenizer)
    return [all_steps(n_thoughts)(p, base.markers, random.Random(0)) for p in problems]


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def unchanged(before: dict[str, torch.Tensor], module: torch.nn.Module) -> bool:
    return all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())


# --- who learns ----------------------------------------------------------------------------------------------------


@families
def test_only_the_projection_learns(family, tmp_path):
    base, assistant = a_pair(family)
    frozen, helper, projection = state(base.lm), state(assistant.reasoner), state(base.writer)
    method = make("softcot", {"n_thoughts": 3, "assistant": "a"}, Budget(steps=6, lr=1e-2))
    history = train(base, method, assistant.encode(PROBLEMS[:12], base.tokenizer), OPTIONS, folder=tmp_path, progress_bar=False)
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    optimised = {name.partition("/")[2] for name in load_file(tmp_path / "checkpoint.safetensors")}
    assert optimised == {"writer.weight", "writer.bias"}, "the optimiser holds the projection and nothing else"
    assert unchanged(frozen, base.lm) and unchanged(helper, assistant.reasoner)
    assert not any(torch.equal(tensor, projection[name]) for name, tensor in base.writer.state_dict().items())
    assert all(p.grad is None for lm in (base.lm, assistant.reasoner) for p in lm.parameters())
    save_tensors(tmp_path / "projection.safetensors", base.writer.state_dict())
    assert {path.name: sorted(load_file(path)) for path in tmp_path.iterdir()}["projection.safetensors"] == ["bias", "weight"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 * 32 * 17 * 8 + 8192, "no language model is written"


@families
def test_without_thoughts_it_is_the_frozen_model(family):
    base, assistant = a_pair(family)
    plain = [all_steps()(p, base.markers, random.Random(0)) for p in encode(PROBLEMS[:5], base.tokenizer)]
    losses = [supervise_language(base, collate(batch, base.markers))["ce"] for batch in (arranged(assistant, base, 0), plain)]
    assert losses[0].item() == losses[1].item()


# --- the assistant's states ----------------------------------------------------------------------------------------


def test_states_are_read_once_and_the_loss_is_that_of_reading_again(monkeypatch):
    base, assistant = a_pair()
    calls = []
    counted = lambda lm, *rest: calls.append(lm) or read(lm, *rest)  # noqa: E731
    monkeypatch.setattr(softcot_module, "read", counted)
    first = collate(arranged(assistant, base, 3), base.markers)
    n_calls = len(calls)
    again = collate(arranged(assistant, base, 3), base.markers)
    assert 0 < n_calls == len(calls)
    fresh = collate(arranged(an_assistant(), base, 3), base.markers)
    losses = [supervise_language(base, batch)["ce"] for batch in (first, again, fresh)]
    assert losses[0] == losses[1] == losses[2] and losses[0].requires_grad
    assert not first.states.requires_grad, "no backward pass through the assistant"


def test_states_are_those_of_a_plain_forward_pass_over_the_whole_prompt():
    base, assistant = a_pair(batch_size=3)
    encoded = assistant.encode(PROBLEMS[:7], base.tokenizer)
    questions = encode(PROBLEMS[:7], assistant.reasoner.tokenizer)
    assert len({len(q.question) for q in questions}) > 1
    for ours, own in zip(encoded, questions):
        ids = torch.tensor([own.question + (assistant.reasoner.markers.pad,) * 5])
        theirs = assistant.reasoner.lm(ids, output_hidden_states=True).hidden_states[-1][0, -5:]
        torch.testing.assert_close(ours.states, theirs[None], **close)
    fewer = an_assistant(n_thoughts=2).encode(PROBLEMS[:7], base.tokenizer)
    for few, many in zip(fewer, encoded):  # the first of many are those of few: training and use may differ
        torch.testing.assert_close(few.states, many.states[:, :2], **close)


@families
def test_loss_and_answer_are_the_same_alone_and_in_company(family):
    base, assistant = a_pair(family)
    together = arranged(assistant, base, 3)
    batch = collate(together, base.markers)
    alone = [supervise_language(base, collate([s], base.markers)) for s in together]
    counts = [sum(label != -100 for label in row) for row in batch.language.labels.tolist()]
    mean = sum(loss["ce"] * n for loss, n in zip(alone, counts)) / sum(counts)
    torch.testing.assert_close(supervise_language(base, batch)["ce"], mean, **close)
    asked = [prompt(p, base.markers, 3, False) for p in an_assistant(batch_size=1).encode(PROBLEMS[:5], base.tokenizer)]
    one_by_one = [answer_batch(base, [p], 8)[0].tokens for p in asked]
    assert [a.tokens for a in answer(base, asked, 8, batch_size=3)] == one_by_one


@families
def test_given_thoughts_read_as_a_block_are_those_read_one_by_one(family):
    base = tiny_reasoner(family)
    batch = collate([prompt(p, base.markers, 0) for p in encode(PROBLEMS[:3], base.tokenizer)], base.markers)
    question, _ = read(base.lm, base.embed(batch.question), batch.question_mask)
    given, n_thoughts = torch.randn(3, 4, 32, dtype=torch.float64), torch.tensor([3, 0, 2])
    block = read_given(base.lm, question, n_thoughts, given)
    loop = think(base.lm, question, n_thoughts, lambda hidden, i: given[:, i])
    torch.testing.assert_close((block.context.hidden, block.thoughts), (loop.context.hidden, loop.thoughts), **close)
    assert torch.equal(block.real, loop.real) and torch.equal(block.context.mask, loop.context.mask)


# --- controls ------------------------------------------------------------------------------------------------------


def test_removed_thoughts_leave_zero_shot_and_swapped_ones_are_the_neighbours():
    base, assistant = a_pair()
    ask = dict(marked=False, max_new_tokens=12, batch_size=6)
    zero = evaluate(base, TASK, PROBLEMS[:6], 0, **ask)
    ask |= dict(encoder=assistant.encode, reasons_aloud=True)
    removed, own, swapped, mean = (
        evaluate(base, TASK, PROBLEMS[:6], 3, control=control, **ask) for control in ("removed", "thoughts", "swapped", "mean")
    )
    texts = lambda result: [a.text for a in result.answers]  # noqa: E731
    assert texts(removed) == texts(zero) != texts(own)
    assert len({tuple(a.thoughts.flatten().tolist()) for a in mean.answers}) == 1
    by_length = sorted(range(6), key=lambda i: len(encode([PROBLEMS[i]], base.tokenizer)[0].question))
    for i, neighbour in zip(by_length, by_length[-1:] + by_length[:-1]):
        assert torch.equal(swapped.answers[i].thoughts, own.answers[neighbour].thoughts)


def test_a_hint_is_the_assistants_text_in_the_question():
    assistant = an_assistant()
    hinted, spent = assistant.hint(PROBLEMS[:3], Layout(), 4, wording="{question} {hint}")
    asked = [prompt(p, assistant.reasoner.markers, 0, False) for p in encode(PROBLEMS[:3], assistant.reasoner.tokenizer)]
    said = [a.text.strip() for a in answer(assistant.reasoner, asked, 4)]
    assert [p.question for p in hinted] == [f"{p.question} {text}" for p, text in zip(PROBLEMS, said)]
    assert spent == sum(a.n_tokens for a in answer(assistant.reasoner, asked, 4)) / 3
    assert any(said) and [replace(p, question="") for p in hinted] == [replace(p, question="") for p in PROBLEMS[:3]]


def test_majority_votes_over_what_answers_say():
    problem = Problem("?", (), "8")

    def said(text: str) -> Evaluation:
        answer = Answer("p", text, (), torch.zeros(0, 1), torch.zeros(1, 1))
        return Evaluation((problem,), (answer,), (TASK.grade(text, problem),))

    seven, eight, also_eight, nothing = (said(text) for text in ("7", "The answer is: 8", "so 8.0", "no idea"))
    assert majority(TASK, [seven, eight, also_eight]) == majority(TASK, [nothing, nothing, eight]) == (True,)
    assert majority(TASK, [seven, eight]) == majority(TASK, [nothing]) == (False,), "the first of equals; nothing is no answer"


# --- SoftCoT++ -----------------------------------------------------------------------------------------------------


def test_other_starts_give_other_thoughts_and_the_contrast_pushes_them_apart():
    base, assistant = a_pair(placeholders=("<pad>", "<bot>", "<eot>"))
    encoded = [assistant.encode(PROBLEMS[:12], base.tokenizer, kind=kind) for kind in range(3)]
    assert encoded[0][0].states.shape == (3, 5, 16)
    assert torch.equal(encoded[2][0].states[0], encoded[0][0].states[2])

    def likeness() -> float:
        return contrastive_loss(base.writer(torch.stack([e.states for e in encoded[0]])), 12).item()

    likenesses = []
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        base.writer.reset_parameters()
        method = make("softcot", {"n_thoughts": 3, "contrast_weight": weight}, Budget(steps=8, lr=1e-2))
        history = train(base, method, encoded[0], OPTIONS, progress_bar=False)
        likenesses.append(likeness())
        assert ("contrast" in history) == bool(weight)
    assert likenesses[1] < likenesses[0]


# --- prompts, other models, errors ---------------------------------------------------------------------------------


def test_a_chat_template_is_cut_where_question_and_thoughts_go():
    """Put together again it is the template's own text; what comes after the thoughts is read and not learned."""
    tokenizer = tiny_tokenizer((*TASK.words, "user", "Solve"))
    tokenizer.chat_template = CHAT
    layout = chat_layout(tokenizer, "Solve", placeholders="<pad><pad>")
    question = PROBLEMS[0].question
    messages = [{"role": "user", "content": f"Solve\n\n{question}\n<pad><pad>"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert layout.question_start + question + layout.question_end + layout.tail == whole
    (encoded,) = encode(PROBLEMS[:1], tokenizer, layout)
    assert tokenizer.decode(encoded.tail) == "<bot> <eot>"
    sequence = all_steps(2)(encoded, markers_of(tokenizer, between=False), random.Random(0))
    assert sequence.language[: sequence.n_unsupervised] == encoded.tail


def test_a_pair_of_models_of_which_one_has_no_chat_template():
    """The fallback is instruction, question, new line; the thoughts come last, and training works."""
    base = tiny_reasoner("llama", "assistant", markers=False, writer_options={"d_assistant": 16})
    assistant = an_assistant()
    assistant.reasoner.tokenizer.chat_template = CHAT
    assistant = replace(assistant, layout=chat_layout(assistant.reasoner.tokenizer, ""), states={})
    layout = chat_layout(base.tokenizer, "Ann")
    assert layout == Layout(question_start="Ann\n\n", question_end="\n")
    encoded = assistant.encode(PROBLEMS[:8], base.tokenizer, layout)
    method = make("softcot", {"n_thoughts": 2}, Budget(steps=2, lr=1e-3))
    assert len(train(base, method, encoded, OPTIONS, progress_bar=False)) == 2


def test_a_prompt_that_names_the_number_has_states_of_its_own_for_each():
    """Without the number, states at 2 are the first 2 of those at 5; with it they are not, and the placeholders come last."""
    plain = an_assistant()
    tokenizer = plain.reasoner.tokenizer

    def numbered(n: int) -> Layout:  # the miniatures know numbers, and no "tokens"
        return Layout(question_start=f"{n} ")

    for assistant, alike in ((plain, True), (replace(plain, numbered=numbered, states={}, others={}), False)):
        two, five = (assistant.asked_for(n).encode(PROBLEMS[:3], tokenizer) for n in (2, 5))
        assert [torch.allclose(a.states[:, :2], b.states[:, :2], **close) for a, b in zip(two, five)] == [alike] * 3
        assert assistant.asked_for(2) is assistant.asked_for(2), "its states are read once"

    tokenizer.chat_template = CHAT
    unnumbered, named = (assistant_layout(tokenizer, "Solve.", n) for n in (0, 32))
    assert unnumbered == chat_layout(tokenizer, "Solve.")
    assert "32" in named.question_start and not named.tail and named.question_end.endswith("<eot>"), "in the assistant's turn"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layers_of_a_model_are_an_assistant(family):
    whole = tiny_reasoner(family)
    ids = torch.tensor([[5, 6, 7]])
    middle = whole.lm(ids, output_hidden_states=True).hidden_states[1]
    small = first_layers(tiny_reasoner(family), 1)
    _, levels = read(small.lm, small.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    norm = small.lm.model.norm if family == "llama" else small.lm.transformer.ln_f
    torch.testing.assert_close(levels[-1], norm(middle), **close)


@pytest.mark.parametrize("who", ["the model", "the assistant"])
def test_a_question_too_long_for_either_model_is_named_with_its_length(who):
    base, assistant = a_pair()
    long = Problem(PROBLEMS[0].question + " has" * {"the model": 90, "the assistant": 130}[who], (), "7", "the long one")
    if who == "the model":  # 96 positions, the assistant has 128
        with pytest.raises(ContextTooLong, match=r"'the long one' needs 1\d\d positions, the model has 96"):
            evaluate(base, TASK, [long], 3, marked=False, max_new_tokens=4, encoder=assistant.encode)
    else:
        with pytest.raises(ContextTooLong, match=r"'the long one' needs 1\d\d positions, the assistant has 128"):
            assistant.encode([long], base.tokenizer)


@pytest.mark.parametrize("name", ["projection.safetensors", "projection.bin"])
def test_projections_load_and_those_of_other_models_do_not(name, tmp_path):
    """The official file is a pickle of two tensors."""
    base = tiny_reasoner("gpt2", "assistant", writer_options={"d_assistant": 16})
    for width in (16, 8):
        tensors = torch.nn.Linear(width, 32).double().state_dict()
        torch.save(tensors, tmp_path / name) if name.endswith("bin") else save_tensors(tmp_path / name, tensors)
        if width == 16:
            load_official(base, tmp_path / name)
            assert torch.equal(base.writer.weight, tensors["weight"])
    with pytest.raises(ValueError, match=rf"{name} does not fit: (.|\n)*\[32, 8\](.|\n)*\[32, 16\]"):
        load_official(base, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "split", "kind"),
    [
        ("gsm8k", "test", "the number"),
        ("asdiv", "test", "the number"),
        ("aqua", "test", "the letter of the right choice"),
        ("strategyqa", "valid", "yes or no"),
        ("date-understanding", "test", "the letter of the right choice"),
    ],
)
def test_prompts_and_graders_of_the_papers_benchmarks(name, split, kind, data_dir):
    task = load_task(name, data_dir=data_dir)
    assert instruction(task).endswith(f'"The answer is: " and {kind}.')
    for problem in task.splits[split][:50]:
        assert task.grade(f"First this, then that.\nThe answer is: {problem.answer}", problem)


# --- what the two have learned -------------------------------------------------------------------------------------


def test_an_assistant_knows_something_only_where_the_task_has_facts():
    assert schooling(TASK, "base") == schooling(TASK, "assistant") == PROBLEMS
    task = load_task("names", sizes={"train": 50})
    base, assistant = schooling(task, "base"), schooling(task, "assistant")
    assert all(len(told.question.split()) == 1 + len(p.question.split()) for told, p in zip(base, task.splits["train"]))
    assert all(len(fact.steps) == 1 for fact in assistant) and base != task.splits["train"]
