"""The ladder's table and figure: what has no record is missing, a gain of the door is judged, and only where seeds allow it."""

import re

import numpy as np
import pandas as pd
import pytest

from latent_reports.ladder import SUPERVISION, ladder_figure, ladder_sections, rungs
from latent_runs.plan import grid_path, read_grid

PLANNED = [run for run in read_grid(grid_path("tiny")) if run.variant.startswith("ladder_")]


def record(steps: int, supervision: str, seed: int, accuracy: float, n: int = 400) -> dict:
    right = np.random.default_rng([steps, seed, len(supervision)]).random(n) < accuracy
    return {
        "tier": "tiny", "variant": f"ladder_{steps}-{supervision}", "seed": seed, "trusted": True, "data_fingerprint": "d",
        "metrics.accuracy": right.mean(), "metrics.correct": "".join("01"[int(r)] for r in right), "metrics.chance": 0.5,
        "metrics.controls.swapped": 0.1, "metrics.train_steps": 800 if supervision == "cot" else 1000,
        "n_evaluated": n, "started": "2026-01-01", "finished": "2026-01-02",
        "device.name": "cpu", "device.cores": 2, "device.gpus": 0, "git.commit": "abcdef0",
    }  # fmt: skip


def records(seeds: int) -> pd.DataFrame:
    """With two steps the door helps, with four nothing does."""
    of = {(2, "codi"): 0.98, (2, "no_cot"): 0.5, (2, "codi_undistilled"): 0.52}
    of |= {(4, name): 0.5 for name in ("codi", "no_cot", "codi_undistilled")} | {(4, "coconut"): 0.99}
    return pd.DataFrame([record(*at, seed, share) for at, share in of.items() for seed in range(seeds)])


def test_a_cell_without_a_record_is_missing_and_one_that_is_not_planned_a_dot():
    (section,) = ladder_sections(records(5), PLANNED)
    table = section.table.set_index("supervised")
    shown = ("no_cot", "pause", "codi_undistilled", "codi", "coconut", "codi_decoder", "cot")
    assert [*table.index] == [SUPERVISION[name] for name in shown], "no row of extra runs that nobody has made"
    assert re.fullmatch(r"9\d\.\d ± \d\.\d, 10\.0", table.at[SUPERVISION["codi"], "2 steps"])
    assert [*table.columns] == ["2 steps", "4 steps", "seeds"]
    assert table.at[SUPERVISION["pause"], "4 steps"] == "missing", "of the default grid, and not run"
    assert table.at[SUPERVISION["pause"], "2 steps"] == "·"
    assert table.at[SUPERVISION["coconut"], "seeds"] == "5"


@pytest.mark.parametrize(("seeds", "verdict"), [(5, "agrees"), (2, "not judged")])
def test_a_gain_of_the_door_is_judged_against_both_opponents(seeds, verdict):
    (section,) = ladder_sections(records(seeds), PLANNED)
    judged = [note for note in section.notes if f"{SUPERVISION['codi']} above" in note]
    assert [verdict in note for note in judged if note.startswith("2 steps")] == [True, True]
    assert not any("agrees" in note for note in judged if note.startswith("4 steps"))


def test_a_gain_of_the_door_has_to_survive_the_settings_that_were_tried():
    """Six seeds of ten learn: above no gain at all, and not beyond what a search among many settings may turn up."""
    of = {"no_cot": [0.5] * 10, "codi_undistilled": [0.5] * 10, "codi": [0.99] * 6 + [0.5] * 4}
    found = pd.DataFrame([record(3, name, seed, share) for name, each in of.items() for seed, share in enumerate(each)])
    (section,) = ladder_sections(found, PLANNED)
    judged = [note for note in section.notes if note.startswith(f"3 steps, {SUPERVISION['codi']} above")]
    assert len(judged) == 2 and all("inside the noise" in note and "≈" not in note for note in judged)
    other = found.assign(variant=found.variant.replace("ladder_3-codi", "ladder_3-coconut"))
    (section,) = ladder_sections(other, PLANNED)
    assert any("agrees" in note and SUPERVISION["coconut"] in note for note in section.notes), "of a row that nobody searched"


def test_what_learns_is_told_from_what_does_not():
    (section,) = ladder_sections(records(5), PLANNED)
    of_four = {note.split(": ")[1]: note for note in section.notes if note.startswith("4 steps, above the answer")}
    assert SUPERVISION["coconut"] in of_four["agrees"] and SUPERVISION["codi"] in of_four["at the floor"]
    assert SUPERVISION["codi"] not in of_four["agrees"]


def test_how_long_a_row_was_trained_is_read_from_its_records():
    found = pd.concat([records(2), pd.DataFrame([record(4, "cot", seed, 1.0) for seed in range(2)])])
    (section,) = ladder_sections(found, PLANNED)
    assert sum("1,000 updates after CoT where" in note for note in section.notes) == 1
    shorter = found.assign(**{"metrics.train_steps": found["metrics.train_steps"] - 700})
    (section,) = ladder_sections(shorter, PLANNED)
    assert sum("300 updates after CoT where" in note for note in section.notes) == 1


def test_nothing_is_said_of_the_door_where_it_has_no_opponent():
    found = records(3)
    (section,) = ladder_sections(found[~found.variant.str.endswith(("no_cot", "undistilled"))], PLANNED)
    assert not any("door" in note for note in section.notes)


def test_the_figure_has_a_panel_for_each_supervision_with_a_record_and_no_other():
    figure = ladder_figure(records(3))
    said = [axis.get_title("left").replace("\n", " ") for axis in figure.axes if axis.axison]
    assert said == [SUPERVISION[name] for name in ("no_cot", "codi_undistilled", "codi", "coconut")]
    lines = {title: len(axis.get_lines()) for title, axis in zip(said, figure.axes)}
    assert set(lines.values()) == {4}, "its own thoughts, each seed's, another problem's, chance"
    assert "steps" in figure.get_label()


def test_of_one_number_of_steps_every_seed_is_a_dot():
    found = records(3)
    (axis,) = ladder_figure(found[found.variant.str.startswith("ladder_4")]).axes
    own = [line for line in axis.get_lines() if line.get_label() == "its own"]
    assert [len(line.get_xdata()) for line in own] == [3] * 4, "a row a supervision, a dot a seed"
    assert [text.get_text() for text in axis.get_yticklabels()][-1] == SUPERVISION["coconut"]


def test_without_records_there_is_no_figure_and_a_table_of_missing_ones():
    none = records(1).iloc[:0].drop(columns="metrics.train_steps")  # as a table is of which nothing was ever measured
    assert ladder_figure(none) is None and rungs(none).empty
    (section,) = ladder_sections(none, PLANNED)
    assert section.empty
