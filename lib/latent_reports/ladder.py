"""The ladder: accuracy by number of steps, under each kind of supervision, where every step hangs on the one before.

Rows `ladder_<steps>-<supervision>` of the tiny grid, and `ladder_<steps>_<updates>-…`, which train longer. What is asked of it,
and by which rule, was written down before it was trained (LOG.md, "The ladder's rule").
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from textwrap import fill

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from latent_reports.significance import Difference, Verdict, chance, corrected, difference, judge
from latent_reports.tables import MISSING, Section, cell, provenance
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.settings import nested

CHAPTER = "The ladder"
HOW = "Accuracy %, mean ± standard deviation over seeds; behind the comma with another problem's thoughts."
SUPERVISION = {  # variants, from what is told least to what is told most
    "no_cot": "the answer, no thoughts",
    "pause": "the answer, pause tokens",
    "codi_free": "the answer, thoughts free",
    "codi_undistilled": "+ the chain in words, beside (CODI, β = 0)",
    "codi": "+ the door (CODI)",
    "codi_static": "+ the door of a static teacher",
    "no_thought": "the curriculum without thoughts",
    "pause_as_thought": "the curriculum, pauses as thoughts",
    "coconut": "the curriculum (Coconut)",
    "codi_decoder": "every step, by a decoder (SIM-CoT)",
    "csft": "every step, as soft targets (CSFT)",
    "codi_trajectory": "the whole trajectory (after KaVa)",
    "cot": "the chain itself, in words (CoT)",
}
ROW = re.compile(r"ladder_(\d+)(?:_(\d+))?-(\w+)")
Rung = tuple[int, int]  # the number of steps, and of updates where it is another than the ladder's
DOOR, OPPONENTS = "codi", ("no_cot", "codi_undistilled")  # a gain of the door: above both


def rungs(records: pd.DataFrame) -> pd.DataFrame:
    """The ladder's trusted records, with `steps`, `updates` (0: the ladder's) and `supervision`."""
    at = records.variant.astype(str).str.extract(f"^{ROW.pattern}$")
    found = records.assign(steps=pd.to_numeric(at[0]), updates=pd.to_numeric(at[1]).fillna(0), supervision=at[2])
    return found[found.supervision.isin([*SUPERVISION]) & found.trusted.astype(bool)]


def ladder_sections(records: pd.DataFrame, runs: Sequence[Run]) -> list[Section]:
    """For each tier whose grid has one, the table, a row a supervision, with what is found about the door; of the rows that
    are extra, those with a record."""
    sections, found = [], rungs(records)
    for tier in dict.fromkeys(run.tier for run in runs):
        here = found[found.tier == tier]
        of = [((int(at[1]), int(at[2] or 0)), at[3], run.extra) for run in runs
              if run.tier == tier and (at := ROW.fullmatch(run.variant))]  # fmt: skip
        there = {*zip(zip(here.steps, here.updates), here.supervision)}
        planned = [(rung, name) for rung, name, extra in of if not extra or (rung, name) in there]
        if not planned:
            continue
        ladder = sorted({rung for rung, _ in planned})
        by = {(rung, name): here[(here.steps == rung[0]) & (here.updates == rung[1]) & (here.supervision == name)]
              for rung, name in planned}  # fmt: skip
        lines = [
            {"supervised": told, **{title(rung): _cell(by[rung, name]) for rung in ladder if (rung, name) in by}}
            | {"seeds": _seeds(here[here.supervision == name])}
            for name, told in SUPERVISION.items()
            if any(name == other for _, other in planned)
        ]
        columns = ["supervised", *map(title, ladder), "seeds"]
        about_door = _door(by, ladder)
        if about_door:
            about_door.append(f"The door's gain is corrected for the {_tried()} settings of it in `doors.yaml`, too.")
        notes = [*_learned(by, ladder), *about_door, HOW + _updates(here), provenance(tier, here)]
        table = pd.DataFrame(lines, columns=columns).fillna("·")
        sections.append(Section(tier, "", f"Accuracy by number of steps and supervision (tier {tier})", table, notes, CHAPTER))
    return sections


def _cell(rows: pd.DataFrame) -> str:
    accuracy, swapped = cell(rows, "metrics.accuracy"), rows.get("metrics.controls.swapped", pd.Series(dtype=float)).mean()
    return accuracy if pd.isna(swapped) else f"{accuracy}, {100 * swapped:.1f}"


def _updates(rows: pd.DataFrame) -> str:
    """How long a row was trained behind CoT, where its title does not say so."""
    rows = rows[(rows.updates == 0) & (rows.supervision != "cot")]
    trained = rows.get("metrics.train_steps", pd.Series(dtype=float)).dropna()
    counts = " or ".join(f"{n:,}" for n in sorted({*trained.astype(int)}))
    return f" {counts} updates after CoT where no other number is named." if counts else ""


def _steps(n: int) -> str:
    return f"{n} step{'s' * (n > 1)}"


def title(rung: Rung) -> str:
    """A rung in words: `3 steps`, and `3 steps, 3,000 updates` where these are not the ladder's."""
    steps, updates = rung
    return _steps(steps) + (f", {updates:,} updates" if updates else "")


