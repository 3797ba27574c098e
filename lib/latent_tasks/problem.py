"""The record every task speaks, how generated problems are dealt into splits, and how answers are graded."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

DEFAULT_SIZES = {"train": 10_000, "valid": 500, "test": 500}
Parts = tuple[str, tuple[str, ...], str]  # question, steps, answer


class DataError(ValueError):
    """A malformed record; the message names the file and the line (or the number of the record)."""


@dataclass(frozen=True)
class Problem:
    """One question with its explicit steps and its answer; `id` says where it comes from."""

    question: str
    steps: tuple[str, ...]
    answer: str
    id: str = ""


@dataclass(frozen=True)
class Grader:
    """A text is right if it says what the problem's answer says, numbers to within `TOLERANCE`."""

    read: Callable[[str], str | float | None]  # what a text answers; None: nothing
    kind: str  # of answer, as an instruction asks for it
    guess: float = 0.0  # how often it is right to guess among what the question names

    def __call__(self, text: str, problem: Problem) -> bool:
        found, wanted = self.read(text), self.read(problem.answer)
        if found is None or wanted is None:
            return False
        if isinstance(found, float) and isinstance(wanted, float):
            return abs(found - wanted) <= TOLERANCE
        return found == wanted


@dataclass(frozen=True)
class Task:
    """Named splits of problems; `grade` takes the text a model wrote after its thoughts, and the problem.

    `words` is the closed vocabulary of a generated task, `report` counts, per split, what was dropped and why.
    """

    name: str
    splits: dict[str, tuple[Problem, ...]]
    grade: Grader
    words: tuple[str, ...] | None = None
    report: dict[str, dict[str, int]] = field(default_factory=dict)

    @cached_property
    def chance(self) -> float:
        """The accuracy of who understands nothing: of a guess among what is named, or of always giving the commonest answer
        to the test problems (where there are none, to all)."""
        problems = self.splits.get("test") or [p for some in self.splits.values() for p in some]
        said = Counter(self.grade.read(problem.answer) for problem in problems)
        return max(self.grade.guess, said.most_common(1)[0][1] / len(problems))

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 over all problems' questions, steps and answers."""
        fields = ((split, p.question, *p.steps, p.answer) for split in sorted(self.splits) for p in self.splits[split])
        return hashlib.sha256("".join("\x1f".join(row) + "\x1e" for row in fields).encode()).hexdigest()[:16]


class Recipe(NamedTuple):
    """`sample` draws a draft and its meaning, `write` words a draft; `rename` (where drawing is slow) varies one; `makes` says
    of a problem of the same task, whatever the options, whether this recipe could have made it."""

    sample: Callable[[random.Random], tuple[str, Any]]
    write: Callable[[Any, random.Random], Parts]
    grade: Grader
    words: tuple[str, ...]
    rename: Callable[[Any, random.Random], tuple[str, Any]] | None = None
    makes: Callable[[Problem], bool] = lambda problem: True


GENERATED: dict[str, Callable[..., Recipe]] = {}  # by name, each from its own options


