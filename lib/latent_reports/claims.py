"""Whether the miniature agrees with the papers: tables, differences with intervals, one sentence for each claim.

Nothing here is a number: what is compared is `studies.STUDIES`, the rest is computed from records.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd

from latent_reports.report import MISSING, NONE, Section, cell, provenance
from latent_reports.significance import Difference, Measure, Verdict, difference
from latent_reports.studies import STUDIES, Study
from latent_runs.grid import Run

PAGE = "What reproduces and what does not, in miniature"
ON_A_PAR = "A claim of no difference (on a par) agrees if several seeds show none."


@dataclass(frozen=True)
class Claim:
    """A sentence about two rows, and whether ours agree; `detail` says by how much."""

    text: str
    verdict: Verdict
    detail: str


def judge(relation: str, found: Difference | None) -> Verdict:
    """Of the claim that the first row is better (">") or not different ("~")."""
    if found is None:
        return "not run"
    if found.inside:
        return "agrees" if relation == "~" and found.n_seeds > 1 else "inside the noise"
    if relation == "~":
        return "disagrees"
    return "agrees" if (found.mean > 0) == found.measure.more else "disagrees"


def claims(study: Study, rows: Mapping[str, pd.DataFrame]) -> Iterator[Claim]:
    """A study's claims, for each of its measures; `rows` are the trusted records of a tier by variant."""
    for line in study.claims.strip().splitlines():
        first, relation, second, mark = line.split()
        for measure in study.measures:
            found = difference(rows[first], rows[second], measure, rows.values())
            relates = {">": "above" if measure.more else "below", "~": "on a par with"}[relation]
            on = f": {measure.label.removesuffix(' %')}" if len(study.measures) > 1 else ""
            text = f"{study.labels[first]} {relates} {study.labels[second]}{on} ({mark})"
            yield Claim(text, judge(relation, found), str(found or MISSING))


def build_studies(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """For each tier that `runs` or records name: the page of all claims, then a table for each study shown."""
    trusted, sections = records[records.trusted.astype(bool)], []
    planned = {(run.tier, run.variant) for run in runs} | set(zip(trusted.tier, trusted.variant))
    for tier in dict.fromkeys([run.tier for run in runs] + [*trusted.tier]):
        here, page, readings, tables = trusted[trusted.tier == tier], [], [], []
        for study in STUDIES:
            if not {(tier, variant) for variant in study.labels} & planned:
                continue
            rows = {variant: here[here.variant == variant] for variant in study.labels}
            made = [*claims(study, rows)]
            page += [{"claim": c.text, "in miniature": c.verdict, "difference": c.detail, "from": study.title} for c in made]
            readings += [f"{study.title}. {study.reading}"] if study.reading and tier == "tiny" else []
            notes = [f"{c.text}: {c.verdict}, {c.detail} (tier {tier})." for c in made]
            notes += [f"The paper: {study.source}; {study.model}.", provenance(tier, pd.concat([*rows.values()]))]
            if study.shown:
                tables.append(Section(tier, "", f"{study.title} (tier {tier})", _table(study, rows), notes))
        if page:
            counts = Counter(line["in miniature"] for line in page)
            told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in get_args(Verdict))
            notes = [f"Of {len(page)} claims: {told}.", ON_A_PAR, *readings]
            sections += [Section(tier, "", f"{PAGE} (tier {tier})", pd.DataFrame(page), notes), *tables]
    return sections


def _table(study: Study, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    base, lines = next(iter(rows)), []
    for variant, found in rows.items():
        line = {"setting": study.labels[variant]}
        for measure in study.measures:
            line[measure.label] = cell(found, measure.column, measure.factor, measure.form) + _times(found, rows[base], measure)
        line |= {f"paper, {benchmark}": study.paper.get((variant, benchmark), NONE) for benchmark in study.benchmarks}
        off = difference(found, rows[base], study.measures[0], rows.values()) if variant != base else None
        gap = NONE if variant == base else str(off or MISSING)
        line |= {f"against {study.labels[base]}": gap, "seeds": str(len(found) or MISSING)}
        lines.append(line)
    return pd.DataFrame(lines)


def _times(rows: pd.DataFrame, base: pd.DataFrame, measure: Measure) -> str:
    """How many times less of something costly than the first row."""
    mean = [found.get(measure.column, pd.Series(dtype=float)).astype(float).mean() for found in (base, rows)]
    return "" if measure.more or np.isnan(mean).any() else f" ({mean[0] / mean[1]:.1f} ×)"
