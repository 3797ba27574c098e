"""Running parity, a rung of the ladder of depth: "a>odd b>even c>odd ? c b a", steps odd odd even, answer even.

Letters stand for odd or even numbers; of those asked for, is the sum odd or even? Each step looks one letter up and adds it
to the sum so far. Without any one of them the answer is a fair coin. A letter with its parity is one token, as a graph's
edge is (`latent_backbones.tiny.EdgeEmbedding`).
"""

import random
import re
import string
from functools import partial

from latent_tasks.problem import Grader, Parts, Problem, Recipe, choice, generated

PARITIES = ("even", "odd")
QUESTION = re.compile(r"((?:[a-z]>(?:even|odd) )+)\?((?: [a-z])+)")
grade_parity = Grader(partial(choice, "even|odd"), "even or odd", guess=1 / 2)
Draft = tuple[dict[str, str], list[str]]  # each letter's parity, the letters asked for


@generated("parity")
def parity(*, n_steps: int = 3, n_letters: int = 16) -> Recipe:
    """Of `n_letters` letters `n_steps` are asked for."""
    if not 1 <= n_steps <= n_letters <= len(string.ascii_lowercase):
        raise ValueError(f"parity: {n_steps=} must be from 1 to {n_letters=}, which must be at most 26")
    letters = string.ascii_lowercase[:n_letters]

    def sample(rng: random.Random) -> tuple[str, Draft]:
        draft = {letter: rng.choice(PARITIES) for letter in letters}, rng.sample(letters, n_steps)
        return canonical(*draft), draft

    def write(draft: Draft, rng: random.Random) -> Parts:
        stands_for, asked = draft
        told = " ".join(f"{letter}>{stands_for[letter]}" for letter in rng.sample(letters, n_letters))
        odd, steps = 0, list[str]()
        for letter in asked:
            odd ^= PARITIES.index(stands_for[letter])
            steps.append(PARITIES[odd])
        return f"{told} ? {' '.join(asked)}", tuple(steps), steps[-1]

    def makes(problem: Problem) -> bool:
        if not QUESTION.fullmatch(problem.question):
            return False
        stands_for, asked = parse(problem)
        return {*stands_for} == {*letters} and len(asked) == n_steps

    return Recipe(sample, write, grade_parity, (*letters, *PARITIES, "?", *(f"{a}>{p}" for a in letters for p in PARITIES)),
                  makes=makes)  # fmt: skip


def parse(problem: Problem) -> Draft:
    """What letters stand for, and the letters asked for, read back from a question."""
    told, _, asked = problem.question.partition(" ? ")
    return dict(one.split(">") for one in told.split()), asked.split()


def canonical(stands_for: dict[str, str], asked: list[str]) -> str:
    """What letters stand for and which are asked for, in whatever order: the sum is the same."""
    told = " ".join(f"{letter}>{stands_for[letter]}" for letter in sorted(stands_for))
    return f"{told} ? {' '.join(sorted(asked))}"


def meaning(problem: Problem) -> str:
    """What decides the split."""
    return canonical(*parse(problem))
