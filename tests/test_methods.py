"""Degenerate cases, curricula, tokens, the learned end of thoughts, and checkpoints of the official code."""

import math
import os
import pickle
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_thoughts import TASK, close, encoded, families, gradients, prompts, sequences, tiny_reasoner
from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from latent_backbones.sources import UnusableModel
from latent_backbones.tiny import EdgeEmbedding
from latent_backbones.tokens import Markers, UnknownWord, add_markers, check_words, tiny_tokenizer
from latent_backbones.weights import load_official
from latent_cot.curriculum import (
    Budget,
    Stage,
    all_steps,
    distill,
    no_steps,
    remove_tokens_from_left,
    replace_steps_with_thoughts,
)
from latent_cot.generation import answer_batch
from latent_cot.methods import Method, make
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.methods.csft import legal_loss, supervise_csft
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner, load_reasoner, save_reasoner
from latent_cot.sequences import (
    IGNORED,
    ContextTooLong,
    Encoded,
    Language,
    Sequence,
    check_length,
    collate,
    encode,
    length_grouped,
)
from latent_cot.supervision import read_language, read_question, supervise_language
from latent_cot.thoughts import read, read_given, think
from latent_cot.training import TrainOptions, train
from latent_cot.trajectory import states_of_steps, trajectory_loss
from latent_tasks import Problem

MARKERS = Markers(pad=0, eos=1, bot=2, eot=3)
BARE = Markers(pad=0, eos=1, bot=None, eot=None)
PROBLEM = Encoded("p", question=(50, 51), steps=((60, 61), (62,), (63, 64)), answer=(70, 71, 1), door=0)
RNG = random.Random(0)


# --- degenerate cases ----------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("writer", ["nobody", "pause", "hidden", "projection"])
def test_no_thoughts_is_plain_cross_entropy(family, writer):
    """Whoever would write them: the loss of transformers on the same tokens."""
    reasoner = tiny_reasoner(family, writer)
    for s in (all_steps()(p, reasoner.markers, RNG) for p in encoded(reasoner, 3)):
        ids = torch.tensor([s.question + s.language])
        labels = ids.clone()
        labels[:, : len(s.question)] = IGNORED
        ours = supervise_language(reasoner, collate([s], reasoner.markers))["ce"]
        theirs = reasoner.lm(input_ids=ids, labels=labels)
        assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-6)  # transformers' loss is float32
        exact = F.cross_entropy(theirs.logits[0, :-1], labels[0, 1:], ignore_index=IGNORED)
        torch.testing.assert_close(ours, exact, **close)


@families
@pytest.mark.parametrize("n_thoughts", [(0, 0), (2, 2), (3, 1)])
def test_codi_without_teacher_and_distillation_is_sft_on_thoughts(family, n_thoughts):
    reasoner = tiny_reasoner(family, "projection")
    batch = collate(sequences(reasoner, n_thoughts), reasoner.markers)
    losses = supervise_codi(reasoner, batch, CodiOptions(teacher_weight=0.0, distill_weight=0.0))
    torch.testing.assert_close(sum(losses.values()), supervise_language(reasoner, batch)["ce"], **close)


@pytest.mark.parametrize("distance", ["l1", "l2", "smooth_l1"])
@pytest.mark.parametrize("divide_by_std", [False, True])
def test_codis_options_weigh_its_losses(distance, divide_by_std):
    reasoner = tiny_reasoner("gpt2", "projection")
    batch = collate(sequences(reasoner, (2, 1)), reasoner.markers)
    options = CodiOptions(distance=distance, divide_by_std=divide_by_std)
    losses = supervise_codi(reasoner, batch, options)
    weighed = supervise_codi(reasoner, batch, replace(options, student_weight=2.0, teacher_weight=3.0, distill_weight=4.0))
    for part, weight in (("student", 2), ("teacher", 3), ("distill", 4)):
        assert losses[part] > 0
        torch.testing.assert_close(weighed[part], weight * losses[part], **close)


