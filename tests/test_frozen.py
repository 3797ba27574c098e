"""SoftCoT's tables: rows of a record beside zero-shot CoT, and verdicts that say no more than the interval allows."""

import json
import re

import pytest
from test_report import RUNS, write

from latent_reports.frozen import benchmark_and_model, frozen_sections
from latent_reports.papers import SOFTCOT
from latent_reports.tables import FROZEN_NOTEBOOK, MISSING, build_sections, load_table, place
from latent_runs.plan import Run, grid_path, read_grid

GRID = [Run("tiny", FROZEN_NOTEBOOK, "arithmetic-softcot", {}, 0)]
WRONG, HALF, RIGHT = "0" * 40, "01" * 20, "1" * 40
NOT_JUDGED = "not judged: "
COLUMN = "how the frozen model is asked"


def record(folder, seed=0, **rows):
    """A record of lesson 05; a row is one text of digits, or several (answers under several seeds of sampling)."""
    path = write(folder, "arithmetic-softcot", seed, HALF)
    content = json.loads(path.read_text())
    texts = {name: [digits] if isinstance(digits, str) else digits for name, digits in rows.items()}
    content["metrics"]["rows"] = {
        name: {"accuracy": "".join(each).count("1") / len("".join(each)), "new_tokens": 3.0, "correct": each}
        for name, each in texts.items()
    }
    target = path.parents[2] / FROZEN_NOTEBOOK / path.parent.name / "result.json"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(content | {"notebook": FROZEN_NOTEBOOK}))
    path.unlink()
    return target


def table(folder, runs=GRID):
    (section,) = frozen_sections(load_table(folder), runs)
    return {row.pop(COLUMN): row for row in section.table.to_dict("records")}, " ".join(section.notes)


@pytest.mark.parametrize(
    ("zero", "soft", "answer"),
    [(WRONG, RIGHT, "yes"), (RIGHT, WRONG, "no, it is worse"), (HALF, "10" * 20, "inside the noise")],
)
def test_the_verdict_is_what_the_interval_allows(zero, soft, answer, tmp_path):
    record(tmp_path, 0, zero_shot=zero, softcot=soft)
    assert f"? {NOT_JUDGED}" in table(tmp_path)[1], "one seed proves nothing"
    for seed in (1, 2):
        record(tmp_path, seed, zero_shot=zero, softcot=soft)
    rows, notes = table(tmp_path)
    assert f"? {answer}: " in notes and "SoftCoT adds +1.4 points on GSM8K" in notes
    assert "Do the thoughts say something" not in notes, "no row, no verdict"
    assert SOFTCOT.rows["swapped"] not in rows and rows[SOFTCOT.rows["cot_unk"]]["accuracy %"] == MISSING


def test_rows_stand_beside_the_paper_with_seeds_and_intervals(tmp_path):
    for seed, soft in enumerate((RIGHT, HALF, RIGHT)):
        record(tmp_path, seed, zero_shot=WRONG, softcot=soft, swapped=[WRONG, RIGHT])
    rows, notes = table(tmp_path)
    soft = rows["SoftCoT"]
    assert (soft["accuracy %"], soft["seeds"], soft["paper, Llama-3.1-8B-Instruct %"]) == ("83.3 ± 28.9", "3", "81.03 (2)")
    assert re.fullmatch(r"\+83\.3 points \[\+\d\d?\.\d, \+1\d\d\.\d\], 3 seeds", soft["added to zero-shot"])
    assert rows[SOFTCOT.rows["swapped"]]["accuracy %"] == "50.0 ± 0.0"
    assert (rows[SOFTCOT.rows["lora"]]["accuracy %"], rows[SOFTCOT.rows["lora"]]["seeds"]) == (MISSING, MISSING)
    assert "Do the thoughts say something about their own problem? inside the noise: ≈ +33.3 points" in notes


def test_records_of_lesson_05_have_their_own_table_only(tmp_path):
    path = record(tmp_path, zero_shot=WRONG, softcot=RIGHT)
    others = {section.title for section in build_sections(load_table(tmp_path), [*RUNS, *GRID])}
    assert not any("SoftCoT" in title for title in others)
    path.write_text(path.read_text().replace('"complete"', '"smoke"'))
    rows, _ = table(tmp_path)
    assert {row["accuracy %"] for row in rows.values()} == {MISSING}
    *_, apart = build_sections(load_table(tmp_path), RUNS)
    assert apart.title == "Not averaged" and FROZEN_NOTEBOOK in apart.table.id.item()


def test_every_grids_rows_have_a_benchmark_beside_them():
    runs = [run for tier in ("tiny", "small", "paper") for run in read_grid(grid_path(tier)) if run.notebook == FROZEN_NOTEBOOK]
    found = [benchmark_and_model(place(run.variant)[0]) for run in runs]
    ours = {place(run.variant)[0] for run, (benchmark, _) in zip(runs, found) if not benchmark}
    assert ours == {"names", "words"}, "tasks of our own, which no paper has"
    assert {model.partition(",")[0] for _, model in found} == {"Llama-3.1-8B-Instruct", "Qwen2.5-7B-Instruct"}


def test_number_of_thoughts_in_training_and_in_use(tmp_path):
    for seed, kept in enumerate((0.4, 0.5, 0.6)):
        path = record(tmp_path, seed, zero_shot=HALF, softcot=HALF)
        content = json.loads(path.read_text())
        content["metrics"]["sweep"] = [[1, 1, 0.3], [1, 8, 0.1], [8, 1, kept], [8, 8, 0.2]]
        path.write_text(json.dumps(content))
    _, swept = frozen_sections(load_table(tmp_path), GRID)
    assert swept.table.values.tolist() == [["1", "30.0 ± 0.0", "10.0 ± 0.0"], ["8", "50.0 ± 10.0", "20.0 ± 0.0"]]
    assert "1 thoughts in use after 8 in training cost nothing: inside the noise, +30.0 points (tier tiny)." in swept.notes


def test_majority_of_sampled_answers(tmp_path):
    path = record(tmp_path, zero_shot=[HALF, RIGHT], softcot=[WRONG, HALF])
    assert "Self-consistency" not in table(tmp_path)[1]
    content = json.loads(path.read_text())
    for row, vote in (("zero_shot", 0.75), ("softcot", 0.5)):
        content["metrics"]["rows"][row]["vote"] = vote
    path.write_text(json.dumps(content))
    assert "the majority of the sampled answers is right in SoftCoT 50.0 and Zero-shot CoT 75.0 %" in table(tmp_path)[1]
