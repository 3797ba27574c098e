"""Multi-step arithmetic: "GSM8k-Aug in miniature".

    Ann has 12 eggs, loses 7, times 3, eats 8: how many?
    <<12-7=5>>  <<5*3=15>>  <<15-8=7>>        7

Values are natural numbers and there is no modulo, so a latent method can be nearly right before it is right.
"""

import random
import re
from functools import cache

from latent_cot.tasks.grading import grade_number
from latent_cot.tasks.problem import Problem, Task, deal

NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo")
THINGS = ("eggs", "cards", "coins", "pears", "nuts", "figs")
VERBS = {"+": ("finds", "gets", "buys"), "-": ("loses", "eats", "sells"), "*": ("times",)}
# The held-out wording has the same words in another order: its embeddings are trained, its positions are new.
WORDINGS = {
    "train": "{name} has {start} {thing}, {actions}: how many?",
    "unseen": "how many {thing} has {name}: {start}, {actions}?",
}
OPERATION = {verb: sign for sign, verbs in VERBS.items() for verb in verbs}
ACTION = re.compile(r"([a-z]+) (\d+)(?= *[,:?])")

Chain = tuple[int, tuple[tuple[str, int], ...]]  # the start, then (operation, operand) for each step


@cache
def legal(value: int, max_value: int, max_operand: int) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Operations that keep `value` within 0…max_value, grouped by sign (0 is not multiplied)."""
    add = tuple(("+", n) for n in range(1, max_operand + 1) if value + n <= max_value)
    subtract = tuple(("-", n) for n in range(1, max_operand + 1) if value >= n)
    multiply = tuple(("*", n) for n in (2, 3) if 0 < value * n <= max_value)
    return tuple(group for group in (add, subtract, multiply) if group)


def apply(value: int, sign: str, operand: int) -> int:
    """The value after one operation."""
    return value + operand if sign == "+" else value - operand if sign == "-" else value * operand


def arithmetic(
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    *,
    n_steps: tuple[int, int] = (3, 3),
    max_value: int = 49,
    start: tuple[int, int] | None = None,
    max_operand: int = 9,
    wording: str = "train",
) -> Task:
    """Generate the task; every option is also a way out of domain for a model trained with another value.

    `n_steps` is the least and the greatest number of steps, `max_value` bounds every number on the way, `start`
    the first one (default 0…max_value), `max_operand` the numbers added and subtracted; `wording` is "train" or
    "unseen". Raises ValueError for values that allow no problem.
    """
    low, high = start or (0, max_value)
    if not (1 <= n_steps[0] <= n_steps[1] and 0 <= low <= high <= max_value and max_operand >= 1):
        raise ValueError(f"arithmetic: impossible {n_steps=}, start={(low, high)}, {max_value=}, {max_operand=}")
    if wording not in WORDINGS:
        raise ValueError(f"arithmetic: unknown {wording=}; known: {sorted(WORDINGS)}")

    def sample(rng: random.Random) -> tuple[str, Chain]:
        value = first = rng.randint(low, high)
        operations = []
        for _ in range(rng.randint(*n_steps)):
            operation = rng.choice(rng.choice(legal(value, max_value, max_operand)))
            value = apply(value, *operation)
            operations.append(operation)
        chain = first, tuple(operations)
        return spell(chain), chain

    def write(chain: Chain, rng: random.Random, id: str) -> Problem:
        value, operations = chain
        actions, steps = [], []
        for sign, operand in operations:
            result = apply(value, sign, operand)
            actions.append(f"{rng.choice(VERBS[sign])} {operand}")
            steps.append(f"<<{value}{sign}{operand}={result}>>")
            value = result
        question = WORDINGS[wording].format(
            name=rng.choice(NAMES), start=chain[0], thing=rng.choice(THINGS), actions=", ".join(actions)
        )
        return Problem(question, tuple(steps), str(value), id)

    splits = deal("arithmetic", sizes, seed, sample, write)
    return Task("arithmetic", splits, grade_number, words=vocabulary(max(max_value, max_operand)))


def spell(chain: Chain) -> str:
    """A chain as a short text, "12 -7 *3 -8": what decides the split."""
    return " ".join([str(chain[0]), *(f"{sign}{operand}" for sign, operand in chain[1])])


def meaning(problem: Problem) -> str:
    """The numbers and operations of a problem, read back from its question."""
    start = re.search(r"\d+", problem.question)
    actions = ACTION.findall(problem.question)
    operations = tuple((OPERATION[verb], int(operand)) for verb, operand in actions if verb in OPERATION)
    return spell((int(start[0]), operations))


def vocabulary(max_number: int) -> tuple[str, ...]:
    """Every word of every wording; the numbers come first, so a number's place is its value."""
    symbols = ("<<", ">>", "+", "-", "*", "=", ":", "?")
    numbers = (str(n) for n in range(max_number + 1))
    return tuple(dict.fromkeys((*numbers, *symbols, "has", "how", "many", *OPERATION, *NAMES, *THINGS)))