def test_degenerate_stages_are_the_baselines():
    cot_, no_cot_ = all_steps()(PROBLEM, MARKERS, RNG), no_steps()(PROBLEM, MARKERS, RNG)
    stage_0 = replace_steps_with_thoughts(0, last_stage=3, latents_per_step=2)
    assert stage_0(PROBLEM, BARE, RNG) == cot_
    assert replace_steps_with_thoughts(0, 3, thoughts=False)(PROBLEM, MARKERS, RNG) == cot_
    assert replace_steps_with_thoughts(4, 3, thoughts=False)(PROBLEM, MARKERS, RNG) == no_cot_
    assert remove_tokens_from_left(0, math.inf)(PROBLEM, MARKERS, RNG) == cot_
    assert remove_tokens_from_left(5, math.inf)(PROBLEM, MARKERS, RNG) == no_cot_
    student = distill(6, keep_last_step=True)(PROBLEM, MARKERS, RNG)
    assert replace(student, teacher=(), teacher_door=0) == no_steps(6)(PROBLEM, MARKERS, RNG)
    assert student.teacher == cot_.language


# --- curricula -----------------------------------------------------------------------------------------------------


def parts(s: Sequence) -> tuple[int, tuple[int, ...]]:
    """Number of thoughts and remaining chain, after checking all that does not change."""
    assert s.question == (*PROBLEM.question, MARKERS.bot) and s.language[0] == MARKERS.eot
    assert s.language[-3:] == PROBLEM.answer and s.n_unsupervised == 1
    assert s.language[s.door : s.door + 1] == PROBLEM.answer[:1]
    return s.n_thoughts, s.language[1:-3]


@pytest.mark.parametrize(
    "stage, last_stage, pad_to_last, expected",
    [
        (0, 3, True, (0, (60, 61, 62, 63, 64))),
        (1, 3, True, (2, (62, 63, 64))),
        (2, 3, True, (4, (63, 64))),
        (3, 3, True, (6, ())),
        (4, 3, True, (6, ())),
        (4, 4, True, (8, ())),  # at the last stage itself a shorter problem has as many thoughts as all others
        (4, 4, False, (8, ())),
        (2, 1, True, (2, ())),  # past it all remaining steps are gone
        (6, 5, True, (10, ())),
        (6, 5, False, (6, ())),  # c · its own number of steps
    ],
)
def test_replacing_steps_with_thoughts(stage, last_stage, pad_to_last, expected):
    arrange = replace_steps_with_thoughts(stage, last_stage, latents_per_step=2, pad_to_last=pad_to_last)
    assert parts(arrange(PROBLEM, MARKERS, RNG)) == expected


def test_steps_vanish_without_thoughts():
    """ "w/o thought": the same schedule of language, no thoughts, no markers."""
    for stage in range(5):
        s = replace_steps_with_thoughts(stage, 3, thoughts=False)(PROBLEM, MARKERS, RNG)
        with_thoughts = replace_steps_with_thoughts(stage, 3)(PROBLEM, MARKERS, RNG)
        assert (s.question, s.n_thoughts, s.n_unsupervised) == (PROBLEM.question, 0, 0)
        assert (s.language, s.door) == (with_thoughts.language[1:], with_thoughts.door - 1)


def frequencies(arrange, of, n: int = 10_000) -> dict[int, float]:
    rng = random.Random(0)
    return {k: v / n for k, v in Counter(of(arrange(PROBLEM, MARKERS, rng)) for _ in range(n)).items()}


def test_uniform_mixing_puts_any_stage_in():
    """With probability 0.4 a stage from 0…3 (the problem has 3 steps), else stage 2."""
    arrange = replace_steps_with_thoughts(2, 3, mixing="uniform", mixing_share=0.4)
    found = frequencies(arrange, lambda s: s.n_thoughts)
    assert found == pytest.approx({0: 0.1, 1: 0.1, 2: 0.7, 3: 0.1}, abs=0.02)


def test_improved_mixing_weighs_stages_up_to_the_current_one():
    found = frequencies(replace_steps_with_thoughts(2, 3, mixing="improved"), lambda s: s.n_thoughts)
    assert found == pytest.approx({0: 1 / 6, 1: 2 / 6, 2: 3 / 6}, abs=0.02)


@pytest.mark.parametrize("smoothing", [0.5, 1.0, 4.0])
def test_removal_smoothing_has_the_papers_distribution(smoothing):
    """P(o) ∝ exp(-λo) tokens more than the stage says; the chain has 100 tokens, so that none is cut off."""
    long = replace(PROBLEM, steps=(tuple(range(100, 200)),))
    arrange = remove_tokens_from_left(3, smoothing)
    found = frequencies(lambda _, m, rng: arrange(long, m, rng), lambda s: 100 - 3 - (len(s.language) - 3))
    for o in range(4):
        assert found.get(o, 0) == pytest.approx(math.exp(-smoothing * o) * (1 - math.exp(-smoothing)), abs=0.02)


