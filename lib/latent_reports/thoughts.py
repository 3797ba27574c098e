"""What thoughts hold, as tables: the frontier of a search, the results of steps, outcomes by number of thoughts, the tree.

Below each table stands what becomes of the papers' claim: it agrees or disagrees if every seed says so, at least three do,
and an interval over seeds and problems excludes the opposite; corrected for the number of claims below a table.
"""

from collections.abc import Callable
from typing import get_args

import pandas as pd

from latent_cot.methods import TITLES
from latent_probes.planning import Outcome
from latent_reports.papers import paper_value
from latent_reports.significance import Opinion, corrected, every_seed
from latent_reports.tables import ABLATION, LADDER, MISSING, NONE, PAPER, Section, cell, listed

FRONTIER = {
    "top_1_in_frontier": "top word in the frontier %", "top_is_frontier": "top words are the frontier %",
    "mass_on_frontier": "probability on the frontier %", "mass_on_path": "probability on the path's node %",
}  # fmt: skip
DECODED = ["method", "results", "right answers", "all found %", "in order %", "in another problem's thoughts %", PAPER, "seeds"]
RISES = {"accuracy": 1, "Correct Path": 1, "Hallucination": -1, "Wrong Target": -1}  # or falls, with more thoughts
SEARCHERS = ("coconut", "coconut_mixed")  # of whom the claims on planning are made; the others are controls
NO_PART = "none that stands out of the noise"
SHRINKS = "from the paper's first to its second thought, the probability of the second and third best node shrinks"
WIDENS = "and the lead of the best node over the second widens"
PLANNING = "Coconut, arXiv 2412.06769, section 5 (V; its figures print no values)"


def thought_sections(records: pd.DataFrame) -> list[Section]:
    """For each tier and task whose trusted records hold such metrics, their tables."""
    metrics = {_frontier: "frontier", _decoded: "decoded", _carried: "carried", _sweep: "k_sweep"}
    metrics |= {_ranks: "search_tree.ranks", _heights: "search_tree.heights"}
    trusted, sections = records[records.trusted.astype(bool)], []
    for (tier, name), here in trusted.groupby(["tier", "section"], sort=False):
        asked = {_carried: "carried"} if name.startswith(LADDER) else {} if name.startswith(ABLATION) else metrics
        found = {table: listed(here, metric) for table, metric in asked.items()}
        sections += [table(tier, name, rows) for table, rows in found.items() if len(rows)]
    return sections