def generated(name: str) -> Callable[[Callable[..., Recipe]], Callable[..., Recipe]]:
    """Register a function from options to a `Recipe` as the task of that name. Raises ValueError if the name is taken."""

    def register(recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
        if name in GENERATED:
            raise ValueError(f"two tasks are called {name!r}")
        GENERATED[name] = recipe
        return recipe

    return register


def split_of(meaning: str) -> str:
    """The split of all problems that mean this, whatever their wording and seed: test and valid get 2 % each."""
    bucket = int.from_bytes(hashlib.sha256(meaning.encode()).digest()[:8]) % 100
    return "test" if bucket < 2 else "valid" if bucket < 4 else "train"


def generate(name: str, recipe: Recipe, sizes: dict[str, int] | None, seed: int, beyond: Recipe | None = None) -> Task:
    """Draw until every split has its size; ValueError for one with too few distinct meanings. With `beyond`, only what that
    recipe cannot make is kept.

    Every split has its own random stream, so sizes only cut. Valid and test hold each meaning once, train may not.
    """
    splits = {}
    for split, size in (DEFAULT_SIZES if sizes is None else sizes).items():
        rng = random.Random(f"{name}/{split}/{seed}")
        problems: list[Problem] = []
        draft, seen, misses = None, set(), 0
        while len(problems) < size:
            meaning, draft = recipe.rename(draft, rng) if recipe.rename and misses % 1000 else recipe.sample(rng)
            misses += 1
            if split_of(meaning) == split and (split == "train" or meaning not in seen):
                problem = Problem(*recipe.write(draft, rng), f"{name}/{split}/{len(problems)}")
                if not (beyond and beyond.makes(problem)):
                    problems.append(problem)
                    seen.add(meaning)
                    misses = 0
            if misses > 20_000:  # a fresh meaning lands in a given split every 50 draws
                which = " that the other recipe cannot make" if beyond else ""
                raise ValueError(f"{name}: {split} has only about {len(problems)} distinct problems{which}")
        splits[split] = tuple(problems)
    return Task(name, splits, recipe.grade, recipe.words)


# Fractions are written 5/2, 5⁄2, \frac{5}{2}, \dfrac52, and with a whole number before them, 2 1/2 or 2\frac{1}{2}.
FRAC = re.compile(r"\\[dt]?frac\s*(?:\{\s*([-−]?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}|(\d)\s*(\d))")
MIXED = re.compile(r"(?<![\d.,/])(\d+) (\d+)/(\d+)(?![\d.]*/|\d|\.\d)")
# A model's text is "<<12-7=5>> … The answer is: 7" or "### 7". As in the papers' official code, the last number of
# the whole text counts; all other kinds of answers are looked for behind the last marker.
MARKER = re.compile(r"The answer is:|#{3,4}")
NUMBER = re.compile(
    r"((?<![\w).%])[-−])?(?:\$\s?(-)?)?"  # a minus after a number or a bracket is an operator
    r"((?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"(?:(?<!\d/\d)(?<!\d/\d\d)\s?/\s?(\d[\d,]*(?:\.\d+)?)(?!\d|\s?/\s?\d))?"  # two slashes are a date
)
TOLERANCE = 1e-3  # absolute, as in PAL's evaluation of GSM-Hard: rounding is forgiven, a wrong integer never


def last_number(text: str) -> float | None:
    """The last number in a text ("$1,234.50" -> 1234.5, "12-7." -> 7, "-3%" -> -3, "2 1/2" -> 2.5), or None."""
    for sign, inner, digits, below in NUMBER.findall(plain_fractions(text))[-1:]:
        value, divisor = (float(part.replace(",", "")) for part in (digits, below or "1"))
        return value / divisor * (-1 if sign or inner else 1) if divisor else None
    return None


def plain_fractions(text: str) -> str:
    """A text with its fractions as a/b: "\\frac{2}{5}" -> "2/5", "2 1/2" -> "5/2"."""

    def improper(found: re.Match) -> str:
        whole, above, below = map(int, found.groups())
        return f"{whole * below + above}/{below}" if above < below else found[0]

    def flat(found: re.Match) -> str:
        behind_a_number = found.string[: found.start()][-1:].isdigit()
        return f"{' ' * behind_a_number}{found[1] or found[3]}/{found[2] or found[4]}"

    return MIXED.sub(improper, FRAC.sub(flat, text.replace("⁄", "/")))


def statement(text: str) -> str:
    """The statement behind the marker (if any), up to white space and the final period."""
    return " ".join(MARKER.split(text)[-1].split()).removesuffix(".").rstrip()


def choice(pattern: str, text: str) -> str | None:
    """One of a few words: the first one behind the marker, or the last one of a text without a marker."""
    *before, tail = MARKER.split(text)
    found = re.findall(rf"\b(?:{pattern})\b", tail)
    return found[0 if before else -1].lower() if found else None


grade_number = Grader(last_number, "the number")
grade_statement = Grader(statement, "the statement", guess=1 / 2)  # of two candidates
grade_true_false = Grader(partial(choice, "(?i:true|false)"), "True or False", guess=1 / 2)
grade_yes_no = Grader(partial(choice, "(?i:yes|no)"), "yes or no", guess=1 / 2)
grade_letter = Grader(partial(choice, "[A-H]"), "the letter of the right choice")  # capitals only: "a" is mostly an article
