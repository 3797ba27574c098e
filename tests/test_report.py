"""The report's numbers are those of the records; what is missing is missing; nothing untrusted is averaged."""

import json
import re
from typing import get_args

import pytest
from matplotlib.figure import Figure

from latent_probes.planning import Outcome
from latent_reports.ladder import ladder_sections
from latent_reports.page import BEGIN, END, contents, fair_first, opened, readme_block, slug, update_readme, write_report
from latent_reports.significance import ALONE, BATCHED
from latent_reports.tables import DONOR, FLOPS, MISSING, NONE, PAPER, build_sections, load_table, place
from latent_reports.thoughts import FRONTIER
from latent_runs.places import ROOT
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.results import load_results
from latent_tasks import load_task
from latent_tasks.arithmetic import reordered
from latent_views.plots import OUTCOMES

RECORDED = ROOT / "papermill_runs" / "recorded"
FIGURE = "papermill_runs/recorded/report/accuracy_tiny.png"
NAMES = ("cot", "no_cot", "no_cot_long", "coconut", "codi_long")
RUNS = [Run("tiny", "02_x", f"arithmetic-{name}", {}, 0) for name in NAMES]
MEASURED = {"accuracy %", "seeds", "new tokens", "steps in total", "test problems", "minutes"}
AGAINST = "against No-CoT (total budget)"
EVIL = "arithmetic-<script>alert(1)</script>|[x](javascript:1)"


def write(folder, variant, seed=0, correct="1111100000", *, status="complete", dirty=False, steps=100, extra=None, **change):
    metrics = {"accuracy": correct.count("1") / len(correct), "correct": correct, "new_tokens": 2.0, "n": len(correct)}
    metrics |= {"train_steps": steps}
    if "coconut" in variant:
        metrics["controls"] = {"removed": 0.1, "swapped": 0.2, "mean": 0.3}
        shares = dict.fromkeys(FRONTIER, 0.2 + 0.2 * seed)
        metrics["frontier"] = [{"thought": k, **shares} for k in (1, 2)] if "graph" in variant else []
        metrics["decoded"] = [
            {"results": k, "n": 3 + seed, "found": k / 4, "found in order": k / 8, "found in another's": None} for k in (1, 2)
        ]
    metrics |= extra or {}
    record = {
        "schema_version": 1, "notebook": "02_x", "variant": variant, "seed": seed, "tier": "tiny", "status": status,
        "parameters": {"n_train": 9973, "init_from": ""}, "metrics": metrics, "n_evaluated": len(correct),
        "wall_seconds": 60.0, "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-02T00:00:00+00:00",
        "device": {"name": "cpu & co", "cores": 2, "gpus": 0, "threads": 1}, "data_fingerprint": "d", "model_fingerprint": "m",
        "git": {"commit": "c0ffee0123", "dirty": dirty}, **change,
    }  # fmt: skip
    path = folder / record["tier"] / "02_x" / f"{variant.replace('/', '_')}--s{seed}" / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    return path


def cells(folder, section="arithmetic", runs=RUNS):
    """The section's table as {method: {column: text}}."""
    (found,) = (s for s in build_sections(load_table(folder), runs) if s.name == section)
    return {row.pop("method"): row for row in found.table.to_dict("records")}


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        write(tmp_path, f"arithmetic-{name}", 0, "1111100000" if name == "coconut" else "1000000000")
        write(tmp_path, f"arithmetic-{name}", 1, "1111111000" if name == "coconut" else "0100000000")
    return tmp_path


def notes(folder, section="arithmetic"):
    return " ".join(next(s for s in build_sections(load_table(folder), RUNS) if s.name == section).notes)


def test_every_outcome_has_its_colour():
    assert sorted(OUTCOMES) == sorted(get_args(Outcome))


