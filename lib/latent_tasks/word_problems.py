"""Word problems of one to three steps, real ones: MAWPS, ASDiv, MultiArith, SVAMP, and GSM8k-Aug's lines of at most two steps.

Their published equations become chains: `((22-14)/4)` is `<<22-14=8>> <<8/4=2>>`, in the order of evaluation, each computed.
Official test sets are tests (SVAMP, whole, is one); where there is none, a text's split is decided by a hash of what is left of
it without numbers and names, so that a text with other numbers is on the same side. No text of a test stands in training even
so: SVAMP is made from ASDiv, and MAWPS holds MultiArith.
"""

import ast
import hashlib
import operator
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from latent_tasks.benchmarks import Dropped, load_benchmark, plain
from latent_tasks.problem import Problem, Task, grade_number, last_number

SOURCES = {"mawps": 3, "asdiv": 3, "multiarith": 3, "svamp": 3, "gsm8k-aug": 2}  # and the most steps that are taken of each
OFFICIAL = ("mawps", "svamp", "gsm8k-aug")  # have a test of their own
SHARES = {"test": 15, "valid": 5}  # of a hundred texts of the others
SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
NEAR = 1e-3  # absolute, as answers are graded
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
NUMBERS = {*ONES.split(), *"eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand".split()}
PERSONS = {"he", "she", "him", "her", "his", "hers", "himself", "herself"}  # go with the name
UNIT = re.compile(r"\(\s*[A-Za-z][^()]*\)")  # ASDiv: "3 (nickel) * 5 (cent/nickel)"
WORD = re.compile(r"[^\W\d_]+|\d[\d,]*(?:\.\d+)?|[.?!]")


def chain(equation: str) -> tuple[tuple[str, ...], Fraction]:
    """The steps of an equation in the order of evaluation, and its value. Raises `Dropped` for what is no arithmetic, has no
    operation, or comes to a number that cannot be written out."""
    bare = UNIT.sub("", equation)
    sides = [side for side in bare.split("=") if not re.fullmatch(r"\s*[A-Za-z]?\s*", side)]
    done: list[tuple[Fraction, str, Fraction, Fraction]] = []
    value = evaluated(sides[0] if sides else "", done)
    if not done:
        raise Dropped("its equation has no operation")
    return tuple(f"<<{written(a)}{sign}{written(b)}={written(result)}>>" for a, sign, b, result in done), value