def test_removed_tokens_are_the_leftmost():
    s = remove_tokens_from_left(3, math.inf)(PROBLEM, MARKERS, RNG)
    assert (s.language, s.n_unsupervised, s.door) == ((63, 64, *PROBLEM.answer), 0, 2)
    assert remove_tokens_from_left(99, math.inf)(PROBLEM, MARKERS, RNG).language == PROBLEM.answer


@pytest.mark.parametrize("keep_last_step, chain", [(True, (60, 61, 62, 63, 64)), (False, (60, 61, 62))])
def test_codis_teacher_may_lack_the_last_step(keep_last_step, chain):
    s = distill(2, keep_last_step)(PROBLEM, MARKERS, RNG)
    assert s.teacher == chain + PROBLEM.answer and parts(s) == (2, ())
    assert s.teacher[s.teacher_door] == s.language[s.door] == PROBLEM.answer[PROBLEM.door]
    one_step = replace(PROBLEM, steps=PROBLEM.steps[:1])
    assert distill(2, keep_last_step)(one_step, MARKERS, RNG).teacher == (60, 61, *PROBLEM.answer)
    official = distill(2, keep_last_step, keep_only_step=False)(one_step, MARKERS, RNG)
    assert official.teacher == (60, 61) * keep_last_step + PROBLEM.answer
    assert official.teacher[official.teacher_door] == PROBLEM.answer[PROBLEM.door]
    none = replace(PROBLEM, steps=())
    assert distill(2, keep_last_step, keep_only_step=False)(none, MARKERS, RNG).teacher == PROBLEM.answer


def test_coconuts_stages():
    options, budget = {"latents_per_step": 2, "final_stage": True}, Budget(steps=9, steps_per_stage=5, start_steps=7, lr=1e-4)
    usual = make("coconut", options, budget)
    assert [(s.name, s.steps) for s in usual.curriculum] == [
        ("stage-0", 7),
        ("stage-1", 5),
        ("stage-2", 5),
        ("stage-3", 5),
        ("stage-4", 9),
    ]
    assert [parts(s.arrange(PROBLEM, MARKERS, RNG))[0] for s in usual.curriculum] == [0, 2, 4, 6, 6]
    assert (usual.n_thoughts, usual.writer) == (6, "hidden")
    direct = make("no_curriculum", options, budget)
    assert [(s.name, s.steps) for s in direct.curriculum] == [("stage-4", 31)]
    silent = make("no_thought", options, budget)
    assert (silent.n_thoughts, silent.writer, silent.thinks_between_markers) == (0, "nobody", False)
    assert make("pause_as_thought", options, budget).writer == "pause"


# --- tokens and batches --------------------------------------------------------------------------------------------


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    folder = os.environ.get("LATENT_COT_DATA")
    if not folder or not (Path(folder) / "gpt2_tokenizer" / "vocab.bpe").exists():
        pytest.skip("no gpt2_tokenizer/{encoder.json,vocab.bpe} in LATENT_COT_DATA")
    files = (str(Path(folder) / "gpt2_tokenizer" / name) for name in ("encoder.json", "vocab.bpe"))
    return PreTrainedTokenizerFast(
        tokenizer_object=ByteLevelBPETokenizer.from_file(*files)._tokenizer, eos_token="<|endoftext|>"
    )


def digit_tokenizer() -> PreTrainedTokenizerFast:
    """Spaces, digits and words are tokens of their own."""
    pieces = ["<eos>", " ", "\n", *"0123456789", "-", "The", "answer", "is", ":", "###", "How", "many", "?", "+", "="]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[A-Za-z]+|#+|[^A-Za-z#]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


DOORS = {gpt2_tokenizer: ":", digit_tokenizer: " "}


@pytest.mark.parametrize("make", DOORS)
@pytest.mark.parametrize("answer", ["18", "7", "1234567", "-5"])
def test_the_door_is_before_the_answers_first_character(make, answer):
    """GPT-2 merges the space into " 18", so its door is ':'; where digits stand alone it is the space."""
    tokenizer = make()
    (found,) = encode([Problem("How many?", ("1+1=2",), answer, "p")], tokenizer)
    assert tokenizer.decode([found.answer[found.door]]) == DOORS[make]
    assert tokenizer.decode(found.answer[found.door + 1 : -1]).strip() == answer
    assert found.answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(found.question) == "How many?\n" and tokenizer.decode(found.steps[0]) == "1+1=2\n"
    assert found.n_tokens == len(found.question) + len(found.steps[0]) + len(found.answer)


