"""SoftCoT's tables: all rows of lesson 05's records, paired over problems with zero-shot CoT, and what they say.

A record of lesson 05 holds a row for each way to ask the frozen model (`papers.SOFTCOT.rows`): `metrics.rows.<row>`.
"""

from collections.abc import Sequence

import pandas as pd

from latent_reports.papers import SOFTCOT, Question, paper_value
from latent_reports.significance import Difference, Measure, Verdict, corrected, difference, every_seed, judge
from latent_reports.tables import DONOR, FROZEN_NOTEBOOK, MISSING, NONE, Section, cell, code, milliseconds, place, provenance
from latent_runs.plan import Run

OF_A_ROW = (
    "accuracy",
    "correct",
    "vote",
    "new_tokens",
    "of_assistant",
    "donor.rate",
    "fact.rate",
    *(f"seconds.{part}" for part in ("median", "low", "high")),
)
DONORS = ("softcot", "zero_shot")  # whose thoughts, and whose written chain
FACT = "the donor's fact, this problem's operations %"  # `facts.fact_rate`
TIMED = ("zero_shot", "cot_unk", "assist_cot", "softcot")  # whose costs differ
ALONE = Measure("ms/question alone", "metrics.seconds.median", 1000.0, ".1f", "ms", more=False)
COSTS = (
    "New tokens and milliseconds of a row with an assistant hold the assistant's: the positions at which it leaves its states, "
    "or the hint that it writes, and the reading of its own prompt. Milliseconds are measured in the run itself, row by row in "
    "turn, a question at a time: median and quartiles."
)


def outcomes(records: pd.DataFrame, row: str) -> pd.DataFrame:
    """One row of every record, in the columns of a record of its own; records without it are left out."""
    names = {f"metrics.rows.{row}.{name}": f"metrics.{name}" for name in OF_A_ROW}
    columns = [*names, "data_fingerprint", "seed", "parameters.task", "metrics.chance", "code"]
    kept = records.reindex(columns=columns).rename(columns=names)
    kept = kept.dropna(subset="metrics.accuracy")
    return kept.explode("metrics.correct") if len(kept) else kept  # several answers a problem: a line each


def benchmark_and_model(task: str) -> tuple[str | None, str]:
    """What stands beside a variant's task in the paper: `gsm8k_qwen` → GSM8K, Qwen2.5-7B-Instruct."""
    (name, _, other), (first, *_) = task.partition("_"), SOFTCOT.models.values()
    return SOFTCOT.benchmarks.get(name), SOFTCOT.models.get(other, first)


def comparison(records: pd.DataFrame, benchmark: str | None, model: str) -> pd.DataFrame:
    """A line for each row: accuracy, what it adds to zero-shot CoT, the paper's number, tokens."""
    zero, lines = outcomes(records, "zero_shot"), []
    with_facts = "metrics.rows.softcot.fact.rate" in records  # where the assistant knows some
    for name, title in SOFTCOT.rows.items():
        if f"metrics.rows.{name}.accuracy" not in records and not paper_value(name, benchmark, model):
            continue
        ours = outcomes(records, name)
        each = ours.drop_duplicates("seed")
        added = difference(ours, zero) if name != "zero_shot" else None
        lines.append({
            "how the frozen model is asked": title,
            "accuracy %": cell(each, "metrics.accuracy"),
            "added to zero-shot": str(added or NONE),
            f"paper, {model} %": str(paper_value(name, benchmark, model) or NONE),
            "seeds": str(len(each) or MISSING),
            "code": code(each) if "code" in records else NONE,
            "majority %": cell(each, "metrics.vote"),
            DONOR: (cell(each, "metrics.donor.rate").replace(NONE, MISSING)) if name in DONORS else NONE,
            **({FACT: cell(each, "metrics.fact.rate") if name == "softcot" else NONE} if with_facts else {}),
            "new tokens": cell(each, "metrics.new_tokens", 1.0, ".1f"),
            "of these the assistant's": cell(each, "metrics.of_assistant", 1.0, ".1f"),
            ALONE.label: milliseconds(each, ALONE) if name in TIMED else NONE,
        })  # fmt: skip
    return pd.DataFrame(lines)


def verdicts(records: pd.DataFrame) -> list[str]:
    """What the records say to each question that they can answer: yes, no, or that noise cannot be excluded; corrected for
    the number of questions."""
    return [
        f"{question.asks} {({'agrees': question.above, 'disagrees': question.below}).get(verdict, verdict)}: {gap}."
        for question, gap, verdict in answered(records)
    ]


