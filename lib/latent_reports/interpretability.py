"""What thoughts hold, as tables: the frontier of a search, the results of steps, outcomes by number of thoughts, the tree.

Below each table stands what becomes of the papers' claim: it agrees or disagrees if every seed says so.
"""

from collections.abc import Iterable
from typing import get_args

import pandas as pd

from latent_cot.planning import Outcome
from latent_reports.papers import METHODS, paper_value
from latent_reports.report import ABLATION, MISSING, NONE, PAPER, Section, cell
from latent_reports.significance import Verdict, every_seed

FRONTIER = {
    "top_1_in_frontier": "top word in the frontier %", "top_is_frontier": "top words are the frontier %",
    "mass_on_frontier": "probability on the frontier %", "mass_on_path": "probability on the path's node %",
}  # fmt: skip
FOUND = {"found": "all results found %", "found in another's": "in another problem's thoughts %"}
RISES = {"accuracy": 1, "Correct Path": 1, "Hallucination": -1, "Wrong Target": -1}  # or falls, with more thoughts
SEARCHERS = ("coconut", "coconut_mixed")  # of whom the claims on planning are made; the others are controls
PLANNING = "Coconut, arXiv 2412.06769, section 5 (V; its figures print no values)"


def thought_sections(records: pd.DataFrame) -> list[Section]:
    """For each tier and task whose trusted records hold such metrics, their tables."""
    trusted, sections = records[records.trusted.astype(bool)], []
    for (tier, name), here in trusted.groupby(["tier", "section"], sort=False):
        if name.startswith(ABLATION):
            continue
        metrics = {_frontier: "frontier", _decoded: "decoded", _sweep: "k_sweep"}
        tables = {table: listed(here, metric) for table, metric in metrics.items()}
        sections += [table(tier, name, rows) for table, rows in tables.items() if len(rows)]
        if len(ranks := listed(here, "search_tree.ranks")):
            sections += [_ranks(tier, name, ranks), _heights(tier, name, listed(here, "search_tree.heights"))]
    return sections


