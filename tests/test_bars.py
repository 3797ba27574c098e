"""The picture of the main tables: a panel a table, each seed a dot, a cross where nothing is recorded, no sign unexplained."""

import pandas as pd
import pytest

from latent_reports.bars import accuracy_figure, headline
from latent_reports.papers import beside
from latent_reports.significance import chance
from latent_reports.tables import build_sections
from latent_runs.plan import Run

NAMES = [f"{section}-{method}" for section in ("graph", "arithmetic2") for method in ("cot", "coconut")]
RUNS = [Run("tiny", "02_x", name, {}, 0) for name in NAMES]


def records(*rows: tuple[str, str, int, float], tier: str = "tiny") -> pd.DataFrame:
    known = {"tier": tier, "notebook": "02_x", "trusted": True, "n_evaluated": 10, "started": "2026", "finished": "2026"}
    known |= {"device.name": "cpu", "device.cores": 1, "device.gpus": 0, "data_fingerprint": "d", "metrics.chance": 0.5}
    return pd.DataFrame(
        [known | {"section": s, "method": m, "seed": seed, "metrics.accuracy": share} for s, m, seed, share in rows]
    )


HERE = records(*[("graph", "coconut", seed, 0.9 + seed / 100) for seed in range(3)], ("arithmetic2", "cot", 0, 1.0))


def drawn(axis, marker: str) -> list[float]:
    lines = [line for line in axis.get_lines() if line.get_marker() == marker]
    return [float(x) for line in lines for x in line.get_xdata()]


def test_a_panel_shows_every_seed_and_its_own_papers_numbers():
    figure = accuracy_figure(HERE, build_sections(HERE, RUNS), "tiny")
    graph, second = figure.axes
    assert drawn(graph, "o") == pytest.approx([90, 91, 92]) and drawn(second, "o") == [100]
    printed = [beside("graph", method).number.value for method in ("cot", "coconut")]
    assert drawn(graph, "D") == printed and not drawn(second, "D"), "no paper has the second table"
    assert len(drawn(graph, "x")) == len(drawn(second, "x")) == 1


@pytest.mark.parametrize("gaps", [True, False])
def test_only_signs_that_are_there_are_explained(gaps):
    runs = RUNS if gaps else [run for run in RUNS if run.variant in ("graph-coconut", "arithmetic2-cot")]
    figure = accuracy_figure(HERE, build_sections(HERE, runs), "tiny")
    assert ("× not recorded" in figure.get_supxlabel()) == gaps and "◆" in figure.get_supxlabel()


def test_without_records_there_is_no_picture():
    assert accuracy_figure(HERE, build_sections(HERE.iloc[:0], RUNS), "tiny") is None
    assert accuracy_figure(HERE, build_sections(HERE, RUNS), "small") is None


def test_chance_is_the_records_else_the_tasks_else_unknown():
    task = {"parameters.task": "graph", "metrics.chance": None}
    assert chance(HERE) == 0.5 == chance(HERE.assign(**task))
    assert chance(HERE.assign(**task | {"parameters.task": "no such task"})) is None


def test_the_headline_is_the_tables_own_difference():
    rows = [("graph", method, seed, share) for seed in range(3) for method, share in (("no_cot", 0.5), ("coconut", 0.9))]
    found = records(*rows)
    (table,) = build_sections(found, [])
    told = headline(table)
    assert told.startswith("Coconut against No-CoT: +40.0 points [") and told.endswith("]")
    assert told.removeprefix("Coconut against No-CoT: ") in table.table["against No-CoT"].iloc[1]
    (alone,) = build_sections(found[found.method == "coconut"], [])
    assert headline(alone) == "% right: Coconut 90.0 ± 0.0, CoT not asked for"
