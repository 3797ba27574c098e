"""Probes in the report: a line a place, another problem's state beside, seeds counted, and no table of what no record holds."""

import pandas as pd

from latent_reports.held import CHAPTER, held_sections


def probed(right: float, other: float = 0.1) -> list[dict]:
    return [
        {"place": place, "step": step, "right": right - 0.1 * place, "another's": other} for place in (0, 1) for step in (0, 1)
    ]


def record(seed: int, **metrics) -> dict:
    told = {"tier": "tiny", "section": "arithmetic", "method": "codi", "seed": seed, "trusted": True, "n_evaluated": 10}
    return told | {f"metrics.{name}": value for name, value in metrics.items()}


def test_places_are_lines_and_steps_columns():
    door = [{"whose": whose, **row} for whose in ("teacher", "student") for row in probed(0.9)]
    records = pd.DataFrame([record(0, in_thoughts=probed(0.5), at_door=door), record(1, in_thoughts=probed(0.7), at_door=door)])
    thoughts, at_door = held_sections(records)
    assert [thoughts.chapter, at_door.chapter] == [CHAPTER, CHAPTER]
    assert thoughts.table.to_dict("records")[1] == {
        "method": "CODI", "place": "1", "step 1 %": "50 / 10", "the answer %": "50 / 10", "seeds": "2",
    }  # fmt: skip
    assert [*at_door.table.whose] == ["teacher", "student"] and {*at_door.table.place} == {"1"}  # not the embedding


def test_records_without_probes_have_no_table():
    assert held_sections(pd.DataFrame([record(0, accuracy=0.5), record(1, in_thoughts=[])])) == []
