"""Whether the miniature agrees with the papers: tables, differences with intervals, one sentence for each claim.

Nothing here is a number: what is compared is `studies.STUDIES`, the rest is computed from records.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
import seaborn as sns

from papermill_runs.grid import Run
from papermill_runs.report import MISSING, NONE, Section, cell, provenance
from papermill_runs.studies import STUDIES, Measure, Study

Verdict = Literal["agrees", "disagrees", "inside the noise", "not run"]
PAGE = "What reproduces and what does not, in miniature"
HOW_TO_READ = (
    "Differences come with a 95 % bootstrap interval over seeds, and over problems within a seed, paired wherever both rows "
    "saw the same problems. A difference is inside the noise (≈) if that interval holds 0 or, where only one seed can be "
    "compared, if it is below two standard deviations over the seeds of either row. A claim of no difference (on a par) "
    "agrees if several seeds show none."
)


@dataclass(frozen=True)
class Difference:
    """The first row minus the second, in the measure's unit."""

    mean: float
    low: float
    high: float
    n_seeds: int
    noise: float  # two standard deviations over seeds, where one seed is compared; NaN if no row has several

    @property
    def inside(self) -> bool:
        return self.low <= 0 <= self.high or abs(self.mean) < self.noise


@dataclass(frozen=True)
class Claim:
    """A sentence about two rows, and whether ours agree; `detail` says by how much."""

    text: str
    verdict: Verdict
    detail: str


def difference(ours: pd.DataFrame, theirs: pd.DataFrame, measure: Measure) -> Difference | None:
    """Of two rows' records, paired by seed and problem if both saw the same problems; None if one has no value."""
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
    several = [np.std([*map(np.mean, row.values())], ddof=1) for row in (mine, other) if len(row) > 1]
    noise = 0.0 if n_seeds > 1 else 2 * max(several, default=float("nan"))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(float(mean), float(low), float(high), n_seeds, float(noise))


def judge(relation: str, found: Difference | None, measure: Measure) -> Verdict:
    """Of the claim that the first row is better (">") or not different ("~")."""
    if found is None:
        return "not run"
    if found.inside:
        return "agrees" if relation == "~" and found.n_seeds > 1 else "inside the noise"
    if relation == "~":
        return "disagrees"
    return "agrees" if (found.mean > 0) == measure.more else "disagrees"


def claims(study: Study, rows: Mapping[str, pd.DataFrame]) -> Iterator[Claim]:
    """A study's claims, for each of its measures; `rows` are the trusted records of a tier by variant."""
    for line in study.claims.strip().splitlines():
        first, relation, second, mark = line.split()
        for measure in study.measures:
            found = difference(rows[first], rows[second], measure)
            relates = {">": "above" if measure.more else "below", "~": "on a par with"}[relation]
            on = f": {measure.label.removesuffix(' %')}" if len(study.measures) > 1 else ""
            text = f"{study.labels[first]} {relates} {study.labels[second]}{on} ({mark})"
            yield Claim(text, judge(relation, found, measure), _detail(found, measure) if found else MISSING)


def build_studies(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """For each tier that `runs` or records name: the page of all claims, then a table for each study shown."""
    trusted, sections = records[records.trusted.astype(bool)], []
    planned = {(run.tier, run.variant) for run in runs} | set(zip(trusted.tier, trusted.variant))
    for tier in dict.fromkeys([run.tier for run in runs] + [*trusted.tier]):
        here, page, tables = trusted[trusted.tier == tier], [], []
        for study in STUDIES:
            if not {(tier, variant) for variant in study.labels} & planned:
                continue
            rows = {variant: here[here.variant == variant] for variant in study.labels}
            made = [*claims(study, rows)]
            page += [{"claim": c.text, "in miniature": c.verdict, "difference": c.detail, "from": study.title} for c in made]
            notes = [f"{c.text}: {c.verdict}, {c.detail} (tier {tier})." for c in made]
            notes += [f"The paper: {study.source}; {study.model}.", provenance(tier, pd.concat([*rows.values()]))]
            if study.shown:
                tables.append(Section(tier, "", f"{study.title} (tier {tier})", _table(study, rows), notes))
        if page:
            counts = Counter(line["in miniature"] for line in page)
            told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in get_args(Verdict))
            notes = [f"Of {len(page)} claims: {told}.", HOW_TO_READ]
            sections += [Section(tier, "", f"{PAGE} (tier {tier})", pd.DataFrame(page), notes), *tables]
    return sections


def _table(study: Study, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    base, lines = next(iter(rows)), []
    for variant, found in rows.items():
        line = {"setting": study.labels[variant]}
        for measure in study.measures:
            line[measure.label] = cell(found, measure.column, measure.factor, measure.form) + _times(found, rows[base], measure)
        line |= {f"paper, {benchmark}": study.paper.get((variant, benchmark), NONE) for benchmark in study.benchmarks}
        off = difference(found, rows[base], study.measures[0]) if variant != base else None
        gap = f"{'≈ ' if off.inside else ''}{_detail(off, study.measures[0])}" if off else MISSING
        line |= {f"against {study.labels[base]}": NONE if variant == base else gap, "seeds": str(len(found) or MISSING)}
        lines.append(line)
    return pd.DataFrame(lines)


def _times(rows: pd.DataFrame, base: pd.DataFrame, measure: Measure) -> str:
    """How many times less of something costly than the first row."""
    mean = [found.get(measure.column, pd.Series(dtype=float)).astype(float).mean() for found in (base, rows)]
    return "" if measure.more or np.isnan(mean).any() else f" ({mean[0] / mean[1]:.1f} ×)"


def _detail(found: Difference, measure: Measure) -> str:
    form = f"+{measure.form}"
    text = f"{found.mean:{form}} {measure.unit} [{found.low:{form}}, {found.high:{form}}], {found.n_seeds} seed"
    return text + ("s" if found.n_seeds > 1 else f", 2σ over seeds {found.noise:{measure.form}}" if found.noise > 0 else "")


def _observations(rows: pd.DataFrame, measure: Measure) -> dict[int, np.ndarray]:
    """By seed, a value for each problem where the record has one, else its mean."""
    found = {}
    for row in rows.to_dict("records"):
        digits, mean = row.get(measure.column.replace("accuracy", "correct")), row.get(measure.column)
        values = [*map(int, digits)] if isinstance(digits, str) else [] if mean is None or np.isnan(mean) else [mean]
        found |= {row["seed"]: measure.factor * np.array(values)} if values else {}
    return found


def _mean(observations: Mapping[int, np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in observations.values()]))


def _resample(observations: Mapping[int, np.ndarray], seed: int = 0) -> np.ndarray:
    """Means of bootstrap samples: of seeds, then of problems within each."""
    units = np.repeat([*observations], [len(values) for values in observations.values()])
    return sns.algorithms.bootstrap(np.concatenate([*observations.values()]), units=units, n_boot=1000, seed=seed)
