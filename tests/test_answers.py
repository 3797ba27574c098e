"""What a run said is enough to take its measures again."""

import gzip
import json

import pytest
from test_settings import CODI, STEPS, a_lesson

from latent_probes.decodings import by_results, read_decodings
from latent_probes.donors import Donation, donor_rate
from latent_runs.results import ANSWERS

SMALL = {"data": {"n_train": 30, "n_valid": 2, "n_test": 12}}


@pytest.mark.parametrize(("name", "told"), [(CODI, {}), (STEPS, {"method": "pause"}), (STEPS, {"method": "cot"})])
def test_measures_can_be_taken_again(name, told, tmp_path):
    lesson = a_lesson(name, run={"dir": str(tmp_path)}, **SMALL, **told)
    method, reasoner, _ = lesson.load()
    metrics, result = lesson.measure(reasoner, method)
    grade, problems = lesson.problems.grade, {p.id: p for p in lesson.problems.splits["test"]}
    lines = [json.loads(line) for line in gzip.decompress((tmp_path / ANSWERS).read_bytes()).splitlines()]
    assert [line["id"] for line in lines] == [*problems]

    def accuracy(texts):
        return sum(grade(text, problems[line["id"]]) for text, line in zip(texts, lines)) / len(lines)

    assert accuracy(line["prediction"] for line in lines) == metrics["accuracy"]
    assert sum(line["tokens"] for line in lines) / len(lines) == metrics["new_tokens"]
    assert {*lines[0]["controls"]} == {*metrics.get("controls", {})}
    for control, value in metrics.get("controls", {}).items():
        assert accuracy(line["controls"][control] for line in lines) == value
    if method.n_thoughts:
        assert by_results(read_decodings(tmp_path / ANSWERS), grade=grade) == metrics["decoded"]
    donations = []
    for line in lines if "donor" in lines[0] else ():
        of = [problems[name] for name in (line["id"], line["donor"]["of"], line["third"]["of"])]
        donations.append(Donation(*of, line["donor"]["said"], line["third"]["said"]))
    assert bool(donations) == bool(method.n_thoughts or method.writes_chain)
    assert donor_rate(lesson.problems, donations) == metrics.get("donor")
    assert [answer.text for answer in result.answers] == [line["prediction"] for line in lines]
