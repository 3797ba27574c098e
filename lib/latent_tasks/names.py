"""Facts that one model knows and another does not: what each of 450 names stands for.

    Ann has zib eggs, loses 7, times 3, eats 8: how many?    zib stands for 12, which the question does not say
    <<12-7=5>>  <<5*3=15>>  <<15-8=7>>        7

The arithmetic is `arithmetic`'s, but for the start, of which there is only a name. Every number has names of its own in each
split, so that a name in a test question is in no training question. `told` is what a model learns from that is to use such
a fact, but to know none; `lore` is what one learns from that is to know them all.
"""

import operator
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate

from latent_tasks.arithmetic import Move, arithmetic, meaning
from latent_tasks.problem import Parts, Problem, Recipe, generated, grade_number, split_of

N_NAMES = {"train": 6, "valid": 1, "test": 2}  # of each number, by split
MAX_VALUE = 49
START = re.compile(r"(?<= has )\w+")
CALCULATE = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@cache
def stands_for() -> dict[str, int]:
    """The facts: each name's number. A number's names lie side by side, in the order of `N_NAMES`."""
    vowels, consonants = "aeiou", "bdfgklmnprstvz"
    known = set(arithmetic().words)
    names = [a + b + c for a in consonants for b in vowels for c in consonants if a + b + c not in known]
    random.Random("names").shuffle(names)
    each = sum(N_NAMES.values())
    return {name: i // each for i, name in enumerate(names[: each * (MAX_VALUE + 1)])}


def names_of(number: int, split: str) -> list[str]:
    """A number's names in the questions of a split."""
    mine = [name for name, its in stands_for().items() if its == number]
    before = sum(n for other, n in N_NAMES.items() if [*N_NAMES].index(other) < [*N_NAMES].index(split))
    return mine[before : before + N_NAMES[split]]


@generated("names")
def names(*, n_steps=(3, 3)) -> Recipe:
    """The task. `n_steps` is the least and the greatest number of operations."""
    plain = arithmetic(n_steps=n_steps, max_value=MAX_VALUE)
    pools = {(number, split): names_of(number, split) for number in range(MAX_VALUE + 1) for split in N_NAMES}

    def sample(rng: random.Random) -> tuple[str, tuple[str, list[Move]]]:
        meaning, moves = plain.sample(rng)
        return meaning, (meaning, moves)

    def write(draft: tuple[str, list[Move]], rng: random.Random) -> Parts:
        meaning, moves = draft
        question, steps, answer = plain.write(moves, rng)
        return START.sub(rng.choice(pools[moves[0][0], split_of(meaning)]), question), steps, answer

    def makes(problem: Problem) -> bool:
        return name_in(problem) in stands_for() and plain.makes(in_numbers(problem))

    return Recipe(sample, write, grade_number, (*plain.words, *stands_for()), makes=makes)


def name_in(problem: Problem) -> str:
    """The name in a question, "" where there is none."""
    return next(iter(START.findall(problem.question)), "")


def number_of(problem: Problem) -> int:
    """What the name in a question stands for."""
    return stands_for()[name_in(problem)]


def in_numbers(problem: Problem) -> Problem:
    """The problem with the number that its name stands for."""
    return replace(problem, question=START.sub(str(number_of(problem)), problem.question))


def values_from(number: int, problem: Problem) -> list[int]:
    """A number, and what a problem's operations make of it, one after another."""
    _, *operations = meaning(in_numbers(problem)).split()
    return [*accumulate(operations, lambda value, done: CALCULATE[done[0]](value, int(done[1:])), initial=number)]


def told(problems: Sequence[Problem], seed: int = 0) -> list[Problem]:
    """The same problems, each with its number said behind the question, and with any name: there is no fact to learn in
    them, only how one is used."""
    rng, every = random.Random(seed), [*stands_for()]
    return [replace(p, question=f"{START.sub(rng.choice(every), p.question)} {stands_for()[name_in(p)]}") for p in problems]


def lore(problems: Sequence[Problem], seed: int = 0) -> list[Problem]:
    """The same questions with any name, and what it stands for as the only step and the answer: no arithmetic, only facts."""
    rng, facts = random.Random(seed), [*stands_for().items()]
    known = []
    for problem in problems:
        name, number = rng.choice(facts)
        known.append(replace(problem, question=START.sub(name, problem.question), steps=(str(number),), answer=str(number)))
    return known
