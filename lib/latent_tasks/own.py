"""Problems of your own, from a file or a folder: `load_task("path/to/folder")`; in a lesson or a grid `task=path/to/folder`.

A folder has `train`, `valid` and `test`, each `.jsonl`, `.json`, `.csv`, plain or `.gz`; without `valid`, the end of `train` is
for validation. A single file is shuffled (always alike) and dealt: first the test problems, then those for validation, all
others for training. A record has these fields, by any of these names:
"""

import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_tasks import problem as grading
from latent_tasks.benchmarks import listed, number
from latent_tasks.files import read_records
from latent_tasks.problem import DataError, Grader, Parts, Problem, Task

FIELDS = {
    "question": ("question", "problem", "prompt", "input"),
    "steps": ("steps", "cot", "rationale", "reasoning"),
    "answer": ("answer", "target", "label", "output"),
    "choices": ("choices", "options"),  # a list of texts; the answer is a letter, A for the first
}
GRADERS: dict[str, Grader] = {
    "number": grading.grade_number,
    "choice": grading.grade_letter,
    "exact": grading.grade_statement,
    "yes/no": grading.grade_yes_no,
}
KINDS = ("jsonl", "json", "csv")
SPLITS = ("train", "valid", "test")
MOST_WORDS = 5000  # of a vocabulary that is worth learning from scratch
TOKEN = re.compile(r"<<|>>|[A-Za-z]+>[A-Za-z]+|[A-Za-z]+|\d+|[^\sA-Za-z\d]")  # as a tiny model's tokenizer splits


def is_own(name: str) -> bool:
    """Whether a task's name is a path rather than a name."""
    return any(mark in name for mark in ("/", "\\")) or name.removesuffix(".gz").endswith(tuple(f".{kind}" for kind in KINDS))


def check_grading(grading: str) -> None:
    """Raise ValueError for an unknown way to judge an answer."""
    if grading not in GRADERS:
        raise ValueError(f"unknown grading {grading!r}; known: {', '.join(GRADERS)}")


def load_own(path: str | Path, sizes: Mapping[str, int] | None = None, *, grading: str = "number", steps: bool = True) -> Task:
    """Read problems of one's own; `sizes` cuts each split to its first n.

    `grading` says how an answer is judged: "number", "choice" (a letter), "exact" (the whole text) or "yes/no"; `steps=False`
    takes training problems without steps, for methods that read none. Training problems that are also in another split, or
    twice, are dropped and counted. Raises FileNotFoundError without files, ValueError for an unknown grading, DataError, with
    file and line, for what is wrong in a file.
    """
    check_grading(grading)
    path = Path(path).expanduser()
    sizes, files = dict(sizes or {}), _files(path)
    splits: dict[str, tuple[Problem, ...]] = {}
    for split, files_of_it in files.items():
        need = steps and split in ("train", "all")
        found = [(place, record) for file in files_of_it for place, record in read_records(file)]
        splits[split] = tuple(_problem(place, record, grading, need) for place, record in found)
    asked = {problem.question for split in ("valid", "test") for problem in splits.get(split, ())}
    source = "all" if "all" in splits else "train"
    once: dict[str, Problem] = {}
    dropped = Counter[str]()
    for problem in splits[source]:
        if problem.question in asked or problem.question in once:
            dropped["also in another split" if problem.question in asked else "repeated"] += 1
        else:
            once[problem.question] = problem
    if not once:
        raise DataError(f"{path}: every training problem is also in another split")
    report, splits[source] = {"train": dict(dropped)} if dropped else {}, tuple(once.values())
    if source == "all":
        splits = _dealt(path, splits["all"], sizes)
    elif "valid" not in splits and (n := sizes.get("valid")):
        splits |= {"train": splits["train"][:-n], "valid": splits["train"][-n:]}
    cut = {split: problems[: sizes.get(split)] for split, problems in splits.items()}
    return Task(path.name, cut, GRADERS[grading], _words(splits), report)