def test_variants_name_their_place():
    assert place("prontoqa-mini-no_cot") == ("prontoqa-mini", "no_cot")  # a task's name may have hyphens
    assert place("graph-pause_as_thought") == ("graph", "pause_as_thought")
    assert place("arithmetic-two_layers-coconut") == ("arithmetic-two_layers", "coconut")
    assert place("arithmetic-strange") == ("arithmetic", "strange")


def test_means_and_spreads(folder):
    row = cells(folder)["Coconut"]
    assert (row["accuracy %"], row["seeds"], row[PAPER]) == ("60.0 ± 14.1", "2", "34.1 ± 1.5 (V)")
    assert (row["thoughts removed %"], row["swapped %"], row["minutes"]) == ("10.0 ± 0.0", "20.0 ± 0.0", "1.0")
    assert cells(folder)["CoT"]["swapped %"] == NONE


def test_the_donor_rate_is_missing_where_a_record_of_before_lacks_it(folder):
    rows = cells(folder)
    assert [rows[name][DONOR] for name in ("No-CoT", "CoT", "Coconut")] == [NONE, MISSING, MISSING]
    for name in ("cot", "coconut"):
        write(folder, f"arithmetic-{name}", 2, extra={"donor": {"n": 9, "given": 0.5, "otherwise": 0.1, "rate": 0.4}})
    assert [cells(folder)[name][DONOR] for name in ("CoT", "Coconut")] == ["40.0", "40.0"]


def test_the_donor_rate_is_not_asked_of_two_answers(tmp_path):
    """There it was measured, and no three problems had three answers."""
    write(tmp_path, "prontoqa-coconut", 0, extra={"donor": None})
    assert cells(tmp_path, "prontoqa")["Coconut"][DONOR] == NONE


def test_times_are_those_of_the_very_model_else_missing(folder):
    alone, batched = ({"median": m, "low": m / 2, "high": 2 * m, "n": 60} for m in (0.01, 0.001))
    timed = {"alone": alone, "batched": batched}
    of = {"coconut": "m", "cot": "another model"}
    runs = {f"02_x/arithmetic-{name}--s{seed}": timed | {"model_fingerprint": of[name]} for name in of for seed in (0, 1)}
    (folder / "tiny" / "latency.json").write_text(json.dumps({"runs": runs}))
    rows = cells(folder)
    assert (rows["Coconut"][ALONE.label], rows["Coconut"][BATCHED.label]) == ("10.0 (5.0 to 20.0)", "1.00 (0.50 to 2.00)")
    assert (rows["CoT"][ALONE.label], rows["No-CoT"][ALONE.label]) == (MISSING, MISSING), "of another model; of none"


def test_deleted_record_makes_exactly_its_cells_missing(folder):
    before = cells(folder)
    for seed in (0, 1):
        (folder / "tiny" / "02_x" / f"arithmetic-codi_long--s{seed}" / "result.json").unlink()
    after = cells(folder)
    changed = {(row, column) for row in before for column in before[row] if before[row][column] != after[row][column]}
    assert {row for row, _ in changed} == {"CODI (total budget)"}
    assert MEASURED <= {column for _, column in changed} and PAPER not in {column for _, column in changed}
    assert {after[row][column] for row, column in changed} == {MISSING}
    assert "CODI (total budget) at least 30 points above No-CoT (total budget): not known, a run is missing" in notes(folder)


def test_one_seed_missing_is_said(folder):
    (folder / "tiny" / "02_x" / "arithmetic-codi_long--s1" / "result.json").unlink()
    row = cells(folder)["CODI (total budget)"]
    assert (row["seeds"], row["accuracy %"]) == ("1 of 2", "10.0")


@pytest.mark.parametrize("change", [{"status": "smoke"}, {"status": "failed"}, {"dirty": True}])
def test_untrusted_records_are_listed_and_never_averaged(folder, change):
    before = cells(folder)
    write(folder, "arithmetic-codi_long", 2, "1111111111", **change)
    assert cells(folder) == before
    *_, apart = build_sections(load_table(folder), RUNS)
    assert apart.table.values.tolist() == [["02_x/arithmetic-codi_long--s2", "tiny", change.get("status", "uncommitted code")]]


