"""Which part of a problem thoughts carry is told from every other, and the best of many is counted where it was not chosen."""

import json
import random
import shutil

import pytest

from latent_probes.donors import Donation
from latent_probes.hybrids import calculated, hybrid_rates, in_words, mixed
from latent_reports.carried import measure, most_carried
from latent_reports.tables import load_table
from latent_reports.thoughts import thought_sections
from latent_runs import grid
from latent_runs.places import RECORDED
from latent_runs.results import CARRIED
from latent_tasks import load_task
from latent_tasks.arithmetic import meaning

TASK = load_task("arithmetic", sizes={"test": 400})
PROBLEMS = TASK.splits["test"]
CODI = "04_codi_self_distillation/arithmetic-codi"


def parts(problem):
    return meaning(problem).split()


def donations(says):
    """Pairs answered by a model of which it is known what it takes from whom: `says` of its own parts and those it is given."""
    trios = [(PROBLEMS[i], PROBLEMS[i - 1], PROBLEMS[i - 2]) for i in range(len(PROBLEMS))]
    return [Donation(p, d, t, *(f"The answer is: {says(parts(p), parts(other))}" for other in (d, t))) for p, d, t in trios]


def test_what_a_problem_comes_to_is_its_answer():
    assert all(str(calculated(parts(problem))) == problem.answer for problem in PROBLEMS)


@pytest.mark.parametrize("whose", ["d...", "dd..", "dddd", ".ddd", "...d", "d.d."])
def test_of_all_hybrids_the_one_that_is_answered_is_found(whose):
    of_mixture = donations(lambda own, others: calculated(mixed(own, others, whose)))
    rates = hybrid_rates(TASK, of_mixture)
    assert max(rates, key=lambda one: rates[one]["rate"]) == whose and rates[whose]["n"] > 100
    assert rates[whose] == {"n": rates[whose]["n"], "given": 1, "otherwise": 0, "rate": 1}
    found = most_carried(TASK, of_mixture)
    assert (found["whose"], found["carried"], found["rate"]) == (whose, in_words(whose), 1) and found["n"] < rates[whose]["n"]


def test_thoughts_that_the_answer_does_not_read_carry_nothing():
    rates = hybrid_rates(TASK, donations(lambda own, others: calculated(own)))
    assert len(rates) == 15 and all(found["rate"] == 0 for found in rates.values())


def test_the_best_of_many_is_not_the_luckiest():
    """Where answers hang on nothing, one of fifteen hybrids is hit above chance on the half that chooses, not on the other."""
    rng, gaps = random.Random(0), []
    for _ in range(20):
        by_chance = donations(lambda own, others: rng.randrange(50))
        chosen = hybrid_rates(TASK, by_chance[: len(by_chance) // 2])
        gaps.append((max(found["rate"] for found in chosen.values()), most_carried(TASK, by_chance)["rate"]))
    lucky, fair = (sum(of) / len(gaps) for of in zip(*gaps))
    assert lucky > 0.02 and abs(fair) < 0.01


def test_pairs_that_cannot_tell_are_left_out():
    same = donations(lambda own, others: 0)[:1]
    twins = [Donation(one.problem, one.problem, one.problem, one.with_donor, one.with_third) for one in same]
    longer = load_task("arithmetic", sizes={"test": 3}, n_steps=(4, 4)).splits["test"]
    assert hybrid_rates(TASK, twins) == {} and most_carried(TASK, twins) is None and hybrid_rates(TASK, []) == {}
    unlike = Donation(PROBLEMS[0], longer[0], longer[1], "1", "1")
    assert hybrid_rates(TASK, [unlike]) == {}


@pytest.mark.parametrize(
    ("whose", "words"),
    [("dddd", "the answer"), ("d...", "the number"), ("dd..", "the result of step 1"), ("ddd.", "the result of step 2"),
     (".ddd", "operations 1, 2, 3"), ("d.d.", "the number, operation 2"), ("...d", "operation 3")],
)  # fmt: skip
def test_what_is_carried_is_said_in_words(whose, words):
    assert in_words(whose) == words


@pytest.fixture
def shipped_copy(tmp_path):
    """Records with and without thoughts, and the models that ship with them."""
    for row in ("02_explicit_baselines/arithmetic-cot", "03_coconut_stages/arithmetic-coconut", CODI):
        here, there = (folder / "tiny" / f"{row}--s0" for folder in (RECORDED, tmp_path))
        shutil.copytree(here, there, ignore=shutil.ignore_patterns(CARRIED))
    return tmp_path


def test_it_is_measured_beside_the_record_of_the_model_and_told_below_no_other(shipped_copy):
    """On the smallest models that ship: what has no thoughts is not asked, and what was asked is not asked again."""
    written = measure(shipped_copy / "tiny", n_problems=30)
    assert {path.parent.name for path in written} == {"arithmetic-coconut--s0", "arithmetic-codi--s0"}
    assert measure(shipped_copy / "tiny", n_problems=30) == []
    titles = [section.title for section in thought_sections(load_table(shipped_copy))]
    assert "What the thoughts carry: arithmetic, tier tiny" in titles
    for path in written:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_fingerprint": "another"}))
    told = [section.title for section in thought_sections(load_table(shipped_copy))]
    assert "What the thoughts carry: arithmetic, tier tiny" not in told


def test_it_is_recorded_with_the_run(shipped_copy, monkeypatch):
    monkeypatch.setattr(grid, "RUNS", shipped_copy)
    beside = shipped_copy / "tiny" / f"{CODI}--s0" / CARRIED
    beside.write_text("{}")
    recorded = {path.parent for path in grid.record("tiny")}
    assert len(recorded) == 3 and [path for path in recorded if (path / CARRIED).is_file()] == [
        shipped_copy / "recorded" / "tiny" / f"{CODI}--s0"
    ]


@pytest.mark.parametrize(("rate", "told"), [(0.04, "the answer"), (0.01, "none that stands out of the noise")])
def test_a_part_is_named_where_it_stands_out_of_the_noise(shipped_copy, rate, told):
    """Of 400 pairs with a hundredth by chance: 4 points more lie 3 deviations away, 1 point 1.2."""
    found = {"whose": "dddd", "carried": "the answer", "n": 400, "given": rate + 0.01, "otherwise": 0.01, "rate": rate}
    record = json.loads((shipped_copy / "tiny" / f"{CODI}--s0" / "result.json").read_text())
    known = {"model_fingerprint": record["model_fingerprint"]}
    (shipped_copy / "tiny" / f"{CODI}--s0" / CARRIED).write_text(json.dumps(known | found))
    (section,) = (one for one in thought_sections(load_table(shipped_copy)) if "carry" in one.title)
    assert section.table["most often carried"].tolist() == [told]
