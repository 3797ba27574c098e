"""SoftCoT's tables: all rows of lesson 05's records, paired over problems with zero-shot CoT, and what they say.

A record of lesson 05 holds a row for each way to ask the frozen model (`papers.FROZEN`): `metrics.rows.<row>`.
"""

import re
from collections.abc import Sequence

import pandas as pd

from latent_reports.papers import FROZEN, FROZEN_BENCHMARKS, paper_value
from latent_reports.report import FROZEN_NOTEBOOK, MISSING, NONE, Section, cell, place, provenance
from latent_reports.significance import difference, every_seed
from latent_runs.grid import Run

LLAMA, QWEN = "Llama-3.1-8B-Instruct", "Qwen2.5-7B-Instruct"
QUESTIONS = (  # two rows, what their difference asks, and the answers if it is above, below or around zero
    ("softcot", "zero_shot", "Is SoftCoT better than asking the frozen model (the paper's claim)?", "yes", "no, it is worse"),
    ("softcot", "cot_unk", "Better than as many empty positions?", "yes", "no, worse"),
    ("softcot", "swapped", "Do the thoughts say something about their own problem?", "yes", "another problem's do better"),
    ("softcot", "softcot_base", "Is the assistant's size of no matter?", "the smaller is better", "the larger is better"),
    ("softcot", "softcot_random", "Does it matter what the assistant has learned?", "yes", "a random one does better"),
    ("softcot", "prompt", "Better than one learned embedding in their place (prompt tuning)?", "yes", "no, worse"),
    ("softcot", "lora", "Better than LoRA fine-tuning on the same problems?", "yes", "no, worse"),
    ("softcot", "coconut_lora", "Better than Coconut on LoRA?", "yes", "no, worse"),
)
READING = {  # what we make of a tier's tables
    "tiny": "Our reading: the claim does not reproduce in miniature. The thoughts say nothing about their problem (another "
    "problem's, their mean and a random assistant's do as well), and what the map has learned is to be as little in the way "
    "as the filler that the base was trained to overlook. An assistant of this size knows nothing that its base does not. "
    "A gain as small as the paper's would be inside the noise of a thousand problems and three seeds.",
    "small": "Our reading: where the model can do something (ASDiv), SoftCoT does lift it above asking it plainly, but another "
    "problem's thoughts and their mean lift it as much: what the map has learned is a better prompt for all problems of "
    "this kind, not a thought about one. Training the model itself (LoRA) gains far more. On GSM8K, at the floor, nothing "
    "can be told.",
}
SWEPT = "SoftCoT trains with 32 thoughts and uses 4; six soft ones do what 24 hard ones do (V)."


def outcomes(records: pd.DataFrame, row: str) -> pd.DataFrame:
    """One row of every record, in the columns of a record of its own; records without it are left out."""
    names = {f"metrics.rows.{row}.{name}": f"metrics.{name}" for name in ("accuracy", "new_tokens", "correct", "vote")}
    kept = records.reindex(columns=[*names, "data_fingerprint", "seed"]).rename(columns=names)
    kept = kept.dropna(subset="metrics.accuracy")
    return kept.explode("metrics.correct") if len(kept) else kept  # several answers a problem: a line each


def benchmark_and_model(task: str) -> tuple[str | None, str]:
    """What stands beside a variant's task in the paper: `gsm8k_qwen` → GSM8K, Qwen2.5-7B-Instruct."""
    name, _, other = task.partition("_")
    return FROZEN_BENCHMARKS.get(name), QWEN if other == "qwen" else LLAMA


def comparison(records: pd.DataFrame, benchmark: str | None, model: str = LLAMA) -> pd.DataFrame:
    """A line for each row: accuracy, what it adds to zero-shot CoT, the paper's number, tokens."""
    found = {match[1] for column in records for match in [re.fullmatch(r"metrics\.rows\.(\w+)\.accuracy", column)] if match}
    zero, lines = outcomes(records, "zero_shot"), []
    for name in [row for row in FROZEN if row in found or paper_value(row, benchmark, model)]:
        ours = outcomes(records, name)
        each = ours.drop_duplicates("seed")
        added = difference(ours, zero) if name != "zero_shot" else None
        lines.append({
            "how the frozen model is asked": FROZEN[name],
            "accuracy %": cell(each, "metrics.accuracy", 100.0, ".1f"),
            "added to zero-shot": str(added or NONE),
            f"paper, {model} %": str(paper_value(name, benchmark, model) or NONE),
            "seeds": str(len(each) or MISSING),
            "majority %": cell(each, "metrics.vote", 100.0, ".1f"),
            "new tokens": cell(each, "metrics.new_tokens", 1.0, ".1f"),
        })  # fmt: skip
    return pd.DataFrame(lines)


