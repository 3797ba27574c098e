"""The papers' numbers and claims are data that somebody can edit: what is wrong in a file is told with its line."""

import pytest

from latent_reports.papers import PAPERS, SECTIONS, Claim, beside, paper_value, read_paper, read_papers
from latent_reports.tables import FROZEN_NOTEBOOK, place
from latent_runs.places import GRIDS
from latent_runs.plan import grid_path, read_grid

GRID = [run for tier in ("tiny", "small", "paper") for run in read_grid(grid_path(tier))]
TABLES = [table for paper in PAPERS for table in paper.tables]
STUDIES = [study for paper in PAPERS for study in paper.studies]
CELL = "GSM8k: {accuracy: 42.9, spread: 0.2, tokens: 25.0, mark: V}"
PAR = "{first: arithmetic-pause_long, is: on a par with, second: arithmetic-no_cot_long, margin: 2, mark: V}"
ABOVE = "{first: arithmetic-cot_long, is: above, second: arithmetic-coconut, mark: V}"
SECTION = 'miniature", benchmark: ProsQA'
STUDY = "where: Table 1\n    model: GPT-2\n    shown: false"
WHOLE = "codi_long-whole: {GSM8k"
NO_FINDING = "by_construction: [new tokens]\n    claims:\n      - {first: arithmetic-codi"
FILLER = 'empty positions?\n      above: "yes"'

TYPOS = {  # in each kind of place: file, what stands there (once), of which this, becomes that, and what is said
    "key": ("codi", "authors:", "s", "", "author: Extra inputs are not permitted"),
    "arXiv number without quotes": ("codi", '"2502.21074"', '"', "", "arxiv: Input should be a valid string"),
    "arXiv number": ("codi", '"2502.21074"', "4", "", "arxiv: String should match pattern"),
    "training problems": ("coconut", "{GSM8k: 385620", "k", "K", "benchmark of a table is named 'GSM8K'; is 'GSM8k' meant?"),
    "table's key": ("coconut", "- where: Table 1\n    model: GPT-2\n    bench", "model", "modell", "modell: Extra inputs"),
    "table's row": ("coconut", "      pause_as_thought:\n", "t:", "ts:", "no row is named 'pause_as_thoughts'; is 'pause_as"),
    "table's benchmark": ("coconut", CELL, "8k", "8", "no benchmark of this table is named 'GSM8'; is 'GSM8k' meant?"),
    "cell as text": ("coconut", CELL, CELL[7:], "42.9 ± 0.2", "GSM8k: Input should be a valid dictionary"),
    "number as text": ("coconut", CELL, "42.9", "42.9 %", "accuracy: Input should be a valid number"),
    "number below zero": ("coconut", CELL, "42.9", "-42.9", "accuracy: Input should be greater than 0"),
    "spread": ("coconut", CELL, "0.2", "± 0.2", "spread: Input should be a valid number"),
    "tokens": ("coconut", CELL, "tokens", "token", "token: Extra inputs are not permitted"),
    "quantity": ("coconut", CELL, "accuracy", "acuracy", "acuracy: Extra inputs are not permitted"),
    "two quantities": ("coconut", CELL, "accuracy", "times: 3.0, accuracy", "times: Extra inputs are not permitted"),
    "no quantity": ("coconut", CELL, "accuracy: 42.9, ", "", "accuracy: Field required"),
    "number without mark": ("coconut", CELL, ", mark: V", "", "mark: Field required"),
    "unknown mark": ("coconut", CELL, "V", "X", "mark: Input should be 'V', '2' or 'R'"),
    "section": ("coconut", "  graph: {title", "graph", "graphs", "no section of a grid is named 'graphs'; is 'graph' meant?"),
    "section's benchmark": ("coconut", SECTION, "QA", "Qa", "no benchmark of its model is named 'ProsQa'; is 'ProsQA' meant?"),
    "study's run": ("codi", "ablation_codi-n4: CODI", "n4", "n7", "no run of a grid is named 'ablation_codi-n7'; is 'ablation"),
    "study's measure": ("codi", "measures: [two steps %", "two", "too", "no measure is named 'too steps %'; is 'two steps %'"),
    "what holds by construction": ("codi", NO_FINDING, "tokens", "token", "named 'new token'; is 'new tokens' meant?"),
    "study's number": ("codi", WHOLE, "whole", "hole", "no row is named 'ablation_codi_long-hole'; is 'ablation_codi_long"),
    "study's benchmark": ("codi", WHOLE, "8k", "", "no benchmark of this table is named 'GSM'; is 'GSM8k' meant?"),
    "study's key": ("codi", "reading: >-\n      With pat", "reading", "readings", "readings: Extra inputs are not permitted"),
    "study's switch": ("coconut", STUDY, "false", "hidden", "shown: Input should be a valid boolean"),
    "claim's row": ("coconut", ABOVE, "-coconut", "-cocont", "no row of this study is named 'arithmetic-cocont'; is 'ari"),
    "claim of another study": ("coconut", ABOVE, "arithmetic-cot_long", "graph-cot", "no row of this study is named 'graph-c"),
    "claim's relation": ("coconut", ABOVE, "above", "better", "is: Input should be 'above', 'below' or 'on a par with'"),
    "claim's key": ("coconut", ABOVE, "second", "than", "than: Extra inputs are not permitted"),
    "claim without mark": ("coconut", ABOVE, ", mark: V", "", "mark: Field required"),
    "no margin": ("coconut", PAR, "margin: 2, ", "", "'on a par with' needs a margin, and nothing else has one"),
    "margin elsewhere": ("coconut", ABOVE, "mark", "margin: 2, mark", "'on a par with' needs a margin, and nothing else has"),
    "margin of nothing": ("coconut", PAR, "2", "0", "margin: Input should be greater than 0"),
    "question's row": ("softcot", "second: cot_unk", "unk", "unc", "no row is named 'cot_unc'; is 'cot_unk' meant?"),
    "an answer that YAML takes for true": ("softcot", FILLER, '"', "", "above: Input should be a valid string"),
    "task's benchmark": ("softcot", "aqua: AQuA", "QuA", "QUA", "no benchmark of a table is named 'AQUA'; is 'AQuA' meant?"),
    "task's model": ("softcot", "qwen: Qwen2.5", "2.5", "25", "no model of a table is named 'Qwen25-7B-Instruct'; is 'Qwen2.5"),
    "reading's tier": ("softcot", "small: >-", "small", "smal", "no tier is named 'smal'; is 'small' meant?"),
    "a key twice": ("codi", "codi_long-static: {GSM8k", "static", "whole", "ablation_codi_long-whole: is there twice"),
    "a brace": ("coconut", CELL, "}", "", "expected ',' or '}', but got ':'"),
    "a tab": ("coconut", f"  {CELL}", "  ", "\t", "found character '\\t' that cannot start any token"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "stands", "this", "that", "said"), TYPOS.values(), ids=TYPOS)
