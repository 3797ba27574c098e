"""The papers' benchmarks: one table that says where each is, the names of the columns, and one loader.

Split names are ours: train, valid, test. data/README.md describes the layout of a folder of published files.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from latent_tasks import problem as grading
from latent_tasks.files import ask_hub, read_records
from latent_tasks.problem import DataError, Grader, Parts, Problem, Task, grade_number

DATA_VARIABLE = "LATENT_COT_DATA"
REVISIONS: dict[str, str] = {}  # of the hub's data sets; "main" moves, a commit hash here freezes what is read
COLUMNS = {  # what the published files and the hub call them, in lower case; `body` stands before its question
    "question": ("question", "squestion", "original_text", "input", "instruction"),
    "steps": ("steps", "cot", "facts", "rationale", "equation", "lequations", "formula"),
    "answer": ("answer", "correct", "lsolutions", "final_ans", "ans", "target", "response"),
}


class Dropped(Exception):
    """A sound record that is left out; the message is the reason to count."""


def asdiv(record: dict) -> dict:
    """Answers are "9 (apples)". Those that are no single number (names, times, ratios, pairs) are dropped."""
    if answer := re.fullmatch(r"(-?[\d.,]+(?:/\d+)?)\s*(?:\([^;]*\))?", record["answer"]):
        return record | {"answer": answer[1]}
    raise Dropped("answer is not a single number")


def commonsenseqa(record: dict) -> dict:
    """As published, without steps; the form with steps is read as it is."""
    if "answerkey" not in record:
        return record
    stem, options = record["question"]["stem"], [choice["text"] for choice in record["question"]["choices"]]
    return {"question": stem, "options": options, "answer": record["answerkey"]}


def date_understanding(record: dict) -> dict:
    """The published order has the right date first, so the options are shuffled, always alike."""
    question = record["input"] if "input" in record else record["inputs"]
    columns = "multiple_choice_targets", "multiple_choice_scores"  # on the hub
    scores = record.get("target_scores") or dict(zip(*(record[column] for column in columns), strict=True))
    options = sorted(scores)
    random.Random(question).shuffle(options)
    [answer] = (letter for letter, option in zip("ABCDEFGH", options, strict=False) if scores[option])
    return {"question": question, "options": options, "answer": answer}


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark lies and how it is read: `prepare` turns what is special into the columns above.

    `files` are "split=pattern" (globs), `hub` is "name" or "name:configuration" followed by "split=their split".
    """

    files: str
    hub: str = ""
    grade: Grader = grade_number
    prepare: Callable[[dict], dict] = dict
    form: str = ""  # of the files, where their names' ending does not say it
    must_have_steps: bool = False


Found = dict[str, list[tuple[str, Any]]]  # places and records of each split
COCONUT = "train={0}/{0}_train.json* valid={0}/{0}_valid.json* test={0}/{0}_test.json*"
BENCHMARKS = {
    "gsm8k": Benchmark("train=gsm8k/train.jsonl test=gsm8k/test.jsonl", "openai/gsm8k:main train=train test=test"),
    "gsm8k-aug": Benchmark("train=gsm8k_aug/train*.txt valid=gsm8k_aug/valid.txt test=gsm8k_aug/test.txt",
        "zen-E/GSM8k-Aug train=train valid=validation test=test"),
    "gsm8k-aug-nl": Benchmark("", "zen-E/GSM8k-Aug-NL train=train valid=validation test=test"),
    "svamp": Benchmark("test=svamp/SVAMP.json", "ChilleD/SVAMP test=train+test"),
    "multiarith": Benchmark("test=multiarith/MultiArith.json", "ChilleD/MultiArith test=train+test"),
    "gsm-hard": Benchmark("test=gsm_hard/gsmhardv2.jsonl", "juyoung-trl/gsm-hard test=train"),
    "mawps": Benchmark("train=mawps/trainset.json valid=mawps/validset.json test=mawps/testset.json"),
    "asdiv": Benchmark("test=asdiv/ASDiv.xml", "EleutherAI/asdiv test=validation", prepare=asdiv),
    "addsub": Benchmark("test=addsub/*.json"),
    "singleeq": Benchmark("test=singleeq/*.json"),
    "asdiv-aug": Benchmark("train=asdiv_aug/*train.json* test=asdiv_aug/*test.json*", "xuyige/ASDiv-Aug train=train test=test"),
    "aqua": Benchmark("valid=aqua/dev.json test=aqua/test.json",
        "deepmind/aqua_rat:raw train=train valid=validation test=test", grading.grade_letter, form="jsonl"),
    "strategyqa": Benchmark("train=strategyqa/*train.json valid=strategyqa/dev.json",
        "zen-E/StrategyQA_CoT_GPT4o train=train", grading.grade_yes_no),
    "date-understanding": Benchmark("test=date_understanding/task.json",
        "tasksource/bigbench:date_understanding test=train+validation", grading.grade_letter, date_understanding),
    "commonsenseqa": Benchmark(
        "train=commonsenseqa/commonsenseqa_cot_train*.jsonl test=commonsenseqa/dev_rand_split.jsonl",
        "zen-E/CommonsenseQA-GPT4omini train=train test=validation", grading.grade_letter, commonsenseqa),
    "prosqa": Benchmark(COCONUT.format("prosqa"), grade=grading.grade_statement, must_have_steps=True),
    "prontoqa": Benchmark(COCONUT.format("prontoqa"), grade=grading.grade_true_false, must_have_steps=True),
}  # fmt: skip