def _seeds(rows: pd.DataFrame) -> str:
    counts = rows.groupby(["steps", "updates"]).seed.nunique()
    return MISSING if counts.empty else "–".join(dict.fromkeys([str(counts.min()), str(counts.max())]))


def _learned(by: dict, ladder: Sequence[Rung]) -> list[str]:
    """On each rung, what is above the answer alone, and what is not."""
    alone, lines = SUPERVISION["no_cot"], dict[tuple[Rung, str], list[str]]()
    asked = [(rung, name, "no_cot") for rung in ladder for name in SUPERVISION if name != "cot"]
    for rung, name, _, gap, verdict in _judged(by, asked):
        lines.setdefault((rung, verdict), []).append(f"{SUPERVISION[name]} ({gap})")
    return [f"{title(rung)}, above {alone}: {verdict}: {'; '.join(some)}." for (rung, verdict), some in lines.items()]


def _door(by: dict, ladder: Sequence[Rung]) -> list[str]:
    """On each rung: is CODI above No-CoT, and above CODI without distillation?"""
    return [
        f"{title(rung)}, {SUPERVISION[DOOR]} above {SUPERVISION[other]}: {verdict}, {gap}."
        for rung, _, other, gap, verdict in _judged(by, [(rung, DOOR, other) for rung in ladder for other in OPPONENTS])
    ]


def _judged(by: dict, asked: Iterable[tuple[Rung, str, str]]) -> list[tuple[Rung, str, str, Difference, Verdict]]:
    """Is the first row above the second? Of the pairs that both have records; corrected over all of these, and where it is the
    door's gain also for the settings of it that were tried."""
    found = [(rung, one, other, difference(by[rung, one], by[rung, other])) for rung, one, other in asked
             if one != other and {(rung, one), (rung, other)} <= by.keys()]  # fmt: skip
    there = [(rung, one, other, gap) for rung, one, other, gap in found if gap]
    opinions = [judge(gap) for *_, gap in there]
    opinions = [
        opinion._replace(p=min(1.0, opinion.p * _tried())) if one == DOOR and opinion.p is not None else opinion
        for (_, one, *_), opinion in zip(there, opinions)
    ]
    return [(*pair, verdict) for pair, verdict in zip(there, corrected(opinions))]


@cache
def _tried() -> int:
    """The settings of the door among which one is searched (doors.yaml)."""
    return sum(nested(run.parameters).get("options", {}).get("distill_weight", 0) > 0 for run in read_grid(grid_path("doors")))


