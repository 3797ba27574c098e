"""The papers' benchmarks: one table that says where each is and how it is read, and one loader.

Data is looked for in an explicit folder, in the folder named by the environment variable LATENT_COT_DATA, and on
the Hugging Face hub; data/README.md describes the folders' layout. Split names are ours: train, valid, test.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from latent_cot.tasks import grading, readers
from latent_cot.tasks.files import Record, read_records
from latent_cot.tasks.problem import DataError, Problem, Task

DATA_VARIABLE = "LATENT_COT_DATA"
# Revisions of the hub's data sets. "main" moves: put a commit hash here to freeze what you report on (a run's
# record holds the data's fingerprint in any case).
REVISIONS: dict[str, str] = {}


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark lies and how it is read.

    `files` are "split=pattern" (globs, concatenated in order of name), `hub` is "name" or "name:configuration"
    followed by "split=their split"; `options` names the reader's options with the values they may have.
    """

    read: Callable[..., readers.Parts]
    grade: Callable[[str, Problem], bool]
    files: str
    hub: str = ""
    form: str = ""  # of the files, where their names' ending does not say it
    options: dict[str, tuple] = field(default_factory=dict)


NUMBER, LETTER = grading.grade_number, grading.grade_letter
SVAMP = readers.worded(("Body", "Question"), ("Answer",), "Equation")
MULTIARITH = readers.worded(("sQuestion|question",), ("lSolutions", "final_ans"), "lEquations")
GSM_HARD = readers.worded(("input|instruction",), ("target", "response"))
MAWPS = readers.worded(("original_text",), ("ans",), "equation")
DROP = {"drop_non_digit": (True, False)}
COCONUT = "train={0}/{0}_train.json* valid={0}/{0}_valid.json* test={0}/{0}_test.json*"
BENCHMARKS: dict[str, Benchmark] = {
    "gsm8k": Benchmark(readers.gsm8k, NUMBER, "train=gsm8k/train.jsonl test=gsm8k/test.jsonl",
        "openai/gsm8k:main train=train test=test", options={"form": ("equations", "nl")}),
    "gsm8k-aug": Benchmark(readers.gsm8k_aug, NUMBER,
        "train=gsm8k_aug/train*.txt valid=gsm8k_aug/valid.txt test=gsm8k_aug/test.txt",
        "zen-E/GSM8k-Aug train=train valid=validation test=test", options=DROP),
    "gsm8k-aug-nl": Benchmark(readers.gsm8k_aug, NUMBER, "",
        "zen-E/GSM8k-Aug-NL train=train valid=validation test=test", options=DROP),
    "svamp": Benchmark(SVAMP, NUMBER, "test=svamp/SVAMP.json", "ChilleD/SVAMP test=train+test"),
    "multiarith": Benchmark(MULTIARITH, NUMBER, "test=multiarith/MultiArith.json",
        "ChilleD/MultiArith test=train+test"),
    "gsm-hard": Benchmark(GSM_HARD, NUMBER, "test=gsm_hard/gsmhardv2.jsonl", "juyoung-trl/gsm-hard test=train"),
    "mawps": Benchmark(MAWPS, NUMBER, "train=mawps/trainset.json valid=mawps/validset.json test=mawps/testset.json"),
    "asdiv": Benchmark(readers.asdiv, NUMBER, "test=asdiv/ASDiv.xml", "EleutherAI/asdiv test=validation"),
    "asdiv-aug": Benchmark(readers.gsm8k, NUMBER, "", "xuyige/ASDiv-Aug train=train test=test"),
    "aqua": Benchmark(readers.aqua, LETTER, "valid=aqua/dev.json test=aqua/test.json",
        "deepmind/aqua_rat:raw train=train valid=validation test=test", form="jsonl"),
    "strategyqa": Benchmark(readers.strategyqa, grading.grade_yes_no,
        "train=strategyqa/train.json valid=strategyqa/dev.json", "zen-E/StrategyQA_CoT_GPT4o train=train"),
    "date-understanding": Benchmark(readers.date_understanding, LETTER, "test=date_understanding/task.json",
        "tasksource/bigbench:date_understanding test=train+validation"),
    "commonsenseqa": Benchmark(readers.commonsenseqa, LETTER,
        "train=commonsenseqa/commonsenseqa_cot_train*.jsonl valid=commonsenseqa/dev_rand_split.jsonl",
        "zen-E/CommonsenseQA-GPT4omini train=train valid=validation"),
    "prosqa": Benchmark(readers.coconut, grading.grade_statement, COCONUT.format("prosqa")),
    "prontoqa": Benchmark(readers.coconut, grading.grade_true_false, COCONUT.format("prontoqa")),
}  # fmt: skip


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(word.split("=") for word in words)