def listed(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows that records hold under a metric that is a table, each with its method and seed, in `METHODS`' order."""
    runs = [run for run in records.to_dict("records") if isinstance(run.get(f"metrics.{metric}"), list)]
    runs.sort(key=lambda run: [*METHODS, run["method"]].index(run["method"]))
    return pd.DataFrame([{"method": r["method"], "seed": r["seed"]} | row for r in runs for row in r[f"metrics.{metric}"]])


def frontier_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per method, seed, thought and share of `FRONTIER`, in %."""
    long = rows.melt(["method", "seed", "thought"], [*FRONTIER], "what", "share")
    return long.assign(share=100 * long.share, what=long.what.map(FRONTIER), method=long.method.map(METHODS))


def _frontier(tier: str, name: str, rows: pd.DataFrame) -> Section:
    shares = frontier_shares(rows)
    means = shares.groupby(["method", "thought", "what"], sort=False).share.mean().map("{:.1f}".format).unstack(sort=False)
    held = every_seed(_margins(rows[rows.method.isin(SEARCHERS)], "top_1_in_frontier", 0.5))
    notes = [
        _claim("Coconut's thoughts hold the nodes that the search could reach", held, tier),
        f"{rows.seed.nunique()} seeds.",
    ]
    return Section(tier, "", f"Frontier in the thoughts: {name}, tier {tier}", means.reset_index().astype(str), notes)


def _decoded(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Intermediate-result accuracy by method and number of steps, beside CODI's."""
    lines = []
    for (method, steps), part in rows.groupby(["method", "steps"], sort=False):
        line = {"method": METHODS.get(method, method), "steps": str(steps), "right answers": f"{part.n.mean():,.0f}"}
        line |= {column: cell(part, key, 100.0, ".1f") for key, column in FOUND.items()}
        benchmark = f"results of {steps} step{'s' * (steps > 1)}" if name.startswith(("arithmetic", "gsm8k")) else None
        paper = paper_value(method, benchmark)
        lines.append(line | {PAPER: str(paper or NONE), "seeds": str(part.seed.nunique())})
    codi = rows[rows.method == "codi"].dropna(subset=[*FOUND])
    more = codi.assign(more=codi["found"] - codi["found in another's"])
    notes = ["Of the problems answered correctly, those whose results, the last step's included, are all, and in order, "
             "among the five most probable tokens of the thoughts (of pauses: of the states before them)."]  # fmt: skip
    if len(codi) or name.startswith("arithmetic"):
        held, own = every_seed(_margins(codi, "found", 0.5)), every_seed(_margins(more, "more"))
        notes.append(_claim("CODI's thoughts hold the results of most problems' steps (V)", held, tier))
        notes.append(_claim("and more often their own problem's than another's", own, tier))
    return Section(tier, "", f"Results in the thoughts: {name}, tier {tier}", pd.DataFrame(lines), notes)


def _sweep(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Accuracy and outcome classes by number of forced thoughts."""
    means = 100 * rows.groupby(["method", "thoughts"], sort=False)[["accuracy", *get_args(Outcome)]].mean()
    lines, notes = [], []
    for (method, k), part in rows.groupby(["method", "thoughts"], sort=False):
        line = {"method": METHODS.get(method, method), "thoughts": str(k)}
        line |= {"right answer %": cell(part, "accuracy", 100.0, ".1f"), "seeds": str(part.seed.nunique())}
        lines.append(line | {f"{outcome} %": f"{means.loc[(method, k), outcome]:.1f}" for outcome in get_args(Outcome)})
    for method, mine in rows[rows.method.isin(SEARCHERS)].groupby("method", sort=False):
        paths = mine[mine["Correct Label"] + mine["Incorrect Label"] < 0.5]
        ks = sorted(paths.groupby("thoughts").seed.nunique().loc[lambda n: n == mine.seed.nunique()].index)
        if len(ks) < 2:
            continue
        by_seed, label = paths.set_index(["seed", "thoughts"]), METHODS.get(method, method)
        for what, sign in RISES.items():
            first, last = (by_seed.xs(k, level="thoughts")[what] for k in (ks[0], ks[-1]))
            claim = f"{label}: from {ks[0]} to {ks[-1]} thoughts {what} {'rises' if sign > 0 else 'falls'}"
            moved = f"{100 * first.mean():.1f} to {100 * last.mean():.1f} %"
            notes.append(_claim(claim, every_seed(sign * (last - first)), tier, moved))
        if ks[0] == 0:
            cot = means.accuracy.get(("cot", 0))
            above = [] if cot is None else 100 * by_seed.xs(0, level="thoughts").accuracy - cot
            detail = f"{above.mean():+.1f} points" if len(above) else f"CoT {MISSING}"
            notes.append(_claim(f"{label}: without thoughts still above CoT", every_seed(above), tier, detail))
    title = f"Outcomes by number of thoughts: {name}, tier {tier}"
    return Section(tier, "", title, pd.DataFrame(lines), [*notes, f"The claims are those of {PLANNING}."])


def _ranks(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The search tree: probability of the frontier's nodes, the most probable first, after k thoughts."""
    lines, ranks = [], sorted(rows["rank"].unique())
    for (method, k), part in rows.groupby(["method", "thoughts"], sort=False):
        line = {"method": METHODS.get(method, method), "thoughts": str(k)}
        line |= {f"node {rank} %": cell(part[part["rank"] == rank], "mean", 100.0, ".1f") for rank in ranks}
        benchmark = f"{k} thought{'s' * (k > 1)}, node "
        papers = [str(value) for rank in range(1, 5) if (value := paper_value("coconut_mixed", f"{benchmark}{rank}"))]
        lines.append(line | {"paper, one problem %": ", ".join(papers) or NONE, "seeds": str(part.seed.nunique())})
    mine = rows[rows.method.isin(SEARCHERS)].set_index(["method", "seed", "thoughts"])
    first, second = (mine[mine["rank"] == rank]["mean"] for rank in (1, 2))
    gaps = (first - second).unstack()
    held = every_seed(gaps[1] - gaps[2]) if {1, 2} <= set(gaps) else "not run"
    notes = [_claim("the gap between the best two nodes narrows from one thought to two", held, tier), f"Of {PLANNING}."]
    return Section(tier, "", f"Search tree, nodes by probability: {name}, tier {tier}", pd.DataFrame(lines), notes)


def _heights(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The same nodes by their height, the distance to the nearest leaf: are low ones told apart more surely?"""
    lines, mine = [], rows[rows.method.isin(SEARCHERS)].set_index(["method", "seed", "height"])
    for (method, height), part in rows.groupby(["method", "height"], sort=True):
        line = {"method": METHODS.get(method, method), "height": str(height)}
        sides = {"leads to the target %": part[part.right], "leads astray %": part[~part.right]}
        line |= {column: cell(side, "mean", 100.0, ".1f") for column, side in sides.items()}
        lines.append(line | {"nodes a seed": f"{part['size'].sum() / part.seed.nunique():,.0f}"})
    apart = (mine[mine.right]["mean"] - mine[~mine.right]["mean"]).unstack().dropna(axis=1)
    held = every_seed(apart.iloc[:, 0] - apart.iloc[:, -1]) if apart.shape[1] > 1 else "not run"
    notes = [_claim("nodes near the leaves are judged more accurately than high ones", held, tier), f"Of {PLANNING}."]
    return Section(tier, "", f"Search tree, nodes by height: {name}, tier {tier}", pd.DataFrame(lines), notes)


def _margins(rows: pd.DataFrame, column: str, least: float = 0.0) -> Iterable[float]:
    """By how much a seed's mean is above `least`."""
    return rows.groupby("seed")[column].mean() - least


def _claim(text: str, verdict: Verdict, tier: str, detail: str = "") -> str:
    return f"{text[0].upper()}{text[1:]}: {verdict}{', ' * bool(detail)}{detail} (tier {tier})."
