"""From a benchmark's record to a Problem: one small reader for each published form.

A reader takes a record (as in the file, or as on the hub) and the options of its benchmark, and returns question,
steps and answer. It raises KeyError or ValueError for a malformed record, and `Dropped` for a sound record that
the recipe leaves out; the caller knows the place.
"""

import ast
import operator
import random
import re
from decimal import Decimal, InvalidOperation

Parts = tuple[str, tuple[str, ...], str]  # question, steps, answer
EQUATION = re.compile(r"<<.*?>>")
OPERATORS = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}


class Dropped(Exception):
    """A sound record that the recipe leaves out; the message is the reason to count."""


def text_of(record: dict, *keys: str) -> str:
    """The first of these columns that the record has, as non-empty text without white space around it."""
    value = next((record[key] for key in keys if key in record), None)
    if value is None:
        raise KeyError(" or ".join(keys))
    if isinstance(value, list | dict) or not str(value).strip():
        raise ValueError(f"{keys[0]!r} holds no text")
    return str(value).strip()


def number(text: str) -> str:
    """A number in plain decimals: "1,234.50" -> "1234.5", "36." -> "36", "2/5" -> "0.4". ValueError otherwise."""
    try:
        top, *below = (Decimal(part) for part in text.replace(",", "").replace("$", "").strip().split("/"))
        value = top / below[0] if len(below) == 1 else top
    except (InvalidOperation, ZeroDivisionError):
        value = Decimal("nan")
    if not value.is_finite() or text.count("/") > 1:
        raise ValueError(f"the answer {text!r} is not a number")
    plain = f"{value or abs(value):f}"  # no minus zero
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def lines(text: str) -> tuple[str, ...]:
    """The non-empty lines of a text."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def equation_steps(equation: str) -> tuple[str, ...]:
    """An expression as one step for each operation: "x=(22-14)/4" -> <<22-14=8>> <<8/4=2>>.

    Equations to be solved for an unknown inside, and notes in words, give no steps.
    """
    steps: list[str] = []
    expression = next((side for side in equation.split("=") if re.search(r"\d\D*[-+*/]", side)), "")
    try:
        _evaluate(ast.parse(expression.strip(), mode="eval").body, steps)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError):
        return ()
    return tuple(steps)


def _evaluate(node: ast.AST, steps: list[str]) -> float:
    """The value of an expression's tree; adds a step for each operation."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)
    if not isinstance(node, ast.BinOp) or type(node.op) not in OPERATORS:
        raise ValueError("not plain arithmetic")
    left, right = _evaluate(node.left, steps), _evaluate(node.right, steps)
    sign, operation = OPERATORS[type(node.op)]
    result = operation(left, right)
    steps.append(f"<<{left:.12g}{sign}{right:.12g}={result:.12g}>>")
    return result


def choices(question: str, options: list[str]) -> str:
    """A multiple-choice question in the form of zen-E/CommonsenseQA-GPT4omini."""
    listed = "\n".join(f"{letter}: {option}" for letter, option in zip("ABCDEFGH", options, strict=False))
    return f"Question: {question}\nChoices:\n{listed}"


def letter(text: str) -> str:
    """A capital letter A-H, or ValueError."""
    if not re.fullmatch("[A-H]", text):
        raise ValueError(f"the answer {text!r} is not a letter")
    return text


def gsm8k(record: dict, form: str = "equations") -> Parts:
    """GSM8K's own form; steps are its <<…>> expressions, or with form="nl" its verbal lines without them."""
    body, marker, answer = text_of(record, "answer").rpartition("####")
    if not marker:
        raise ValueError("the answer has no '####'")
    steps = EQUATION.findall(body) if form == "equations" else lines(EQUATION.sub("", body))
    return text_of(record, "question"), tuple(steps), number(answer)


