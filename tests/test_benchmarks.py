"""Published benchmarks: every real file loads, and a malformed one is a single error that names file and line."""

import gzip
import json
import os
import re
import time
from functools import cache

import pytest

from latent_tasks import DataError, load_task
from latent_tasks.benchmarks import BENCHMARKS, number, plain, read

DATA = os.environ.get("LATENT_COT_DATA")
COUNTS = {  # records of the published files, dropped ones included
    "gsm8k": {"train": 7473, "test": 1319},
    "gsm8k-aug": {"train": 3000 + 6973, "valid": 500, "test": 1319},
    "svamp": {"test": 1000},
    "multiarith": {"test": 600},
    "gsm-hard": {"test": 1319},
    "mawps": {"train": 1898, "valid": 237, "test": 238},
    "asdiv": {"test": 2305},
    "aqua": {"valid": 254, "test": 254},
    "strategyqa": {"train": 2061, "valid": 229},
    "date-understanding": {"test": 369},
    "commonsenseqa": {"train": 1000, "test": 1221},
    "prosqa": {"valid": 300},
    "prontoqa": {"train": 9000, "valid": 200},
}
STEPLESS = {"gsm-hard": {"test"}, "date-understanding": {"test"}, "commonsenseqa": {"test"}}
real = pytest.mark.skipif(not DATA, reason="LATENT_COT_DATA is unset")


@cache
def load(name):
    return load_task(name, data_dir=DATA)


@real
@pytest.mark.parametrize("name", COUNTS)
def test_every_real_file_loads_whole(name):
    task = load(name)
    kept = {split: len(problems) for split, problems in task.splits.items()}
    assert {split: n + sum(task.report.get(split, {}).values()) for split, n in kept.items()} == COUNTS[name]
    for split, problems in task.splits.items():
        assert any(problem.steps for problem in problems) == (split not in STEPLESS.get(name, ()))
        assert all(task.grade(f"5 E ### {problem.answer}", problem) for problem in problems[:200])
        assert re.fullmatch(r"\w+/[\w.]+[:#]\d+", problems[0].id)


@real
def test_what_the_recipes_drop_is_counted():
    task = load("gsm8k-aug")
    assert task.report == {"train": {"answer does not start with a digit": 21, "repeated": 58}}
    assert any(problem.answer.startswith("-") for problem in task.splits["test"])
    assert task.fingerprint == "79e251b5fa05141b"  # of the folder's four files; results on record hold for these
    assert set(load("asdiv").report["test"]) == {"answer is not a single number"}
    assert "also in another split" in load("mawps").report["train"]


@real
def test_sizes_cut():
    cut = load_task("gsm8k", sizes={"train": 5, "valid": 3}).splits  # no validation split is published
    assert {split: len(problems) for split, problems in cut.items()} == {"test": 1319, "train": 2, "valid": 3}
    assert cut["train"] + cut["valid"] == load_task("gsm8k", sizes={"train": 5}).splits["train"]
    with pytest.raises(TypeError, match="colour"):
        load_task("svamp", colour="red")
    with pytest.raises(ValueError, match="dev"):
        load_task("gsm8k", sizes={"dev": 3})


def test_a_share_can_be_held_out(tmp_path):
    """As the official SoftCoT code splits StrategyQA's training file: the first 80 %, the last 20 %."""
    (tmp_path / "strategyqa").mkdir()
    records = [{"question": f"Is {n} a number?", "facts": ["It is."], "answer": n % 2 == 0} for n in range(23)]
    (tmp_path / "strategyqa" / "strategyqa_train.json").write_text(json.dumps(records))
    splits = load_task("strategyqa", data_dir=tmp_path, hold_out=0.2).splits
    assert [p.question for p in splits["train"] + splits["test"]] == [record["question"] for record in records]
    assert {split: len(some) for split, some in splits.items()} == {"train": 18, "test": 5}
    cut = load_task("strategyqa", data_dir=tmp_path, hold_out=0.2, sizes={"train": 2, "test": 1}).splits
    assert cut == {"train": splits["train"][:2], "test": splits["test"][:1]}


