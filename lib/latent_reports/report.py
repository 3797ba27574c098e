"""The report: tables, sentences and figures, all of them made from records; no number is typed.

A variant `<section>-<method>` is the row `method` of a section's table; beside `SECTIONS` stand the papers' numbers.
Only complete records of committed code are averaged; a run that the grid names without such a record is "missing".
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from latent_reports.papers import MARKS, METHODS, SECTIONS, TRAIN_PROBLEMS, paper_value
from latent_reports.significance import WHAT_IS_NOISE, difference
from latent_runs.grid import Run
from latent_runs.records import replace_block, write_atomic
from latent_runs.results import load_results

AIMS = {  # method, the one it is compared with, and how many points above it (or %) are aimed at
    "arithmetic": [("cot", None, 95), ("coconut", "no_cot", 30), ("codi", "no_cot", 30)],
    "graph": [("coconut", None, 90), *(("coconut", other, 30) for other in ("cot", "pause", "no_cot"))],
}
FROZEN_NOTEBOOK = "05_softcot_projector"
ABLATION = "ablation_"
PAPER, MISSING, NONE, BEGIN, END = "paper %", "missing", "·", "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = {  # where a record has it, factor, format
    "thoughts removed %": ("metrics.controls.removed", 100.0, ".1f"),
    "swapped %": ("metrics.controls.swapped", 100.0, ".1f"), "all the mean %": ("metrics.controls.mean", 100.0, ".1f"),
    "new tokens": ("metrics.new_tokens", 1.0, ".1f"), "s/question alone": ("metrics.seconds_alone", 1.0, ".2g"),
    "batched": ("metrics.seconds_batched", 1.0, ".2g"), "steps in total": ("total_steps", 1.0, ",.0f"),
    "test problems": ("n_evaluated", 1.0, ",.0f"), "minutes": ("wall_seconds", 1 / 60, ",.1f"),
}  # fmt: skip
OF_A_SEED = [f"parameters.{name}" for name in ("seed", "init_from", "run_dir")]  # what may differ between seeds of a run
HOW_TO_READ = (
    "Accuracy: mean ± standard deviation over seeds. Controls: the same model answers after its thoughts are removed, "
    "swapped with another problem's, or replaced by their mean. Steps in total include those of the model that a run "
    "starts from. Marks: " + ", ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items()) + f". {WHAT_IS_NOISE}"
)
CSS = """body{font:16px/1.5 system-ui,sans-serif;max-width:86rem;margin:2rem auto;padding:0 1rem;color:#222}
div{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}th,td{padding:.3rem .6rem;text-align:right;
border-bottom:1px solid #ddd}td{white-space:nowrap}tr :first-child{text-align:left}img{max-width:100%}"""


@dataclass(frozen=True)
class Section:
    """A title, a table (already text) and the sentences below it; `name` as in variants, "" if it is no main table."""

    tier: str
    name: str
    title: str
    table: pd.DataFrame
    notes: list[str]

    @property
    def styled(self) -> Styler:
        """The table for a notebook or a page, escaped."""
        return self.table.style.hide(axis="index").format(escape="html")


def place(variant: str) -> tuple[str, str]:
    """Section and method that a variant names: `graph-pause_as_thought` → graph, pause_as_thought."""
    parts = variant.split("-")
    at = next((i for i, part in enumerate(parts) if part in METHODS), len(parts) - 1)
    return "-".join(parts[:at] + parts[at + 1 :]), parts[at]


def read_records(folder: str | Path) -> pd.DataFrame:
    """`load_results` with section, method and the optimiser steps in total (NaN if a warm start has no record).

    Raises `ValueError` for a run that is there twice, and for seeds of a run that were made with different settings.
    """
    records = load_results(folder)
    if (twice := records[records.duplicated(["tier", "id"])]).size:
        raise ValueError(f"more than one record of the same run below {folder}: {', '.join(twice.id)}")
    for (tier, _, variant), seeds in records[records.trusted.astype(bool)].groupby(["tier", "notebook", "variant"]):
        settings = seeds.filter(like="parameters.").drop(columns=OF_A_SEED, errors="ignore")
        if differ := [name for name in settings if settings[name].dropna().astype(str).nunique() > 1]:
            raise ValueError(f"{tier}, {variant}: seeds of different settings cannot be averaged: {', '.join(differ)}")
    rows = {(row["tier"], row["id"]): row for row in records.fillna({"parameters.init_from": ""}).to_dict("records")}

    def steps(row: Mapping) -> float:
        start = row.get("parameters.init_from")
        before = steps(rows.get((row["tier"], "/".join(Path(start).parts[-2:])), {})) if start else 0.0
        return row.get("metrics.train_steps", float("nan")) + before

    section, method = ([place(variant)[i] for variant in records.variant] for i in (0, 1))
    trusted, total = records.trusted.astype(bool), [steps(row) for row in rows.values()]
    return records.assign(section=section, method=method, trusted=trusted, total_steps=total)


def build_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """A main table for each tier and section that `runs` or records name, and what is not averaged.

    Lesson 05 has tables of its own (`frozen.frozen_sections`): each of its records holds all rows of one. What thoughts
    hold is in `interpretability`, the ablations in `claims`.
    """
    trusted, apart = records[records.trusted & (records.notebook != FROZEN_NOTEBOOK)], records[~records.trusted]
    keys = [(run.tier, *place(run.variant)) for run in runs if not run.extra and run.notebook != FROZEN_NOTEBOOK]
    keys += trusted[["tier", "section", "method"]].itertuples(index=False, name=None)
    keys = dict.fromkeys(key for key in keys if not key[1].startswith(ABLATION))  # those have their tables in `claims`
    order, result = [*METHODS, *(key[2] for key in keys)], []
    tiers = [key[0] for key in keys]
    for tier, name in sorted(dict.fromkeys(key[:2] for key in keys), key=lambda key: tiers.index(key[0])):
        here = trusted[(trusted.tier == tier) & (trusted.section == name)]
        methods = sorted({key[2] for key in keys if key[:2] == (tier, name)}, key=order.index)
        result.append(_main(tier, name, {method: here[here.method == method] for method in methods}))
    if len(apart):
        table = apart[["id", "tier"]].assign(why=apart.status.replace("complete", "uncommitted code"))
        result.append(Section("", "", "Not averaged", table, ["These runs enter no number above."]))
    return result


def listed(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that records hold under a metric that is a table, each with its method and seed, in `METHODS`' order."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get(f"metrics.{metric}"), list)]
    runs.sort(key=lambda run: [*METHODS, run["method"]].index(run["method"]))
    return pd.DataFrame([{"method": r["method"], "seed": r["seed"]} | row for r in runs for row in r[f"metrics.{metric}"]])


def write_report(tables: Sequence[Section], figures: Mapping[str, Figure], out: str | Path) -> None:
    """`report.md`, the self-contained `report.html`, and a PNG for each figure, in `out`."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = ["# Results", HOW_TO_READ, *(f"![{name}]({name}.png)" for name in figures), *map(_markdown, tables)]
    page = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>Results</title>']
    page.append(f"<style>{CSS}</style><h1>Results</h1><p>{HOW_TO_READ}</p>")
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, metadata={"Software": None})
        data = base64.b64encode((out / f"{name}.png").read_bytes()).decode()
        page.append(f'<p><img alt="{name}" src="data:image/png;base64,{data}"></p>')
    for table in tables:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
        page.append(f"<h2>{html.escape(table.title)}</h2><div>{table.styled.to_html()}</div><ul>{notes}</ul>")
    write_atomic(out / "report.md", "\n\n".join(text) + "\n")
    write_atomic(out / "report.html", "\n".join([*page, "</html>\n"]))


def readme_block(tables: Sequence[Section], figure: str, tier: str = "tiny") -> str:
    """The tables with aims, without the columns on the right, and the figure, between the markers."""
    main = [table for table in tables if table.tier == tier and table.name in AIMS]
    brief = [_markdown(replace(table, table=table.table.iloc[:, :9])) for table in main]
    return "\n\n".join([BEGIN, HOW_TO_READ, *brief, f"![Accuracy by method and task]({figure})", END])


def update_readme(readme: str | Path, tables: Sequence[Section], figure: str) -> None:
    """Put `readme_block` in place of what stands between the markers. Raises `ValueError` without markers."""
    replace_block(readme, readme_block(tables, figure))


def _main(tier: str, name: str, scores: Mapping[str, pd.DataFrame]) -> Section:
    title, benchmark, model = SECTIONS.get(name, (name, None, "GPT-2"))
    every, papers = pd.concat([*scores.values()]), {method: paper_value(method, benchmark, model) for method in scores}
    means = {m: 100 * float(rows["metrics.accuracy"].mean()) for m, rows in scores.items() if len(rows)}
    lines, notes = [], []
    for method, rows in scores.items():
        n, of = len(rows), every.seed.nunique()
        line = {"method": METHODS.get(method, method), "accuracy %": cell(rows, "metrics.accuracy", 100.0, ".1f")}
        if (base := scores.get("no_cot")) is not None:
            line[f"against {METHODS['no_cot']}"] = NONE if method == "no_cot" else str(difference(rows, base) or MISSING)
        line |= {PAPER: str(papers[method] or NONE), "seeds": f"{n} of {of}" if 0 < n < of else str(n or MISSING)}
        lines.append(line | {column: cell(rows, *where) for column, where in COLUMNS.items()})
    for method, baseline, least in AIMS.get(name, ()):
        unit, verdict = "points" if baseline else "%", "not known, a run is missing"
        if {method, baseline or method} <= set(means):
            found = means[method] - (means[baseline] if baseline else 0)
            verdict = f"{'reached' if round(found, 6) >= least else 'not reached'}, {found:.1f} {unit}"
        above = f" above {METHODS[baseline]}" if baseline else ""
        notes.append(f"Aim: {METHODS[method]} at least {least} {unit}{above}: {verdict}.")
    for method in [m for m in ("coconut", "codi") if {m, "no_cot_long"} <= set(means)]:
        found = difference(scores[method], scores["no_cot_long"])
        notes.append(f"{METHODS[method]} against {METHODS['no_cot_long']}: {found}.")
    below = [papers[method].accuracy - mean for method, mean in means.items() if papers[method]]
    if name == "gsm8k" and below and min(below) > 0:
        n_trained = every.get("metrics.n_trained_on", every["parameters.n_train"]).dropna()
        trained = ", ".join(f"{n:,.0f}" for n in sorted(set(n_trained)))
        notes.append(f"{min(below):.0f} to {max(below):.0f} points below the paper, for lack of data and compute: "
                     f"{trained} training problems, in the paper {TRAIN_PROBLEMS[benchmark]:,}.")  # fmt: skip
    sources = dict.fromkeys(value.source for value in papers.values() if value)
    notes += [f"The papers' numbers are {model}'s on {benchmark}: {'; '.join(sources)}."] if sources else []
    return Section(tier, name, f"{title} (tier {tier})", pd.DataFrame(lines), [*notes, provenance(tier, every)])


def cell(rows: pd.DataFrame, column: str, factor: float, form: str) -> str:
    """Mean over records, with the standard deviation of a percentage; "missing" without records, "·" without values."""
    values = factor * rows.get(column, pd.Series(dtype=float)).dropna().astype(float)
    if values.empty:
        return MISSING if rows.empty else NONE
    return f"{values.mean():{form}}" + (f" ± {values.std():{form}}" if factor == 100 and len(values) > 1 else "")


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


def _markdown(section: Section) -> str:
    def safe(text: object) -> str:
        return re.sub(r"([|\[\]`*\\])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))

    rule = ["---", *["---:"] * (section.table.shape[1] - 1)]
    rows = [[*section.table.columns], rule, *(map(safe, row) for row in section.table.itertuples(index=False))]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"### {safe(section.title)}", lines, "\n".join(f"- {safe(note)}" for note in section.notes)])
