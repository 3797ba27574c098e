"""Whether the miniature agrees with the papers: studies as tables, differences with intervals, a sentence for each claim."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

import numpy as np
import pandas as pd

from latent_reports.papers import PAPERS, Claim, Paper, Study
from latent_reports.significance import MEASURES, Difference, Measure, Verdict, difference
from latent_reports.tables import MISSING, NONE, Section, cell, provenance
from latent_runs.plan import Run

PAGE = "What reproduces and what does not, in miniature"
ON_A_PAR = "A claim of no difference (on a par) agrees if the interval of several seeds lies within the margin that it names."


def judge(claim: Claim, found: Difference | None) -> Verdict:
    """Of a difference, whether it is as a paper claims; one inside the noise refutes nothing."""
    if found is None:
        return "not run"
    if claim.margin is not None and found.n_seeds > 1 and -claim.margin <= found.low <= found.high <= claim.margin:
        return "agrees"
    if found.inside or abs(found.mean) <= (claim.margin or 0):
        return "inside the noise"
    return "agrees" if claim.relation == ("above" if found.mean > 0 else "below") else "disagrees"


def judged(study: Study, rows: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, str]]:
    """A line for each claim and measure of a study; `rows` are the trusted records of a tier by variant."""
    for claim in study.claims:
        for measure in [MEASURES[name] for name in study.measures]:
            found = difference(rows[claim.first], rows[claim.second], measure, rows.values())
            text = f"{study.rows[claim.first]} {claim.relation} {study.rows[claim.second]}"
            text += f" (within {claim.margin:g} points)" if claim.margin is not None else ""
            text += f": {measure.label.removesuffix(' %')}" if len(study.measures) > 1 else ""
            verdict = judge(claim, found)
            yield {"claim": f"{text} ({claim.mark})", "in miniature": verdict, "difference": str(found or MISSING)}


def build_studies(records: pd.DataFrame, runs: Sequence[Run], papers: Sequence[Paper] = PAPERS) -> list[Section]:
    """For each tier that `runs` or records name: the page of all claims, then a table for each study shown."""
    trusted, sections = records[records.trusted.astype(bool)], []
    planned = {(run.tier, run.variant) for run in runs} | set(zip(trusted.tier, trusted.variant))
    for tier in dict.fromkeys([run.tier for run in runs] + [*trusted.tier]):
        here, page, readings, tables = trusted[trusted.tier == tier], [], [], []
        for paper, study in [(paper, study) for paper in papers for study in paper.studies]:
            if not {(tier, variant) for variant in study.rows} & planned:
                continue
            rows = {variant: here[here.variant == variant] for variant in study.rows}
            made = [*judged(study, rows)]
            page += [line | {"from": study.title} for line in made]
            readings += [f"{study.title}. {study.reading}"] if study.reading and tier == "tiny" else []
            notes = ["{claim}: {in miniature}, {difference} (tier ".format(**line) + f"{tier})." for line in made]
            notes += [f"The paper: {paper.cite(study.where)}; {study.model}.", provenance(tier, pd.concat([*rows.values()]))]
            if study.shown:
                tables.append(Section(tier, "", f"{study.title} (tier {tier})", _table(study, rows), notes))
        if page:
            counts = Counter(line["in miniature"] for line in page)
            told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in get_args(Verdict))
            notes = [f"Of {len(page)} claims: {told}.", ON_A_PAR, *readings]
            sections += [Section(tier, "", f"{PAGE} (tier {tier})", pd.DataFrame(page), notes), *tables]
    return sections


def _table(study: Study, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    base, measures, lines = next(iter(rows)), [MEASURES[name] for name in study.measures], []
    for variant, found in rows.items():
        line = {"setting": study.rows[variant]}
        for measure in measures:
            line[measure.label] = cell(found, measure.column, measure.factor, measure.form) + _times(found, rows[base], measure)
        line |= {f"paper, {name}": str(study.numbers.get(variant, {}).get(name, NONE)) for name in study.benchmarks}
        gap = NONE if variant == base else str(difference(found, rows[base], measures[0], rows.values()) or MISSING)
        lines.append(line | {f"against {study.rows[base]}": gap, "seeds": str(len(found) or MISSING)})
    return pd.DataFrame(lines)


def _times(rows: pd.DataFrame, base: pd.DataFrame, measure: Measure) -> str:
    """How many times less of something costly than the first row."""
    mean = [found.get(measure.column, pd.Series(dtype=float)).astype(float).mean() for found in (base, rows)]
    return "" if measure.more or np.isnan(mean).any() else f" ({mean[0] / mean[1]:.1f} ×)"
