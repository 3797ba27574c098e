"""Problems of one's own: a documented task, and every fault of a file is a line that says where and what was expected."""

import gzip
import json
import re
import tracemalloc

import pytest

from latent_backbones.tokens import check_words, tiny_tokenizer
from latent_runs.grid import main
from latent_runs.lesson import Lesson
from latent_runs.settings import typed_parameters
from latent_tasks import DataError, load_task
from latent_tasks.files import LONGEST, MOST, read_records

RECORD = {"question": "Zoé has 2 pears, buys 3?", "steps": ["<<2+3=5>>"], "answer": 5}
LINES = [{"question": f"Zoé has {n} pears, buys 3?", "steps": [f"<<{n}+3={n + 3}>>"], "answer": n + 3} for n in range(8)]
CSV = "question,steps,answer\n" + "".join(f'"{r["question"]}","{r["steps"][0]}\nso","{r["answer"]}"\n' for r in LINES)


def jsonl(records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def folder(tmp_path):
    """A function that writes files, and the folder."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / "mine" / name.replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "mine"

    return write


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "jsonl.gz"])
def test_a_folder_of_files(form, folder):
    whole = {"jsonl": jsonl(LINES), "json": json.dumps(LINES, indent=1), "csv": CSV}
    whole["jsonl.gz"] = gzip.compress(jsonl(LINES).encode())
    where = folder(**{f"train__{form}": whole[form], "test__jsonl": jsonl([RECORD | {"question": "other?"}])})
    task = load_task(str(where), sizes={"train": 4, "valid": 2})
    assert {split: len(problems) for split, problems in task.splits.items()} == {"train": 4, "valid": 2, "test": 1}
    first = task.splits["train"][0]
    assert (first.question, first.answer) == (LINES[0]["question"], "3") and first.steps[0] == "<<0+3=3>>"
    assert first.id in (f"mine/train.{form}:1", f"mine/train.{form}#1", f"mine/train.{form}:2")
    assert task.grade("The answer is: 3", first) and not task.grade("4", first)
    tokenizer = tiny_tokenizer(task.words)
    for problem in task.splits["train"]:
        check_words(" ".join((problem.question, *problem.steps, problem.answer)), tokenizer)


def test_one_file_is_dealt_into_splits_that_share_no_question(folder):
    path = folder(all__jsonl=jsonl([*LINES, LINES[0]])) / "all.jsonl"
    task = load_task(str(path), sizes={"train": 100, "valid": 2, "test": 3})
    asked = {split: {p.question for p in problems} for split, problems in task.splits.items()}
    assert (len(asked["valid"]), len(asked["test"])) == (2, 3) and not asked["train"] & (asked["valid"] | asked["test"])
    assert sum(map(len, task.splits.values())) + sum(task.report["train"].values()) == 9
    assert load_task(str(path), sizes={"valid": 2, "test": 3}).fingerprint == task.fingerprint


def test_marks_and_ends_of_lines_that_editors_leave(folder):
    lines = [json.dumps(record, ensure_ascii=False) for record in LINES]
    mixed = "\ufeff" + "\r\n".join(lines[:3]) + "\r" + "\n".join(lines[3:])
    where = folder(train__jsonl=mixed, test__csv="\ufeff" + CSV.replace("\n", "\r\n").replace("0 pears", "0 figs"))
    task = load_task(str(where), steps=False)
    assert [p.question for p in task.splits["test"]][0] == "Zoé has 0 figs, buys 3?" and "\r" not in repr(task.splits)
    assert task.splits["train"][0].id == "mine/train.jsonl:1", "only the first is not also a test question"
    assert task.report["train"] == {"also in another split": 7}


@pytest.mark.parametrize(
    ("grading", "record", "right", "wrong"),
    [
        ("choice", {"answer": "B", "options": ["red", "blue"]}, "The answer is: B", "A"),
        ("exact", {"answer": "Paris, France"}, "so ### Paris, France.", "Paris"),
        ("yes/no", {"answer": "Yes"}, "The answer is: yes", "no"),
        ("number", {"answer": "1,234.50"}, "1234.5", "1234"),
    ],
)
def test_how_answers_are_judged_is_chosen(grading, record, right, wrong, folder):
    train, test = ([RECORD | record | {"question": asked}] for asked in "pq")
    where = folder(train__jsonl=jsonl(train), test__jsonl=jsonl(test))
    task = load_task(str(where), grading=grading)
    problem = task.splits["test"][0]
    assert task.grade(right, problem) and not task.grade(wrong, problem)
    assert ("A: red\nB: blue" in problem.question) == ("options" in record)


def faulty(**change):
    return jsonl([LINES[0], {k: v for k, v in (RECORD | change).items() if v is not ...}])


FAULTS = {  # what stands in train.jsonl (or the file named): what the error says behind "mine/train.jsonl"
    "no question": (faulty(question=...), r":2: no question; expected one of question, .*input \(it has steps, answer\)"),
    "no answer": (faulty(answer=None), ":2: no answer; expected one of answer, target, label, output"),
    "no steps": (faulty(steps=...), ":2: no steps; expected one of steps, cot, .*data.options.steps to false"),
    "empty steps": (faulty(steps=[]), ":2: no steps"),
    "steps of another kind": (faulty(steps=[1, 2]), r":2: steps \[1, 2\]; expected a list of texts, or one text with a line"),
    "answer in words": (faulty(answer="five"), ":2: the answer 'five'; expected the number; data.options.grading may also be"),
    "answer of another kind": (faulty(answer=[5]), ":2: question .* and answer .5.; expected"),
    "answer true": (faulty(answer=True), ":2: question .* and answer True"),
    "cut off": (jsonl(LINES)[:130], ":2: Unterminated string"),
    "no object": ("7\n", ":1: a int; expected an object with the fields question, steps, answer"),
    "twice the same field": ('{"question": "q", "answer": 1, "answer": 2}', ":1: 'answer' is there twice"),
    "empty": ("\n", ":1: the file is empty"),
    "NUL": (jsonl([RECORD]).replace("pears", "pe\\u0000ars"), r":1: the character '\\x00'"),
    "raw NUL": (jsonl([RECORD]).replace("pears", "pe\0ars"), ":1: Invalid control character"),
    "half a character": (jsonl([RECORD]).replace("pears", "\\ud800"), r":1: the character '\\ud800'"),
    "other encoding": (jsonl(LINES).encode() + b'{"question": "caf\xe9"', ":9: 'utf-8' codec can't decode byte 0xe9"),
    "UTF-16": (jsonl(LINES).encode("utf-16"), ":1: 'utf-8' codec"),
    "deep nesting": ("[" * 100_000 + "\n", ":1: nested too deeply"),
    "a long line": (jsonl([RECORD | {"question": "x" * LONGEST}]), ":1: a line of 1,048,.* expected at most 1,048,576"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_a_file_is_named_with_its_place(case, folder):
    content, message = FAULTS[case]
    where = folder(train__jsonl=content, test__jsonl=jsonl([RECORD | {"question": "other?"}]))
    with pytest.raises(DataError, match=rf"^mine/train\.jsonl{message}") as error:
        load_task(str(where))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train__csv": CSV + "a,b\n", "test__csv": CSV}, r"mine/train\.csv:18: 2 columns; expected 3: question, steps"),
        ({"train__csv": CSV + 'a,"b\n', "test__csv": CSV}, r"mine/train\.csv:18: unexpected end of data"),
        ({"train__json": json.dumps({"a": 1}), "test__csv": CSV}, "train.json:1: expected a non-empty array of records"),
        ({"train__json": "[" * 100_000, "test__csv": CSV}, "train.json:1: nested too deeply"),
        ({"train__json": json.dumps([RECORD, "x" * (LONGEST + 1)]), "test__csv": CSV}, "train.json#2: a text of 1,048,577"),
        ({"train__jsonl": jsonl(LINES), "train__csv": CSV, "test__csv": CSV}, "train.jsonl and train.csv are both the split"),
        ({"train__jsonl": jsonl(LINES), "test__jsonl": jsonl(LINES)}, "every training problem is also in another split"),
        ({"train__jsonl": jsonl(LINES)}, r"no file for the split test; expected train and .*\.csv.*; it has train\.jsonl"),
        ({"test__parquet": "PAR1"}, r"no file for the split train; .*; it has test\.parquet"),
    ],
)
def test_a_fault_of_a_folder_is_named(files, message, folder):
    with pytest.raises((DataError, FileNotFoundError), match=message):
        load_task(str(folder(**files)))


def test_a_path_that_leads_nowhere_and_a_name_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder of problems: .*nothing"):
        load_task(str(tmp_path / "nothing"))
    known = "known: graph, .*arithmetic, .*gsm8k.*or the path of a file or folder"
    with pytest.raises(ValueError, match=f"unknown task 'gms8k'; {known}"):
        load_task("gms8k")
    with pytest.raises(ValueError, match="unknown grading 'fuzzy'; known: number, choice, exact, yes/no"):
        load_task(str(tmp_path), grading="fuzzy")
    with pytest.raises(DataError, match="8 problems, of which 6 for the test and 2 for validation leave none.*data.n_test"):
        (tmp_path / "all.jsonl").write_text(jsonl(LINES))
        load_task(str(tmp_path / "all.jsonl"), sizes={"test": 6, "valid": 2})


def test_a_bomb_is_refused_within_bounds(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(2 * MOST // 2**24):
            file.write(bytes(2**24))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"train\.jsonl\.gz:1: more than 268,435,456 bytes"):
        list(read_records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MOST


def test_ids_may_repeat_and_html_stays_text(folder):
    attack = "<script>alert(1)</script> 2 + 3?"
    records = [RECORD | {"id": 1, "question": f"{attack} {n}"} for n in range(4)]
    task = load_task(str(folder(train__jsonl=jsonl(records), test__jsonl=jsonl([RECORD | {"id": 1}]))))
    assert len({problem.id for problem in task.splits["train"]}) == 4 and task.splits["train"][0].question == f"{attack} 0"


def test_a_lesson_on_problems_of_ones_own(folder, monkeypatch):
    """As README says: `task=path/to/folder`, as seen from where the command is given."""
    where = folder(train__jsonl=jsonl(LINES), test__jsonl=jsonl([RECORD | {"question": "Zoé buys 3?"}]))
    told = {}
    monkeypatch.chdir(where.parent)
    monkeypatch.setattr("latent_runs.grid.run_notebook", lambda notebook, out, given, checked: told.update(given))
    assert main(["run", "02_explicit_baselines", "--out", "out", "task=./mine", "data.options={grading: number}"]) == 0
    assert told["task"] == str(where)
    values = {name: one.value for name, one in typed_parameters("02_explicit_baselines").items()}
    lesson = Lesson("02_explicit_baselines", values | told | {"data": {"n_valid": 2}, "steps": 1})
    method, reasoner, encoded = lesson.load()
    assert len(encoded) == 6 and not re.search("<pad>", reasoner.tokenizer.decode(encoded[0].question))
    assert lesson.evaluate(reasoner, method).metrics["n"] == 1


@pytest.fixture
def benchmark_lesson(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    for split in ("train", "test"):
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text(json.dumps({"question": split, "answer": "<<1+1=2>>\n#### 2"}))
    values = {name: one.value for name, one in typed_parameters("02_explicit_baselines").items()}
    data = {"n_valid": 0, "options": {"data_dir": str(tmp_path)}}
    return Lesson("02_explicit_baselines", values | {"task": "gsm8k", "data": data})


def test_a_tiny_model_cannot_read_a_task_of_open_vocabulary(benchmark_lesson):
    with pytest.raises(ValueError, match="gsm8k has no closed vocabulary, so a tiny model cannot read it: set model.lm"):
        benchmark_lesson.load()
