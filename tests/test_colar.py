"""CoLaR: its losses by hand, what each of them teaches, and where the thoughts end (float64, tiny random LMs)."""

import random
from dataclasses import replace
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from test_methods import MARKERS, PROBLEM, RNG
from test_thoughts import close, encoded, families, gradients, tiny_reasoner

from latent_cot.curriculum import Budget
from latent_cot.evaluation import prompt
from latent_cot.generation import answer_batch
from latent_cot.methods import make
from latent_cot.methods.colar import compressed, supervise_colar
from latent_cot.models import Reasoner
from latent_cot.sequences import IGNORED, Batch, Encoded, Sequence, collate
from latent_cot.training import TrainOptions, train


def arranged(reasoner: Reasoner, r: int, problems: list[Encoded]) -> list[Sequence]:
    return [compressed(r)(p, reasoner.markers, random.Random(0)) for p in problems]


def losses(reasoner: Reasoner, r: int, problems: list[Encoded]) -> dict[str, torch.Tensor]:
    return supervise_colar(reasoner, collate(arranged(reasoner, r, problems), reasoner.markers), latent_weight=1.0)


@pytest.mark.parametrize(
    ("r", "said"),
    [
        (1, ((60,), (61,), (62,), (63,), (64,))),
        (2, ((60, 61), (62, 63), (64,))),
        (4, ((60, 61, 62, 63), (64,))),
        (9, ((60, 61, 62, 63, 64),)),
    ],
)
def test_a_chain_is_cut_into_groups_of_words(r, said):
    s = compressed(r)(PROBLEM, MARKERS, RNG)
    assert (s.said, s.n_thoughts) == (said, len(said))
    assert (s.question, s.language) == ((*PROBLEM.question, MARKERS.bot), (MARKERS.eot, *PROBLEM.answer))
    assert s.language[s.door] == PROBLEM.answer[PROBLEM.door]
    assert collate([s], MARKERS).language.labels[0, 0] == MARKERS.eot, "the end of thoughts is learned"


def by_hand(reasoner: Reasoner, problem: Encoded, r: int) -> dict[str, torch.Tensor]:
    """Sums over one problem's words, everything read in one pass: what a thought is, who predicts it, and from where."""
    words, markers = [*chain.from_iterable(problem.steps)], reasoner.markers
    groups = [words[i : i + r] for i in range(0, len(words), r)]
    table = reasoner.lm.get_input_embeddings().weight
    thoughts = torch.stack([table[group].sum(0) / len(group) ** 0.5 for group in groups])
    question, language = (*problem.question, markers.bot), (markers.eot, *problem.answer)
    embeds = torch.cat([table[[*question]], thoughts, table[[*language]]])[None]
    output = reasoner.lm(inputs_embeds=embeds, output_hidden_states=True)
    before, logits = output.hidden_states[-1][0], output.logits[0].log_softmax(-1)
    first, end = len(question) - 1, len(question) + len(groups) - 1
    off = (reasoner.writer(before[first:end]) - thoughts.detach()).square().mean(-1) / table.detach().var()
    return {
        "ce": -sum(logits[end + i, token] for i, token in enumerate(language)),
        "words": -sum(logits[first + i, group].sum() for i, group in enumerate(groups)),
        "latent": sum(off[i] * len(group) for i, group in enumerate(groups)),
    }


@families
@pytest.mark.parametrize("r", [1, 3, 50])
def test_losses_are_their_formulas(family, r):
    reasoner = tiny_reasoner(family, "latent_head")
    problems = encoded(reasoner, 4)
    found, sums = losses(reasoner, r, problems), [by_hand(reasoner, problem, r) for problem in problems]
    n_words, n_language = (sum(map(len, parts)) for parts in
                           (chain.from_iterable(p.steps for p in problems), [(0, *p.answer) for p in problems]))  # fmt: skip
    for part, n in {"ce": n_language, "words": n_words, "latent": n_words}.items():
        torch.testing.assert_close(found[part], sum(one[part] for one in sums) / n, **close)


