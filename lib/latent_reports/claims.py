"""Whether the miniature agrees with the papers: studies as tables, differences with intervals, a sentence for each claim."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

import numpy as np
import pandas as pd

from latent_reports.intervals import LEVEL
from latent_reports.papers import PAPERS, Paper, Study
from latent_reports.significance import ALONE, BATCHED, MEASURES, Measure, Opinion, Verdict, corrected, difference, judge
from latent_reports.tables import MISSING, NONE, Section, cell, code, milliseconds, provenance
from latent_runs.plan import Run

PAGE = "What reproduces and what does not, in miniature"
ON_A_PAR = (
    "A claim of no difference (on a par) agrees if the whole interval lies within the margin that it names, and disagrees if "
    "the whole interval lies beyond. Times are compared within one measurement: one process, models in turn."
)


def judged(study: Study, rows: Mapping[str, pd.DataFrame]) -> Iterator[tuple[dict[str, str], Opinion]]:
    """A line for each claim and measure of a study, and what is to be said of it by itself; `rows` are the trusted records
    of a tier by variant."""
    for claim in study.claims:
        for measure in [MEASURES[name] for name in study.measures]:
            found = difference(rows[claim.first], rows[claim.second], measure)
            text = f"{study.rows[claim.first]} {claim.relation} {study.rows[claim.second]}"
            text += f" (within {claim.margin:g} points)" if claim.margin is not None else ""
            text += f": {measure.label.removesuffix(' %')}" if len(study.measures) > 1 else ""
            opinion = judge(found, claim.relation == "above", claim.margin)
            if measure.label in study.by_construction and found is not None:
                opinion = Opinion("by construction")
            yield {"claim": f"{text} ({claim.mark})", "difference": str(found or MISSING)}, opinion


Asked = tuple[Paper, Study, dict[str, pd.DataFrame]]  # a study with its rows' records


def studies_of(tier: str, records: pd.DataFrame, runs: Sequence[Run], papers: Sequence[Paper] = PAPERS) -> list[Asked]:
    """The studies that a tier has something to say on, with the trusted records by variant: those with two rows in its grid, or
    in what is recorded of it. Of their claims only such are asked that are about these rows; with none left, nothing is."""
    here = records[records.trusted.astype(bool) & (records.tier == tier)]
    there = {run.variant for run in runs if run.tier == tier} | {*here.variant}
    asked = []
    for paper in papers:
        for study in paper.studies:
            claims = [claim for claim in study.claims if {claim.first, claim.second} <= there]
            if len({*study.rows} & there) > 1 and bool(claims) == bool(study.claims):
                rows = {variant: here[here.variant == variant] for variant in study.rows}
                asked.append((paper, study.model_copy(update={"claims": claims}), rows))
    return asked


def verdicts_of(studies: Sequence[Asked]) -> list[tuple[Study, dict[str, str], Opinion, Verdict]]:
    """A line for each claim and measure of studies, and what becomes of it, corrected for all of them."""
    made = [(study, line, opinion) for _, study, rows in studies for line, opinion in judged(study, rows)]
    return [(*one, verdict) for one, verdict in zip(made, corrected(opinion for *_, opinion in made))]


def build_studies(records: pd.DataFrame, runs: Sequence[Run], papers: Sequence[Paper] = PAPERS) -> list[Section]:
    """For each tier that `runs` or records name: the page of all claims, then a table for each study shown."""
    sections = []
    for tier in dict.fromkeys([run.tier for run in runs] + [*records.tier[records.trusted.astype(bool)]]):
        studies = studies_of(tier, records, runs, papers)
        told = verdicts_of(studies)
        page = [
            {"claim": line["claim"], "in miniature": verdict, "difference": line["difference"], "from": study.title}
            for study, line, _, verdict in told
        ]
        if page:
            readings = [f"{study.title}. {study.reading}" for _, study, _ in studies if study.reading and tier == "tiny"]
            notes = [*_counted([one[3] for one in told], [one[2] for one in told]), ON_A_PAR, *readings]
            sections.append(Section(tier, "", f"{PAGE} (tier {tier})", pd.DataFrame(page), notes, PAGE))
        for paper, study, rows in [one for one in studies if one[1].shown]:
            told_of = "{claim}: {in miniature}, {difference} (tier "
            notes = [told_of.format(**line) + f"{tier})." for line in page if line["from"] == study.title]
            notes += [f"The paper: {paper.cite(study.where)}; {study.model}.", provenance(tier, pd.concat([*rows.values()]))]
            sections.append(Section(tier, "", f"{study.title} (tier {tier})", _table(study, rows), notes, paper.name))
    return sections


def _counted(verdicts: Sequence[Verdict], opinions: Sequence[Opinion]) -> list[str]:
    """How many claims got which verdict, and how many verdicts chance alone would give."""
    counts, n = Counter(verdicts), sum(opinion.p is not None for opinion in opinions)
    findings = [name for name in get_args(Verdict) if name != "by construction"]
    told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in findings)
    notes = [f"Of {len(verdicts) - counts['by construction']} claims: {told}."]
    alone = sum(opinion.p is not None and opinion.p < LEVEL for opinion in opinions)
    notes.append(
        f"{n} of them could be judged. If nothing were there, chance alone would give about {LEVEL * n:.1f} verdicts, each by "
        f"its own 95 % interval ({alone} were found so). Those counted are corrected for their number (Holm): even one by "
        "chance has a probability of at most 5 %."
    )
    if counts["by construction"]:
        notes.append(f"{counts['by construction']} claims hold by construction (thoughts are fewer than the words that they "
                     "replace); they are shown and are no findings.")  # fmt: skip
    return notes


def _table(study: Study, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    base, measures, lines = next(iter(rows)), [MEASURES[name] for name in study.measures], []
    for variant, found in rows.items():
        line = {"setting": study.rows[variant]}
        for measure in measures:
            timed = measure in (ALONE, BATCHED)
            said = milliseconds(found, measure) if timed else cell(found, measure.column, measure.factor, measure.form)
            line[measure.label] = said + _times(found, rows[base], measure)
        line |= {f"paper, {name}": str(study.numbers.get(variant, {}).get(name, NONE)) for name in study.benchmarks}
        gap = NONE if variant == base else str(difference(found, rows[base], measures[0]) or MISSING)
        lines.append(line | {f"against {study.rows[base]}": gap, "seeds": str(len(found) or MISSING), "code": code(found)})
    return pd.DataFrame(lines)


def _times(rows: pd.DataFrame, base: pd.DataFrame, measure: Measure) -> str:
    """How many times less of something costly than the first row."""
    mean = [found.get(measure.column, pd.Series(dtype=float)).astype(float).mean() for found in (base, rows)]
    return "" if measure.more or np.isnan(mean).any() else f" ({mean[0] / mean[1]:.1f} ×)"