def number(text: str) -> str:
    """A number in plain decimals: "1,234.50" -> "1234.5", "36." -> "36", "2/5" and "\\frac{2}{5}" -> "0.4". ValueError
    otherwise."""
    value = Fraction(grading.plain_fractions(text).replace(",", "").replace("$", "").strip())
    return f"{(Decimal(value.numerator) / value.denominator).normalize():f}"


def listed(question: str, options: Iterable[str]) -> str:
    """A question with its choices, in the form of zen-E/CommonsenseQA-GPT4omini."""
    plain = (re.sub(r"^[A-H]\)\s*", "", option) for option in options)
    lines = (f"{letter}: {option}" for letter, option in zip("ABCDEFGH", plain, strict=False))
    return "\n".join([f"Question: {question}", "Choices:", *lines])


def read(benchmark: Benchmark, record: Any) -> Parts:
    """Question, steps (a list, or of a text the <<…>>, else lines and sentences) and answer; any common exception."""
    record = benchmark.prepare({name.lower(): value for name, value in record.items()})
    parts = {part: record[name] for part, names in COLUMNS.items() for name in names[::-1] if name in record}
    question, answer = parts["question"], parts["answer"]
    answer = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer  # MultiArith's only solution
    if not isinstance(question, str) or not question.strip() or not isinstance(answer, str | int | float):
        raise ValueError("a question or an answer without text")
    question = f"{record.get('body', '')} {question.strip()}".strip()
    if "options" in record:
        question = listed(question, record["options"])
    worked, marker, answer = str(answer).rpartition("####")
    answer = answer.strip()
    if benchmark.grade is grade_number:
        answer = number(answer)
    elif benchmark.grade is grading.grade_yes_no:
        answer = {"True": "yes", "False": "no"}.get(answer, answer)
    if not benchmark.grade(answer, Problem(question, (), answer)):
        raise ValueError(f"the answer {answer!r} is of the wrong kind")
    steps = worked if marker else parts["steps"] if benchmark.must_have_steps else parts.get("steps", "")
    if isinstance(steps, str):
        sentences = [] if marker else re.split(r"\n|(?<=[.!?])\s", steps)
        steps = re.findall("<<.*?>>", steps) or [part.strip() for part in sentences if part.strip()]
    elif not steps or not all(isinstance(step, str) and step for step in steps):
        raise ValueError("'steps' must be a non-empty list of sentences")
    return question, tuple(steps), answer


def plain(question: str) -> str:
    """A question as it is compared with others: its words and numbers, without case and punctuation."""
    return " ".join(re.findall(r"\d+(?:\.\d+)?|[^\W\d]+|[%+*/<>=]|-(?=\d)", question.lower().replace(",", "")))


