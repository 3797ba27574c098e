"""Soft Thinking: where every thought is sure of a word it is CoT; it ends where CoT would write the answer's prompt."""

import copy
from dataclasses import replace

import pytest
import torch
from test_thoughts import TASK, close

from latent_cot.curriculum import Budget
from latent_cot.evaluation import prompt
from latent_cot.generation import Answer, answer, answer_batch
from latent_cot.methods import make
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner
from latent_cot.sequences import encode
from latent_cot.training import TrainOptions, train

PROBLEMS = TASK.splits["train"][:12]
ROOM = 36  # for the longest chain, four steps of seven tokens


@pytest.fixture(scope="module")
def trained() -> Reasoner:
    """A CoT model that knows a dozen problems by heart."""
    spec = ReasonerSpec(words=TASK.words, d_model=32, embedding_std=0.3)
    reasoner = build_reasoner(spec).double()
    method = make("cot", {}, Budget(steps=120, lr=1e-2))
    train(reasoner, method, encode(PROBLEMS, reasoner.tokenizer), TrainOptions(batch_size=12), progress_bar=False)
    return reasoner.eval()


def mixing(trained: Reasoner, **options) -> Reasoner:
    """The same language model, thinking in mixtures."""
    return Reasoner(trained.lm, trained.tokenizer, replace(trained.spec, writer="mixture", writer_options=options))


def ask(reasoner: Reasoner, n_thoughts: int) -> list[Answer]:
    asked = encode(PROBLEMS, reasoner.tokenizer)
    return answer(reasoner, [prompt(p, reasoner.markers, n_thoughts, marked=False) for p in asked], ROOM)


@pytest.fixture(scope="module")
def words(trained) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What the CoT model writes, greedily: its chain, and the rest, from the answer's prompt on."""
    end = trained.tokenizer.convert_tokens_to_ids("The answer is:")
    said = [a.tokens for a in ask(trained, 0)]
    assert all(0 < tokens.index(end) < ROOM - 3 for tokens in said)
    assert len({tokens.index(end) for tokens in said}) > 2, "chains of several lengths"
    return [(tokens[: tokens.index(end)], tokens[tokens.index(end) :]) for tokens in said]


@pytest.mark.parametrize("options", [{"temperature": 1e-4}, {"top_k": 1}, {"temperature": 1e-4, "top_k": 1}])
def test_sure_of_every_word_it_says_what_cot_says(trained, words, options):
    for (chain, rest), soft in zip(words, ask(mixing(trained, **options), ROOM), strict=True):
        assert (len(soft.thoughts), soft.tokens) == (len(chain), rest)
        torch.testing.assert_close(soft.thoughts, trained.embed(torch.tensor(chain)), **close)
        assert soft.n_tokens == len(chain) + len(rest)


def test_it_ends_after_its_number_of_thoughts_at_the_latest(trained, words):
    for (chain, rest), soft in zip(words, ask(mixing(trained, top_k=1), 9), strict=True):
        assert len(soft.thoughts) == min(9, len(chain))
        assert soft.tokens == (chain[9:] + rest), "what it has not thought it says"


def test_it_ends_by_the_text_that_it_is_told(trained, words):
    """By its first token: here what stands behind the second number of every step."""
    for (chain, rest), soft in zip(words, ask(mixing(trained, top_k=1, ends_with="= 3"), ROOM), strict=True):
        n = chain.index(trained.tokenizer.convert_tokens_to_ids("="))
        assert (len(soft.thoughts), soft.tokens) == (n, chain[n:] + rest)


@pytest.mark.parametrize("temperature, top_k", [(1.0, 30), (5.0, 3), (0.5, 10**6)])
def test_a_thought_is_the_mean_of_the_most_probable_words_by_their_probability(trained, temperature, top_k):
    soft = ask(mixing(trained, temperature=temperature, top_k=top_k), 4)[0]
    table = trained.lm.get_input_embeddings().weight
    for state, thought in zip(soft.states[:-1], soft.thoughts):
        logits = trained.head(state) / temperature
        shares = logits.masked_fill(logits < logits.topk(min(top_k, len(logits))).values[-1], -torch.inf).softmax(-1)
        torch.testing.assert_close(thought, shares @ table, **close)


def test_it_has_no_weights_and_is_trained_as_cot(trained):
    """Also in a copy: its words are those of the copied model."""
    reasoner = mixing(trained)
    assert not [*reasoner.writer.parameters()] and not [*reasoner.writer.buffers()]
    method, cot = (make(name, {}, Budget(steps=3, lr=1e-3)) for name in ("soft_thinking", "cot"))
    assert (method.supervise, method.thinks_between_markers) == (cot.supervise, cot.thinks_between_markers)
    runs = [copy.deepcopy(one) for one in (reasoner, trained)]
    for one, how in zip(runs, (method, cot)):
        train(one, how, encode(PROBLEMS, one.tokenizer), TrainOptions(batch_size=4), progress_bar=False)
    for (name, ours), theirs in zip(runs[0].named_parameters(), runs[1].parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    (problem,) = encode(PROBLEMS[:1], trained.tokenizer)
    asked = prompt(problem, trained.markers, 1, marked=False)
    (before,), (after,) = (answer_batch(one, [asked], 1) for one in (reasoner, runs[0]))
    torch.testing.assert_close(runs[0].writer(after.states[:1], 0), after.thoughts, **close)
    assert (reasoner.writer(after.states[:1], 0) - after.thoughts).abs().max() > 1e-6 and before.thoughts.isfinite().all()