def test_markers_are_the_last_three_ids_of_a_pretrained_tokenizer():
    tokenizer = digit_tokenizer()
    n = len(tokenizer)
    assert add_markers(tokenizer).convert_tokens_to_ids(["<pad>", "<bot>", "<eot>"]) == [n, n + 1, n + 2]
    assert tokenizer.pad_token_id == n


def test_words_a_model_has_never_seen_are_named():
    tokenizer = tiny_tokenizer(TASK.words)
    for problem in TASK.splits["train"]:
        check_words(" ".join((problem.question, *problem.steps, problem.answer)), tokenizer)
    with pytest.raises(UnknownWord, match="zebras, 777"):
        check_words("Ann has 12 zebras, gets 777 zebras: how many?", tokenizer)


def test_a_sequence_that_does_not_fit_is_refused_with_its_length():
    s = Sequence("long one", (5,) * 60, 6, (5,) * 20, teacher=(5,) * 30)
    check_length(s, 96)
    with pytest.raises(ContextTooLong, match=r"'long one' needs 96 positions, the model has 95"):
        check_length(s, 95)
    reasoner = tiny_reasoner("gpt2")
    with pytest.raises(ContextTooLong, match="needs 97"):
        answer_batch(reasoner, [replace(s, teacher=())], max_new_tokens=11)


def test_collate_aligns_thoughts_in_one_block():
    batch = collate(
        [
            Sequence("a", (5, 6, 2), 1, (3, 7, 8, 1), n_unsupervised=1, door=1, teacher=(7, 1), teacher_door=0),
            Sequence("b", (5, 2), 2, (3, 1), n_unsupervised=1, door=0, teacher=(7, 8, 9, 1), teacher_door=2),
        ],
        MARKERS,
    )
    assert batch.question.tolist() == [[5, 6, 2], [0, 5, 2]]
    assert batch.question_mask.tolist() == [[True, True, True], [False, True, True]]
    assert batch.n_thoughts.tolist() == [1, 2]
    assert batch.language.labels.tolist() == [[IGNORED, 7, 8, 1], [IGNORED, 1, IGNORED, IGNORED]]
    assert (batch.language.n_supervised, batch.teacher.n_supervised, batch.n_problems) == (4, 6, 2)
    assert batch.language.door.tolist() == [1, 0] and batch.teacher.door.tolist() == [0, 2]
    second = batch.rows(slice(1, 2))
    assert second.ids == ("b",) and second.language.ids.tolist() == [[3, 1, 0, 0]]
    assert (second.language.n_supervised, second.n_problems) == (4, 2)  # counts of the global batch


def test_length_grouping_keeps_padding_under_five_percent():
    """Lengths as of word problems: questions log-normal around 60 tokens, a few beyond 200; chains as if they knew nothing of
    the question."""
    rng = random.Random(0)
    lengths = [(int(rng.lognormvariate(4.1, 0.45)) + 10, int(rng.lognormvariate(3.3, 0.5)) + 5) for _ in range(10_000)]
    batches = length_grouped(lengths, 8, torch.Generator().manual_seed(0))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    width = sum(len(batch) * sum(max(lengths[i][part] for i in batch) for part in (0, 1)) for batch in batches)
    assert 1 - sum(map(sum, lengths)) / width < 0.05
    assert batches != length_grouped(lengths, 8, torch.Generator().manual_seed(1))
    firsts = [lengths[batch[0]] for batch in batches[:40]]
    assert firsts != sorted(firsts)  # batches come in no order of length


# --- the learned end of thoughts -----------------------------------------------------------------------------------


def test_training_teaches_when_to_stop():
    """Problems of 1 to 4 steps, one thought a step: the classifier learns where each one ends."""
    reasoner = tiny_reasoner("gpt2", learned_stop=True)
    arrange = replace_steps_with_thoughts(5, 4, pad_to_last=False)
    method = Method("stop", "hidden", (Stage("final", 60, arrange, 5e-3, warmup=5),), n_thoughts=4)
    history = train(reasoner, method, encoded(reasoner, 16), TrainOptions(batch_size=16), progress_bar=False)
    assert history["stop"].iloc[-1] < 0.5 * history["stop"].iloc[0]
    assert history["ce"].iloc[-1] < history["ce"].iloc[0]