def load_benchmark(
    name: str, sizes: dict | None, data_dir: str | Path | None, *, drop_non_digit: bool = True, hold_out: float = 0.0
) -> Task:
    """Read a benchmark whole, then cut each split named in `sizes` to its first problems; a validation split that is asked
    for and not published is the end of the training split.

    Training problems whose question occurs in another split, or again, but for case and punctuation, are dropped; so are, as
    in CODI's recipe, those of GSM8k-Aug whose answer does not start with a digit. DataError names file and line.
    With `hold_out` the test is the last share of all problems that are no published test, training the others, in their
    published order (the official SoftCoT code does so with StrategyQA: .2).
    """
    benchmark, found = BENCHMARKS[name], find(name, data_dir)
    drop_non_digit = drop_non_digit and name.startswith("gsm8k-aug")
    splits: dict[str, tuple[Problem, ...]] = {}
    report: dict[str, dict[str, int]] = {}
    asked: dict[str, str] = {}  # question: the split that asks it; train comes last
    for split in (split for split in ("valid", "test", "train") if split in found):
        problems, dropped = [], Counter[str]()
        for place, record in found[split]:
            try:
                problem = Problem(*read(benchmark, record), place)
                if split == "train" and drop_non_digit and not re.search(r"(^|####)\s*\d[^#]*$", record["answer"]):
                    raise Dropped("answer does not start with a digit")
                if split == "train" and (before := asked.get(plain(problem.question))):
                    raise Dropped("repeated" if before == "train" else "also in another split")
            except Dropped as reason:
                dropped[str(reason)] += 1
            except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
                raise DataError(f"{place}: {type(error).__name__}: {error}") from error
            else:
                asked[plain(problem.question)] = split
                problems.append(problem)
        splits[split] = tuple(problems)
        report |= {split: dict(dropped)} if dropped else {}
    if hold_out:
        every = splits.get("train", ()) + splits.get("valid", ())
        first = int(len(every) * (1 - hold_out))
        splits = {"train": every[:first], "test": every[first:]}
    splits = {split: problems[: (sizes or {}).get(split)] for split, problems in splits.items()}
    if "train" in splits and "valid" not in splits and (n := (sizes or {}).get("valid")):  # none is published
        splits |= {"train": splits["train"][:-n], "valid": splits["train"][-n:]}
    return Task(name, splits, benchmark.grade, report=report)


def find(name: str, data_dir: str | Path | None) -> Found:
    """Places and records of each split there is: of data_dir, if it is given; else of the first of LATENT_COT_DATA, the hub.
    Raises FileNotFoundError where there is no such folder, or no data."""
    benchmark, tried = BENCHMARKS[name], []
    patterns = dict(pair.split("=") for pair in benchmark.files.split())
    for label, folder in (("data_dir", data_dir), (DATA_VARIABLE, os.environ.get(DATA_VARIABLE))):
        if folder and not Path(str(folder)).is_dir():
            raise FileNotFoundError(f"{name}: {label} is {str(folder)!r}, and there is no such folder")
        found: Found = {}
        for split, pattern in patterns.items() if folder else ():
            for path in sorted(Path(str(folder)).glob(pattern)):
                found.setdefault(split, []).extend(read_records(path, benchmark.form))
        if found:
            return found
        if folder and label == "data_dir" and patterns:  # whoever names a folder means it, and no other data
            expected = ", ".join(patterns.values())
            raise FileNotFoundError(f"{name}: nothing in data_dir {str(folder)!r}; expected {expected} there")
        tried.append(f"{label} {folder} (no {', '.join(patterns.values())})" if folder else f"{label} (not given)")
    try:
        return from_hub(benchmark.hub)
    except Exception as error:  # the hub client raises dozens of kinds: no network, no such name, gated, no disk …
        tried.append(f"the Hugging Face hub ({' '.join(str(error).split())[:200]})")
        raise FileNotFoundError(f"{name}: no data found; tried " + "; ".join(tried)) from None


def from_hub(hub: str) -> Found:
    """The same from the hub; any exception of its client. HF_HUB_OFFLINE=1 reads what was downloaded before."""
    if not hub:
        raise LookupError("not published there")
    from datasets import load_dataset  # here, because importing it takes a second

    ask_hub()
    name, *splits = hub.split()
    repo, _, configuration = name.partition(":")
    found = {}
    for split, theirs in (pair.split("=") for pair in splits):
        records = load_dataset(repo, configuration or None, split=theirs, revision=REVISIONS.get(repo, "main"))
        found[split] = [(f"{repo}/{theirs}#{n}", record) for n, record in enumerate(records, start=1)]
    return found
