"""The difference between two rows, with an interval that covers (`intervals`), and which verdicts survive among many."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from latent_reports.intervals import LEVEL, Part, half_width, of_problems, of_seeds, p_value
from latent_tasks import GENERATED, load_task

Verdict = Literal["agrees", "disagrees", "inside the noise", "at the floor", "not judged", "by construction", "not run"]
SEEDS = 3  # fewer are not judged: of two, a 95 % interval is 12.7 standard errors wide on either side


@dataclass(frozen=True)
class Measure:
    """Where a record has it, with factor and format; `more` says whether more of it is better."""

    label: str
    column: str
    factor: float = 100.0
    form: str = ".1f"
    unit: str = "points"
    more: bool = True


ACCURACY = Measure("accuracy %", "metrics.accuracy")
TOKENS = Measure("new tokens", "metrics.new_tokens", 1.0, ".1f", "tokens", more=False)
ALONE = Measure("ms/question alone", "latency.alone.median", 1000.0, ".1f", "ms", more=False)
BATCHED = Measure("ms/question in a batch", "latency.batched.median", 1000.0, ".2f", "ms", more=False)
ELSEWHERE = ("two steps", "four steps", "five steps", "operands 10 to 15", "another wording", "SVAMP", "GSM-Hard", "MultiArith")
FAR = [Measure(f"{name} %", f"metrics.out_of_domain.{name}.accuracy") for name in ELSEWHERE]
MEASURES = {measure.label: measure for measure in (ACCURACY, TOKENS, ALONE, BATCHED, *FAR)}
WHAT_IS_NOISE = (
    "Differences are paired by seed and problem and come with a 95 % interval over both: seeds and problems are crossed, each "
    "part of the variance with its own t (its coverage was measured: `python -m latent_reports.coverage`). A difference is "
    f"inside the noise (≈) if that interval holds 0, and not judged with fewer than {SEEDS} seeds that both rows have; where "
    "these are not all seeds of a row, they are named. Two rows are at the floor if neither is above what guessing gets."
)


class Opinion(NamedTuple):
    """What is to be said of a claim, and how surely: a p-value where it is a verdict that chance could have given."""

    verdict: Verdict
    p: float | None = None


@dataclass(frozen=True)
class Difference:
    """The first row minus the second, in the measure's unit. As text: `≈ +1.2 points [-0.3, +2.7], 3 seeds`."""

    measure: Measure
    mean: float
    parts: Sequence[Part] = ()  # of its variance; of fewer seeds than are judged, what problems alone add to it
    seeds: tuple[int, ...] = ()  # that both rows have
    of_both: bool = True  # these are all seeds of either row
    at_floor: bool = False
    judged: bool = True  # are there seeds enough?
    first: float = float("nan")  # the first row's mean over these seeds
    low: float = field(init=False, default=float("nan"))
    high: float = field(init=False, default=float("nan"))

    def __post_init__(self) -> None:
        if self.parts:
            half = float(half_width(self.parts))
            object.__setattr__(self, "low", self.mean - half)
            object.__setattr__(self, "high", self.mean + half)

    @property
    def inside(self) -> bool:
        """Is it noise?"""
        return self.low <= 0 <= self.high

    def p(self, at: float = 0.0) -> float:
        """How surely it is not `at`, two-sided: below 0.05 where the interval does not hold it."""
        return float(p_value(np.array(self.mean - at), self.parts))

    def __str__(self) -> str:
        form, n = f"+{self.measure.form}", len(self.seeds)
        seeds = f"{n} seed{'s' * (n > 1)}" if self.of_both else f"seed{'s' * (n > 1)} {', '.join(map(str, self.seeds))} of both"
        seeds = seeds if n else "no seed in common"
        mean = f"{self.mean:{form}} {self.measure.unit}"
        if n and not self.of_both:  # a row's mean over all of its seeds is another number
            mean += f" ({self.first:{self.measure.form}} against {self.first - self.mean:{self.measure.form}})"
        if not self.judged:
            return f"{mean}, {seeds}: not judged"
        floor = ", at the floor" * self.at_floor
        return f"{'≈ ' * self.inside}{mean} [{self.low:{form}}, {self.high:{form}}], {seeds}{floor}"


def difference(ours: pd.DataFrame, theirs: pd.DataFrame, measure: Measure = ACCURACY) -> Difference | None:
    """Of two rows' records, over the seeds that both have; None if one has no value.

    Seeds are paired, and problems wherever both rows saw the same under every seed. Where a row's problems are the same
    under every seed, but not the other row's, its share of the variance counts by itself; where every seed has its own, the
    spread over seeds holds it already; where records have no digit for each problem, seeds are all there is.
    """
    mine, other = (_observations(rows, measure) for rows in (ours, theirs))
    if not mine or not other:
        return None
    seeds = tuple(sorted(mine.keys() & other.keys()))
    both = mine.keys() == other.keys()
    if not seeds:
        return Difference(measure, _mean(mine) - _mean(other), of_both=False, judged=False)
    gaps = np.array([mine[seed].mean() - other[seed].mean() for seed in seeds])
    first = float(np.mean([mine[seed].mean() for seed in seeds]))
    fixed = [one for one in (_fixed(ours, mine, seeds), _fixed(theirs, other, seeds)) if one is not None]
    if len(fixed) == 2 and _problems(ours) == _problems(theirs) and fixed[0].shape == fixed[1].shape:
        fixed = [fixed[0] - fixed[1]]
    if len(seeds) < SEEDS:
        alone = [of_seeds(one.mean(0)) for one in fixed]  # each problem a draw
        return Difference(measure, float(gaps.mean()), alone, seeds, both, judged=False, first=first)
    parts = [of_seeds(gaps), *map(of_problems, fixed)]
    floor = all(_at_floor(rows, found, seeds, measure) for rows, found in ((ours, mine), (theirs, other)))
    return Difference(measure, float(gaps.mean().round(9)), parts, seeds, both, floor, first=first)


