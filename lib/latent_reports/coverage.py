"""How often the intervals of `intervals` cover the truth, and how wide they are: `python -m latent_reports.coverage`.

Two rows are right on half of the problems, whatever the seed makes of it; so the truth is no difference. A seed moves a
row's accuracy, with the standard deviation `spread` in points. Noise is either the answers' (each is right or wrong by
itself), the problems' (one that is hard is so under every seed), or half of each.

The oracle knows all variances: 1.96 standard deviations of the mean. With S seeds nobody else knows what seeds do but from
S numbers, and no interval that follows the scale of what it sees is shorter than Student's (it is the best that is
equivariant, so minimax: Hunt and Stein). `bound` is an oracle who knows all but the seeds' variance; at three seeds it is
up to 1.94 times as wide as the one who knows that, too. So where seeds make the noise, three of them cannot do better.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import gamma, sqrt

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.special import stdtrit

from latent_reports.intervals import half_width, of_problems, of_seeds

CELLS = [*product(("answers", "half", "problems"), (3, 5, 10), (0, 2, 8, 20), (250, 1000))]
AT_ONCE = 2_000_000  # answers


def differences(
    rng: np.random.Generator, trials: int, noise: str, seeds: int, spread: float, problems: int
) -> Float[ndarray, "trials seeds problems"]:
    """In points, between two rows that are equally good."""

    def row() -> ndarray:
        accuracy = np.clip(0.5 + spread / 100 * rng.standard_normal((trials, seeds, 1)), 0, 1)
        own, shared = rng.random((trials, seeds, problems)), rng.random((trials, 1, problems))
        mixed = np.where(rng.random((trials, seeds, problems)) < 0.5, own, shared)
        return {"answers": own, "half": mixed, "problems": shared}[noise] < accuracy

    return 100.0 * row() - 100.0 * row()


def measured(trials: int, seed: int = 0, cells: Sequence[tuple[str, int, float, int]] = CELLS) -> Iterator[dict[str, object]]:
    """A row for each cell: how many % of nominal 95 % intervals cover, mean width over the oracle's, `bound` over it."""
    for noise, seeds, spread, problems in cells:
        rng, found, left = np.random.default_rng(seed), [], trials
        while left:
            now = min(left, max(1, AT_ONCE // (seeds * problems)))
            d, left = differences(rng, now, noise, seeds, spread, problems), left - now
            parts = of_seeds(d.mean(-1)), of_problems(d)
            found.append((d.mean((-1, -2)), half_width(parts), parts[0].variance))
        mean, half, variance = map(np.concatenate, zip(*found))
        oracle = stdtrit(np.inf, 0.975) * mean.std()
        learnt = stdtrit(seeds - 1, 0.975) * sqrt(2 / (seeds - 1)) * gamma(seeds / 2) / gamma((seeds - 1) / 2)
        known = stdtrit(np.inf, 0.975) ** 2 * max(0.0, mean.var() - variance.mean())
        yield {
            "noise": noise, "seeds": seeds, "spread": spread, "problems": problems,
            "covers %": 100 * np.mean(np.abs(mean) <= half), "width": half.mean() / oracle,
            "bound": sqrt(learnt**2 * variance.mean() + known) / oracle,
        }  # fmt: skip


if __name__ == "__main__":
    form = {"covers %": "{:.1f}".format, "width": "{:.2f}".format, "bound": "{:.2f}".format}
    print(pd.DataFrame(measured(trials=4000)).to_string(index=False, formatters=form))
