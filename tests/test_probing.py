"""Watching a model changes nothing, and what is watched is what it really thought (float64, tiny random LMs)."""

import pytest
import torch
from test_thoughts import close, encoded, families, tiny_reasoner, writers

from latent_backbones.parts import body
from latent_cot.evaluation import prompt
from latent_cot.generation import answer, answer_batch
from latent_cot.models import Reasoner
from latent_cot.sequences import Sequence
from latent_probes.probing import (
    add_noise,
    answer_probability,
    decode_levels,
    decode_thoughts,
    keep_only,
    overwrite,
    read_along,
    remove,
)

THREE = (3, 3, 3)
nearly = {"rtol": 1e-5, "atol": 1e-6}  # the attention kernel that shows its weights computes in float32 in Llama


def doors(reasoner: Reasoner, n_thoughts: tuple[int, ...] = THREE) -> list[Sequence]:
    """Prompts up to the answer's door; their questions differ in length."""
    problems = encoded(reasoner, len(n_thoughts))
    return [prompt(p, reasoner.markers, n, at_once=True) for p, n in zip(problems, n_thoughts, strict=True)]


def next_words(reasoner: Reasoner, intervene=None, n_thoughts=THREE) -> torch.Tensor:
    return torch.stack([r.logits[-1].softmax(-1) for r in read_along(reasoner, doors(reasoner, n_thoughts), intervene)])


@families
@writers
def test_a_reading_is_what_was_thought_and_answered(family, writer):
    """All columns at once, with another attention kernel: the same thoughts, and the same first word, as in `answer`."""
    reasoner = tiny_reasoner(family, writer)
    kernel, questions = body(reasoner.lm).config._attn_implementation, doors(reasoner, (3, 0, 2))
    before = answer_batch(reasoner, questions, 4)
    readings = read_along(reasoner, questions)
    for reading, said in zip(readings, before, strict=True):
        torch.testing.assert_close(reading.thoughts, said.thoughts, **close)
        assert int(reading.logits[-1].argmax()) == said.tokens[0]
    after = answer_batch(reasoner, questions, 4)
    assert [a.tokens for a in after] == [a.tokens for a in before]
    assert kernel != "eager" and body(reasoner.lm).config._attn_implementation == kernel


@families
@writers
def test_the_state_behind_a_thought_is_the_one_its_writer_saw(family, writer):
    reasoner = tiny_reasoner(family, writer)
    for reading in read_along(reasoner, doors(reasoner)):
        written = torch.stack([reasoner.writer(state[None], i)[0] for i, state in enumerate(reading.behind[-1])])
        torch.testing.assert_close(written, reading.thoughts, **close)


@families
def test_a_reading_is_the_same_alone_and_in_company(family):
    reasoner = tiny_reasoner(family)
    questions = doors(reasoner, (3, 0, 2))
    for together, one in zip(read_along(reasoner, questions), questions, strict=True):
        (alone,) = read_along(reasoner, [one])
        for name in ("thoughts", "levels", "logits", "behind"):
            torch.testing.assert_close(getattr(together, name), getattr(alone, name), **close)
        for name in ("attention", "looks"):
            torch.testing.assert_close(getattr(together, name), getattr(alone, name), **nearly)


@families
def test_attention_looks_back_only_and_sums_to_one(family):
    reasoner = tiny_reasoner(family)
    for reading in read_along(reasoner, doors(reasoner, (3, 1, 2))):
        n_thoughts, (n_layers, n_columns, _) = len(reading.thoughts), reading.attention.shape
        assert n_layers == 2 and n_columns == reading.levels.shape[1]
        torch.testing.assert_close(reading.attention.sum(-1), torch.ones(n_layers, n_columns).double(), **nearly)
        assert not reading.attention.triu(1).any()
        assert reading.looks.shape == (n_thoughts + 1, n_columns)
        assert reading.looks[0, reading.n_question - 1] > 0 and not reading.looks[0, reading.n_question :].any()


@families
def test_the_last_level_decodes_as_the_thought_itself(family):
    """Coconut's thought is the state behind it; the levels below pass the norm that the last one has passed."""
    reasoner = tiny_reasoner(family)
    (reading, *_) = read_along(reasoner, doors(reasoner))
    levels = decode_levels(reasoner, reading.behind, top_k=3)
    assert len(levels) == 3 and all(len(row) == 3 for level in levels for row in level)
    for (word, p), (expected, q) in zip(levels[-1][1], decode_thoughts(reasoner, reading.thoughts, 3)[1], strict=True):
        assert (word, p) == (expected, pytest.approx(q))
    assert levels[0] != levels[-1]


