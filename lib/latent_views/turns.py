"""The reader's turn: a guess before a result, and exercises that say whether they are solved."""

from collections.abc import Callable
from typing import Any

NOT_YET = "not answered yet"


def compare(guess: float | None, result: float, unit: str = "%") -> str:
    """What was guessed before a result, beside what came out."""
    came = f"it is {result:.3g} {unit}"
    if guess is None:
        return f"No guess made; {came}."
    off = abs(guess - result)
    return f"You said {guess:g} {unit}, {came}: {off:.3g} off."


def check(answer: Any, holds: Callable[[Any], bool], hint: str) -> str:
    """Whether an exercise is solved: the starter (None, or a function that raises NotImplementedError) is not answered yet.

    `holds` gets the answer. An answer that it cannot even try, as it has another form, is not right yet.
    """
    if answer is None:
        return NOT_YET
    try:
        right = holds(answer)
    except NotImplementedError:
        return NOT_YET
    except Exception as error:  # whatever a reader wrote: it is told, not thrown
        return f"not yet: {type(error).__name__}: {error}. {hint}"
    return "right" if right else f"not yet. {hint}"
