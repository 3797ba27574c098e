"""Arithmetic modulo p, a rung of the ladder of depth: "3 + 5 * 2 + 4 mod 23 ?", steps 8 16 20, answer 20.

Every step is a bijection of the residues that its operand chooses, so the answer says nothing before the last operation is
done: without any one of the operands it is (all but) uniform, and no partial result earns anything. There is no precedence.
"""

import random
import re
from itertools import accumulate, groupby

from latent_tasks.problem import Parts, Problem, Recipe, generated, grade_number

QUESTION = re.compile(r"(\d+)((?: [+*] \d+)+) mod (\d+) \?")
Operation = tuple[str, int]  # sign, operand


@generated("modular")
def modular(*, n_steps: int = 3, modulus: int = 23) -> Recipe:
    """`n_steps` operations: add anything, or multiply by anything that has an inverse modulo the prime `modulus`."""
    if n_steps < 1 or modulus < 3 or any(modulus % divisor == 0 for divisor in range(2, modulus)):
        raise ValueError(f"modular: {n_steps=} must be at least 1, {modulus=} an odd prime")

    def sample(rng: random.Random) -> tuple[str, tuple[int, list[Operation]]]:
        signs = rng.choices("+*", k=n_steps)
        draft = rng.randrange(modulus), [(sign, rng.randrange(sign == "*", modulus)) for sign in signs]
        return canonical(*draft), draft

    def write(draft: tuple[int, list[Operation]], rng: random.Random) -> Parts:
        start, operations = draft
        values = [*accumulate(operations, lambda value, move: after(value, move) % modulus, initial=start)][1:]
        asked = " ".join([str(start), *(f"{sign} {operand}" for sign, operand in operations)])
        return f"{asked} mod {modulus} ?", tuple(map(str, values)), str(values[-1])

    def makes(problem: Problem) -> bool:
        if not (asked := QUESTION.fullmatch(problem.question)):
            return False
        start, operations = parse(problem)
        return len(operations) == n_steps and int(asked[3]) == modulus > max(start, *(operand for _, operand in operations))

    return Recipe(sample, write, grade_number, (*map(str, range(modulus + 1)), "+", "*", "mod", "?"), makes=makes)


def after(value: int, operation: Operation) -> int:
    """What an operation makes of a value, before it is taken modulo p."""
    sign, operand = operation
    return value + operand if sign == "+" else value * operand


def parse(problem: Problem) -> tuple[int, list[Operation]]:
    """Start and operations, read back from a question."""
    operations = re.findall(r"([+*]) (\d+)", problem.question)
    return int(problem.question.split()[0]), [(sign, int(operand)) for sign, operand in operations]


def canonical(start: int, operations: list[Operation]) -> str:
    """Start and operations as text; those of one sign in a row may stand in any order."""
    runs = (sorted(run) for _, run in groupby(operations, key=lambda move: move[0]))
    return " ".join([str(start), *(f"{sign}{operand}" for run in runs for sign, operand in run)])


def meaning(problem: Problem) -> str:
    """What decides the split."""
    return canonical(*parse(problem))
