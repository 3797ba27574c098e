"""The difference between two rows, with an interval over seeds and problems (seaborn's bootstrap), and what is noise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import seaborn as sns

Verdict = Literal["agrees", "disagrees", "inside the noise", "not run"]


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
ALONE = Measure("ms/question alone", "metrics.seconds_alone", 1000.0, ".1f", "ms", more=False)
BATCHED = Measure("batched", "metrics.seconds_batched", 1000.0, ".2f", "ms", more=False)
ELSEWHERE = ("two steps", "four steps", "five steps", "operands to 15", "another wording", "SVAMP", "GSM-Hard", "MultiArith")
FAR = [Measure(f"{name} %", f"metrics.out_of_domain.{name}.accuracy") for name in ELSEWHERE]
MEASURES = {measure.label: measure for measure in (ACCURACY, TOKENS, ALONE, BATCHED, *FAR)}
WHAT_IS_NOISE = (
    "Differences come with a 95 % bootstrap interval over seeds, and over problems within a seed, paired wherever both rows "
    "saw the same problems. A difference is inside the noise (≈) if that interval holds 0 or, where only one seed can be "
    "compared, if it is below two standard deviations over the seeds of either row (or where neither has several, of any row "
    "of the same table)."
)


@dataclass(frozen=True)
class Difference:
    """The first row minus the second, in the measure's unit. As text: `≈ +1.2 points [-0.3, +2.7], 3 seeds`."""

    measure: Measure
    mean: float
    low: float
    high: float
    n_seeds: int
    noise: float  # two standard deviations over seeds, where one seed is compared; NaN if no row has several

    @property
    def inside(self) -> bool:
        """Is it noise?"""
        return self.low <= 0 <= self.high or abs(self.mean) < self.noise

    def __str__(self) -> str:
        form = f"+{self.measure.form}"
        mean, low, high = (format(number, form) for number in (self.mean, self.low, self.high))
        seeds = f"{self.n_seeds} seed{'s' * (self.n_seeds > 1)}"
        seeds += f", 2σ over seeds {self.noise:{self.measure.form}}" if self.noise > 0 else ""
        return f"{'≈ ' * self.inside}{mean} {self.measure.unit} [{low}, {high}], {seeds}"


def difference(
    ours: pd.DataFrame, theirs: pd.DataFrame, measure: Measure = ACCURACY, others: Iterable[pd.DataFrame] = ()
) -> Difference | None:
    """Of two rows' records, paired by seed and problem if both saw the same problems; None if one has no value.

    The noise of seeds is that of these two rows, or of the `others` beside them where neither has several seeds.
    """
    mine, other = (_observations(rows, measure) for rows in (ours, theirs))
    if not mine or not other:
        return None
    seeds = sorted(mine.keys() & other.keys())
    same = pd.concat([ours, theirs]).data_fingerprint.nunique() == 1 and all(len(mine[s]) == len(other[s]) for s in seeds)
    if seeds and same:
        pairs = {seed: mine[seed] - other[seed] for seed in seeds}
        drawn, mean = _resample(pairs), _mean(pairs)
    else:
        drawn, mean = _resample(mine) - _resample(other, seed=1), _mean(mine) - _mean(other)
    n_seeds = len(seeds) if seeds and same else min(len(mine), len(other))
    several = _spreads(mine, other) or _spreads(*(_observations(rows, measure) for rows in others))
    noise = 0.0 if n_seeds > 1 else 2 * max(several, default=float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(measure, float(mean), float(low), float(high), n_seeds, float(noise))


def every_seed(margins: Iterable[float]) -> Verdict:
    """Of a claim that holds where a margin is above zero: a margin for each seed, and the seeds have to be of one mind."""
    held = {margin > 0 for margin in margins}
    return "not run" if not held else "inside the noise" if len(held) > 1 else "agrees" if held == {True} else "disagrees"


def _observations(rows: pd.DataFrame, measure: Measure) -> dict[int, np.ndarray]:
    """By seed, a value for each problem where the records have one (the mean of several answers), else the mean."""
    found: dict[int, list[list[float]]] = {}
    for row in rows.to_dict("records"):
        digits, mean = row.get(measure.column.replace("accuracy", "correct")), row.get(measure.column)
        values = [*map(int, digits)] if isinstance(digits, str) else [] if mean is None or np.isnan(mean) else [mean]
        if values:
            found.setdefault(row["seed"], []).append(values)
    return {seed: measure.factor * np.mean(answers, axis=0) for seed, answers in found.items()}


def _spreads(*rows: Mapping[int, np.ndarray]) -> list[float]:
    """The standard deviation over seeds of each row that has several."""
    return [float(np.std([*map(np.mean, row.values())], ddof=1)) for row in rows if len(row) > 1]


def _mean(observations: Mapping[int, np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in observations.values()]))


def _resample(observations: Mapping[int, np.ndarray], seed: int = 0) -> np.ndarray:
    """Means of bootstrap samples: of seeds, then of problems within each."""
    units = np.repeat([*observations], [len(values) for values in observations.values()])
    return sns.algorithms.bootstrap(np.concatenate([*observations.values()]), units=units, n_boot=1000, seed=seed)