def verdicts(records: pd.DataFrame) -> list[str]:
    """What the records say to each of `QUESTIONS` that they can answer: yes, no, or that noise cannot be excluded."""
    said = []
    for first, second, question, above, below in QUESTIONS:
        if found := difference(outcomes(records, first), outcomes(records, second)):
            answer = "inside the noise" if found.inside else above if found.mean > 0 else below
            said.append(f"{question} {answer}: {found}.")
    return said


def swept(tier: str, task: str, records: pd.DataFrame) -> Section | None:
    """Accuracy by number of thoughts in training and in use; None if no record has swept them."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get("metrics.sweep"), list)]
    rows = [(run["seed"], *row) for run in runs for row in run["metrics.sweep"]]
    if not rows:
        return None
    found = pd.DataFrame(rows, columns=["seed", "trained", "used", "accuracy"])
    text = found.groupby(["trained", "used"])[["accuracy"]].apply(lambda part: cell(part, "accuracy", 100.0, ".1f"))
    table = text.unstack().rename(columns="{} in use".format).rename_axis("thoughts in training").reset_index().astype(str)
    by_seed = found.set_index(["seed", "trained", "used"]).accuracy.unstack(["trained", "used"])
    most = max(found.trained)
    fewer = max((used for used in found.used if used < most), default=most)
    kept = by_seed[most][fewer] - by_seed[most][most]
    claim = f"{fewer} thoughts in use after {most} in training cost nothing: {every_seed(kept)}"
    notes = [SWEPT, f"{claim}, {100 * kept.mean():+.1f} points (tier {tier}).", provenance(tier, records)]
    return Section(tier, "", f"SoftCoT, number of thoughts in training and in use: {task} (tier {tier})", table, notes)


def frozen_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """For each tier and task that the grid or a trusted record of lesson 05 names: its table, and that of its sweep."""
    here = records[records.trusted & (records.notebook == FROZEN_NOTEBOOK)]
    keys = [(run.tier, place(run.variant)[0]) for run in runs if run.notebook == FROZEN_NOTEBOOK and not run.extra]
    keys += here[["tier", "section"]].itertuples(index=False, name=None)
    sections = []
    for tier, task in dict.fromkeys(keys):
        mine, (benchmark, model) = here[(here.tier == tier) & (here.section == task)], benchmark_and_model(task)
        claim = [paper_value(row, benchmark, model) for row in ("softcot", "zero_shot")]
        notes = verdicts(mine) or [f"{QUESTIONS[0][2]} Not run (tier {tier})."]
        if all(claim):
            points = claim[0].accuracy - claim[1].accuracy
            notes.append(f"In the paper SoftCoT adds {points:+.1f} points on {benchmark} ({claim[0].source}).")
        asked = {row: outcomes(mine, row).drop_duplicates("seed") for row in ("softcot", "zero_shot")}
        votes = {row: cell(found, "metrics.vote", 100.0, ".1f") for row, found in asked.items()}
        if not {MISSING, NONE} & {*votes.values()}:
            told = " and ".join(f"{FROZEN[row]} {vote}" for row, vote in votes.items())
            notes.append(f"Self-consistency: the majority of the sampled answers is right in {told} % (tier {tier}).")
        notes += [READING[tier]] if tier in READING and len(mine) else []
        title, notes = f"SoftCoT, frozen models: {task} (tier {tier})", [*notes, provenance(tier, mine)]
        sections.append(Section(tier, "", title, comparison(mine, benchmark, model), notes))
        sections += [table for table in [swept(tier, task, mine)] if table]
    return sections
