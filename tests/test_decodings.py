"""Intermediate-result accuracy on hand-made decodings, from files, and the states that are decoded."""

import gzip
import json

import pytest
import torch
from test_thoughts import TASK, close, encoded, tiny_reasoner, writers

from latent_cot.decodings import by_steps, decode_all, in_order, read_decodings
from latent_cot.evaluation import evaluate, prompt
from latent_cot.generation import answer_batch
from latent_cot.probing import decode_thoughts
from latent_tasks import DataError

STEPS = ["<<12-7=5>>", "<<5*3=15>>"]
RECORD = {"question": "q", "steps": STEPS, "answer": "15", "prediction": "The answer is: 15"}


def record(decoded, **change):
    return RECORD | {"decoded": decoded} | change


@pytest.fixture
def read(tmp_path):
    def read(*records, name="made.jsonl"):
        path = tmp_path / name
        text = "\n".join(map(json.dumps, records)) if "jsonl" in name else json.dumps(records)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return read_decodings(path)

    return read


@pytest.mark.parametrize(
    ("step", "token"),
    [
        ("<<12-7=5>>", "5"), ("<<600*3=1,800>>", " 1800"), ("3 + 4 = 7.0", "7"), ("<<5-8=-3>>", "-3"),
        ("<<600*2=1200>>", "$1,200."), ("Tom is a jompus.", "jompus"), ("b", "b"),
    ],
)  # fmt: skip
def test_results_of_steps(step, token):
    assert in_order([step], [["<<"], [token]])
    assert not in_order([step], [["<<"], [f"{token}1"]])


@pytest.mark.parametrize(
    ("decoded", "found"),
    [
        ([["5"], ["15"]], True),
        ([["x", " 5"], ["y"], ["z", "15\n"]], True),  # thoughts without a result may stand between
        ([["5.0"], ["$15."]], True),
        ([["15"], ["5"]], False),  # in the wrong order
        ([["5", "15"]], False),  # each in a thought of its own
        ([["5"], ["x"]], False),
        ([["5"], ["x", "y", "15"]], False),  # beyond the top 2
        ([["5"], ["151"]], False),
        ([], False),
    ],
)
def test_results_are_found_in_order(decoded, found):
    assert in_order(STEPS, decoded, top_k=2) == found


def test_accuracy_by_number_of_steps(read):
    one = {"steps": ["<<9+9=18>>"], "answer": 18, "prediction": 18}
    rows = by_steps(
        read(
            record([["5"], ["15"]]),
            record([["1"], ["2"]]),
            record([["5"], ["15"]], prediction="16"),  # a wrong answer does not count
            record([["5"], ["15"]], steps=[]),  # nor one without steps
            record([["18", "3"]], **one),  # the answer is the last step's result
        )
    )
    assert rows == [
        {"steps": 1, "n": 1, "found": 1.0, "found in another's": None},
        {"steps": 2, "n": 2, "found": 0.5, "found in another's": 0.5},
    ]
    assert by_steps(read(record([["5"], ["15"]], prediction="16"))) == []
    thoughts = [["3"], ["5"]], [["4"], ["15"]]
    assert by_steps(read(*map(record, thoughts)), top_k=5)[0]["found"] == 0


def test_another_problems_thoughts_say_another_problems_results(read):
    other = {"steps": ["<<1+1=2>>", "<<2+1=3>>"], "answer": "3", "prediction": "3"}
    (row,) = by_steps(read(record([["5"], ["15"]]), record([["2"], ["3"]], **other)))
    assert (row["found"], row["found in another's"]) == (1.0, 0.0)


def test_files_of_every_form_say_the_same(read):
    records = [record([["5", "4"], ["15"]]), record([[["5", 0.9], ["4", 0.1]], [["15", 1.0]]])]
    made = read(*records)
    assert [one.decoded for one in made] == [(("5", "4"), ("15",))] * 2
    for name in ("made.json", "made.json.gz", "made.jsonl.gz"):
        assert [(one.decoded, one.prediction) for one in read(*records, name=name)] == [
            (one.decoded, one.prediction) for one in made
        ]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"question": "q"}, "KeyError"),
        (record("5"), "list"),
        (record(["5"]), "list"),
        (record([[5]]), "str"),
        (record([[[]]]), "IndexError"),
        (record([["5"]], steps="one"), "list"),
        (record([["5"]], steps=[None]), "str"),
        (record([["5"]], answer=None), "str \\| int \\| float"),
        (record([["5"]], prediction=True), "str \\| int \\| float"),
        ([], "TypeError"),
        ("text", "TypeError"),
    ],
)
def test_malformed_record_names_file_and_line(read, bad, why):
    with pytest.raises(DataError, match=rf"/made.jsonl:2: .*{why}"):
        read(record([["5"]]), bad)
    with pytest.raises(DataError, match=rf"/made.json#2: .*{why}"):
        read(record([["5"]]), bad, name="made.json")


def test_broken_json_names_file_and_line(tmp_path):
    path = tmp_path / "made.jsonl"
    path.write_text(json.dumps(record([["5"]])) + "\n{")
    with pytest.raises(DataError, match=r"/made.jsonl:2: "):
        read_decodings(path)
    with pytest.raises(DataError, match="No such file"):
        read_decodings(tmp_path / "none.json")


@writers
@torch.no_grad()
def test_states_behind_thoughts_are_what_the_writer_saw(writer):
    reasoner = tiny_reasoner("gpt2", writer).eval()
    asked = [prompt(p, reasoner.markers, n) for p, n in zip(encoded(reasoner, 7), (3, 0, 3, 1, 2, 3, 3), strict=True)]
    for one, said in zip(asked, answer_batch(reasoner, asked, max_new_tokens=1), strict=True):
        assert len(said.states) == len(said.thoughts) + 1 == one.n_thoughts + 1
        written = [reasoner.writer(hidden, i) for i, hidden in enumerate(said.states[:-1, None])]
        torch.testing.assert_close(torch.cat([said.thoughts[:0], *written]), said.thoughts, **close)
        (alone,) = answer_batch(reasoner, [one], max_new_tokens=1)
        torch.testing.assert_close(alone.states, said.states, **close)


def test_whole_evaluation_is_decoded():
    reasoner = tiny_reasoner("gpt2", "projection").eval()
    problems = TASK.splits["train"][:5]
    result = evaluate(reasoner, TASK, problems, n_thoughts=2, marked=True, max_new_tokens=4)
    decodings = decode_all(reasoner, result, top_k=3)
    for decoding, problem, answer in zip(decodings, problems, result.answers, strict=True):
        assert (decoding.problem, decoding.prediction) == (problem, answer.text)
        said = decode_thoughts(reasoner, answer.states[:2], top_k=3)
        assert decoding.decoded == tuple(tuple(word for word, _ in row) for row in said)