def gsm8k_aug(record: dict, drop_non_digit: bool = True) -> Parts:
    """GSM8k-Aug, steps <<…>>, and GSM8k-Aug-NL, steps the sentences of `cot`.

    CODI's recipe drops training answers that do not start with a digit (so negatives): on by default. About one
    problem in a hundred has no steps, in test too; as in the papers it stays.
    """
    answer, cot = text_of(record, "answer"), record["cot"].strip()
    if drop_non_digit and not answer[0].isdigit():
        raise Dropped("answer does not start with a digit")
    steps = EQUATION.findall(cot) or [step for step in re.split(r"(?<=[.!?])\s+", cot) if step]
    return text_of(record, "question"), tuple(steps), number(answer)


def worded(question: tuple[str, ...], answer: tuple[str, ...], equation: str = ""):
    """A reader of word problems: names of the columns that make up the question, hold the answer, the equation."""

    def read(record: dict) -> Parts:
        stem = " ".join(text_of(record, *key.split("|")) for key in question)
        formula = record.get(equation) or ""
        steps = equation_steps(formula[0] if isinstance(formula, list) else formula)
        value = next((record[key] for key in answer if key in record), None)
        if isinstance(value, list) and len(value) == 1:  # MultiArith wraps its only solution
            value = value[0]
        return stem, steps, number(text_of({answer[0]: value}, answer[0]))

    return read


def asdiv(record: dict) -> Parts:
    """ASDiv; answers are "9 (apples)". Those that are no single number (names, times, ratios, pairs) are dropped."""
    body, question = (text_of(record, key, key.lower()) for key in ("Body", "Question"))
    answer = re.fullmatch(r"(-?[\d.,]+(?:/\d+)?)\s*(?:\([^;]*\))?", text_of(record, "Answer", "answer"))
    if not answer:
        raise Dropped("answer is not a single number")
    return f"{body} {question}", equation_steps(record.get("Formula") or record.get("formula") or ""), number(answer[1])


def aqua(record: dict) -> Parts:
    """AQuA; the steps are the lines of `rationale`."""
    options = [re.sub(r"^[A-H]\)\s*", "", option) for option in record["options"]]
    return choices(text_of(record, "question"), options), lines(record["rationale"]), letter(text_of(record, "correct"))


def strategyqa(record: dict) -> Parts:
    """StrategyQA; steps are `facts` (the file; its `decomposition` holds sub-questions) or `cot` (the hub)."""
    answer = {"true": "yes", "yes": "yes", "false": "no", "no": "no"}.get(text_of(record, "answer").lower())
    if answer is None:
        raise ValueError(f"the answer {record['answer']!r} is neither yes nor no")
    steps = tuple(record["facts"]) if "facts" in record else lines(text_of(record, "cot"))
    return text_of(record, "question"), steps, answer


def date_understanding(record: dict) -> Parts:
    """Date Understanding; the published order has the right date first, so the options are shuffled, always alike."""
    question = text_of(record, "input", "inputs")
    scores = record.get("target_scores") or dict(
        zip(record["multiple_choice_targets"], record["multiple_choice_scores"], strict=True)
    )
    options = sorted(scores)
    random.Random(question).shuffle(options)
    right = [option for option in options if scores[option]]
    if len(right) != 1:
        raise ValueError(f"{len(right)} options are marked as right")
    return choices(question, options), (), "ABCDEFGH"[options.index(right[0])]


def commonsenseqa(record: dict) -> Parts:
    """CommonsenseQA, as published (no steps) or with steps (a list in the file, lines of `cot` on the hub)."""
    if "answerKey" in record:
        stem = record["question"]
        return choices(stem["stem"], [choice["text"] for choice in stem["choices"]]), (), letter(record["answerKey"])
    steps = tuple(record["steps"]) if "steps" in record else lines(text_of(record, "cot"))
    return text_of(record, "question"), steps, letter(text_of(record, "answer"))


def coconut(record: dict) -> Parts:
    """Coconut's JSON form (ProsQA, ProntoQA): question, steps, answer."""
    steps = record["steps"]
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) and step for step in steps):
        raise ValueError("'steps' must be a non-empty list of sentences")
    return text_of(record, "question"), tuple(steps), text_of(record, "answer")
