"""What thoughts hold, as tables: the frontier of a search, the results of steps, outcomes by number of thoughts, the tree.

Below each table stands what becomes of the papers' claim: it agrees or disagrees if every seed says so.
"""

from collections.abc import Callable, Iterable
from typing import get_args

import pandas as pd

from latent_cot.methods import TITLES
from latent_cot.planning import Outcome
from latent_reports.papers import paper_value
from latent_reports.significance import Verdict, every_seed
from latent_reports.tables import ABLATION, MISSING, NONE, PAPER, Section, cell, listed

FRONTIER = {
    "top_1_in_frontier": "top word in the frontier %", "top_is_frontier": "top words are the frontier %",
    "mass_on_frontier": "probability on the frontier %", "mass_on_path": "probability on the path's node %",
}  # fmt: skip
RISES = {"accuracy": 1, "Correct Path": 1, "Hallucination": -1, "Wrong Target": -1}  # or falls, with more thoughts
SEARCHERS = ("coconut", "coconut_mixed")  # of whom the claims on planning are made; the others are controls
PLANNING = "Coconut, arXiv 2412.06769, section 5 (V; its figures print no values)"


def thought_sections(records: pd.DataFrame) -> list[Section]:
    """For each tier and task whose trusted records hold such metrics, their tables."""
    metrics = {_frontier: "frontier", _decoded: "decoded", _sweep: "k_sweep"}
    metrics |= {_ranks: "search_tree.ranks", _heights: "search_tree.heights"}
    trusted, sections = records[records.trusted.astype(bool)], []
    for (tier, name), here in trusted.groupby(["tier", "section"], sort=False):
        found = {} if name.startswith(ABLATION) else {table: listed(here, metric) for table, metric in metrics.items()}
        sections += [table(tier, name, rows) for table, rows in found.items() if len(rows)]
    return sections


