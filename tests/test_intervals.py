"""Intervals cover as often as they say, with few seeds; many claims on a page do not add up to a verdict."""

import gc

import numpy as np
import pytest
from scipy import stats

from latent_reports.coverage import CELLS, differences, measured
from latent_reports.intervals import Part, half_width, of_problems, of_seeds, p_value
from latent_reports.significance import ACCURACY, Difference, Opinion, corrected, every_seed, judge

FEW = [cell for cell in CELLS if cell[1] < 10 and cell[3] == 250 and cell[2] in (0, 8)]
TRIALS = 3000
ERROR = 100 * 3 * (0.95 * 0.05 / TRIALS) ** 0.5  # three standard errors of the share that is measured


@pytest.mark.parametrize("cell", FEW, ids=lambda cell: "-".join(map(str, cell)))
def test_intervals_cover_and_are_no_wider_than_they_must_be(cell):
    (row,) = measured(TRIALS, cells=[cell])
    assert row["covers %"] >= 94 - ERROR / 2
    assert row["width"] <= 1.06 * row["bound"]
    if row["seeds"] > 3 or (row["noise"], row["spread"]) == ("problems", 0):
        assert row["width"] <= 1.5


def test_of_seeds_alone_it_is_students_interval():
    d = np.array([1.0, 4.0, 2.5])
    low, high = stats.t.interval(0.95, 2, d.mean(), stats.sem(d))
    assert half_width([of_seeds(d)]) == pytest.approx((high - low) / 2)


def test_identical_seeds_leave_the_noise_of_problems():
    """Three seeds that answer alike are one sample of problems, not three."""
    d = np.random.default_rng(0).choice([-100.0, 0.0, 100.0], 500)
    thrice = np.tile(d, (3, 1))
    assert of_seeds(thrice.mean(-1)).variance == pytest.approx(0)
    assert of_problems(thrice).variance == pytest.approx(d.var(ddof=1) / 500)


def test_answers_without_a_common_cause_have_no_noise_of_problems():
    d = differences(np.random.default_rng(1), 400, "answers", 3, 0, 250)
    assert np.mean(of_problems(d).variance) < 0.2 * np.mean(of_seeds(d.mean(-1)).variance)


def test_the_p_value_is_where_the_interval_ends():
    parts = [Part(np.array([2.0, 0.1]), 2), Part(np.array([1.0, 3.0]), 249)]
    for level in (0.5, 0.05, 1e-4):
        assert p_value(half_width(parts, level), parts) == pytest.approx(level, rel=1e-4)
    assert p_value(np.array([0.0, 0.0]), parts).tolist() == [1, 1]
    assert (p_value(np.array([1e9, 1e9]), parts) < 1e-8).all()


def test_of_pages_of_claims_on_nothing_hardly_any_shows_a_verdict():
    """1,000 pages of 77 claims, all above or below, none of them true; each of 3 seeds and 250 problems."""
    pages, claims, rng = 1000, 77, np.random.default_rng(2)
    p = np.concatenate([_p(rng, 1100, noise, spread) for noise in ("answers", "half", "problems") for spread in (0, 4, 15)])
    drawn = rng.choice(p, (pages, claims))
    gc.freeze()  # statsmodels collects garbage at each call, a thousand times here
    shown = [any(verdict == "agrees" for verdict in corrected(Opinion("agrees", one) for one in page)) for page in drawn]
    gc.unfreeze()
    assert np.mean(shown) <= 0.06
    assert np.mean((drawn < 0.05).any(1)) > 0.9, "without the correction nearly every page shows one"


def _p(rng, trials, noise, spread):
    d = differences(rng, trials, noise, 3, spread, 250)
    return p_value(d.mean((-1, -2)), [of_seeds(d.mean(-1)), of_problems(d)])


def test_no_difference_that_is_too_large_is_called_on_a_par():
    """At the edge of the margin, where being on a par is just untrue, a verdict is as rare as the interval says."""
    d = differences(np.random.default_rng(3), 1200, "half", 5, 1, 1000) + 8
    found = [Difference(ACCURACY, one.mean(), [of_seeds(one.mean(-1)), of_problems(one)], (0, 1, 2)) for one in d]
    sure = [opinion.verdict for opinion in (judge(one, margin=8) for one in found) if opinion.p < 0.05]
    assert sure.count("agrees") / len(d) < 0.035 and sure.count("disagrees") / len(d) < 0.035


@pytest.mark.parametrize(
    ("margins", "verdict"),
    [
        ([], "not run"),
        ([0.3], "not judged"),
        ([0.3, 0.3], "not judged"),
        ([0.30, 0.31, 0.29], "agrees"),
        ([-0.30, -0.31, -0.29], "disagrees"),
        ([0.3, -0.1, 0.3], "inside the noise"),
        ([0.001, 0.0011, 0.0012], "inside the noise"),  # of one mind on a problem more or less
        ([0.01, 0.1, 0.5], "inside the noise"),  # of one mind, and far from each other
    ],
)
def test_seeds_have_to_be_three_of_one_mind_and_sure(margins, verdict):
    shares = [0.5 + margin for margin in margins]
    assert corrected([every_seed(margins, shares, n=200)]) == [verdict]


def test_holm_counts_what_chance_could_have_given_and_nothing_else():
    sure, faint, none = Opinion("agrees", 0.001), Opinion("disagrees", 0.03), Opinion("not run")
    assert corrected([faint]) == ["disagrees"]
    assert corrected([faint, none, Opinion("at the floor")]) == ["disagrees", "not run", "at the floor"]
    assert corrected([faint, sure, Opinion("agrees", 0.04)]) == ["inside the noise", "agrees", "inside the noise"]
    assert corrected([]) == []
