"""Accuracy by method as a picture: a panel a task, each seed a dot, the papers' numbers as diamonds, chance dashed."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_cot.methods import TITLES
from latent_reports.page import AGAINST
from latent_reports.papers import SECTIONS, beside
from latent_reports.significance import chance
from latent_reports.tables import MAIN, NONE, Section

BAR, DOT, INK = "#9ecae1", "#08519c", "0.15"
TOGETHER = 2  # panels side by side


def accuracy_figure(records: pd.DataFrame, sections: Sequence[Section], tier: str) -> Figure | None:
    """The main tables of a tier that have a record, a panel each, whose title says how Coconut compares; None if there is none.

    A row is a run that the grid asks for: without a record it is a cross, without a number of a paper it has no diamond.
    """
    shown = [one for one in sections if one.chapter == MAIN and one.name and one.tier == tier and not one.empty]
    if not shown:
        return None
    here = records[records.trusted.astype(bool) & (records.tier == tier)]
    lines = [shown[at : at + TOGETHER] for at in range(0, len(shown), TOGETHER)]
    heights = [max(len(one.table) for one in line) + 2 for line in lines]
    figure = plt.figure(figsize=(11 if len(shown) > 1 else 9, 0.9 + 0.29 * sum(heights)), dpi=110, layout="constrained")
    axes = figure.subplots(len(lines), min(len(shown), TOGETHER), squeeze=False, sharex=True, height_ratios=heights)
    signs: dict[str, str] = {}
    for axis, one in zip(axes.flat, shown):
        signs |= _panel(axis, one, here[here.section == one.name])
        axis.tick_params(labelbottom=True)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    told = [f"{sign} {meaning}" for sign, meaning in signs.items()]
    figure.supxlabel("correct, %;  bar: mean over seeds;  " + ";  ".join(told), size=9.5)
    figure.set_label(
        f"Accuracy of each method, a panel a task (tier {tier}). "
        + " ".join(f"{one.title.removesuffix(f' (tier {tier})')}: {headline(one)}." for one in shown)
    )
    plt.close(figure)  # shown where it is asked for, not where it is made
    return figure


def headline(section: Section) -> str:
    """What a main table says of Coconut: the difference from No-CoT trained as long, else its accuracy beside the best."""
    rows = section.table.set_index("method")
    if "Coconut" not in rows.index:
        return ""
    for column in [name for name in rows if str(name).startswith(AGAINST)]:
        if (gap := rows[column]["Coconut"]) != NONE and "points" in gap:
            interval, end, _ = gap.partition("]")
            return f"Coconut {column}: {interval}{end}"
    accuracy = rows["accuracy %"]
    return f"% right: Coconut {accuracy['Coconut']}, CoT {accuracy.get('CoT', 'not asked for')}"


def _panel(axis: Axes, section: Section, rows: pd.DataFrame) -> dict[str, str]:
    """Draws one; returns the signs that stand in it and what they mean."""
    methods = {title: method for method, title in TITLES.items()}
    names, signs = [*section.table.method], {"●": "a seed"}
    for y, name in enumerate(names):
        method = methods.get(name, name)
        found = 100 * rows[rows.method == method].get("metrics.accuracy", pd.Series(dtype=float)).astype(float)
        if len(found):
            axis.barh(y, found.mean(), color=BAR, height=0.72)
            axis.plot(found, [y] * len(found), "o", color=DOT, ms=4, clip_on=False, zorder=3)
        else:
            axis.plot(1.5, y, "x", color=INK, ms=6)
            signs["×"] = "not recorded"
        if number := beside(section.name, method):
            axis.plot(number.number.value, y, "D", color=INK, mec="w", ms=7, clip_on=False, zorder=4)
            signs["◆"] = f"the papers' {SECTIONS[section.name].model}, the real task (none: no number printed)"
    if (level := chance(rows)) is not None:
        axis.axvline(100 * level, color="0.35", ls="--", lw=1)
        signs["- -"] = "chance"
    title = section.title.removesuffix(f" (tier {section.tier})")
    axis.set_title(f"{title}\n{headline(section)}", size=10, loc="left")
    axis.set(xlim=(0, 103), ylim=(len(names) - 0.4, -0.6), yticks=range(len(names)))
    axis.set_yticklabels(names, size=9)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return signs