@families
def test_thoughts_end_when_the_classifier_says_so(family):
    """Each problem at its own thought, and then as if that number had been asked for."""
    reasoner = tiny_reasoner(family, learned_stop=True).eval()
    asked = prompts(reasoner, (5, 5, 5, 5, 2))
    for bias in torch.linspace(-2, 2, 81):  # an untrained classifier, as undecided as it takes for lengths to differ
        reasoner.stop_head.bias.data.fill_(bias)
        stopping = answer_batch(reasoner, asked, 6)
        lengths = [len(a.thoughts) for a in stopping]
        if len(set(lengths[:4])) > 1:
            break
    assert len(set(lengths[:4])) > 1
    head, reasoner.stop_head = reasoner.stop_head, None
    for a, p, n in zip(stopping, asked, lengths, strict=True):
        batch = collate([p], reasoner.markers)
        context, _ = read(reasoner.lm, reasoner.embed(batch.question), batch.question_mask)
        stops = []
        for _ in range(p.n_thoughts):
            context = think(reasoner.lm, context, torch.tensor([1]), reasoner.writer).context
            stops.append(head(context.hidden).item() > 0)
        assert n == (stops.index(True) + 1 if True in stops else p.n_thoughts)
        (given,) = answer_batch(reasoner, [replace(p, n_thoughts=n)], 6)
        assert a.tokens == given.tokens
        torch.testing.assert_close(a.thoughts, given.thoughts, **close)


def test_the_classifier_learns_beside_any_method():
    """CODI's other losses stay as they are without it, and the classifier learns what it learns from language alone."""
    reasoner, plain = tiny_reasoner("gpt2", "projection", learned_stop=True), tiny_reasoner("gpt2", "projection")
    batch = collate(sequences(reasoner, (3, 0, 1, 2)), reasoner.markers)
    found, without = (supervise_codi(one, batch, CodiOptions()) for one in (reasoner, plain))
    torch.testing.assert_close(found.pop("stop"), supervise_language(reasoner, batch)["stop"], **close)
    torch.testing.assert_close(found, without, **close)


def test_the_stop_loss_is_the_same_alone_and_in_company():
    reasoner = tiny_reasoner("gpt2", learned_stop=True)
    company = sequences(reasoner, (3, 0, 1, 2))
    together = supervise_language(reasoner, collate(company, reasoner.markers))["stop"]
    alone = [supervise_language(reasoner, collate([s], reasoner.markers))["stop"] for s in company]
    torch.testing.assert_close(together, sum(alone) / 4, **close)
    assert alone[1] == 0


# --- CSFT: which words a thought may be ----------------------------------------------------------------------------


def test_the_legal_loss_by_hand():
    """Two problems, two thoughts of the first and one of the second; five words."""
    logits = torch.randn(2, 2, 5, dtype=torch.float64)
    legal = torch.tensor([[[0, 3], [2, IGNORED]], [[1, 4], [IGNORED, IGNORED]]])
    log_p = logits.log_softmax(-1)
    expected = (log_p[0, 0, 0] + log_p[0, 0, 3]) / 2 + log_p[0, 1, 2] + (log_p[1, 0, 1] + log_p[1, 0, 4]) / 2
    torch.testing.assert_close(legal_loss(logits, lambda states: states, legal, n_problems=2), -expected / 2)
    even = torch.tensor([[[0.0, 0.0, -1e9, -1e9, -1e9]]], dtype=torch.float64)
    least = legal_loss(even, lambda states: states, torch.tensor([[[0, 1]]]), 1)
    assert least.item() == pytest.approx(math.log(2))  # the target's own entropy: no prediction does better
    nothing = legal_loss(even, lambda states: states, torch.tensor([[[IGNORED]]]), 1)
    assert nothing == 0


@families
@pytest.mark.parametrize("writer", ["expectation", "projection", "hidden"])
def test_csft_supervises_the_states_that_write_the_thoughts(family, writer):
    """One problem after another, each thought by itself; a gradient reaches what wrote the thoughts before."""
    reasoner = tiny_reasoner(family, writer)
    company = sequences(reasoner, (3, 0, 2, 1))
    batch = collate(company, reasoner.markers)
    losses = supervise_csft(reasoner, batch, legal_weight=0.5)
    torch.testing.assert_close(losses["ce"], supervise_language(reasoner, batch)["ce"], **close)
    total = 0.0
    for s, answer in zip(company, answer_batch(reasoner, prompts(reasoner, (3, 0, 2, 1)), 1), strict=True):
        for state, step in zip(answer.states, s.said[: s.n_thoughts]):
            total -= reasoner.head(state).log_softmax(-1)[list(step)].mean()
    torch.testing.assert_close(losses["legal"], 0.5 * total / 4, **close)
    long = next(problem for problem in encoded(reasoner, 40) if len(problem.steps) >= 3)
    batch = collate([no_steps(3)(long, reasoner.markers, RNG)], reasoner.markers)
    only_third = replace(batch, said=torch.cat([torch.full_like(batch.said[:, :2], IGNORED), batch.said[:, 2:]], 1))
    reasoner.writer.register_forward_hook(lambda _, __, thought: written.append(thought) or thought.retain_grad())
    written = []
    supervise_csft(reasoner, only_third, 1.0)["legal"].backward()
    assert [thought.grad is not None and bool(thought.grad.any()) for thought in written[:2]] == [True, True]


