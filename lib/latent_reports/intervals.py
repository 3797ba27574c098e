"""An interval that covers, from few seeds: two rows' answers are crossed, every seed meets the same problems.

d[s, p] is what one row's answer to problem p under seed s is better than the other's. It varies with the seed, with the
problem, and with both; its mean over S seeds and P problems has the variance

    var = (σ²_seed + σ²_rest / P) / S  +  σ²_problem / P
        =      MS_seed / (S P)         +  (MS_problem − MS_rest) / (S P)      (expected mean squares)

The first part has S − 1 degrees of freedom, the second nearly P − 1, and they are independent. Satterthwaite's common
degrees of freedom cover too seldom where a part with two degrees of freedom is neither negligible nor all (90 to 93 % at
three seeds). So each part keeps its own t: half² = Σ t²(df) · var, which covers at least as often as it says (Banerjee,
Sankhyā 1960). `latent_reports.coverage` measures it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import stdtrit

LEVEL = 0.05  # of error: intervals are 95 %


class Part(NamedTuple):
    """Of the variance of a mean, in its unit squared, and the degrees of freedom with which it is known."""

    variance: Float[ndarray, "*trials"]
    df: float


def of_seeds(means: Float[ndarray, "*trials seeds"]) -> Part:
    """What a mean over seeds owes to them, from a number for each of at least two."""
    n = means.shape[-1]
    return Part(means.var(-1, ddof=1) / n, n - 1)


def of_problems(values: Float[ndarray, "*trials seeds problems"]) -> Part:
    """What it owes to problems that are the same under at least two seeds, beyond what `of_seeds` has seen of them."""
    seeds, problems = values.shape[-2:]
    by_seed, by_problem = values.mean(-1, keepdims=True), values.mean(-2, keepdims=True)
    rest = (values - by_seed - by_problem + values.mean((-1, -2), keepdims=True)) ** 2
    own = by_problem[..., 0, :].var(-1, ddof=1) - rest.sum((-1, -2)) / ((seeds - 1) * (problems - 1) * seeds)
    return Part(np.maximum(own, 0) / problems, problems - 1)


def half_width(parts: Sequence[Part], level: float | Float[ndarray, "*trials"] = LEVEL) -> Float[ndarray, "*trials"]:
    """Half of the interval that misses the truth with at most the probability `level`."""
    return np.sqrt(sum(stdtrit(part.df, 1 - np.asarray(level) / 2) ** 2 * part.variance for part in parts))


def p_value(distance: Float[ndarray, "*trials"], parts: Sequence[Part]) -> Float[ndarray, "*trials"]:
    """The level at which the interval just reaches that far, to within a millionth of itself; 1 for no distance."""
    low, high = np.full_like(np.abs(distance), -30.0, dtype=float), np.zeros_like(np.abs(distance), dtype=float)
    for _ in range(30):  # bisection in the logarithm
        middle = (low + high) / 2
        within = half_width(parts, np.exp(middle)) >= np.abs(distance)
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return np.where(np.abs(distance) < 1e-9, 1.0, np.exp(high))  # less is rounding
