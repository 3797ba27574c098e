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

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from papermill_runs.grid import Run
from papermill_runs.papers import MARKS, METHODS, SECTIONS, TRAIN_PROBLEMS, paper_value
from papermill_runs.records import replace_block, write_atomic
from papermill_runs.results import load_results

AIMS = {  # method, the one it is compared with, and how many points above it (or %) are aimed at
    "arithmetic": [("cot", None, 95), ("coconut", "no_cot", 30), ("codi", "no_cot", 30)],
    "graph": [("coconut", None, 90), *(("coconut", other, 30) for other in ("cot", "pause", "no_cot"))],
}
PAPER, MISSING, NONE, BEGIN, END = "paper, GPT-2 %", "missing", "·", "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = {  # where a record has it, factor, format
    "thoughts removed %": ("metrics.controls.removed", 100.0, ".1f"),
    "swapped %": ("metrics.controls.swapped", 100.0, ".1f"), "all the mean %": ("metrics.controls.mean", 100.0, ".1f"),
    "new tokens": ("metrics.new_tokens", 1.0, ".1f"), "s/question alone": ("metrics.seconds_alone", 1.0, ".2g"),
    "batched": ("metrics.seconds_batched", 1.0, ".2g"), "steps in total": ("total_steps", 1.0, ",.0f"),
    "test problems": ("n_evaluated", 1.0, ",.0f"), "minutes": ("wall_seconds", 1 / 60, ",.1f"),
}  # fmt: skip
FRONTIER = {
    "top_1_in_frontier": "top word in the frontier %", "top_is_frontier": "top words are the frontier %",
    "mass_on_frontier": "probability on the frontier %", "mass_on_path": "probability on the path's node %",
}  # fmt: skip
HOW_TO_READ = (
    "Accuracy: mean ± standard deviation over seeds. Controls: the same model answers after its thoughts are removed, "
    "swapped with another problem's, or replaced by their mean. Steps in total include those of the model that a run "
    "starts from. Marks: " + ", ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items()) + "."
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
    """`load_results` with section, method and the optimiser steps in total (NaN if a warm start has no record)."""
    records = load_results(folder)
    if (twice := records[records.duplicated(["tier", "id"])]).size:
        raise ValueError(f"more than one record of the same run below {folder}: {', '.join(twice.id)}")
    rows = {(row["tier"], row["id"]): row for row in records.fillna({"parameters.init_from": ""}).to_dict("records")}

    def steps(row: Mapping) -> float:
        start = row.get("parameters.init_from")
        before = steps(rows.get((row["tier"], "/".join(Path(start).parts[-2:])), {})) if start else 0.0
        return row.get("metrics.train_steps", float("nan")) + before

    section, method = ([place(variant)[i] for variant in records.variant] for i in (0, 1))
    trusted, total = records.trusted.astype(bool), [steps(row) for row in rows.values()]
    return records.assign(section=section, method=method, trusted=trusted, total_steps=total)


def build_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """A main table for each tier and section that `runs` or records name, frontier tables, and what is not averaged."""
    trusted, apart = records[records.trusted], records[~records.trusted]
    keys = [(run.tier, *place(run.variant)) for run in runs if not run.extra]
    keys = dict.fromkeys([*keys, *trusted[["tier", "section", "method"]].itertuples(index=False, name=None)])
    order, result = [*METHODS, *(key[2] for key in keys)], []
    tiers = [key[0] for key in keys]
    for tier, name in sorted(dict.fromkeys(key[:2] for key in keys), key=lambda key: tiers.index(key[0])):
        here = trusted[(trusted.tier == tier) & (trusted.section == name)]
        methods = sorted({key[2] for key in keys if key[:2] == (tier, name)}, key=order.index)
        result.append(_main(tier, name, {method: here[here.method == method] for method in methods}))
        if len(shares := frontier_shares(here)):
            means = shares.groupby(["method", "thought", "what"], sort=False).share.mean().map("{:.1f}".format)
            title, notes = f"Frontier in the thoughts: {name}, tier {tier}", [f"{shares.seed.nunique()} seeds."]
            result.append(Section(tier, "", title, means.unstack(sort=False).reset_index().astype(str), notes))
    if len(apart):
        table = apart[["id", "tier"]].assign(why=apart.status.replace("complete", "uncommitted code"))
        result.append(Section("", "", "Not averaged", table, ["These runs enter no number above."]))
    return result


def frontier_shares(records: pd.DataFrame) -> pd.DataFrame:
    """One row per method, seed, thought and share of `FRONTIER`, in %."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get("metrics.frontier"), list)]
    rows = [
        (METHODS.get(run["method"], run["method"]), run["seed"], share["thought"], label, 100 * share[key])
        for run in runs for share in run["metrics.frontier"] for key, label in FRONTIER.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "seed", "thought", "what", "share"])


def interval(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[float, float] | None:
    """95 % bootstrap interval of the difference in points, paired over problems, seeds pooled; None if these differ."""
    both = pd.concat([ours, theirs])
    bits = both.get("metrics.correct", pd.Series([None]))
    if bits.isna().any() or bits.str.len().nunique() > 1 or both.data_fingerprint.nunique() > 1:
        return None
    mine, other = (np.mean([[*map(int, text)] for text in rows["metrics.correct"]], axis=0) for rows in (ours, theirs))
    low, high = np.percentile(sns.algorithms.bootstrap(100 * (mine - other), n_boot=5000, seed=0), [2.5, 97.5])
    return float(low), float(high)


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
    brief = [_markdown(replace(table, table=table.table.iloc[:, :8])) for table in main]
    return "\n\n".join([BEGIN, HOW_TO_READ, *brief, f"![Accuracy by method and task]({figure})", END])


def update_readme(readme: str | Path, tables: Sequence[Section], figure: str) -> None:
    """Put `readme_block` in place of what stands between the markers. Raises `ValueError` without markers."""
    replace_block(readme, readme_block(tables, figure))


def _main(tier: str, name: str, scores: Mapping[str, pd.DataFrame]) -> Section:
    title, benchmark = SECTIONS.get(name, (name, None))
    every, papers = pd.concat([*scores.values()]), {method: paper_value(method, benchmark) for method in scores}
    means = {m: 100 * float(rows["metrics.accuracy"].mean()) for m, rows in scores.items() if len(rows)}
    lines, notes = [], []
    for method, rows in scores.items():
        n, of = len(rows), every.seed.nunique()
        line = {"method": METHODS.get(method, method), "accuracy %": _cell(rows, "metrics.accuracy", 100.0, ".1f")}
        line |= {PAPER: str(papers[method] or NONE), "seeds": f"{n} of {of}" if 0 < n < of else str(n or MISSING)}
        lines.append(line | {column: _cell(rows, *where) for column, where in COLUMNS.items()})
    for method, baseline, least in AIMS.get(name, ()):
        unit, verdict = "points" if baseline else "%", "not known, a run is missing"
        if {method, baseline or method} <= set(means):
            found = means[method] - (means[baseline] if baseline else 0)
            verdict = f"{'reached' if round(found, 6) >= least else 'not reached'}, {found:.1f} {unit}"
        above = f" above {METHODS[baseline]}" if baseline else ""
        notes.append(f"Aim: {METHODS[method]} at least {least} {unit}{above}: {verdict}.")
    for baseline in [b for b in ("no_cot", "no_cot_long") if {b, "coconut"} <= set(means)]:
        found = interval(scores["coconut"], scores[baseline])
        text = "{:+.1f} to {:+.1f} points".format(*found) if found else "none, not the same test problems"
        notes.append(f"Coconut minus {METHODS[baseline]}, 95 % interval (bootstrap over test problems): {text}.")
    below = [papers[method].accuracy - mean for method, mean in means.items() if papers[method]]
    if name == "gsm8k" and below and min(below) > 0:
        n_trained = every.get("metrics.n_trained_on", every["parameters.n_train"]).dropna()
        trained = ", ".join(f"{n:,.0f}" for n in sorted(set(n_trained)))
        notes.append(f"{min(below):.0f} to {max(below):.0f} points below the paper, for lack of data and compute: "
                     f"{trained} training problems, in the paper {TRAIN_PROBLEMS[benchmark]:,}.")  # fmt: skip
    sources = dict.fromkeys(value.source for value in papers.values() if value)
    notes += [f"The papers' numbers are for {benchmark}: {'; '.join(sources)}."] if sources else []
    return Section(tier, name, f"{title} (tier {tier})", pd.DataFrame(lines), [*notes, _provenance(tier, every)])


def _cell(rows: pd.DataFrame, column: str, factor: float, form: str) -> str:
    values = factor * rows.get(column, pd.Series(dtype=float)).dropna().astype(float)
    if values.empty:
        return MISSING if rows.empty else NONE
    return f"{values.mean():{form}}" + (f" ± {values.std():{form}}" if factor == 100 and len(values) > 1 else "")


def _provenance(tier: str, rows: pd.DataFrame) -> str:
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
