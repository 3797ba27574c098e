"""Records as tables beside the papers' numbers; no number is typed.

A variant `<section>-<method>` is the row `method` of a section's table. Only complete records of committed code are averaged;
a run that the grid names without such a record is "missing".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from latent_cot.methods import TITLES
from latent_reports.papers import PAPERS, SECTIONS, MainTable, beside
from latent_reports.significance import ALONE, BATCHED, Measure, at_floor, difference
from latent_runs.groups import Data
from latent_runs.plan import Run
from latent_runs.results import CARRIED, LATENCY, code_of, load_results
from latent_tasks import arithmetic, load_task

AIMS = {  # method, the one it is compared with, and how many points above it (or %) are aimed at
    "arithmetic": [("cot", None, 95), ("coconut", "no_cot_long", 30), ("codi_long", "no_cot_long", 30)],
    "graph": [("coconut", None, 90), *(("coconut", other, 30) for other in ("cot", "pause", "no_cot"))],
}
FROZEN_NOTEBOOK = "05_softcot_projector"
MACHINE_NOTEBOOK = "10_one_gpu"
APART = (FROZEN_NOTEBOOK, MACHINE_NOTEBOOK)  # lessons whose records are not one row of a main table
ABLATION, LADDER = "ablation_", "ladder_"  # sections with tables of their own
MAIN = "Main tables"  # a chapter of the report; others are named by their paper
PAPER, MISSING, NONE = "paper %", "missing", "·"
DONOR = "donor rate %"
FLOPS = "training TFLOP"
COLUMNS = {  # where a record has it, factor, format
    "thoughts removed %": ("metrics.controls.removed", 100.0, ".1f"),
    "swapped %": ("metrics.controls.swapped", 100.0, ".1f"), "all the mean %": ("metrics.controls.mean", 100.0, ".1f"),
    DONOR: ("metrics.donor.rate", 100.0, ".1f"),
    "new tokens": ("metrics.new_tokens", 1.0, ".1f"), "steps in total": ("total_steps", 1.0, ",.0f"),
    FLOPS: ("total_flops", 1e-12, ",.3g"),
    "test problems": ("n_evaluated", 1.0, ",.0f"), "minutes": ("wall_seconds", 1 / 60, ",.1f"),
}  # fmt: skip
TIMES = [f"latency.{how}.{part}" for how in ("alone", "batched") for part in ("median", "low", "high")]
OF_A_SEED = [f"parameters.{name}" for name in ("seed", "run.init_from", "run.dir", "init_from", "run_dir")]  # may differ


@dataclass(frozen=True)
class Section:
    """A title, a table (already text) and the sentences below it; `name` as in variants, "" if it is no main table; `chapter`:
    whose claims it is about, a paper's name."""

    tier: str
    name: str
    title: str
    table: pd.DataFrame
    notes: list[str]
    chapter: str = MAIN

    @property
    def empty(self) -> bool:
        """Has none of its rows a record?"""
        said = [self.table[name] for name in ("seeds", "in miniature") if name in self.table]
        return any(bool(column.isin([MISSING, "not run"]).all()) for column in said)

    @property
    def styled(self) -> Styler:
        """The table for a notebook or a page, escaped."""
        return self.table.style.hide(axis="index").format(escape="html")


def place(variant: str) -> tuple[str, str]:
    """Section and method that a variant names: `graph-pause_as_thought` → graph, pause_as_thought."""
    parts = variant.split("-")
    at = next((i for i, part in enumerate(parts) if part in TITLES), len(parts) - 1)
    return "-".join(parts[:at] + parts[at + 1 :]), parts[at]