def _files(path: Path) -> dict[str, list[Path]]:
    """The files of each split; of a single file, "all"."""
    if path.is_file():
        return {"all": [path]}
    if not path.is_dir():
        raise FileNotFoundError(f"no such file or folder of problems: {path}")
    endings = [f".{kind}{packed}" for kind in KINDS for packed in ("", ".gz")]
    found = {split: [path / f"{split}{end}" for end in endings if (path / f"{split}{end}").is_file()] for split in SPLITS}
    expected = f"expected train and test (and valid, if there is one) with one of the endings {', '.join(endings)}"
    there = ", ".join(sorted(file.name for file in path.iterdir())[:9]) or "nothing"
    for split, files in found.items():
        if len(files) > 1:
            raise DataError(f"{path}: {' and '.join(file.name for file in files)} are both the split {split}; keep one")
        if not files and split != "valid":
            raise FileNotFoundError(f"{path}: no file for the split {split}; {expected}; it has {there}")
    return {split: files for split, files in found.items() if files}


def _dealt(path: Path, problems: tuple[Problem, ...], sizes: Mapping[str, int]) -> dict[str, tuple[Problem, ...]]:
    n_test, n_valid = sizes.get("test", len(problems) // 10), sizes.get("valid", len(problems) // 10)
    if n_test + n_valid >= len(problems):
        asked = f"{n_test} for the test and {n_valid} for validation leave none to train on"
        raise DataError(f"{path}: {len(problems)} problems, of which {asked}; set data.n_test and data.n_valid")
    some = random.Random(0).sample(problems, len(problems))
    return {"test": tuple(some[:n_test]), "valid": tuple(some[n_test:][:n_valid]), "train": tuple(some[n_test + n_valid :])}


def _problem(place: str, record: Any, grading: str, need_steps: bool) -> Problem:
    try:
        return Problem(*_read(record, grading, need_steps), place)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error


def _read(record: Any, grading: str, need_steps: bool) -> Parts:
    """Question, steps and answer of a record. Raises ValueError that says what was expected."""
    if not isinstance(record, dict):
        raise ValueError(f"a {type(record).__name__}; expected an object with the fields question, steps, answer")
    record = {name.strip().lower(): value for name, value in record.items()}

    def part(field: str) -> Any:
        return next((record[name] for name in FIELDS[field] if record.get(name) not in (None, "", [])), None)

    for field in ("question", "answer", *(["steps"] if need_steps else [])):
        if part(field) is None:
            named = ", ".join(record) or "no field"
            advice = "; for methods without steps set data.options.steps to false" if field == "steps" else ""
            raise ValueError(f"no {field}; expected one of {', '.join(FIELDS[field])} (it has {named}){advice}")
    question, answer, steps, choices = part("question"), part("answer"), part("steps") or [], part("choices")
    if not isinstance(question, str) or isinstance(answer, bool) or not isinstance(answer, str | int | float):
        raise ValueError(f"question {question!r} and answer {answer!r}; expected a text, and a text or a number")
    question, answer = question.strip(), str(answer).strip()
    if choices:
        question = listed(question, choices.split("\n") if isinstance(choices, str) else choices)
    if isinstance(steps, str):
        steps = re.findall("<<.*?>>", steps) or [line.strip() for line in steps.split("\n") if line.strip()]
    if not isinstance(steps, list) or not all(isinstance(step, str) and step.strip() for step in steps):
        raise ValueError(f"steps {steps!r}; expected a list of texts, or one text with a line for each step")
    return question, tuple(steps), _answer(answer, grading, Problem(question, (), answer))


def _answer(answer: str, grading: str, problem: Problem) -> str:
    others = ", ".join(name for name in GRADERS if name != grading)
    try:
        plain = number(answer) if grading == "number" else answer
    except (ValueError, ArithmeticError):
        plain = ""
    if not plain or not GRADERS[grading](plain, Problem(problem.question, (), plain)):
        raise ValueError(f"the answer {answer!r}; expected {GRADERS[grading].kind}; data.options.grading may also be {others}")
    return plain


def _words(splits: Mapping[str, tuple[Problem, ...]]) -> tuple[str, ...] | None:
    """The closed vocabulary, so that a tiny model can learn it; None where there are too many words for that."""
    texts = (text for problems in splits.values() for p in problems for text in (p.question, *p.steps, p.answer))
    words = {word for text in texts for word in TOKEN.findall(text)}
    return tuple(sorted(words)) if len(words) <= MOST_WORDS else None


__doc__ += "\n".join(f"    {field}: {', '.join(names)}" for field, names in FIELDS.items())