def judge(found: Difference | None, above: bool = True, margin: float | None = None) -> Opinion:
    """Of a claim that the first row is above the second (or below), or differs from it by no more than a margin, in points.

    Above or below: if the interval does not hold 0. On a par: if the whole interval lies within the margin; if it lies wholly
    beyond, that disagrees. What is inside the noise refutes nothing.
    """
    if found is None:
        return Opinion("not run")
    if not found.judged:
        return Opinion("not judged")
    if found.at_floor:
        return Opinion("at the floor")
    if margin is None:
        return Opinion("agrees" if above == (found.mean > 0) else "disagrees", found.p())
    # Both edges of the margin have to be excluded, and the nearer one is the more probable.
    return Opinion("agrees" if abs(found.mean) < margin else "disagrees", max(found.p(-margin), found.p(margin)))


def every_seed(margins: Sequence[float], *means: Sequence[float], n: float) -> Opinion:
    """Of a claim that holds where a margin is above zero, a margin for each seed: the seeds have to be at least three and of
    one mind, and an interval over seeds and problems has to exclude zero.

    `means` are what the margins are made of, shares or means over n problems of something between 0 and 1: such a mean m
    varies with the problems by at most m (1 − m) / n.
    """
    found = np.array([*margins], float)
    if not len(found):
        return Opinion("not run")
    if len(found) < SEEDS:
        return Opinion("not judged")
    one_mind: Verdict = "inside the noise" if len({*(found > 0)}) > 1 else "agrees" if found[0] > 0 else "disagrees"
    by_problems = sum(float(np.mean(np.array([*mean]) * (1 - np.array([*mean])))) / n for mean in means)
    return Opinion(one_mind, float(p_value(found.mean(), [of_seeds(found), Part(np.array(by_problems), np.inf)])))


def corrected(opinions: Iterable[Opinion]) -> list[Verdict]:
    """The verdicts of one page, Holm's correction over all that chance could have given: that there is even one false verdict
    among them has a chance of at most 5 %. What does not survive is inside the noise."""
    opinions = [*opinions]
    p = [one.p for one in opinions if one.p is not None]
    many = len(p) > 1 and min(p) < LEVEL
    stays = iter(multipletests(p, LEVEL, method="holm")[0] if many else [one < LEVEL for one in p])
    return [one.verdict if one.p is None or next(stays) else "inside the noise" for one in opinions]


def _observations(rows: pd.DataFrame, measure: Measure) -> dict[int, np.ndarray]:
    """By seed, a value for each problem where the records have one (the mean of several answers), else the mean."""
    found: dict[int, list[list[float]]] = {}
    each = measure.column.replace("accuracy", "correct")
    for row in rows.reindex(columns=[*dict.fromkeys(["seed", each, measure.column])]).to_dict("records"):
        digits, mean = row[each], row[measure.column]
        values = [*map(int, digits)] if isinstance(digits, str) else [] if mean is None or np.isnan(mean) else [mean]
        if values:
            found.setdefault(row["seed"], []).append(values)
    return {seed: measure.factor * np.mean(answers, axis=0) for seed, answers in found.items()}


def _mean(found: dict[int, np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in found.values()]))


def _problems(rows: pd.DataFrame) -> set[str]:
    return {*rows.data_fingerprint}


def _fixed(rows: pd.DataFrame, found: dict[int, np.ndarray], seeds: Sequence[int]) -> np.ndarray | None:
    """seeds × problems, where every seed saw the same problems and each has its digit."""
    values = [found[seed] for seed in seeds]
    same = len(_problems(rows)) == 1 and len({len(one) for one in values}) == 1 and len(values[0]) > 1
    return np.array(values) if same else None


def _at_floor(rows: pd.DataFrame, found: dict[int, np.ndarray], seeds: Sequence[int], measure: Measure) -> bool:
    """Is a row's accuracy no more than guessing gets, but for the luck of its problems?"""
    guessed, digits = chance(rows), [found[seed] for seed in seeds]
    if guessed is None or not measure.column.endswith("accuracy") or len(digits[0]) < 2:
        return False
    return float(np.mean([one.mean() for one in digits])) / measure.factor <= _guessed(guessed, len(digits[0]))


def at_floor(rows: pd.DataFrame) -> bool:
    """Is the accuracy of a row's records, on average, no more than guessing gets, but for the luck of its problems?"""
    guessed = chance(rows)
    return guessed is not None and float(rows["metrics.accuracy"].mean()) <= _guessed(guessed, int(rows.n_evaluated.min()))


def _guessed(share: float, n: int) -> float:
    """The share of n problems that guessing gets right at most, in 97.5 of 100 cases."""
    return float(binom.ppf(1 - LEVEL / 2, n, share)) / n


def chance(rows: pd.DataFrame) -> float | None:
    """What guessing gets: as the records say, else (older ones do not) as the generated task says now."""
    if (said := rows.get("metrics.chance", pd.Series(dtype=float)).dropna()).size:
        return float(said.max())
    tasks = {*rows.get("parameters.task", pd.Series(dtype=object)).dropna()}
    return _of_task(tasks.pop()) if len(tasks) == 1 else None


@cache
def _of_task(name: str) -> float | None:
    return load_task(name, sizes={"test": 500}).chance if name in GENERATED else None