def frontier_percent(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per method, seed, thought and share of `FRONTIER`, in %."""
    long = rows.melt(["method", "seed", "thought"], [*FRONTIER], "what", "share")
    return long.assign(share=100 * long.share, what=long.what.map(FRONTIER), method=long.method.map(TITLES))


def _frontier(tier: str, name: str, rows: pd.DataFrame) -> Section:
    shares = frontier_percent(rows).groupby(["method", "thought", "what"], sort=False).share.mean()
    table = shares.map("{:.1f}".format).unstack(sort=False).reset_index().astype(str)
    held = rows[rows.method.isin(SEARCHERS)].groupby("seed").top_1_in_frontier.mean()
    opinion = every_seed(held - 0.5, held, n=rows.problems.min())
    told = f"{rows.seed.nunique()} seeds."
    claims = _claims(tier, ("Coconut's thoughts hold the nodes that the search could reach", opinion, ""))
    return Section(tier, "", f"Frontier in the thoughts: {name}, tier {tier}", table, [*claims, told], "Coconut")


def _decoded(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Intermediate-result accuracy by method and number of intermediate results, beside CODI's; missing where a record of
    before counted otherwise."""
    beside = name.startswith(("arithmetic", "gsm8k"))
    known = rows.reindex(columns=[*rows, "results"]).loc[:, lambda table: ~table.columns.duplicated()].dropna(subset="results")
    known = known.assign(results=known.results.astype(int))
    table = _grouped(known, "results", lambda method, n, part: {
        "right answers": f"{part.n.mean():,.0f}", "all found %": cell(part, "found"),
        "in order %": cell(part, "found in order"), "in another problem's thoughts %": cell(part, "found in another's"),
        PAPER: str(beside and paper_value(method, f"{n} intermediate result{'s' * (n > 1)}") or NONE),
        "seeds": str(part.seed.nunique()),
    })  # fmt: skip
    older = [method for method in dict.fromkeys(rows.method) if method not in {*known.method}]
    lines = [*table.to_dict("records"), *({"method": TITLES.get(method, method)} for method in older)]
    table = pd.DataFrame(lines, columns=DECODED, dtype=object).fillna(MISSING)
    notes = ["Of the problems answered correctly, those whose intermediate results (all steps' but the last one's, which is "
             "the answer) are all among the five most probable tokens of the state before the first thought or of one behind "
             "a thought."]  # fmt: skip
    codi = known[known.method == "codi"].dropna(subset=["found", "found in another's"])
    if "codi" in {*rows.method} or name.startswith("arithmetic"):
        shares = ["found", "found in another's"]
        weighed = codi.assign(**{of: codi[of].astype(float) * codi["n"] for of in shares})
        sums = weighed.groupby("seed")[[*shares, "n"]].sum()
        held, other = (sums[of] / sums["n"] for of in shares)
        n = sums["n"].min()
        most, own = every_seed(held - 0.5, held, n=n), every_seed(held - other, held, other, n=n)
        notes += _claims(tier, ("CODI's thoughts hold the results of most problems' steps (V)", most, ""),
                         ("and more often their own problem's than another's", own, ""))  # fmt: skip
    return Section(tier, "", f"Results in the thoughts: {name}, tier {tier}", table, notes, "CODI")


def _carried(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Which part of a problem thoughts carry, a line for each part: seeds may divide a problem between question and thoughts
    each in another way."""
    rows = rows.assign(title=rows.method.map(lambda method: TITLES.get(method, method)))
    noise = 1.96 * ((rows.given + rows.otherwise) / rows.n) ** 0.5  # of a difference between two answers to each pair, at most
    rows["part"] = rows.carried.where(rows.rate > noise, NO_PART)
    table = pd.DataFrame([
        {"method": title, "most often carried": part, "answered so %": cell(here, "given"),
         "with a third problem's %": cell(here, "otherwise"), "seeds": ", ".join(map(str, sorted(here.seed)))}
        for (title, part), here in rows.groupby(["title", "part"], sort=False)
    ])  # fmt: skip
    claims = []
    for title, mine in rows.groupby("title", sort=False):
        if mine.rate.any():  # pauses are the same for all problems and cannot carry one
            claim = f"{title.removeprefix('– ')}: thoughts carry a part of their problem"
            opinion = every_seed(mine.rate, mine.given, mine.otherwise, n=mine.n.min())
            claims.append((claim, opinion, f"{cell(mine, 'rate')} %"))
    hybrid = ("With a donor's thoughts, of which mixture of both problems is it the answer? What is carried is the donor's, "
              "the rest is this problem's own. One half of the pairs chose the mixture, the other counted it.")  # fmt: skip
    node = "With a donor's thoughts, does the answer go on from the node that the donor had reached, on this problem's arrows?"
    how = hybrid if "whose" in rows else node
    return Section(tier, "", f"What the thoughts carry: {name}, tier {tier}", table, [how, *_claims(tier, *claims)], "Coconut")


def _sweep(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """Accuracy and outcome classes by number of forced thoughts."""
    table = _grouped(rows, "thoughts", lambda method, k, part: {
        "right answer %": cell(part, "accuracy"), "seeds": str(part.seed.nunique()),
        **{f"{outcome} %": f"{100 * part[outcome].mean():.1f}" for outcome in get_args(Outcome)},
    })  # fmt: skip
    cot, claims = rows[(rows.method == "cot") & (rows.thoughts == 0)].set_index("seed").accuracy, []
    for method, mine in rows[rows.method.isin(SEARCHERS)].groupby("method", sort=False):
        paths = mine[mine["Correct Label"] + mine["Incorrect Label"] < 0.5]
        ks = sorted(paths.groupby("thoughts").seed.nunique().loc[lambda n: n == mine.seed.nunique()].index)
        if len(ks) < 2:
            continue
        start, end = (paths[paths.thoughts == k].set_index("seed") for k in (ks[0], ks[-1]))
        for what, sign in RISES.items():
            claim = f"{TITLES[method]}: from {ks[0]} to {ks[-1]} thoughts {what} {'rises' if sign > 0 else 'falls'}"
            moved = f"{100 * start[what].mean():.1f} to {100 * end[what].mean():.1f} %"
            opinion = every_seed((sign * (end[what] - start[what])).dropna(), start[what], end[what], n=mine.n.min())
            claims.append((claim, opinion, moved))
        if ks[0] == 0:
            above = (start.accuracy - cot).dropna()  # of the seeds that both have
            detail = f"{100 * above.mean():+.1f} points" if len(above) else f"CoT {MISSING}"
            none = rows[(rows.thoughts == 0) & ~rows.method.isin([*SEARCHERS, "cot"])]  # no thought of theirs says anything
            for other, theirs in none.groupby("method", sort=False) if len(above) else ():
                gap = (theirs.set_index("seed").accuracy - cot).mean()
                detail += f"; {TITLES[other].removeprefix('– ')}, which have no thoughts of their own, {100 * gap:+.1f}"
            opinion = every_seed(above, start.accuracy[above.index], cot[above.index], n=mine.n.min())
            claims.append((f"{TITLES[method]}: without thoughts still above CoT", opinion, detail))
    notes = [*_claims(tier, *claims), f"The claims are those of {PLANNING}."]
    return Section(tier, "", f"Outcomes by number of thoughts: {name}, tier {tier}", table, notes, "Coconut")


def _ranks(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The search tree: probability of the frontier's nodes, the most probable first, when language is forced after k thoughts.

    A step of ours is a node, a sentence of the paper's names two: after k thoughts ours goes on with the nodes that the
    paper's goes on with after k + 1. The claim is on those at distance 1 and 2, the paper's first and second thought.
    """
    asked, ranks = "{} thought{}, node {}", sorted(rows["rank"].unique())
    table = _grouped(rows, "thoughts", lambda method, k, part: {
        "paper's thoughts": str(k + 1),
        **{f"node {rank} %": cell(part[part["rank"] == rank], "mean") for rank in ranks},
        "paper, one problem %": ", ".join(
            str(value) for n in range(1, 5) if (value := paper_value("coconut_mixed", asked.format(k + 1, "s" * (k > 0), n)))
        ) or NONE,
        "seeds": str(part.seed.nunique()),
    })  # fmt: skip
    mine = rows[rows.method.isin(SEARCHERS) & rows.thoughts.isin([0, 1])]
    claims = []
    if {*mine.thoughts} == {0, 1} and 2 in ranks:
        n = mine["size"].min()
        by_rank = mine.pivot_table("mean", ["method", "seed"], ["thoughts", "rank"], fill_value=0.0)
        others = {k: by_rank[k].drop(columns=1).iloc[:, :2].sum(axis=1) for k in (0, 1)}  # the 2nd and 3rd best
        lead = {k: by_rank[k][1] - by_rank[k][2] for k in (0, 1)}
        shrinks = every_seed(others[0] - others[1], *others.values(), n=n)
        widens = every_seed(lead[1] - lead[0], *(by_rank[k][rank] for k in (0, 1) for rank in (1, 2)), n=n)
        moved = [f"{100 * of[0].mean():.1f} to {100 * of[1].mean():.1f} %" for of in (others, lead)]
        claims = [(SHRINKS, shrinks, moved[0]), (WIDENS, widens, moved[1])]
    notes = [*_claims(tier, *(claims or [(SHRINKS, Opinion("not run"), ""), (WIDENS, Opinion("not run"), "")]))]
    notes += [f"Of {PLANNING}.", "Ours has thought once less by then: its first nodes are the root's own children."]
    return Section(tier, "", f"Search tree, nodes by probability: {name}, tier {tier}", table, notes, "Coconut")


def _heights(tier: str, name: str, rows: pd.DataFrame) -> Section:
    """The same nodes by their height, the distance to the nearest leaf: are low ones told apart more surely?"""
    table = _grouped(rows.sort_values(["method", "height"]), "height", lambda method, height, part: {
        "leads to the target %": cell(part[part.right], "mean"), "leads astray %": cell(part[~part.right], "mean"),
        "nodes a seed": f"{part['size'].sum() / part.seed.nunique():,.0f}",
    })  # fmt: skip
    mine = rows[rows.method.isin(SEARCHERS)].set_index(["method", "seed", "height"])
    right, wrong = (mine[mine.right == side]["mean"].unstack() for side in (True, False))
    apart, n = (right - wrong).dropna(axis=1), mine["size"].min()
    low, high = (apart.columns[0], apart.columns[-1]) if apart.shape[1] > 1 else (None, None)
    held = Opinion("not run")
    if low is not None:
        held = every_seed(apart[low] - apart[high], *(of[h] for of in (right, wrong) for h in (low, high)), n=n)
    claim = "nodes near the leaves are judged more accurately than high ones"
    notes = [*_claims(tier, (claim, held, "")), f"Of {PLANNING}."]
    return Section(tier, "", f"Search tree, nodes by height: {name}, tier {tier}", table, notes, "Coconut")


def _grouped(rows: pd.DataFrame, key: str, columns: Callable[[str, int, pd.DataFrame], dict[str, str]]) -> pd.DataFrame:
    """A line for each method and value of `key`, the rest of it made by `columns` from these two and their rows."""
    groups = rows.groupby(["method", key], sort=False)
    return pd.DataFrame([{"method": TITLES.get(m, m), key: str(k)} | columns(m, k, part) for (m, k), part in groups])


def _claims(tier: str, *claims: tuple[str, Opinion, str]) -> list[str]:
    """A sentence for each claim below a table, with what becomes of it and a detail; corrected for their number."""
    verdicts = corrected(opinion for _, opinion, _ in claims)
    return [
        f"{text[0].upper()}{text[1:]}: {verdict}{', ' * bool(detail)}{detail} (tier {tier})."
        for (text, _, detail), verdict in zip(claims, verdicts)
    ]
