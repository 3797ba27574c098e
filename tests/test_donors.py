"""The donor rate: what thoughts, or a copied chain, carry to another problem; on models of which it is known."""

import pytest
import torch
from test_thoughts import tiny_reasoner

import latent_probes.donors as donors
from latent_cot.generation import Answer
from latent_probes.donors import donate, donate_chains, donor_rate
from latent_tasks import load_task

TASK = load_task("arithmetic", sizes={"test": 40})
PROBLEMS = TASK.splits["test"]


@pytest.fixture
def who_answers(monkeypatch):
    """Put models in the place of the answering loop: they see each problem's question and whose thoughts stand there."""

    def put(answers):
        def answer_batch(reasoner, asked, max_new_tokens, intervene=None):
            places = torch.arange(len(asked), dtype=torch.float32)[:, None, None]
            whose = [int(i) for i in (intervene(places) if intervene else places).flatten()]
            texts = [answers(asked[row], asked[at]) for row, at in enumerate(whose)]
            return [Answer(one.id, text, (), torch.zeros(0, 1), torch.zeros(1, 1)) for one, text in zip(asked, texts)]

        monkeypatch.setattr(donors, "answer_batch", answer_batch)

    return put


def answer_of(sequence):
    return next(problem.answer for problem in PROBLEMS if problem.id == sequence.id)


def rate(problems=PROBLEMS, batch_size=128):
    return donor_rate(TASK, donate(tiny_reasoner("gpt2"), problems, 2, True, max_new_tokens=4, batch_size=batch_size))


def test_thoughts_that_hold_the_answer_carry_it(who_answers):
    who_answers(lambda asked, thinker: answer_of(thinker))
    for size in (128, 7, 13):  # 40 problems in batches of 7 or 13 leave some over
        found = rate(batch_size=size)
        assert (found["given"], found["otherwise"], found["rate"]) == (1, 0, 1) and 20 < found["n"] <= 40


def test_thoughts_that_are_a_pause_carry_nothing(who_answers):
    who_answers(lambda asked, thinker: answer_of(asked))
    assert rate()["rate"] == 0


def test_what_any_thoughts_bring_about_is_taken_off(who_answers):
    """A model that says the commonest answer, whoever's thoughts it has, hits the donor's now and then."""
    common = PROBLEMS[0].answer
    who_answers(lambda asked, thinker: common)
    found = rate()
    assert found["given"] == found["otherwise"] > 0 and found["rate"] == 0


def test_only_pairs_with_different_answers_count(who_answers):
    who_answers(lambda asked, thinker: answer_of(thinker))
    same = [problem for problem in PROBLEMS if problem.answer == PROBLEMS[0].answer]
    assert rate([PROBLEMS[0]] * 4) is None and rate(PROBLEMS[:2]) is None and rate([]) is None
    assert len({p.answer for p in same}) == 1


def test_a_copied_chain_is_the_donors(monkeypatch):
    """The chain that stands there is the donor's, in full, behind the asker's question; what follows is up to the model."""
    reasoner, seen = tiny_reasoner("gpt2"), []

    def answer_batch(reasoner, asked, room, intervene=None):
        seen.append([(reasoner.tokenizer.decode(one.question), reasoner.tokenizer.decode(one.language)) for one in asked])
        said = [text.rpartition(">>")[0].rpartition("=")[2].strip() for _, text in seen[-1]]  # copies the last result
        return [Answer(one.id, text, (), torch.zeros(0, 1), torch.zeros(1, 1)) for one, text in zip(asked, said)]

    monkeypatch.setattr(donors, "answer_batch", answer_batch)
    found = donor_rate(TASK, donate_chains(reasoner, PROBLEMS[:10]))
    assert found["rate"] == 1 and len(seen) == 2
    for shift, batch in zip((1, 2), seen):
        for i, (question, chain) in enumerate(batch):
            assert PROBLEMS[i].question.split()[0] in question
            steps = "".join(PROBLEMS[(i - shift) % 10].steps)
            assert chain.replace(" ", "") == steps.replace(" ", "") + "Theansweris:"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_it_runs_on_models_as_they_are(family):
    reasoner = tiny_reasoner(family).train()
    found = donor_rate(TASK, donate(reasoner, PROBLEMS[:9], 2, True, max_new_tokens=4, batch_size=4))
    assert found["rate"] == found["given"] - found["otherwise"] and reasoner.training
    assert -1 <= donor_rate(TASK, donate_chains(reasoner, PROBLEMS[:9]))["rate"] <= 1