def test_untrusted_record_alone_leaves_its_row_missing(tmp_path):
    write(tmp_path, "arithmetic-codi_long", status="smoke")
    assert cells(tmp_path)["CODI (total budget)"]["accuracy %"] == MISSING


def test_aims(folder):
    text = notes(folder)
    assert "CoT at least 95 %: not reached, 10.0 %." in text
    assert "Coconut at least 30 points above No-CoT (total budget): reached, 50.0 points." in text


def test_every_row_is_compared_with_answering_at_once(folder):
    assert cells(folder)["Coconut"][AGAINST] == "+50.0 points, 2 seeds: not judged"
    for name in ("no_cot_long", "coconut", "cot"):
        write(folder, f"arithmetic-{name}", 2, "1111111000" if name == "coconut" else "0100000000")
    rows = cells(folder)
    assert rows["Coconut"][AGAINST].startswith("+53.3 points [") and "3 seeds" in rows["Coconut"][AGAINST]
    assert rows["CoT"][AGAINST].startswith("≈ +0.0 points") and rows["No-CoT (total budget)"][AGAINST] == NONE


@pytest.mark.parametrize("group", ["run", None])
def test_steps_of_the_warm_start_are_counted(tmp_path, group):
    start = {"init_from": "papermill_runs/tiny/02_x/arithmetic-cot--s0"}
    start = {group: start} if group else start  # records of before the group `run` have it among the parameters
    parent = write(tmp_path, "arithmetic-cot", steps=1200)
    write(tmp_path, "arithmetic-coconut", steps=2000, parameters=start)
    assert cells(tmp_path)["Coconut"]["steps in total"] == "3,200"
    parent.unlink()
    assert cells(tmp_path)["Coconut"]["steps in total"] == NONE


def test_further_runs_get_their_own_table(tmp_path):
    write(tmp_path, "arithmetic-two_layers-cot")
    assert cells(tmp_path, "arithmetic-two_layers")["CoT"][PAPER] == NONE


def test_other_models_stand_beside_their_own_numbers(tmp_path):
    write(tmp_path, "llama_aug-codi", tier="paper")
    write(tmp_path, "gpt2_nl-codi", tier="paper")
    assert cells(tmp_path, "llama_aug")["CODI"][PAPER] == "55.6 (2)"
    assert cells(tmp_path, "gpt2_nl")["CODI"][PAPER] == "35.3 (R)"


def test_beside_codis_rows_stand_codis_own_baselines(tmp_path):
    for name in ("cot", "no_cot", "codi"):
        write(tmp_path, f"gpt2_aug-{name}", tier="paper")
    shown = {method: row[PAPER] for method, row in cells(tmp_path, "gpt2_aug").items()}
    assert shown == {"No-CoT": "19.1 (V)", "CoT": "44.1 (2)", "CODI": "43.7 (V)"}
    assert "CODI, arXiv 2502.21074, GPT-2 on GSM8k-Aug." in notes(tmp_path, "gpt2_aug")
    assert "Coconut" not in notes(tmp_path, "gpt2_aug")


def test_small_tier_says_why_it_is_far_below(tmp_path):
    write(tmp_path, "gsm8k-cot", correct="1000000000", tier="small")
    assert "33 to 33 points below the paper, for lack of data and compute: 9,973 training problems" in notes(tmp_path, "gsm8k")
    assert "385,620" in notes(tmp_path, "gsm8k")


def test_same_run_twice_is_refused(folder):
    write(folder / "copy", "arithmetic-codi_long", 1)
    with pytest.raises(ValueError, match="more than one record"):
        load_table(folder)


