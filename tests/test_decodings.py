"""Intermediate-result accuracy on hand-made decodings, from files, and the states that are decoded."""

import gzip
import json

import pytest
import torch
from test_thoughts import TASK, close, encoded, tiny_reasoner, writers

from latent_cot.evaluation import evaluate, prompt
from latent_cot.generation import answer_batch
from latent_probes.decodings import by_results, decode_all, found, read_decodings, results
from latent_probes.probing import decode_thoughts
from latent_tasks import DataError

STEPS = ["<<12-7=5>>", "<<5*3=15>>", "<<15-8=7>>"]
RECORD = {"question": "q", "steps": STEPS, "answer": "7", "prediction": "The answer is: 7"}


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
    wanted = results([step, "<<the last one=9>>"])
    assert found(wanted, [["<<"], [token]]) and not found(wanted, [["<<"], [f"{token}1"]])


@pytest.mark.parametrize(
    ("decoded", "anywhere", "in_order"),
    [
        ([["5"], ["15"]], True, True),
        ([["x", " 5"], ["y"], ["z", "15\n"]], True, True),  # thoughts without a result may stand between
        ([["5.0"], ["$15."]], True, True),
        ([["15"], ["5"]], True, False),  # in the wrong order
        ([["5", "15"]], True, False),  # in the same thought
        ([["15"], ["5"], ["15"]], True, True),
        ([["5"], ["x"]], False, False),
        ([["7"], ["7"]], False, False),  # the last step's result, the answer, is not asked for
        ([["5"], ["x", "y", "15"]], False, False),  # beyond the top 2
        ([["5"], ["151"]], False, False),
        ([], False, False),
    ],
)
def test_intermediate_results_are_found(decoded, anywhere, in_order):
    wanted = results(STEPS)
    assert wanted == ["5.0", "15.0"]
    assert (found(wanted, decoded, 2), found(wanted, decoded, 2, in_order=True)) == (anywhere, in_order)


def test_a_result_that_comes_twice():
    """Anywhere once is enough; in order each needs a thought of its own."""
    twice = results(["<<2+3=5>>", "<<5*1=5>>", "<<5+1=6>>"])
    assert found(twice, [["5"]]) and not found(twice, [["5"]], in_order=True)
    assert found(twice, [["5"], ["x"], ["5"]], in_order=True)


def chain(n, **change):
    """A problem of n intermediate results 1, 2, … and its answer, answered correctly."""
    steps = [f"<<{i}+1={i + 1}>>" for i in range(n + 1)]
    return {"question": "q", "steps": steps, "answer": n + 1, "prediction": n + 1} | change


def test_problems_are_grouped_by_their_intermediate_results(read):
    rows = by_results(
        read(
            chain(0, decoded=[["1"]]),  # one step: its result is the answer, and there is no other
            chain(1, decoded=[["x"], ["1"]]),
            chain(1, decoded=[["2"], ["2"]]),  # the last result only
            chain(2, decoded=[["2"], ["1"], ["3"]]),
            chain(3, decoded=[["1"], ["2"], ["3"]]),
            chain(3, decoded=[["1"], ["3"], ["4"]]),
            chain(3, decoded=[["1"], ["2"], ["3"]], prediction="5"),  # a wrong answer does not count
            chain(3, decoded=[["1"], ["2"], ["3"]], steps=[]),  # nor one without steps
        )
    )
    assert rows == [
        {"results": 1, "n": 2, "found": 0.5, "found in order": 0.5, "found in another's": 0.5},
        {"results": 2, "n": 1, "found": 1.0, "found in order": 0.0, "found in another's": None},
        {"results": 3, "n": 2, "found": 0.5, "found in order": 0.5, "found in another's": 0.5},
    ]
    assert by_results(read(chain(0, decoded=[["1"]]))) == []


def test_all_seven_states_of_six_thoughts_count(read):
    """The one before the first thought and the one behind the last, too."""
    for place in range(7):
        states = [["x"]] * 7
        states[place] = ["1"]
        (row,) = by_results(read(chain(1, decoded=states)))
        assert row["found"] == row["found in order"] == 1


def test_another_problems_thoughts_say_another_problems_results(read):
    other = {"steps": ["<<1+1=2>>", "<<2+1=3>>", "<<3+1=4>>"], "answer": "4", "prediction": "4"}
    (row,) = by_results(read(record([["5"], ["15"]]), record([["2"], ["3"]], **other)))
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
        said = decode_thoughts(reasoner, answer.states, top_k=3)
        assert len(decoding.decoded) == 3, "the state before the first of two thoughts, and one behind each"
        assert decoding.decoded == tuple(tuple(word for word, _ in row) for row in said)