@families
def test_an_expected_thought_is_the_mean_word(family):
    reasoner = tiny_reasoner(family, "expectation")
    states = torch.randn(3, 32, dtype=torch.float64)
    for state, thought in zip(states, reasoner.writer(states, 0), strict=True):
        chances = reasoner.head(state).softmax(-1)
        expected = sum(p * reasoner.embed(torch.tensor([word]))[0] for word, p in enumerate(chances))
        torch.testing.assert_close(thought, expected, **close)
    assert reasoner.stop is None and not [*reasoner.writer.parameters()]


# --- the whole trajectory ------------------------------------------------------------------------------------------


def a_chain(rows: list[list[int]]) -> Language:
    ids = torch.tensor(rows)
    return Language(ids, ids > 0, ids, torch.zeros(len(rows), dtype=torch.long), n_supervised=1)


def test_the_states_of_steps_by_hand():
    """Steps of two words and one; then of one and (dropped, so that other words stand there) one."""
    chain = a_chain([[7, 8, 9, 50, 1], [7, 50, 1, 0, 0]])
    said = torch.tensor([[[7, 8], [9, IGNORED], [IGNORED, IGNORED]], [[7, IGNORED], [9, IGNORED], [IGNORED, IGNORED]]])
    level = torch.arange(2 * 4 * 1, dtype=torch.float64).reshape(2, 4, 1)
    (means,), held = states_of_steps((level,), chain, said)
    assert held.tolist() == [[True, True, False], [True, False, False]]
    assert means[held].flatten().tolist() == [0.5, 2.0, 4.0]


def test_the_trajectory_loss_by_hand():
    chain, said = a_chain([[7, 9, 50, 1]]), torch.tensor([[[7], [9]]])
    teacher, student = (torch.randn(2, 1, n, 3, dtype=torch.float64) for n in (3, 2))
    found = trajectory_loss(tuple(student), tuple(teacher), chain, said, "l1", divide_by_std=False, n_problems=1)
    expected = sum((student[m, 0, i] - teacher[m, 0, i]).abs().mean() for m in range(2) for i in range(2)) / 2
    torch.testing.assert_close(found, expected)  # a sum over thoughts, a mean over levels
    same = trajectory_loss(tuple(teacher[:, :, :2]), tuple(teacher), chain, said, "l1", True, 1)
    assert same == 0
    nowhere = trajectory_loss(tuple(student), tuple(teacher), a_chain([[5, 5, 5, 1]]), said, "l1", True, 1)
    assert nowhere == 0


@families
@pytest.mark.parametrize("padding_first", [False, True])
def test_the_trajectory_only_adds_its_loss(family, padding_first):
    """The other parts stay; the new one is that of each problem alone, and only the student is moved."""
    reasoner = tiny_reasoner(family, "projection")
    plain, pulled = CodiOptions(divide_by_std=False), CodiOptions(divide_by_std=False, trajectory_weight=2.0)
    company = sequences(reasoner, (3, 0, 2, 1))[:: -1 if padding_first else 1]
    batch = collate(company, reasoner.markers)
    losses, without = supervise_codi(reasoner, batch, pulled), supervise_codi(reasoner, batch, plain)
    found = losses.pop("trajectory")
    torch.testing.assert_close(losses, without, **close)
    alone = [supervise_codi(reasoner, collate([s], reasoner.markers), pulled).get("trajectory", 0) for s in company]
    torch.testing.assert_close(found, sum(alone) / 4, **close)
    rows = [supervise_codi(reasoner, batch.rows(slice(i, i + 1)), pulled).get("trajectory", 0) for i in range(4)]
    torch.testing.assert_close(found, sum(rows), **close)
    grown = gradients(reasoner, found)
    assert all(grown[f"writer.{name}"].any() for name, _ in reasoner.writer.named_parameters())
    by_itself = CodiOptions(divide_by_std=False, teacher_weight=0.0, distill_weight=0.0, trajectory_weight=2.0)
    parts = supervise_codi(reasoner, batch, by_itself)
    assert parts["teacher"] == 0 and "distill" not in parts
    torch.testing.assert_close(parts["trajectory"], found, **close)