def test_rows_of_another_budget_are_not_compared(folder):
    """Nor what came before: the start counts."""
    write(folder, "arithmetic-icot_long", 0, steps=100)
    write(folder, "arithmetic-pause_long", 0, steps=60, parameters={"run": {"init_from": "x/02_x/arithmetic-short--s0"}})
    write(folder, "arithmetic-short", 0, steps=40)
    write(folder, "arithmetic-pause", 0, steps=99)
    rows = cells(folder)
    assert all("points" in rows[f"{name} (total budget)"][AGAINST] for name in ("iCoT", "Pause tokens"))
    assert rows["Pause tokens"][AGAINST] == NONE


def test_training_flops_are_added_up_and_missing_in_records_of_before(folder):
    write(folder, "arithmetic-pause_long", 0, extra={"train_flops": 2e12},
          parameters={"run": {"init_from": "x/02_x/arithmetic-short--s0"}})  # fmt: skip
    write(folder, "arithmetic-short", 0, extra={"train_flops": 5e11})
    rows = cells(folder)
    assert rows["Pause tokens (total budget)"][FLOPS] == "2.5" and rows["CoT"][FLOPS] == MISSING


def test_seeds_of_different_settings_are_not_averaged(folder):
    write(folder, "arithmetic-codi_long", 2, parameters={"steps": 7})
    write(folder, "arithmetic-codi_long", 3, parameters={"steps": 8})
    with pytest.raises(ValueError, match=r"arithmetic-codi_long: seeds of different settings.*parameters\.steps"):
        load_table(folder)


def test_arithmetic_says_what_is_a_training_problem_in_another_order(tmp_path):
    """On the problems that the records were made with: 180 of them are, and accuracy without them is on the others."""
    task = load_task("arithmetic", sizes={"train": 10_000, "valid": 300, "test": 1000})
    again = reordered(task.splits["test"], task.splits["train"])
    known = {"parameters": {"task": "arithmetic", "data": {}}, "data_fingerprint": task.fingerprint}
    write(tmp_path, "arithmetic-cot", 0, "".join("01"[old] for old in again), **known)
    write(tmp_path, "arithmetic-no_cot", 0, "".join("10"[old] for old in again), **known)
    assert f"{sum(again)} of 1,000 test problems are a training problem" in notes(tmp_path)
    assert "Accuracy without them, %: No-CoT 100.0, CoT 0.0." in notes(tmp_path)
    assert cells(tmp_path)["CoT"]["accuracy %"] == f"{sum(again) / 10:.1f}" and 0 < sum(again) < 500


def test_a_task_that_nobody_learned_is_said(tmp_path):
    write(tmp_path, "prontoqa-cot", correct="1110100000", extra={"chance": 0.5})
    learned = write(tmp_path, "prontoqa-coconut", correct="1111100000", extra={"chance": 0.5})
    told = "No row is above what guessing gets"
    assert told in notes(tmp_path, "prontoqa")
    learned.unlink()
    learned.parent.rmdir()
    write(tmp_path, "prontoqa-coconut", correct="1111111111", extra={"chance": 0.5})
    assert told not in notes(tmp_path, "prontoqa")


def test_text_is_escaped(tmp_path):
    write(tmp_path, EVIL)
    write_report(build_sections(load_table(tmp_path), RUNS), {}, tmp_path / "out")
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "<script>alert" not in text and "&lt;script&gt;" in text and "cpu &amp; co" in text
    assert r"\|\[x\](javascript:1)" in text


def test_without_records_all_is_missing(tmp_path):
    records = load_table(tmp_path)
    write_report(build_sections(records, RUNS), {}, tmp_path / "out")
    assert {row["accuracy %"] for row in cells(tmp_path).values()} == {MISSING}
    assert cells(tmp_path)["CoT"][PAPER] == "42.9 ± 0.2 (V)"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| CoT |" not in text and "Tier tiny: Arithmetic, GSM8k-Aug in miniature." in text, "a line, not a table of gaps"
    assert build_sections(records, []) == []