def load_table(folder: str | Path) -> pd.DataFrame:
    """`load_results` with section, method, optimiser steps and FLOPs in total (NaN if a warm start has no record), `code`:
    whether today's would make the record, and the times measured of its very model.

    Raises `ValueError` for a run that is there twice, and for seeds of a run that were made with different settings.
    """
    records = load_results(folder)
    if (twice := records[records.duplicated(["tier", "id"])]).size:
        raise ValueError(f"more than one record of the same run below {folder}: {', '.join(twice.id)}")
    for (tier, _, variant), seeds in records[records.trusted.astype(bool)].groupby(["tier", "notebook", "variant"]):
        settings = seeds.filter(like="parameters.").drop(columns=OF_A_SEED, errors="ignore").dropna(axis=1, how="all")
        if differ := [name for name in settings if settings[name].dropna().astype(str).nunique() > 1]:
            raise ValueError(f"{tier}, {variant}: seeds of different settings cannot be averaged: {', '.join(differ)}")
    rows = {(row["tier"], row["id"]): row for row in records.to_dict("records")}

    def total(row: Mapping, metric: str) -> float:
        start = row.get("starts_from")
        before = total(rows.get((row["tier"], "/".join(Path(start).parts[-2:])), {}), metric) if start else 0.0
        return row.get(f"metrics.{metric}", float("nan")) + before

    section, method = ([place(variant)[i] for variant in records.variant] for i in (0, 1))
    trusted = records.trusted.astype(bool)
    totals = {f"total_{what}": [total(row, f"train_{what}") for row in rows.values()] for what in ("steps", "flops")}
    code = [code_of(Path(path).parent) for path in records.path]
    carried = [_carried(row) for row in rows.values()]
    known = records.assign(section=section, method=method, trusted=trusted, code=code, **totals, **{"metrics.carried": carried})
    return known.merge(_latencies(folder), how="left", on=["tier", "id", "model_fingerprint"]) if len(known) else known


def _carried(row: Mapping) -> list[dict] | None:
    """What the thoughts of a record's model carry (`latent_reports.carried`), a table of one line; None of another model."""
    path = Path(row["path"]).with_name(CARRIED)
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [found] if found.get("model_fingerprint", ...) == row.get("model_fingerprint") else None


def _latencies(folder: str | Path) -> pd.DataFrame:
    """The times measured in each tier below a folder (`latent_costs.latency`), a row for each model."""
    rows = []
    for path in sorted(Path(folder).rglob(LATENCY)):
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        rows += [{"tier": path.parent.name, "id": name, "latency": seconds} for name, seconds in runs.items()]
    found = pd.json_normalize(rows).rename(columns={"latency.model_fingerprint": "model_fingerprint"})
    return found.reindex(columns=["tier", "id", "model_fingerprint", *TIMES])