@families
def test_a_student_that_thinks_its_teachers_words_has_its_trajectory(family):
    """Where thoughts are the steps' own words, in their own places, nothing is left to pull; another is pulled there."""
    reasoner = tiny_reasoner(family)
    (problem,) = encoded(reasoner, 1)
    words = tuple((word,) for step in problem.steps for word in step)
    batch = collate([distill(len(words), True)(replace(problem, steps=words), BARE, RNG)], BARE)
    question, _ = read_question(reasoner, batch)
    _, teacher = read_language(reasoner, question, batch.teacher)
    thoughts = reasoner.embed(batch.said[:, :, 0])

    def pull(thoughts):
        real = torch.ones(thoughts.shape[:2], dtype=torch.bool)
        _, student = read(reasoner.lm, thoughts, real, question)
        return trajectory_loss(student, teacher, batch.teacher, batch.said, "smooth_l1", True, 1)

    assert pull(thoughts).item() == pytest.approx(0, abs=1e-12)
    off = (thoughts + 0.3 * torch.randn_like(thoughts)).detach().requires_grad_()
    loss = pull(off)
    loss.backward()
    assert pull(off.detach() - 1e-2 * off.grad / off.grad.norm()) < loss


# --- pauses: in one pass, or one after another ---------------------------------------------------------------------


@families
@pytest.mark.parametrize("n_thoughts", [(3, 3, 3), (4, 0, 2)])
def test_pauses_read_in_one_pass_and_one_after_another_are_the_same_function(family, n_thoughts):
    """Under a causal mask, with a cache and equal positions a pause sees what it sees either way: thoughts, states, logits and
    gradients are equal. A gap between the two that is published from one seed each is noise."""
    reasoner = tiny_reasoner(family, "pause")
    batch = collate(sequences(reasoner, n_thoughts), reasoner.markers)
    found = []
    for in_one_pass in (False, True):
        question, _ = read_question(reasoner, batch)
        if in_one_pass:
            pauses = reasoner.writer.embedding.expand(len(n_thoughts), max(n_thoughts), -1)
            had = read_given(reasoner.lm, question, batch.n_thoughts, pauses)
        else:
            had = think(reasoner.lm, question, batch.n_thoughts, reasoner.writer)
        predicting, _ = read_language(reasoner, had.context, batch.language)
        logits = reasoner.head(predicting)[batch.language.mask]
        found.append((had.thoughts[had.real], had.context.hidden, logits, gradients(reasoner, logits.square().mean())))
    torch.testing.assert_close(found[1], found[0], **close)


@families
def test_pauses_are_ordinary_inputs_of_the_model(family):
    """And the same as in one call of transformers, without a cache."""
    reasoner = tiny_reasoner(family, "pause")
    (s,) = sequences(reasoner, (3,))
    (answer,) = answer_batch(reasoner, [replace(s, language=s.language[:1], teacher=())], 1)
    words = reasoner.embed(torch.tensor([*s.question, *s.language[:1]]))
    pauses = reasoner.writer.embedding.expand(3, -1)
    embeds = torch.cat([words[: len(s.question)], pauses, words[len(s.question) :]])[None]
    out = reasoner.lm(inputs_embeds=embeds, output_hidden_states=True)
    assert int(out.logits[0, -1].argmax()) == answer.tokens[0]
    before = len(s.question) - 1
    torch.testing.assert_close(out.hidden_states[-1][0, before : before + 4], answer.states, **close)


# --- models and checkpoints ----------------------------------------------------------------------------------------


def test_edge_embedding_is_its_formula():
    torch.manual_seed(0)
    tokens = torch.nn.Embedding(10, 6)
    embedding = EdgeEmbedding(tokens, torch.tensor([[4, 5], [7, 4]]))
    ids = torch.tensor([[3, 10, 9], [11, 0, 10]])
    found = embedding(ids)
    for (source, target), where in (((4, 5), ids == 10), ((7, 4), ids == 11)):
        expected = embedding.source.weight @ tokens.weight[source] + embedding.target.weight @ tokens.weight[target]
        torch.testing.assert_close(found[where], expected.expand_as(found[where]))
    assert torch.equal(found[ids < 10], tokens.weight[ids[ids < 10]])


