"""What thoughts about a name carry is told from what they do not: the number, the answer, nothing."""

import pytest

from latent_probes.donors import Donation
from latent_probes.facts import fact_rate
from latent_tasks import Problem, load_task
from latent_tasks.names import stands_for

TASK = load_task("names", sizes={"test": 1})
NAME = {number: name for name, number in stands_for().items()}


def problem(start: int, actions: str, answer: int) -> Problem:
    return Problem(f"Ann has {NAME[start]} eggs, {actions}: how many?", (), str(answer))


HERE = problem(12, "loses 7, times 3, eats 8", 7)
DONOR = problem(10, "gets 5, finds 1, buys 2", 18)  # HERE's operations make 3, 9 and 1 of its 10
THIRD = problem(15, "loses 1, eats 1, times 2", 26)  # and 8, 24 and 16 of this 15


def donated(with_donor: int, with_third: int, donor: Problem = DONOR, third: Problem = THIRD) -> Donation:
    return Donation(HERE, donor, third, f"The answer is: {with_donor}", f"The answer is: {with_third}")


@pytest.mark.parametrize(
    ("with_donor", "with_third", "rate"),
    [(1, 16, 1.0), (18, 26, 0.0), (7, 7, 0.0), (1, 1, 0.0), (16, 1, -1.0)],
    ids=["the number is carried", "the answer is", "nothing is", "neither depends on them", "the third's number"],
)
def test_the_rate_counts_what_follows_from_the_donors_number_alone(with_donor, with_third, rate):
    found = fact_rate(TASK, [donated(with_donor, with_third)])
    assert found["n"] == 1 and found["rate"] == rate


def test_pairs_that_cannot_tell_are_left_out():
    too_few = problem(6, "gets 5, finds 1, buys 2", 14)  # 6 - 7 is no number of the task
    too_many = problem(40, "gets 5, finds 1, buys 2", 48)  # nor is 33 · 3
    same = problem(12, "gets 5, finds 1, buys 2", 20)  # gives this problem's own answer
    left_out = [donated(1, 16, too_few), donated(1, 16, too_many), donated(7, 16, same), donated(1, 1, third=DONOR)]
    assert fact_rate(TASK, left_out) is None
    assert fact_rate(TASK, [*left_out, donated(1, 16)])["n"] == 1