# --- interventions -------------------------------------------------------------------------------------------------


@families
@writers
def test_what_changes_no_thought_changes_no_answer(family, writer):
    reasoner = tiny_reasoner(family, writer)
    before, first = next_words(reasoner), torch.stack([r.thoughts[0] for r in read_along(reasoner, doors(reasoner))])
    for intervene in (remove(), overwrite(0, first), overwrite(1, torch.zeros(32), share=0.0), add_noise(2, 0.0)):
        torch.testing.assert_close(next_words(reasoner, intervene), before, **close)


@families
@pytest.mark.parametrize("writer", ["hidden", "projection"])
def test_interventions_do_what_their_names_say(family, writer):
    reasoner = tiny_reasoner(family, writer)
    questions, word = doors(reasoner), reasoner.embed(torch.tensor([[7]]))[0, 0]
    z = torch.stack([r.thoughts for r in read_along(reasoner, questions)])

    def after(intervene):
        return torch.stack([r.thoughts for r in read_along(reasoner, questions, intervene)])

    torch.testing.assert_close(after(remove(1)), z[:, [0, 2]], **close)
    torch.testing.assert_close(after(keep_only(1)), z[:, 1:2], **close)
    torch.testing.assert_close(after(overwrite(1, z[1, 1]))[:, 1], z[1, 1].expand(3, -1), **close)
    torch.testing.assert_close(after(overwrite(1, word, share=0.25))[:, 1], 0.75 * z[:, 1] + 0.25 * word, **close)
    torch.testing.assert_close(after(overwrite(1, word))[:, [0, 2]], z[:, [0, 2]], **close)
    torch.testing.assert_close((after(add_noise(1, 0.5)) - z)[:, 1].norm(dim=-1), 0.5 * z[:, 1].norm(dim=-1), **close)
    for intervene in (remove(1), keep_only(1), overwrite(1, z[1, 1]), overwrite(1, word), add_noise(1, 0.5)):
        assert (next_words(reasoner, intervene) - next_words(reasoner)).abs().max() > 1e-3


@families
def test_removing_all_thoughts_is_having_none(family):
    reasoner = tiny_reasoner(family)
    torch.testing.assert_close(next_words(reasoner, remove(0, 1, 2)), next_words(reasoner, n_thoughts=(0, 0, 0)), **close)
    said = answer(reasoner, doors(reasoner), 4, intervene=remove(0, 1, 2))
    assert [a.tokens for a in said] == [a.tokens for a in answer(reasoner, doors(reasoner, (0, 0, 0)), 4)]
    assert all(a.n_tokens == len(a.tokens) for a in said)


@families
def test_interventions_are_the_same_alone_and_in_company(family):
    reasoner = tiny_reasoner(family)
    word = reasoner.embed(torch.tensor([[7]]))[0, 0]
    for intervene in (remove(0), keep_only(2), overwrite(1, word, 0.5), add_noise(0, 0.3)):
        together = next_words(reasoner, intervene)
        for i, one in enumerate(doors(reasoner)):
            (alone,) = read_along(reasoner, [one], intervene)
            torch.testing.assert_close(alone.logits[-1].softmax(-1), together[i], **close)


def test_thoughts_are_not_removed_from_problems_with_unequally_many():
    reasoner = tiny_reasoner("gpt2")
    with pytest.raises(ValueError, match="equally many"):
        read_along(reasoner, doors(reasoner, (3, 2, 3)), remove(0))


@families
def test_probability_of_an_answer_is_the_product_over_its_tokens(family):
    reasoner = tiny_reasoner(family)
    (problem,) = encoded(reasoner, 1)
    words, expected, door = (5, 9, 2), 1.0, prompt(problem, reasoner.markers, 3, at_once=True)
    for i, word in enumerate(words):
        (reading,) = read_along(reasoner, [Sequence("", door.question, 3, (*door.language, *words[:i]))])
        expected *= float(reading.logits[-1].softmax(-1)[word])
    (reading,) = read_along(reasoner, [Sequence("", door.question, 3, (*door.language, *words))])
    assert answer_probability(reading, words) == pytest.approx(expected, rel=1e-9)
