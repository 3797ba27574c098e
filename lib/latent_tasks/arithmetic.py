"""Multi-step arithmetic: "GSM8k-Aug in miniature".

    Ann has 12 eggs, loses 7, times 3, eats 8: how many?
    <<12-7=5>>  <<5*3=15>>  <<15-8=7>>        7

Values are natural numbers and there is no modulo, so a latent method can be nearly right before it is right.
"""

import random
import re
from collections.abc import Sequence
from functools import cache

from latent_tasks.problem import Parts, Problem, Recipe, generated, grade_number

NAMES = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo")
THINGS = ("eggs", "cards", "coins", "pears", "nuts", "figs")
VERBS = {"+": ("finds", "gets", "buys"), "-": ("loses", "eats", "sells"), "*": ("times",)}
# The held-out wording has the same words in another order: its embeddings are trained, its positions are new.
WORDINGS = {
    "train": "{name} has {start} {thing}, {actions}: how many?",
    "unseen": "how many {thing} has {name}: {start}, {actions}?",
}
FORMS = {
    name: re.compile(form.replace("?", r"\?").format(name=r"\w+", start=r"(?P<start>\d+)", thing=r"\w+", actions=r"[\w ,]+"))
    for name, form in WORDINGS.items()
}
OPERATION = {verb: sign for sign, verbs in VERBS.items() for verb in verbs}
ACTION = re.compile(rf"\b({'|'.join(OPERATION)}) (\d+)")
Move = tuple[int, str, int, int]  # value, sign, operand, result


@cache
def legal_moves(value: int, max_value: int, max_operand: int) -> tuple[tuple[Move, ...], ...]:
    """Moves that keep `value` within 0…max_value, grouped by sign (0 is not multiplied)."""
    add = tuple((value, "+", n, value + n) for n in range(1, max_operand + 1) if value + n <= max_value)
    subtract = tuple((value, "-", n, value - n) for n in range(1, max_operand + 1) if value >= n)
    multiply = tuple((value, "*", n, value * n) for n in (2, 3) if 0 < value * n <= max_value)
    return tuple(group for group in (add, subtract, multiply) if group)


@generated("arithmetic")
def arithmetic(*, n_steps=(3, 3), max_value=49, start=None, max_operand=9, wording="train") -> Recipe:
    """The task; every option is also a way out of domain for a model trained with another value.

    `n_steps` is the least and the greatest number of steps; `max_value` bounds every number on the way, `start`
    (default 0…max_value) the first one, `max_operand` those added and subtracted; `wording` is "train" or "unseen".
    """
    low, high = start or (0, max_value)
    possible = 1 <= n_steps[0] <= n_steps[1] and 0 <= low <= high <= max_value and max_operand >= 1
    if not possible or wording not in WORDINGS:
        raise ValueError(f"arithmetic: impossible {n_steps=}, {start=}, {max_value=}, {max_operand=} or {wording=}")

    def sample(rng: random.Random) -> tuple[str, list[Move]]:
        value, moves = rng.randint(low, high), []
        for _ in range(rng.randint(*n_steps)):
            moves.append(rng.choice(rng.choice(legal_moves(value, max_value, max_operand))))
            value = moves[-1][-1]
        return " ".join([str(moves[0][0]), *(f"{sign}{operand}" for _, sign, operand, _ in moves)]), moves

    def write(moves: list[Move], rng: random.Random) -> Parts:
        actions = ", ".join(f"{rng.choice(VERBS[sign])} {operand}" for _, sign, operand, _ in moves)
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        question = WORDINGS[wording].format(name=name, start=moves[0][0], thing=thing, actions=actions)
        steps = tuple(f"<<{value}{sign}{operand}={result}>>" for value, sign, operand, result in moves)
        return question, steps, str(moves[-1][-1])

    def makes(problem: Problem) -> bool:
        asked = FORMS[wording].fullmatch(problem.question)
        found = [(OPERATION[verb], int(operand)) for verb, operand in ACTION.findall(problem.question)]
        if not asked or not n_steps[0] <= len(found) <= n_steps[1] or not low <= (value := int(asked["start"])) <= high:
            return False
        for sign, operand in found:
            legal = {move[1:3]: move[3] for group in legal_moves(value, max_value, max_operand) for move in group}
            if (sign, operand) not in legal:
                return False
            value = legal[sign, operand]
        return True

    # Every word of every wording; the numbers come first, so a number's place is its value.
    numbers = (str(n) for n in range(max(max_value, max_operand) + 1))
    words = (*numbers, *"<< >> + - * = : ? has how many".split(), *OPERATION, *NAMES, *THINGS)
    return Recipe(sample, write, grade_number, words, makes=makes)


def meaning(problem: Problem) -> str:
    """The numbers and operations of a problem, read back from its question: "12 -7 *3 -8"."""
    start = re.findall(r"\d+", problem.question)[0]
    return " ".join([start, *(OPERATION[verb] + operand for verb, operand in ACTION.findall(problem.question))])


def unordered(problem: Problem) -> str:
    """The same whatever the order of the operations: "12 *3 -7 -8"."""
    start, *operations = meaning(problem).split()
    return " ".join([start, *sorted(operations)])


def reordered(problems: Sequence[Problem], known: Sequence[Problem]) -> list[bool]:
    """Of each problem, whether one that is known is the same with its operations in another order (or in the same)."""
    seen = {unordered(problem) for problem in known}
    return [unordered(problem) in seen for problem in problems]