def load_benchmark(
    name: str, sizes: dict[str, int] | None = None, data_dir: str | Path | None = None, **options
) -> Task:
    """Read a benchmark whole, then cut each split named in `sizes` to its first problems.

    Training problems whose question occurs in another split, or again, are dropped; the task's report counts them
    and what the recipe dropped. Raises TypeError for an unknown option, FileNotFoundError naming every place
    tried, DataError naming file and line.
    """
    benchmark = BENCHMARKS[name]
    for option, value in options.items():
        if value not in benchmark.options.get(option, ()):
            raise TypeError(f"{name}: no option {option}={value!r}; known: {benchmark.options or 'none'}")
    if unknown := set(sizes or ()) - {"train", "valid", "test"}:
        raise ValueError(f"{name}: unknown splits {sorted(unknown)}; known: train, valid, test")
    splits: dict[str, list[Problem]] = {}
    report: dict[str, dict[str, int]] = {}
    for split, records in find(name, benchmark, data_dir).items():
        if split != "train" and "drop_non_digit" in benchmark.options:  # nothing is left out of an evaluation
            options = {**options, "drop_non_digit": False}
        splits[split] = list(_problems(name, benchmark, records, options, report.setdefault(split, {})))
    _drop_known(splits, report)
    cut = {split: tuple(problems[: (sizes or {}).get(split)]) for split, problems in splits.items()}
    return Task(name, cut, benchmark.grade, report={split: counts for split, counts in report.items() if counts})


def _problems(name, benchmark, records: Iterator[Record], options: dict, counts: dict[str, int]) -> Iterator[Problem]:
    for place, record in records:
        try:
            question, steps, answer = benchmark.read(record, **options)
        except readers.Dropped as reason:
            counts[str(reason)] = counts.get(str(reason), 0) + 1
        except KeyError as error:
            raise DataError(f"{place}: {name} record without {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{place}: {error}") from error
        else:
            yield Problem(question, steps, answer, place)


def _drop_known(splits: dict[str, list[Problem]], report: dict[str, dict[str, int]]) -> None:
    """Drop training problems that are asked elsewhere or twice, and count them."""
    held_out = {problem.question for split in splits if split != "train" for problem in splits[split]}
    seen: set[str] = set()
    for problem in splits.pop("train", ()):
        reason = "also in another split" if problem.question in held_out else "repeated"
        if problem.question in held_out or problem.question in seen:
            report["train"][reason] = report["train"].get(reason, 0) + 1
        else:
            seen.add(problem.question)
            splits.setdefault("train", []).append(problem)


def find(name: str, benchmark: Benchmark, data_dir: str | Path | None) -> dict[str, Iterator[Record]]:
    """The records of each split there is, from the first place that has any."""
    tried = []
    for label, folder in (("data_dir", data_dir), (DATA_VARIABLE, os.environ.get(DATA_VARIABLE))):
        if not folder:
            tried.append(f"{label} (not given)")
        elif not benchmark.files:
            tried.append(f"{label} (not kept in folders)")
        else:
            patterns = _pairs(benchmark.files.split())
            paths = {split: sorted(Path(folder).glob(pattern)) for split, pattern in patterns.items()}
            if any(paths.values()):
                return {split: _chain(found, benchmark.form) for split, found in paths.items() if found}
            tried.append(f"{label} {folder} (no {', '.join(patterns.values())})")
    try:
        return _from_hub(benchmark)
    except Exception as error:  # the hub client raises dozens of kinds: no network, no such name, gated, no disk …
        tried.append(f"the Hugging Face hub ({' '.join(str(error).split())[:200]})")
        raise FileNotFoundError(f"{name}: no data found; tried " + "; ".join(tried)) from error


def _chain(paths: list[Path], form: str) -> Iterator[Record]:
    for path in paths:
        yield from read_records(path, form)


def _from_hub(benchmark: Benchmark) -> dict[str, Iterator[Record]]:
    if not benchmark.hub:
        raise LookupError("not published there")
    from datasets import load_dataset  # here, because importing it takes a second

    name, *splits = benchmark.hub.split()
    repo, _, configuration = name.partition(":")
    return {
        split: (
            (f"{repo}/{theirs}#{number}", record)
            for number, record in enumerate(
                load_dataset(repo, configuration or None, split=theirs, revision=REVISIONS.get(repo, "main")), start=1
            )
        )
        for split, theirs in _pairs(splits).items()
    }