@families
def test_one_word_a_thought_is_cot_with_markers(family):
    """The targets are the chain's embeddings: transformers' loss on question <bot> chain <eot> answer."""
    reasoner = tiny_reasoner(family, "latent_head")
    for problem in encoded(reasoner, 3):
        steps, (bot, eot) = [*chain.from_iterable(problem.steps)], (reasoner.markers.bot, reasoner.markers.eot)
        ids = torch.tensor([[*problem.question, bot, *steps, eot, *problem.answer]])
        labels = ids.clone()
        labels[:, : len(problem.question) + 1] = IGNORED
        logits = reasoner.lm(input_ids=ids).logits[0, :-1]
        cot = F.cross_entropy(logits, labels[0, 1:], ignore_index=IGNORED, reduction="sum")
        found = losses(reasoner, 1, [problem])
        ours = found["words"] * len(steps) + found["ce"] * (len(problem.answer) + 1)
        torch.testing.assert_close(ours, cot, **close)


def test_the_target_is_not_taught():
    """One thought for the whole chain: what is read before it is the question, so only the question's words are moved."""
    reasoner = tiny_reasoner("gpt2", "latent_head")
    (problem,) = encoded(reasoner, 1)
    found = gradients(reasoner, losses(reasoner, 99, [problem])["latent"])
    moved = set(found["lm.transformer.wte.weight"].any(-1).nonzero().flatten().tolist())
    assert moved == {*problem.question, reasoner.markers.bot}
    assert set(chain.from_iterable(problem.steps)) - moved, "no word of the chain is not in the question"
    assert all(found[f"writer.{name}"].any() for name, _ in reasoner.writer.named_parameters())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_add_up_to_the_batch(size):
    """Also where one has shorter chains than the batch."""
    whole, parts = (tiny_reasoner("gpt2", "latent_head") for _ in range(2))
    method = make("colar", {"compression": 3}, Budget(steps=3, lr=1e-3))
    options = TrainOptions(batch_size=6)
    a = train(whole, method, encoded(whole, 12), options, progress_bar=False)
    b = train(parts, method, encoded(parts, 12), replace(options, micro_batch=size), progress_bar=False)
    for part in ("ce", "words", "latent"):
        assert a[part].tolist() == pytest.approx(b[part].tolist(), rel=1e-9)
    for (name, ours), theirs in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **close)


def test_targets_do_not_depend_on_the_company():
    """What is read in a thought's place: a problem's own words, whoever else is in the batch and however long."""
    reasoner = tiny_reasoner("gpt2", "latent_head")
    company = arranged(reasoner, 4, encoded(reasoner, 5))
    batch: Batch = collate(company, reasoner.markers)
    assert len(set(batch.n_thoughts.tolist())) > 1
    for row, one in enumerate(company):
        alone = collate([one], reasoner.markers)
        n, long = alone.said.shape[1:]
        assert torch.equal(batch.said[row, :n, :long], alone.said[0])
        assert (batch.said[row, n:] == IGNORED).all() and (batch.said[row, :, long:] == IGNORED).all()


@families
def test_thoughts_end_when_the_head_says_so(family):
    """Each problem at its own thought, and then as if that number had been asked for."""
    reasoner = tiny_reasoner(family, "latent_head").eval()
    assert reasoner.writer.end == reasoner.markers.eot
    asked = [prompt(p, reasoner.markers, 6) for p in encoded(reasoner, 8)]
    reasoner.writer.end = -1  # never said
    endless = answer_batch(reasoner, asked, 5)
    assert [len(a.thoughts) for a in endless] == [6] * 8
    said = [reasoner.head(a.states[1:]).argmax(-1).tolist() for a in endless]  # after at least one thought
    ends = {word: [row.index(word) + 1 if word in row else 6 for row in said] for row in said for word in row}
    word = max(ends, key=lambda word: len(set(ends[word])))
    assert len(set(ends[word])) > 1
    reasoner.writer.end = word
    for n, a, p, longer in zip(ends[word], answer_batch(reasoner, asked, 5), asked, endless, strict=True):
        assert len(a.thoughts) == n
        torch.testing.assert_close(a.thoughts, longer.thoughts[:n], **close)
        (given,) = answer_batch(reasoner, [replace(p, n_thoughts=n)], 5)
        assert a.tokens == given.tokens


def test_thoughts_are_what_the_head_predicted():
    reasoner = tiny_reasoner("gpt2", "latent_head").eval()
    for a in answer_batch(reasoner, [prompt(p, reasoner.markers, 4) for p in encoded(reasoner, 3)], 2):
        torch.testing.assert_close(reasoner.writer(a.states[:-1]), a.thoughts, **close)