def listed(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that records hold under a metric that is a table, each with method, seed and number of test problems, in
    `TITLES`' order."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get(f"metrics.{metric}"), list)]
    runs.sort(key=lambda run: [*TITLES, run["method"]].index(run["method"]))
    of_run = [{"method": run["method"], "seed": run["seed"], "problems": run["n_evaluated"]} for run in runs]
    return pd.DataFrame([known | row for known, run in zip(of_run, runs) for row in run[f"metrics.{metric}"]])


def build_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """A main table for each tier and section that `runs` or records name, and what is not averaged.

    Not here: lesson 05, each of whose records holds all rows of a table (`frozen`), the ablations (`claims`), the ladder
    (`ladder`), and lesson 10, which measures a machine (`machine`).
    """
    trusted, apart = records[records.trusted & ~records.notebook.isin(APART)], records[~records.trusted]
    keys = [(run.tier, *place(run.variant)) for run in runs if not run.extra and run.notebook not in APART]
    keys += trusted[["tier", "section", "method"]].itertuples(index=False, name=None)
    keys = [*dict.fromkeys(key for key in keys if not key[1].startswith((ABLATION, LADDER)))]
    order, tiers, result = [*TITLES, *(key[2] for key in keys)], [key[0] for key in keys], []
    for tier, name in sorted(dict.fromkeys(key[:2] for key in keys), key=lambda key: tiers.index(key[0])):
        here = trusted[(trusted.tier == tier) & (trusted.section == name)]
        methods = sorted({key[2] for key in keys if key[:2] == (tier, name)}, key=order.index)
        result.append(_main(tier, name, {method: here[here.method == method] for method in methods}))
    if len(apart):
        table = apart[["id", "tier"]].assign(why=apart.status.replace("complete", "uncommitted code"))
        result.append(Section("", "", "Not averaged", table, ["These runs enter no number above."], "Records"))
    return result


def _main(tier: str, name: str, scores: Mapping[str, pd.DataFrame]) -> Section:
    there, every = SECTIONS.get(name, MainTable(title=name, model="")), pd.concat([*scores.values()])
    papers = {method: value for method in scores if (value := beside(name, method))}
    means = {m: 100 * float(rows["metrics.accuracy"].mean()) for m, rows in scores.items() if len(rows)}
    lines, notes, baseline = [], [], "no_cot_long" if "no_cot_long" in scores else "no_cot"
    for method, rows in scores.items():
        n, of = len(rows), every.seed.nunique()
        line = {"method": TITLES.get(method, method), "accuracy %": cell(rows, "metrics.accuracy")}
        if (base := scores.get(baseline)) is not None:
            fair = _same_budget(rows, base) and method != baseline
            line[f"against {TITLES[baseline]}"] = str(difference(rows, base) or MISSING) if fair else NONE
        line |= {PAPER: str(papers.get(method, NONE)), "seeds": f"{n} of {of}" if 0 < n < of else str(n or MISSING)}
        line["code"] = code(rows)
        line |= {column: cell(rows, *where) for column, where in COLUMNS.items()}
        of_two_answers = any(found is None for found in rows.get("metrics.donor", ()))  # no three problems have three
        if line[DONOR] == NONE and (line["swapped %"] != NONE or method == "cot") and not of_two_answers:
            line[DONOR] = MISSING  # of a run of before it was measured
        if line[FLOPS] == NONE:
            line[FLOPS] = MISSING
        line |= {measure.label: milliseconds(rows, measure) for measure in (ALONE, BATCHED)}
        lines.append(line)
    for method, other, least in [aim for aim in AIMS.get(name, ()) if {aim[0], aim[1] or aim[0]} <= scores.keys()]:
        unit, verdict = "points" if other else "%", "not known, a run is missing"
        if {method, other or method} <= set(means):
            found = means[method] - (means[other] if other else 0)
            verdict = f"{'reached' if round(found, 6) >= least else 'not reached'}, {found:.1f} {unit}"
        above = f" above {TITLES[other]}" if other else ""
        notes.append(f"Aim: {TITLES[method]} at least {least} {unit}{above}: {verdict}.")
    below = [papers[method].number.value - mean for method, mean in means.items() if method in papers]
    if name == "gsm8k" and below and min(below) > 0:
        known = every.reindex(columns=["metrics.n_trained_on", "parameters.data.n_train", "parameters.n_train"]).bfill(axis=1)
        trained = ", ".join(f"{n:,.0f}" for n in sorted({*known.iloc[:, 0].dropna()}))
        theirs = next(paper.training_problems[str(there.benchmark)] for paper in PAPERS if name in paper.sections)
        notes.append(f"{min(below):.0f} to {max(below):.0f} points below the paper, for lack of data and compute: "
                     f"{trained} training problems, in the paper {theirs:,}.")  # fmt: skip
    there_are = [rows for rows in scores.values() if rows.get("metrics.accuracy", pd.Series(dtype=float)).notna().any()]
    if there_are and all(map(at_floor, there_are)):
        notes.append("No row is above what guessing gets: the task was not learned in this setting, so nothing here tells "
                     "one method from another.")  # fmt: skip
    notes += _reordered(every, scores)
    if sources := dict.fromkeys(value.source for value in papers.values()):
        notes.append(f"The papers' numbers are {there.model}'s on {there.benchmark}: {'; '.join(sources)}.")
    return Section(tier, name, f"{there.title} (tier {tier})", pd.DataFrame(lines), [*notes, provenance(tier, every)])


def _reordered(every: pd.DataFrame, scores: Mapping[str, pd.DataFrame]) -> list[str]:
    """Of arithmetic, how many test problems are a training problem in another order, and accuracy without these; said where
    all records hold a digit for each of the very problems that the task makes today."""
    tasks, prints = ({*every.get(of, pd.Series(dtype=object)).dropna()} for of in ("parameters.task", "data_fingerprint"))
    if tasks != {"arithmetic"} or len(prints) != 1 or "metrics.correct" not in every:
        return []
    known = every.reindex(columns=["parameters.data.options.n_steps", "parameters.data.n_train"]).iloc[0].dropna()
    n_steps, n_train = (known.get(f"parameters.data.{name}") for name in ("options.n_steps", "n_train"))
    again = _again(str(prints.pop()), int(n_train or Data.n_train), tuple(n_steps or (3, 3)))
    if not again:
        return []
    of = {method: rows[rows["metrics.correct"].str.len() == len(again)] for method, rows in scores.items()}
    new = {
        method: np.mean([int(digit) for row in rows["metrics.correct"] for digit, old in zip(row, again) if not old])
        for method, rows in of.items() if len(rows)
    }  # fmt: skip
    told = ", ".join(f"{TITLES.get(method, method)} {100 * accuracy:.1f}" for method, accuracy in new.items())
    return [f"{sum(again):,} of {len(again):,} test problems are a training problem with its operations in another order. "
            f"Accuracy without them, %: {told}."]  # fmt: skip


@cache
def _again(fingerprint: str, n_train: int, n_steps: tuple[int, int]) -> list[bool]:
    """Of each test problem, whether it is a training problem in another order; empty if these are other problems."""
    sizes = {"train": n_train, "valid": Data.n_valid, "test": Data.n_test}
    task = load_task("arithmetic", sizes=sizes, n_steps=n_steps)
    return arithmetic.reordered(task.splits["test"], task.splits["train"]) if task.fingerprint == fingerprint else []


def cell(rows: pd.DataFrame, column: str, factor: float = 100.0, form: str = ".1f") -> str:
    """Mean over records, with the standard deviation of a percentage; "missing" without records, "·" without values."""
    values = factor * rows.get(column, pd.Series(dtype=float)).dropna().astype(float)
    if values.empty:
        return MISSING if rows.empty else NONE
    return f"{values.mean():{form}}" + (f" ± {values.std():{form}}" if factor == 100 and len(values) > 1 else "")


def milliseconds(rows: pd.DataFrame, measure: Measure) -> str:
    """The median over questions with its quartiles, each the mean over seeds; "missing" of a model that was not timed."""
    parts = [measure.column.replace("median", part) for part in ("median", "low", "high")]
    found = measure.factor * rows.reindex(columns=parts).dropna().astype(float).mean()
    if found.isna().any():
        return MISSING
    middle, low, high = (f"{value:{measure.form}}" for value in found)
    return f"{middle} ({low} to {high})"


def _same_budget(rows: pd.DataFrame, base: pd.DataFrame) -> bool:
    """Whether two rows were trained for the same number of steps, those of their starts included, as far as is known."""
    return pd.concat([rows, base]).get("total_steps", pd.Series(dtype=float)).dropna().nunique() < 2


def code(rows: pd.DataFrame) -> str:
    """Whether today's code would make these records: "older code", or "older code 2, same key 1"."""
    counts = rows["code"].value_counts() if "code" in rows else pd.Series(dtype=int)
    return ", ".join(f"{name} {n}" if len(counts) > 1 else str(name) for name, n in counts.items()) or MISSING


def provenance(tier: str, rows: pd.DataFrame) -> str:
    """Where, when, from which commits and on how many test problems records were made."""
    if rows.empty:
        return f"Tier {tier}: nothing recorded."
    where = rows[["device.name", "device.cores", "device.gpus"]].drop_duplicates().itertuples(index=False, name=None)
    machines = " and ".join("{}, {} cores, {} GPUs".format(*machine) for machine in where)
    commits = ", ".join(sorted({str(commit)[:7] for commit in rows.get("git.commit", ["unknown"])}))
    days = " to ".join(dict.fromkeys([min(rows.started)[:10], max(rows.finished)[:10]]))
    problems = ", ".join(f"{n:,}" for n in sorted(set(rows.n_evaluated)))
    return f"Tier {tier}; {machines}; {days}; commits {commits}; {problems} test problems."
