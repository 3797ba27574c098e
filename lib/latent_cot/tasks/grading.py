"""Is the model's answer correct? One small function for each kind of answer.

The text is what a model wrote after its thoughts: "<<12-7=5>> … The answer is: 7" or "### 7". Numbers are graded
as in the official code of the papers: the last number of the whole text counts. All other kinds look at what
follows the last answer marker; without a marker, at the whole text.
"""

import math
import re
from collections.abc import Callable

from latent_cot.tasks.problem import Problem

MARKER = re.compile(r"The answer is:|#{3,4}")
NUMBER = re.compile(
    r"(?P<sign>(?<![\w).%])[-−])?(?:\$\s?(?P<inner>-)?)?"  # a minus after a number or a bracket is an operator
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<exponent>[eE][+-]?\d+)?"
)
TOLERANCE = 1e-3  # absolute, as in PAL's evaluation of GSM-Hard: rounding is forgiven, a wrong integer never


def last_number(text: str) -> float | None:
    """The last number in a text ("$1,234.50" -> 1234.5, "12-7." -> 7, "-3%" -> -3), or None."""
    matches = list(NUMBER.finditer(text))
    if not matches:
        return None
    last = matches[-1]
    value = float(last["digits"].replace(",", "") + (last["exponent"] or ""))
    return -value if last["sign"] or last["inner"] else value


def after_marker(text: str) -> tuple[str, bool]:
    """What follows the last answer marker, and whether there was one (else the whole text)."""
    parts = MARKER.split(text)
    return parts[-1].strip(), len(parts) > 1


def grade_number(text: str, problem: Problem) -> bool:
    """The last number of the text equals the problem's, to within `TOLERANCE`."""
    found, wanted = last_number(text), last_number(problem.answer)
    return found is not None and wanted is not None and math.isclose(found, wanted, rel_tol=0, abs_tol=TOLERANCE)


def grade_statement(text: str, problem: Problem) -> bool:
    """The statement is the problem's, up to white space and the final period."""
    return _plain(after_marker(text)[0]) == _plain(problem.answer)


def _plain(statement: str) -> str:
    return " ".join(statement.split()).removesuffix(".").rstrip()


def _grade_choice(pattern: str, flags: int = 0) -> Callable[[str, Problem], bool]:
    """Grade one of a few words: the first one after a marker, or the last one of a text without a marker."""
    choices = re.compile(rf"\b(?:{pattern})\b", flags)

    def grade(text: str, problem: Problem) -> bool:
        tail, marked = after_marker(text)
        found = choices.findall(tail)
        return bool(found) and found[0 if marked else -1].lower() == problem.answer.lower()

    return grade


grade_true_false = _grade_choice("true|false", re.IGNORECASE)
grade_yes_no = _grade_choice("yes|no", re.IGNORECASE)
grade_letter = _grade_choice("[A-H]")  # capitals only: "a" is mostly an article
