"""Small multiplication, a rung of the ladder of depth: "4 7 * 3 8 =", which is 74 · 83, steps 2 2 2 0 and 2 4 1 6.

Numbers stand digit by digit, the lowest first, as in iCoT's multiplication (2405.14838). A step is the running sum after
one more digit of the second factor, Σ_{j≤i} a·b_j·10^j; the last one is the answer. The low digits of the answer are known
early; it is right only if all are, and its highest ones hang on every carry.
"""

import random
import re
from functools import partial

from latent_tasks.problem import Grader, Parts, Problem, Recipe, generated, statement

QUESTION = re.compile(r"(\d(?: \d)*) \* (\d(?: \d)*) =")
DIGITS = "0123456789"


def spell(number: int, n_digits: int) -> str:
    """Digit by digit, the lowest first: 74 is "4 7"."""
    return " ".join(reversed(f"{number:0{n_digits}d}"))


def read(text: str) -> int | None:
    """The number that `spell` has spelt behind the marker (if any), or None."""
    digits = statement(text).split()
    return int("".join(reversed(digits))) if digits and all(digit in DIGITS and len(digit) == 1 for digit in digits) else None


grade_digits = Grader(read, "the number, its lowest digit first")


@generated("multiplication")
def multiplication(*, n_steps: int = 3, n_digits: int = 3) -> Recipe:
    """A number of `n_digits` digits times one of `n_steps` digits."""
    if n_steps < 1 or n_digits < 1:
        raise ValueError(f"multiplication: {n_steps=} and {n_digits=} must be at least 1")
    wide = partial(spell, n_digits=n_digits + n_steps)

    def sample(rng: random.Random) -> tuple[str, tuple[int, int]]:
        draft = rng.randrange(10**n_digits), rng.randrange(10**n_steps)
        return canonical(*draft), draft

    def write(draft: tuple[int, int], rng: random.Random) -> Parts:
        a, b = draft
        sums = [a * (b % 10**i) for i in range(1, n_steps + 1)]
        return f"{spell(a, n_digits)} * {spell(b, n_steps)} =", tuple(map(wide, sums)), wide(a * b)

    def makes(problem: Problem) -> bool:
        asked = QUESTION.fullmatch(problem.question)
        return asked is not None and [len(factor.split()) for factor in asked.groups()] == [n_digits, n_steps]

    return Recipe(sample, write, grade_digits, (*DIGITS, "*", "="), makes=makes)


def canonical(a: int, b: int) -> str:
    """Two factors, in whatever order."""
    return f"{min(a, b)} * {max(a, b)}"


def meaning(problem: Problem) -> str:
    """The factors, read back from the question."""
    a, b = (int("".join(reversed(factor.split()))) for factor in problem.question.removesuffix(" =").split(" * "))
    return canonical(a, b)