@pytest.fixture
def pretrained(tmp_path) -> Path:
    """A folder as `from_pretrained` likes it."""
    reasoner = tiny_reasoner("gpt2")
    reasoner.lm.float().save_pretrained(tmp_path / "lm")
    reasoner.tokenizer.save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def test_lora_leaves_the_backbone_and_its_embeddings_frozen(pretrained):
    reasoner = build_reasoner(ReasonerSpec(lm=str(pretrained), writer="projection", lora_rank=4))
    before = {n: p.detach().clone() for n, p in reasoner.named_parameters()}
    method = make("cot", {}, Budget(steps=2, lr=1e-2))
    train(reasoner, method, encoded(reasoner, 4), TrainOptions(batch_size=4), progress_bar=False)
    moved = {n for n, p in reasoner.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora_" in n for n in moved)
    trainable = {n for n, p in reasoner.named_parameters() if p.requires_grad}
    assert trainable == {n for n in before if "lora_" in n or n.startswith("writer.")}
    for matrix in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        assert any(f"h.1.{matrix}.lora_B" in n for n in moved)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_saved_reasoner_comes_back(pretrained, tmp_path, lora_rank):
    spec = ReasonerSpec(lm=str(pretrained), writer="projection", lora_rank=lora_rank, learned_stop=True)
    reasoner = build_reasoner(spec, seed=1)
    with torch.no_grad():
        for parameter in reasoner.parameters():
            parameter.add_(0.01)
    save_reasoner(reasoner, tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == ["model.safetensors"]
    again = load_reasoner(tmp_path / "saved")
    assert again.spec == spec
    for (name, ours), theirs in zip(reasoner.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_tiny_reasoner_with_edges_comes_back(tmp_path):
    spec = ReasonerSpec(writer="hidden", words=("a", "b", "c", "a>b", "b>c"), d_model=16)
    reasoner = build_reasoner(spec, seed=3)
    save_reasoner(reasoner, tmp_path)
    again, ids = load_reasoner(tmp_path), torch.tensor([[6, 7, 9, 10]])
    assert torch.equal(reasoner.embed(ids), again.embed(ids))


def official(reasoner: Reasoner, code: str) -> dict[str, torch.Tensor]:
    """A state dict as the official code would have saved it."""
    state = {name: w.clone() for name, w in reasoner.lm.state_dict().items()}
    if code == "coconut":
        embedding = {"embedding.weight": reasoner.lm.get_input_embeddings().weight.detach().clone()}
        return {f"base_causallm.{name}": w for name, w in state.items()} | embedding
    writer = {f"prj.{name}": w.clone() for name, w in reasoner.writer.state_dict().items()}
    return {f"codi.{name}": w for name, w in state.items()} | writer


@families
@pytest.mark.parametrize("code, writer", [("coconut", "hidden"), ("codi", "projection")])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_official_checkpoints_load(family, code, writer, suffix, tmp_path):
    theirs, ours = (tiny_reasoner(family, writer, seed) for seed in (1, 2))
    path = tmp_path / f"model{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(official(theirs, code), path)
    load_official(ours, path)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    reasoner = tiny_reasoner("gpt2")
    state = official(reasoner, "coconut")
    del state["base_causallm.transformer.h.1.mlp.c_fc.weight"]
    save_file(state | {"base_causallm.other": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing \['transformer.h.1.mlp.c_fc.weight'\], unexpected \['other'\]"):
        load_official(reasoner, tmp_path / "model.safetensors")


def test_a_checkpoint_of_a_wider_model_and_an_empty_one_are_refused(tmp_path):
    reasoner = tiny_reasoner("gpt2")
    wide = official(reasoner, "coconut") | {"base_causallm.transformer.ln_f.weight": torch.zeros(33)}
    for state, message in ((wide, r"model.safetensors does not fit: (.|\n)*\[33\]"), ({}, "missing")):
        save_file(state, tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match=message):
            load_official(reasoner, tmp_path / "model.safetensors")


class Evil:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_a_malicious_pickle_is_refused(save, tmp_path):
    save({"base_causallm.x": Evil(tmp_path / "pwned")}, tmp_path / "model.bin")
    with pytest.raises(UnusableModel, match="model.bin: no weights that can be read here .UnpicklingError"):
        load_official(tiny_reasoner("gpt2"), tmp_path / "model.bin")
    assert not (tmp_path / "pwned").exists()