def test_the_report_can_be_found_through(folder):
    """Every entry of the contents leads to a heading, and the page begins with what became of the aims."""
    write(folder, "graph-cot", 0, status="smoke")
    write_report(build_sections(load_table(folder), RUNS), {}, folder / "out")
    page, text = ((folder / "out" / name).read_text() for name in ("report.html", "report.md"))
    links, ids = set(re.findall(r'href="#([^"]+)"', page)), re.findall(r'id="([^"]+)"', page)
    assert links and links <= {*ids} and len(ids) == len({*ids})
    headings = {slug(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}
    assert {*re.findall(r"\(#([^)]+)\)", text)} <= headings
    assert text.index("Aim: Coconut at least 30 points above") < text.index("## Contents") < text.index("| CoT |")


def test_an_aim_is_told_where_its_rows_are_planned(tmp_path):
    records, row = load_table(tmp_path), Run("small", "02_explicit_baselines", "arithmetic-no_cot", {}, 0)
    told = lambda runs: [note for section in build_sections(records, runs) for note in section.notes if note.startswith("Aim")]  # noqa: E731
    assert len(told(RUNS)) >= 3 and told([row]) == []


def test_rows_that_were_trained_as_long_stand_first(folder):
    """None is lost, and the one that they are compared with leads or follows as in the table."""
    write(folder, "arithmetic-pause", 0, steps=99)
    (table,) = (s for s in build_sections(load_table(folder), RUNS) if s.name == "arithmetic")
    fair, there = fair_first(table).table, table.table
    assert sorted(fair.method) == sorted(there.method)
    assert [*fair.method].index("Pause tokens") == len(fair) - 1 > [*there.method].index("Pause tokens")


def test_the_lesson_lists_what_the_report_holds(folder):
    write(folder, "graph-cot", 0)
    tables = build_sections(load_table(folder), [*RUNS, Run("paper", "02_x", "gsm8k-cot", {}, 0)])
    told = contents(tables)
    assert "Main tables: 2 tables" in told and f"Arithmetic, GSM8k-Aug in miniature (tier tiny): {len(NAMES)} rows" in told
    assert "1 row" in told and "tier paper" not in told
    shown = opened(next(table for table in tables if table.name == "arithmetic"))
    assert "| 60.0 ± 14.1 |" in shown and "| code |" not in shown and "minutes" not in shown, "what edits change, what it cost"


def test_figures_say_what_they_show(tmp_path):
    figure = Figure(label="What is to be seen & why")
    figure.subplots().plot([1, 2])
    for _ in range(2):
        write_report([], {"curve": figure}, tmp_path)
        page = (tmp_path / "report.html").read_text()
        assert 'aria-label="What is to be seen &amp; why"><svg' in page
    assert "![What is to be seen & why](curve.png)" in (tmp_path / "report.md").read_text()


def test_readme_is_updated_between_its_markers(folder, tmp_path):
    readme, tables = tmp_path / "README.md", build_sections(load_table(folder), RUNS)
    readme.write_text(f"above\n{BEGIN}old{END}\nbelow\n")
    for _ in range(2):
        update_readme(readme, tables, FIGURE)
        assert readme.read_text() == f"above\n{readme_block(tables, FIGURE)}\nbelow\n"
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="0 times"):
        update_readme(readme, tables, FIGURE)


def test_readme_shows_what_the_recorded_records_say():
    readme = ROOT / "README.md"
    if load_results(RECORDED).empty or not readme.is_file():
        pytest.skip("no recorded runs or no README yet")
    runs = [run for path in RECORDED.parent.glob("*.yaml") for run in read_grid(grid_path(path.stem))]
    records = load_table(RECORDED)
    block = readme_block([*build_sections(records, runs), *ladder_sections(records, runs)], FIGURE)
    assert block in readme.read_text(encoding="utf-8"), "run `make report`"
    assert (ROOT / FIGURE).is_file()