@real
def test_the_published_halves_of_strategyqa_are_as_many_as_its_one_file():
    task = load_task("strategyqa", data_dir=DATA, hold_out=0.2)
    assert {split: len(some) for split, some in task.splits.items()} == {"train": 1832 - 1, "test": 458}
    assert task.report == {"train": {"repeated": 1}}


@real
def test_options_of_date_understanding_do_not_tell_the_answer():
    answers = [problem.answer for problem in load("date-understanding").splits["test"]]
    assert max(answers.count(letter) for letter in "ABCDEF") < 0.3 * len(answers)


@real
def test_questions_that_differ_in_case_and_punctuation_only_are_one():
    task = load("mawps")
    kept = [plain(problem.question) for problem in task.splits["train"]]
    assert len({*kept}) == len(kept)
    assert not {*kept} & {plain(p.question) for split in ("valid", "test") for p in task.splits[split]}


def test_what_makes_a_question_another():
    same = ["Ann has 2.5 kg , and 3 more .", "ANN has 2.5 kg, and 3 more?", "ann has 2.5 kg and 3 more"]
    other = ["Ann has 25 kg, and 3 more.", "Ann has 2.5 kg, and -3 more.", "Ann has 2, 5 kg, and 3 more."]
    assert len({*map(plain, same)}) == 1 and len({*map(plain, [same[0], *other])}) == 4


MAWPS_FORMS = (
    {"iIndex": 7, "sQuestion": "Ann has 2 eggs and 3 nuts. How many?", "lEquations": ["X=2.0+3.0"], "lSolutions": [5.0]},
    {"id": "7", "original_text": "Ann has 2 eggs and 3 nuts. How many?", "equation": "X=2+3", "ans": 5.0},
)


@pytest.mark.parametrize("name", ["addsub", "singleeq"])
@pytest.mark.parametrize("record", MAWPS_FORMS, ids=["as published", "as in MWPToolkit"])
def test_sets_of_mawps_are_read_in_its_form(name, record, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "questions.json").write_text(json.dumps([record]))
    (problem,) = load_task(name, data_dir=tmp_path).splits["test"]
    assert (problem.question, problem.answer, len(problem.steps)) == (record.get("sQuestion", problem.question), "5", 1)


def test_asdiv_aug_is_read_from_a_folder(tmp_path):
    (tmp_path / "asdiv_aug").mkdir()
    for split, n in (("train", 3), ("test", 2)):
        lines = [json.dumps({"question": f"{split} {i}?", "answer": f"One step. #### {i}/2"}) for i in range(n)]
        (tmp_path / "asdiv_aug" / f"aug-{split}.jsonl").write_text("\n".join(lines))
    task = load_task("asdiv-aug", data_dir=tmp_path)
    assert {split: len(problems) for split, problems in task.splits.items()} == {"train": 3, "test": 2}
    assert [problem.answer for problem in task.splits["train"]] == ["0", "0.5", "1"]


FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "gsm8k-aug": "gsm8k_aug/test.txt",
    "svamp": "svamp/SVAMP.json",
    "asdiv": "asdiv/ASDiv.xml",
    "aqua": "aqua/dev.json",
    "strategyqa": "strategyqa/dev.json",
    "date-understanding": "date_understanding/task.json",
    "prosqa": "prosqa/prosqa_valid.json",
    "prontoqa": "prontoqa/prontoqa_train.json.gz",
}
LINE = '{"question": "q", "answer": "#### 1"}\n'
GOOD = {"question": "q", "steps": ["s"], "answer": "True"}
AQUA = {"question": "q", "options": ["A)1"], "rationale": "r", "correct": "A"}
MALFORMED = {  # case: (task, content of its file, what the error says)
    "truncated line": ("gsm8k", LINE + LINE[:20], r"gsm8k/test.jsonl:2: Unterminated string"),
    "truncated array": ("prosqa", '[\n{"question": "q"', r"prosqa_valid.json:2: Expecting"),
    "missing key": ("gsm8k", LINE + '{"question": "q"}', r"test.jsonl:2: .*'answer'"),
    "missing steps": ("prosqa", [GOOD, {"question": "q", "answer": "a"}], r"valid.json#2: .*'steps'"),
    "empty steps": ("prosqa", [GOOD, {**GOOD, "steps": []}], r"valid.json#2: .*'steps' must be"),
    "record no object": ("prosqa", [GOOD, 7], r"valid.json#2: .*'int'"),
    "line no object": ("gsm8k", LINE + "7", r"test.jsonl:2: .*'int'"),
    "no array": ("svamp", {"a": 1}, r"SVAMP.json:1: expected a non-empty array"),
    "empty array": ("svamp", [], r"SVAMP.json:1: expected a non-empty array"),
    "null question": ("aqua", json.dumps({**AQUA, "question": None}), r"dev.json:1: .*question"),
    "null options": ("aqua", json.dumps({**AQUA, "options": None}), r"dev.json:1: .*None"),
    "no letter": ("aqua", json.dumps({**AQUA, "correct": "Z"}), r"dev.json:1: .*answer 'Z'"),
    "no number": ("gsm8k-aug", "q|| #### 2\n\nq|| #### two", r"test.txt:3: .*'two'"),
    "no marker": ("gsm8k-aug", "q|| #### 2\nq||<<1+1=2>>", r"test.txt:2: .*<<1"),
    "no bars": ("gsm8k-aug", "q|| #### 2\nq #### 2", r"test.txt:2: .*'answer'"),
    "neither yes nor no": ("strategyqa", [{"question": "q", "answer": "maybe", "facts": []}], r"dev.json#1: .*maybe"),
    "two right": ("date-understanding", [{"input": "q", "target_scores": {"a": 1, "b": 1}}], r"json#1: .*too many"),
    "encoding": ("gsm8k", LINE.encode() + b'{"question": "caf\xe9"}', r"test.jsonl:2: .utf-8.*0xe9"),
    "empty file": ("gsm8k", "", r"test.jsonl:1: the file is empty"),
    "XML cut off": ("asdiv", "<a>\n<Problem>", r"ASDiv.xml:2: no element"),
    "XML without question": (
        "asdiv",
        "<a><Problem><Body>b</Body><Question>q</Question></Problem></a>",
        r"xml#1: .*nswer",
    ),
    "gzip cut off": ("prontoqa", gzip.compress(b"[1, 2, 3]")[:-9], r"train.json.gz:1: Compressed file ended"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_name_file_and_line(case, tmp_path):
    name, content, message = MALFORMED[case]
    path = tmp_path / FILES[name]
    path.parent.mkdir()
    content = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        load_task(name, data_dir=tmp_path)


def test_training_questions_of_other_splits_are_dropped_and_counted(tmp_path):
    folder = tmp_path / "gsm8k_aug"
    folder.mkdir()
    (folder / "test.txt").write_text("asked||<<1+1=2>> #### 2\nminus|| #### -2\n")
    (folder / "train_a.txt").write_text("asked||<<1+1=2>> #### 2\nnew||<<1+1=2>> #### 36.\n")
    (folder / "train_b.txt").write_text("new||<<1+1=2>> #### 36\nbelow||<<1-2=-1>> #### -1\nhalf|| #### 1/2\n")
    task = load_task("gsm8k-aug", data_dir=tmp_path)
    assert [problem.answer for problem in task.splits["train"]] == ["36", "0.5"]
    assert [problem.answer for problem in task.splits["test"]] == ["2", "-2"]
    dropped = {"also in another split": 1, "repeated": 1, "answer does not start with a digit": 1}
    assert task.report == {"train": dropped}


def test_places_are_tried_in_order_and_a_miss_names_all_three(tmp_path, monkeypatch):
    asked = []

    def hub(repo, configuration, split, revision):
        asked.append((repo, configuration, split, revision))
        if repo == "openai/gsm8k":
            return [{"question": "from the hub", "answer": "<<1+1=2>>\n#### 2"}]
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", hub)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("LATENT_COT_DATA", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    task = load_task("gsm8k")
    assert task.splits["test"][0].question == "from the hub" and task.splits["test"][0].id == "openai/gsm8k/test#1"
    assert ("openai/gsm8k", "main", "test", "main") in asked
    for place, told in (("mine", None), ("given", tmp_path / "given")):  # the nearer place wins
        (tmp_path / place / "gsm8k").mkdir(parents=True)
        (tmp_path / place / "gsm8k" / "test.jsonl").write_text(f'{{"question": "from {place}", "answer": "#### 2"}}')
        task = load_task("gsm8k", data_dir=told)
        assert [(s, p[0].question) for s, p in task.splits.items()] == [("test", f"from {place}")]
    for name, said in (("svamp", "no network"), ("prosqa", "not published there")):
        with pytest.raises(FileNotFoundError, match=rf"{name}.*data_dir \(not given\).*LATENT_COT_DATA .*mine.*hub \({said}"):
            load_task(name)
    for told, said in (("given", r"nothing in data_dir .*given.*SVAMP\.json there"), ("gone", "there is no such folder")):
        with pytest.raises(FileNotFoundError, match=rf"svamp: .*{said}"):  # and no other place is looked in
            load_task("svamp", data_dir=tmp_path / told)
    monkeypatch.setenv("LATENT_COT_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="LATENT_COT_DATA is .*gone', and there is no such folder"):
        load_task("gsm8k")
    monkeypatch.delenv("LATENT_COT_DATA")
    with pytest.raises(FileNotFoundError, match=r"data_dir \(not given\); LATENT_COT_DATA \(not given\); .*hub"):
        load_task("svamp")


def test_a_hub_out_of_reach_is_given_up_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("LATENT_COT_DATA", raising=False)
    started = time.monotonic()
    with pytest.raises(FileNotFoundError, match="hub"):
        load_task("svamp")
    assert time.monotonic() - started < 15


HUB_RECORDS = {  # the columns of the hub's versions, where they are not the files'
    "gsm8k-aug-nl": ({"question": "q", "cot": "One. Two.", "answer": "3"}, ("One.", "Two."), "3"),
    "asdiv-aug": ({"question": "q", "answer": "<<8+2=10>>\n####10"}, ("<<8+2=10>>",), "10"),
    "multiarith": ({"question": "q", "final_ans": "39"}, (), "39"),
    "gsm-hard": ({"instruction": "q", "response": -9867630.0}, (), "-9867630"),
    "asdiv": ({"body": "b", "question": "q", "answer": "9 (apples)", "formula": "7+2=9"}, ("7+2=9",), "9"),
    "strategyqa": ({"question": "q", "cot": "a\nb", "answer": "True"}, ("a", "b"), "yes"),
    "commonsenseqa": ({"question": "q", "cot": "a\nb", "answer": "C"}, ("a", "b"), "C"),
    "date-understanding": (
        {"inputs": "q", "multiple_choice_targets": ["x", "y"], "multiple_choice_scores": [0, 1]}, (), None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HUB_RECORDS)
def test_columns_of_the_hub(name):
    record, steps, answer = HUB_RECORDS[name]
    found = read(BENCHMARKS[name], record)
    assert found[1] == steps and found[2] in (answer, *"AB" * (answer is None))


@pytest.mark.parametrize(
    ("text", "plain"),
    [("1,234.50", "1234.5"), ("36.", "36"), ("2/5", "0.4"), ("-0.0", "0"), ("$5", "5"), ("100", "100")],
)  # fmt: skip
def test_numbers_are_written_plainly(text, plain):
    assert number(text) == plain


@pytest.mark.parametrize("text", ["", "two", "nan", "inf", "1/0", "1/2/3", "9 apples", "3:4"])
def test_other_answers_are_no_numbers(text):
    with pytest.raises((ValueError, ZeroDivisionError)):
        number(text)