def frontier_percent(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per method, seed, thought and share of `FRONTIER`, in %."""
    long = rows.melt(["method", "seed", "thought"], [*FRONTIER], "what", "share")
    return long.assign(share=100 * long.share, what=long.what.map(FRONTIER), method=long.method.map(TITLES))


def _frontier(tier: str, name: str, rows: pd.DataFrame) -> Section:
    shares = frontier_percent(rows).groupby(["method", "thought", "what"], sort=False).share.mean()
    table = shares.map("{:.1f}".format).unstack(sort=False).reset_index().astype(str)
    held = every_seed(_margins(rows[rows.method.isin(SEARCHERS)], "top_1_in_frontier", 0.5))
    claim = _claim("Coconut's thoughts hold the nodes that the search could reach", held, tier)
    return Section(tier, "", f"Frontier in the thoughts: {name}, tier {tier}", table, [claim, f"{rows.seed.nunique()} seeds."])


def _decoded(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Intermediate-result accuracy by method and number of steps, beside CODI's."""
    asked = "results of {} step{}" if name.startswith(("arithmetic", "gsm8k")) else ""
    table = _grouped(rows, "steps", lambda method, steps, part: {
        "right answers": f"{part.n.mean():,.0f}", "all results found %": cell(part, "found"),
        "in another problem's thoughts %": cell(part, "found in another's"),
        PAPER: str(paper_value(method, asked.format(steps, "s" * (steps > 1))) or NONE), "seeds": str(part.seed.nunique()),
    })  # fmt: skip
    codi = rows[rows.method == "codi"].dropna(subset=["found", "found in another's"])
    more = codi.assign(more=codi["found"] - codi["found in another's"])
    notes = ["Of the problems answered correctly, those whose results, the last step's included, are all, and in order, "
             "among the five most probable tokens of the thoughts (of pauses: of the states before them)."]  # fmt: skip
    if len(codi) or name.startswith("arithmetic"):
        held, own = every_seed(_margins(codi, "found", 0.5)), every_seed(_margins(more, "more"))
        notes.append(_claim("CODI's thoughts hold the results of most problems' steps (V)", held, tier))
        notes.append(_claim("and more often their own problem's than another's", own, tier))
    return Section(tier, "", f"Results in the thoughts: {name}, tier {tier}", table, notes)


def _sweep(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Accuracy and outcome classes by number of forced thoughts."""
    table = _grouped(rows, "thoughts", lambda method, k, part: {
        "right answer %": cell(part, "accuracy"), "seeds": str(part.seed.nunique()),
        **{f"{outcome} %": f"{100 * part[outcome].mean():.1f}" for outcome in get_args(Outcome)},
    })  # fmt: skip
    cot, notes = rows[(rows.method == "cot") & (rows.thoughts == 0)].accuracy, []
    for method, mine in rows[rows.method.isin(SEARCHERS)].groupby("method", sort=False):
        paths = mine[mine["Correct Label"] + mine["Incorrect Label"] < 0.5]
        ks = sorted(paths.groupby("thoughts").seed.nunique().loc[lambda n: n == mine.seed.nunique()].index)
        if len(ks) < 2:
            continue
        start, end = (paths[paths.thoughts == k].set_index("seed") for k in (ks[0], ks[-1]))
        for what, sign in RISES.items():
            claim = f"{TITLES[method]}: from {ks[0]} to {ks[-1]} thoughts {what} {'rises' if sign > 0 else 'falls'}"
            moved = f"{100 * start[what].mean():.1f} to {100 * end[what].mean():.1f} %"
            notes.append(_claim(claim, every_seed(sign * (end[what] - start[what])), tier, moved))
        if ks[0] == 0:
            above = 100 * (start.accuracy - cot.mean()).dropna()
            detail = f"{above.mean():+.1f} points" if len(above) else f"CoT {MISSING}"
            notes.append(_claim(f"{TITLES[method]}: without thoughts still above CoT", every_seed(above), tier, detail))
    notes.append(f"The claims are those of {PLANNING}.")
    return Section(tier, "", f"Outcomes by number of thoughts: {name}, tier {tier}", table, notes)


def _ranks(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The search tree: probability of the frontier's nodes, the most probable first, after k thoughts."""
    asked, ranks = "{} thought{}, node {}", sorted(rows["rank"].unique())
    table = _grouped(rows, "thoughts", lambda method, k, part: {
        **{f"node {rank} %": cell(part[part["rank"] == rank], "mean") for rank in ranks},
        "paper, one problem %": ", ".join(
            str(value) for n in range(1, 5) if (value := paper_value("coconut_mixed", asked.format(k, "s" * (k > 1), n)))
        ) or NONE,
        "seeds": str(part.seed.nunique()),
    })  # fmt: skip
    mine = rows[rows.method.isin(SEARCHERS)].set_index(["method", "seed", "thoughts"])
    first, second = (mine[mine["rank"] == rank]["mean"] for rank in (1, 2))
    gaps = (first - second).unstack()
    held = every_seed(gaps[1] - gaps[2]) if {1, 2} <= set(gaps) else "not run"
    notes = [_claim("the gap between the best two nodes narrows from one thought to two", held, tier), f"Of {PLANNING}."]
    return Section(tier, "", f"Search tree, nodes by probability: {name}, tier {tier}", table, notes)


def _heights(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The same nodes by their height, the distance to the nearest leaf: are low ones told apart more surely?"""
    table = _grouped(rows.sort_values(["method", "height"]), "height", lambda method, height, part: {
        "leads to the target %": cell(part[part.right], "mean"), "leads astray %": cell(part[~part.right], "mean"),
        "nodes a seed": f"{part['size'].sum() / part.seed.nunique():,.0f}",
    })  # fmt: skip
    mine = rows[rows.method.isin(SEARCHERS)].set_index(["method", "seed", "height"])
    apart = (mine[mine.right]["mean"] - mine[~mine.right]["mean"]).unstack().dropna(axis=1)
    held = every_seed(apart.iloc[:, 0] - apart.iloc[:, -1]) if apart.shape[1] > 1 else "not run"
    notes = [_claim("nodes near the leaves are judged more accurately than high ones", held, tier), f"Of {PLANNING}."]
    return Section(tier, "", f"Search tree, nodes by height: {name}, tier {tier}", table, notes)


def _grouped(rows: pd.DataFrame, key: str, columns: Callable[[str, int, pd.DataFrame], dict[str, str]]) -> pd.DataFrame:
    """A line for each method and value of `key`, the rest of it made by `columns` from these two and their rows."""
    groups = rows.groupby(["method", key], sort=False)
    return pd.DataFrame([{"method": TITLES.get(m, m), key: str(k)} | columns(m, k, part) for (m, k), part in groups])


def _margins(rows: pd.DataFrame, column: str, least: float = 0.0) -> Iterable[float]:
    """By how much a seed's mean is above `least`."""
    return rows.groupby("seed")[column].mean() - least


def _claim(text: str, verdict: Verdict, tier: str, detail: str = "") -> str:
    return f"{text[0].upper()}{text[1:]}: {verdict}{', ' * bool(detail)}{detail} (tier {tier})."