def ladder_figure(records: pd.DataFrame, tier: str = "tiny") -> Figure | None:
    """Accuracy against the number of steps, a panel a supervision, a band over seeds, chance dashed. Of one number of steps, a
    row a supervision, every seed a dot. None without records."""
    rows = rungs(records)
    rows = rows[(rows.tier == tier) & (rows.updates == 0)]
    if rows.empty:
        return None
    names = [name for name in SUPERVISION if name in {*rows.supervision}]
    rows = rows.assign(correct=100 * rows["metrics.accuracy"].astype(float))
    return _dots(rows, names) if rows.steps.nunique() == 1 else _panels(rows, names)


def _dots(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(8.5, 1.2 + 0.3 * len(names)), dpi=110, layout="constrained")
    axis = figure.add_subplot()
    for y, name in enumerate(names):
        here = rows[rows.supervision == name]
        swapped = 100 * here.get("metrics.controls.swapped", pd.Series(dtype=float)).dropna().astype(float)
        axis.plot(swapped, [y] * len(swapped), "o", mfc="w", mec="C1", ms=6, clip_on=False, label="another problem's thoughts")
        axis.plot(here.correct, [y] * len(here), "o", color="C0", ms=6, clip_on=False, alpha=0.8, label="its own")
    if (guess := chance(rows)) is not None:
        axis.axvline(100 * guess, color="0.4", ls="--", lw=1, label="chance")
    axis.set(xlim=(0, 103), xlabel="correct, %; a dot a seed", ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [SUPERVISION[name] for name in names])
    axis.grid(axis="y", color="0.92")
    handles, labels = axis.get_legend_handles_labels()
    one_of_each = dict(zip(labels, handles))
    told, drawn = [*one_of_each], [*one_of_each.values()]
    axis.legend(drawn, told, loc="upper center", bbox_to_anchor=(0.3, -0.16), ncols=3, frameon=False)
    steps = _steps(int(rows.steps.iloc[0]))
    axis.set_title(f"{steps}: who tosses a coin, and who needs its own thoughts?", size=11, loc="left")
    sns.despine(figure)
    figure.set_label(f"Accuracy at {steps} that hang on one another, a row for each kind of supervision, a dot a seed")
    return figure


def _panels(rows: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A panel a supervision: where lines lie upon one another, side by side they can be told apart."""
    across, guess = 4, chance(rows)
    down = -(-len(names) // across)
    figure = Figure(figsize=(10.5, 0.9 + 1.75 * down), dpi=110, layout="constrained")
    axes = [*figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat]
    swapped = 100 * rows.get("metrics.controls.swapped", pd.Series(np.nan, rows.index)).astype(float)
    rows, look = rows.assign(swapped=swapped), dict(errorbar=("pi", 100), legend=False)
    for axis, name in zip(axes, names):
        here = rows[rows.supervision == name]
        if here.swapped.notna().any():
            sns.lineplot(here, x="steps", y="swapped", color="C1", marker="o", mfc="w", mec="C1", ls=":", ax=axis, **look)
        sns.lineplot(here, x="steps", y="correct", color="C0", ax=axis, **look)
        axis.plot(here.steps, here.correct, "o", color="C0", ms=5, alpha=0.6, clip_on=False)  # a mean may be no seed's
        if guess is not None:
            axis.axhline(100 * guess, color="0.4", ls="--", lw=1)
        axis.set_title(fill(SUPERVISION[name], 34, break_on_hyphens=False), size=9, loc="left")
        axis.set(ylim=(0, 103), xticks=sorted({*rows.steps.astype(int)}), xlabel="", ylabel="correct, %")
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    figure.suptitle(
        "Whose accuracy holds when more steps hang on one another?\nBlue: its own thoughts, a dot a seed; orange: another "
        "problem's; lines: means; bands: all seeds; dashed: chance", size=10, x=0.01, ha="left",
    )  # fmt: skip
    figure.supxlabel("steps that hang on one another", size=10)
    sns.despine(figure)
    figure.set_label(
        "Accuracy by number of steps that hang on one another, a panel for each kind of supervision, band over seeds"
    )
    return figure