def evaluated(expression: str, done: list[tuple[Fraction, str, Fraction, Fraction]] | None = None) -> Fraction:
    """What an expression of numbers, + - * / and brackets comes to, exactly; its operations are added to `done` as they are
    done. Raises `Dropped` for any other text."""
    try:
        tree = ast.parse(expression.replace("%", "/100").strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise Dropped("its equation is no arithmetic") from None

    def value(node: ast.AST) -> Fraction:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return Fraction(str(node.value))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if not isinstance(node, ast.BinOp) or type(node.op) not in SIGNS:
            raise Dropped("its equation is no arithmetic")
        left, right, sign = value(node.left), value(node.right), SIGNS[type(node.op)]
        if sign == "/" and not right:
            raise Dropped("its equation divides by zero")
        result = OPERATIONS[sign](left, right)
        if done is not None:
            done.append((left, sign, right, result))
        return result

    return value(tree)


def written(number: Fraction) -> str:
    """A number in plain decimals. Raises `Dropped` for one with more than four places, such as 1/3."""
    if (number * 10_000).denominator != 1:
        raise Dropped("a step comes to no plain decimal")
    return f"{(Decimal(number.numerator) / number.denominator).normalize():f}"


def checked(problem: Problem, source: str) -> Problem:
    """A problem with its chain, all of whose steps are right and whose last one gives the answer; `Dropped` otherwise."""
    if source == "gsm8k-aug":
        steps, result = problem.steps, last_result(problem.steps[: SOURCES[source] + 1])
    else:
        steps, result = chain(problem.steps[0] if problem.steps else "")
    if len(steps) > SOURCES[source]:
        raise Dropped("more steps")
    if abs(float(result) - float(problem.answer)) > NEAR:
        raise Dropped("its equation does not give its answer")
    return replace(problem, steps=steps)


def last_result(steps: Sequence[str]) -> Fraction:
    """What the last of some `<<…=…>>` comes to. Raises `Dropped` where there is none, or one that is wrong."""
    if not steps:
        raise Dropped("its equation has no operation")
    for step in steps:
        left, _, right = step.strip("<>").rpartition("=")
        result, said = evaluated(left), last_number(right)
        if said is None or abs(float(result) - said) > NEAR:
            raise Dropped("a step is wrong")
    return result


def names_in(questions: Iterable[str]) -> set[str]:
    """Capitalised words that are names wherever they stand: never written small in these texts, or mostly large inside a
    sentence."""
    every, small, large = set[str](), Counter[str](), Counter[str]()
    for question in questions:
        words = WORD.findall(question)
        every |= {word for word in words if word[0].isupper()}
        small.update(word for word in words if word[0].islower())
        large.update(word for before, word in pairwise(words) if word[0].isupper() and before not in ".?!")
    return {word for word in every if word != "I" and (not small[word.lower()] or large[word] > small[word.lower()])}


def masked(question: str, names: set[str]) -> str:
    """A question without its numbers (in words, too) and names, and without case and punctuation. What is capitalised inside a
    sentence is a name in its question (Mark, Will), but for "I"."""
    words = WORD.findall(question)
    own = names | {word for before, word in pairwise(words) if word[0].isupper() and before not in ".?!" and word != "I"}
    kept: list[str] = []
    for word in words:
        if word[0].isdigit() or word.lower() in NUMBERS:
            word = "#"
        elif word in own or word.lower() in PERSONS:
            word = "@"
        elif word in ".?!" or word == "s" and kept[-1:] == ["@"]:  # Ann's
            continue
        kept.append(word.lower())
    return " ".join(kept)


def split_of_text(text: str) -> str:
    """The split of all questions that are this text when masked."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % 100
    return "test" if bucket < SHARES["test"] else "valid" if bucket < sum(SHARES.values()) else "train"


def word_problems(
    name: str, sizes: Mapping[str, int] | None, data_dir: str | Path | None, *, sources: Sequence[str] = tuple(SOURCES)
) -> Task:
    """All that is fit, in an order of its own, cut to `sizes`. `Task.report` counts what was left out and why, by split.

    Raises FileNotFoundError for a source that is nowhere, ValueError for an unknown one.
    """
    if unknown := [source for source in sources if source not in SOURCES]:
        raise ValueError(f"{name}: no source {unknown[0]!r}; known: {', '.join(SOURCES)}")
    report = {split: Counter[str]() for split in ("test", "valid", "train")}
    found = [(source, split, problem) for source in sources for split, problem in _read(source, data_dir)]
    names = names_in(problem.question for _, _, problem in found)
    texts = [masked(problem.question, names) for *_, problem in found]
    dealt: dict[str, list[tuple[str, Problem]]] = {split: [] for split in report}
    for (source, split, problem), text in zip(found, texts):
        split = split if source in OFFICIAL else split_of_text(text)
        try:
            dealt[split].append((text, checked(problem, source)))
        except Dropped as reason:
            report[split][str(reason)] += 1
    splits: dict[str, tuple[Problem, ...]] = {}
    taken: dict[str, str] = {}  # by masked text, the first split that has it
    for split, some in dealt.items():
        kept: dict[str, Problem] = {}
        for text, problem in some:
            if taken.get(text, split) != split:
                report[split]["its text, numbers and names masked, is in another split"] += 1
            elif plain(problem.question) in kept:
                report[split]["repeated"] += 1
            else:
                kept[plain(problem.question)] = problem
        taken |= {text: split for text, _ in some if text not in taken}
        order = [*kept.values()]
        random.Random(0).shuffle(order)
        splits[split] = tuple(order[: (sizes or {}).get(split)])
    return Task(name, splits, grade_number, report={split: dict(counts) for split, counts in report.items() if counts})


def _read(source: str, data_dir: str | Path | None) -> Iterator[tuple[str, Problem]]:
    """Published problems with their splits; what a benchmark's own loader leaves out is not counted again here."""
    for split, problems in load_benchmark(source, None, data_dir).splits.items():
        yield from ((split, problem) for problem in problems)


def by_steps(task: Task) -> dict[str, list[int]]:
    """By split, how many problems have one, two and three steps."""
    return {split: [sum(len(p.steps) == n for p in some) for n in (1, 2, 3)] for split, some in task.splits.items()}