def test_a_typo_is_one_error_with_file_and_line(name, stands, this, that, said, tmp_path):
    text = (GRIDS / "papers" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.count(stands) == 1 and this in stands
    wrong = text.replace(stands, stands.replace(this, that))
    (tmp_path / f"{name}.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_paper(tmp_path / f"{name}.yaml", GRID)
    line = next(n for n, (old, new) in enumerate(zip(text.split("\n"), wrong.split("\n")), start=1) if old != new)
    place, _, told = str(error.value).partition(": ")
    assert "\n" not in told and said in told
    assert place == f"papers/{name}.yaml:{line + said.startswith('expected')}"  # a brace is missed where the next line begins


@pytest.mark.parametrize("text", ["", "- a list", "name: X\n"])
def test_a_file_that_is_no_paper_is_refused(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"papers/x\.yaml:1: "):
        read_papers(tmp_path)


def test_a_paper_needs_its_head_only_and_numbers_are_those_of_the_grids(tmp_path):
    head = 'name: X\ntitle: A paper\nauthors: A. B.\narxiv: "2601.00001"\n'
    numbers = "{cot: {B: {accuracy: 1e-1, spread: 1e-3, mark: 2}}}"
    table = f"tables: [{{where: Table 1, model: M, benchmarks: [B], numbers: {numbers}}}]\n"
    (tmp_path / "x.yaml").write_text(head + table)
    (paper,) = read_papers(tmp_path)
    assert str(paper.tables[0].numbers["cot"]["B"]) == "0.1 ± 0.001 (2)" and paper.studies == []
    assert paper.cite(paper.tables[0].where) == "X, arXiv 2601.00001, Table 1"


def test_papers_come_in_their_order():
    assert [paper.name for paper in PAPERS] == ["Coconut", "SoftCoT", "CODI", "PCCoT", "SIM-CoT"]


def test_every_number_is_a_share_with_a_mark():
    numbers = [number for table in TABLES for row in table.numbers.values() for number in row.values()]
    assert len(numbers) == 8 * 3 + 4 * 5 + 2 * 2 + 6 + 4 * 6 + 2 * 3 + 7 + 3 + 3 + 2 * 5 * 3 + 2 + 1 + 2 * 2
    assert all(0 < number.value <= 100 and number.mark in "V2R" for number in numbers)


def test_numbers_are_found_by_method_benchmark_and_model():
    assert str(paper_value("coconut", "GSM8k")) == "34.1 ± 1.5 (V)"
    assert paper_value("coconut", "GSM8k").source == "Coconut, arXiv 2412.06769, Table 1"
    assert (paper_value("codi", "GSM8k").number.value, paper_value("cot", "ProsQA").number.tokens) == (43.7, 49.4)
    assert paper_value("codi", "ProsQA") is paper_value("codi", None) is paper_value("nobody", "GSM8k") is None
    assert str(paper_value("softcot", "AQuA", "Qwen2.5-7B-Instruct")) == "72.44 (R)"


def test_a_section_shows_its_own_paper_first():
    aug, real = ([str(beside(section, method)) for method in ("no_cot", "cot", "codi")] for section in ("gpt2_aug", "gsm8k"))
    assert (aug, real) == (["19.1 (V)", "44.1 (2)", "43.7 (V)"], ["16.5 ± 0.5 (V)", "42.9 ± 0.2 (V)", "43.7 (V)"])
    assert beside("gpt2_csqa", "cot") is beside("graph", "codi") is beside("nowhere", "cot") is None


def test_all_that_the_grids_can_run_is_titled_and_shown():
    shown = {variant for study in STUDIES for variant in study.rows}
    paper, here = ({run.variant for run in GRID if (run.tier == "paper") == large} for large in (True, False))
    for study in STUDIES:
        assert {*study.rows} <= here or {*study.rows} <= paper, f"{study.title}: half of it nobody here can run"
    assert {run.variant for run in GRID if run.variant.startswith("ablation_")} <= shown, "a run that no table shows"
    apart = ("ablation_", "ladder_")  # these have tables of their own
    main = [run.variant for run in GRID if not run.variant.startswith(apart) and run.notebook != FROZEN_NOTEBOOK]
    assert {place(variant)[0] for variant in main} == set(SECTIONS)


def test_claims_of_no_difference_name_their_margin():
    claims = [claim for study in STUDIES for claim in study.claims]
    assert {claim.margin for claim in claims if claim.relation == "on a par with"} == {2}
    assert Claim.model_validate({"first": "a", "is": "below", "second": "b", "mark": 2}).mark == "2"
