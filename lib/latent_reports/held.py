"""What linear probes read: which step's result, and whether the answer, in the states that write thoughts and at CODI's door.

A cell is the share of test problems in which the probe names it, and behind the stroke the same with another problem's state,
which is what the words alone allow. Mean over seeds.
"""

import pandas as pd

from latent_cot.methods import TITLES
from latent_reports.tables import ABLATION, Section, listed

CHAPTER = "Probes"
THOUGHTS = "Place: the state that wrote the first thought (0), the second (1) …, and the one behind the last."
DOOR = "Place: the level at the door, from the first layer (1) to the last, of which the answer is made."
HOW = "Share of the test problems / the same with another problem's state. A linear discriminant of training problems."


def held_sections(records: pd.DataFrame) -> list[Section]:
    """For each tier and task whose trusted records hold probes, a table of thoughts and one of the door."""
    trusted, sections = records[records.trusted.astype(bool)], []
    for (tier, name), here in trusted.groupby(["tier", "section"], sort=False):
        if name.startswith(ABLATION):
            continue
        if len(rows := listed(here, "in_thoughts")):
            title = f"Steps in the thoughts, by linear probes: {name}, tier {tier}"
            sections.append(Section(tier, "", title, _table(rows, ["method"]), [THOUGHTS, HOW], CHAPTER))
        if len(rows := listed(here, "at_door")):
            rows = rows[rows.place > 0]  # older records have the embedding, the same token's in all problems
            title = f"What the door holds, by linear probes: {name}, tier {tier}"
            sections.append(Section(tier, "", title, _table(rows, ["method", "whose"]), [DOOR, HOW], CHAPTER))
    return sections


def _table(rows: pd.DataFrame, of: list[str]) -> pd.DataFrame:
    rows = rows.assign(column=rows.step.map(lambda step: f"step {step} %" if step else "the answer %"))
    means = rows.groupby([*of, "place", "column"], sort=False)[["right", "another's"]].mean()
    cells = means.apply(lambda row: "{:.0f} / {:.0f}".format(*(100 * row)), axis=1)
    order = sorted({*rows.column}, key=lambda name: (name.startswith("the answer"), name))
    table = cells.unstack("column")[order].reset_index().astype(str)
    seeds = rows.groupby([*of, "place"]).seed.nunique().reset_index(name="seeds").astype(str)
    table = table.merge(seeds, on=[*of, "place"]).fillna("·")
    return table.assign(method=table.method.map(lambda method: TITLES.get(method, method)))