def answered(records: pd.DataFrame) -> list[tuple[Question, Difference, Verdict]]:
    """Each question that the records can answer: "agrees" if its first row is above its second."""
    asked = [(question, difference(outcomes(records, question.first), outcomes(records, question.second)))
             for question in SOFTCOT.questions]  # fmt: skip
    there = [(question, gap) for question, gap in asked if gap]
    return [(*one, verdict) for one, verdict in zip(there, corrected(judge(gap) for _, gap in there))]


def _sizes(records: pd.DataFrame) -> list[str]:
    """How many parameters the frozen models have, and how many are trained."""
    known = records.reindex(columns=["metrics.base_parameters", "metrics.assistant_parameters", "metrics.parameters"]).dropna()
    told = [f"{base:,.0f} parameters answer, {assistant:,.0f} of the assistant help, {trained:,.0f} of the map are trained."
            for base, assistant, trained in known.drop_duplicates().itertuples(index=False, name=None)]  # fmt: skip
    return told


def swept(tier: str, task: str, records: pd.DataFrame) -> Section | None:
    """Accuracy by number of thoughts in training and in use; None if no record has swept them."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get("metrics.sweep"), list)]
    rows = [(run["seed"], *row) for run in runs for row in run["metrics.sweep"]]
    if not rows:
        return None
    found = pd.DataFrame(rows, columns=["seed", "trained", "used", "accuracy"])
    text = found.groupby(["trained", "used"])[["accuracy"]].apply(lambda part: cell(part, "accuracy"))
    table = text.unstack().rename(columns="{} in use".format).rename_axis("thoughts in training").reset_index().astype(str)
    by_seed = found.set_index(["seed", "trained", "used"]).accuracy.unstack(["trained", "used"])
    most = max(found.trained)
    fewer = max((used for used in found.used if used < most), default=most)
    few, all_of_them = by_seed[most][fewer], by_seed[most][most]
    kept, n = few - all_of_them, records.n_evaluated.min()
    [verdict] = corrected([every_seed(kept, few, all_of_them, n=n)])
    claim = f"{fewer} thoughts in use after {most} in training cost nothing: {verdict}"
    notes = [SOFTCOT.sweep, f"{claim}, {100 * kept.mean():+.1f} points (tier {tier}).", provenance(tier, records)]
    title = f"SoftCoT, number of thoughts in training and in use: {task} (tier {tier})"
    return Section(tier, "", title, table, notes, "SoftCoT")


def frozen_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """For each tier and task that the grid or a trusted record of lesson 05 names: its table, and that of its sweep."""
    here = records[records.trusted & (records.notebook == FROZEN_NOTEBOOK)]
    keys = [(run.tier, place(run.variant)[0]) for run in runs if run.notebook == FROZEN_NOTEBOOK and not run.extra]
    keys += here[["tier", "section"]].itertuples(index=False, name=None)
    sections = []
    for tier, task in dict.fromkeys(keys):
        mine, (benchmark, model) = here[(here.tier == tier) & (here.section == task)], benchmark_and_model(task)
        soft, zero = (paper_value(row, benchmark, model) for row in ("softcot", "zero_shot"))
        notes = verdicts(mine) or [f"{SOFTCOT.questions[0].asks} Not run (tier {tier})."]
        if soft and zero:
            points = soft.number.value - zero.number.value
            notes.append(f"In the paper SoftCoT adds {points:+.1f} points on {benchmark} ({soft.source}).")
        asked = {row: outcomes(mine, row).drop_duplicates("seed") for row in ("softcot", "zero_shot")}
        votes = {row: cell(found, "metrics.vote") for row, found in asked.items()}
        if not {MISSING, NONE} & {*votes.values()}:
            told = " and ".join(f"{SOFTCOT.rows[row]} {vote}" for row, vote in votes.items())
            notes.append(f"Self-consistency: the majority of the sampled answers is right in {told} % (tier {tier}).")
        reading = SOFTCOT.readings.get(f"{tier}/{task}", SOFTCOT.readings.get(tier))
        notes += [reading] if reading and len(mine) else []
        title, notes = f"SoftCoT, frozen models: {task} (tier {tier})", [*notes, *_sizes(mine), COSTS, provenance(tier, mine)]
        sections.append(Section(tier, "", title, comparison(mine, benchmark, model), notes, "SoftCoT"))
        sections += [table for table in [swept(tier, task, mine)] if table]
    return sections
