"""What a state holds: a probe finds what was put there, at its level, and nothing in another problem's state."""

import torch

from latent_cot.evaluation import evaluate
from latent_cot.models import ReasonerSpec, build_reasoner
from latent_probes.linear import comparable, held, in_thoughts, words_of
from latent_tasks import Problem, load_task

WORDS = ("a", "b", "c", "d")


def problems(n: int, seed: int) -> list[Problem]:
    drawn = torch.randint(len(WORDS), (n, 3), generator=torch.Generator().manual_seed(seed)).tolist()
    return [Problem("?", (WORDS[one], WORDS[two]), WORDS[answer], str(i)) for i, (one, two, answer) in enumerate(drawn)]


def states(some: list[Problem]) -> torch.Tensor:
    """Three levels: noise; the second step under noise; the answer."""
    noise = torch.randn(3, len(some), 8, generator=torch.Generator().manual_seed(len(some)))
    second, answer = ([WORDS.index(words_of(p)[i]) for p in some] for i in (1, 2))
    noise[1, :, :4] += 6 * torch.eye(4)[second]
    noise[2, :, 4:] += 6 * torch.eye(4)[answer]
    return noise


def test_a_probe_finds_what_a_level_holds():
    fit, tested = problems(2000, 0), problems(500, 1)
    rows = held(states(fit), fit, states(tested), tested)
    found = {(row["place"], row["step"]): row["right"] for row in rows}
    assert set(found) == {(level, step) for level in range(3) for step in (0, 1, 2)}, "step 0 is the answer"
    assert all((share > 0.95) == (place in {(1, 2), (2, 0)}) for place, share in found.items()), found
    assert all(abs(row["another's"] - 1 / 4) < 0.08 for row in rows), "of four words a guess gets one"


def test_what_a_step_comes_to():
    assert words_of(Problem("?", ("<<2+3=5>>", "<<5*4=20>>"), "20.0", "p")) == ["5.0", "20.0", "20.0"]
    assert words_of(Problem("?", ("q", "k"), "f", "p")) == ["q", "k", "f"]


def test_problems_of_unlike_lengths_or_of_open_words_are_not_compared():
    some = problems(20, 0)
    assert comparable(some)
    assert not comparable([*some, Problem("?", ("a",), "b", "shorter")])
    assert not comparable([Problem("?", ("a", str(i)), "b", str(i)) for i in range(300)])


def test_a_model_that_thinks_is_read_and_one_with_unlike_thoughts_is_not():
    """Pauses hold what the model had in mind at them: of an untrained one nothing beyond its question's last word."""
    task = load_task("graph", sizes={"train": 60, "valid": 1, "test": 20}, depth=2, width=1)
    reasoner = build_reasoner(ReasonerSpec(words=task.words, n_layers=1), 0)
    fit, tested = (
        evaluate(reasoner, task, task.splits[split], 2, marked=False, max_new_tokens=1) for split in ("train", "test")
    )
    rows = in_thoughts(fit, tested)
    assert {row["place"] for row in rows} == {0, 1, 2}, "the states that wrote two thoughts, and the one behind"
    assert {row["step"] for row in rows} == {0, *range(1, 1 + len(task.splits["test"][0].steps))}
    longer = evaluate(reasoner, task, task.splits["test"], 3, marked=False, max_new_tokens=1)
    assert in_thoughts(fit, longer) == []
