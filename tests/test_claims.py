"""Verdicts follow from records: right sign, wrong sign, too small to tell, not run; and every study names real runs."""

import random
from itertools import product

import pytest
from test_report import write

from latent_reports.claims import PAGE, build_studies, judge
from latent_reports.papers import Claim, Paper
from latent_reports.significance import ACCURACY, ALONE, MEASURES, Difference, difference
from latent_reports.tables import MISSING, build_sections, load_table
from latent_runs.plan import Run

STUDY = {
    "title": "Test", "where": "a table", "model": "GPT-2", "rows": {"a-x": "X", "a-y": "Y", "a-z": "Z"},
    "benchmarks": ["GSM8k"],
    "numbers": {"a-x": {"GSM8k": {"accuracy": 40.0, "mark": "V"}}, "a-y": {"GSM8k": {"accuracy": 10.0, "mark": "V"}}},
}  # fmt: skip
GRID = [Run("tiny", "02_x", variant, {}, 0) for variant in ("a-x", "a-y", "a-z")]


def claim(text):
    """`a-x above a-y V`, or `a-x ~2 a-y V` for one on a par within two points."""
    first, relation, second, mark = text.split()
    margin = {"margin": float(relation[1:])} if relation.startswith("~") else {}
    return {"first": first, "is": "on a par with" if margin else relation, "second": second, "mark": mark, **margin}


def digits(share, seed):
    rng = random.Random(seed)
    return "".join("01"[rng.random() < share] for _ in range(200))


def sections(folder, *claims, runs=GRID, **options):
    """Of a paper with one study, of X, Y and Z."""
    study = {**STUDY, "claims": [*map(claim, claims or ["a-x above a-y V"])], **options}
    paper = {"name": "P", "title": "T", "authors": "A", "arxiv": "2601.00001", "studies": [study]}
    return build_studies(load_table(folder), runs, [Paper.model_validate(paper)])


@pytest.fixture
def folder(tmp_path):
    for variant, share in (("a-x", 0.8), ("a-y", 0.3), ("a-z", 0.8)):
        for seed in (0, 1, 2):
            write(tmp_path, variant, seed, digits(share, f"{variant}{seed}"))
    return tmp_path


def verdicts(folder, *claims, **options):
    page = next(s for s in sections(folder, *claims, **options) if s.title.startswith(PAGE))
    return page.table["in miniature"].tolist()


def table(folder, *claims, **options):
    (found,) = (s for s in sections(folder, *claims, **options) if s.title.startswith("Test"))
    return {row.pop("setting"): row for row in found.table.to_dict("records")}, found.notes


@pytest.mark.parametrize(
    "text, verdict",
    [
        ("a-x above a-y V", "agrees"),
        ("a-y above a-x V", "disagrees"),
        ("a-y below a-x V", "agrees"),
        ("a-x below a-y V", "disagrees"),
        ("a-x above a-z V", "inside the noise"),
        ("a-x ~20 a-z V", "agrees"),
        ("a-x ~2 a-z V", "inside the noise"),
        ("a-x ~2 a-y V", "disagrees"),
        ("a-x ~80 a-y V", "agrees"),
    ],
)
def test_verdicts(folder, text, verdict):
    assert verdicts(folder, text) == [verdict]
    told = table(folder, text)[1][0]
    assert f": {verdict}, " in told and "(tier tiny)" in told
    assert ("~2 " in text) == (" on a par with " in told and " (within 2 points) (V): " in told)


def test_on_a_par_means_within_the_margin_and_nothing_else():
    for margin, low, high, (n_seeds, noise) in product((1, 3), (-4, -2, 0.5, 2), (-1, 1, 2, 4), ((1, 0), (1, 9), (3, 0))):
        found = Difference(ACCURACY, (low + high) / 2, min(low, high), max(low, high), n_seeds, noise)
        verdict = judge(Claim.model_validate(claim(f"a ~{margin} b V")), found)
        within, at_0 = -margin <= found.low and found.high <= margin, found.low <= 0 <= found.high
        assert (verdict == "agrees") == (within and n_seeds > 1), "what is not known well enough is no agreement"
        far = not at_0 and not within and abs(found.mean) > margin and abs(found.mean) >= noise
        assert (verdict == "disagrees") == far


def test_a_difference_that_is_certain_and_too_large_disagrees_with_being_on_a_par():
    par, above = (Claim.model_validate(claim(f"a {relation} b V")) for relation in ("~2", "above"))
    sure, small = Difference(ACCURACY, 5, 3, 7, 3, 0), Difference(ACCURACY, 1, 0.5, 1.5, 3, 0)
    assert [judge(one, found) for one in (par, above) for found in (sure, small, None)] == [
        "disagrees", "agrees", "not run", "agrees", "agrees", "not run",
    ]  # fmt: skip
    assert judge(par, Difference(ACCURACY, 1.9, 0.5, 3.3, 3, 0)) == "inside the noise"  # above 0, perhaps within the margin


def test_costs_are_claimed_to_be_below(folder):
    for seed in (0, 1, 2):
        write(folder, "a-w", seed, metrics={"seconds_alone": 0.05 + 0.001 * seed, "accuracy": 0.5, "train_steps": 1})
    records = load_table(folder)
    x, w = (records[records.variant == variant] for variant in ("a-x", "a-w"))
    found = difference(x, w, ALONE)
    assert (found.mean, found.n_seeds) == (pytest.approx(-41), 3) and found.low <= found.mean <= found.high < 0
    costly = dict(rows={"a-x": "X", "a-w": "W"}, numbers={}, measures=["ms/question alone"])
    assert verdicts(folder, "a-x below a-w V", "a-x above a-w V", **costly) == ["agrees", "disagrees"]
    both = dict(measures=["accuracy %", "ms/question alone"])
    assert verdicts(folder, **both) == ["agrees", "inside the noise"]  # all of the fixture's take the same time
    rows, notes = table(folder, **both)
    assert rows["Y"]["ms/question alone"] == "10.0 (1.0 ×)" and "X above Y: ms/question alone (V): " in notes[1]


def test_intervals_are_over_seeds_and_problems(tmp_path):
    """Seeds that disagree widen what problems alone would call certain; identical seeds do not."""
    widths = {}
    for name, shares in {"steady": (0.5, 0.5, 0.5), "erratic": (0.1, 0.5, 0.9)}.items():
        for seed, share in enumerate(shares):
            write(tmp_path / name, "a-x", seed, digits(share, f"x{seed}"))
            write(tmp_path / name, "a-y", seed, digits(0.0, "y"))
        records = load_table(tmp_path / name)
        x, y = (records[records.variant == variant] for variant in ("a-x", "a-y"))
        found = difference(x, y, ACCURACY)
        assert found.mean == pytest.approx(100 * x["metrics.accuracy"].mean()) and found.low < found.mean < found.high
        widths[name] = found.high - found.low
    assert widths["erratic"] > 3 * widths["steady"]


def test_one_seed_is_measured_by_the_noise_of_several(tmp_path):
    for seed, share in enumerate((0.4, 0.5, 0.6)):  # two standard deviations: about 20 points
        write(tmp_path, "a-y", seed, digits(share, seed))
    write(tmp_path, "a-x", 0, digits(0.52, "x"))
    write(tmp_path, "a-z", 0, digits(0.9, "z"))
    claims = "a-x above a-y V", "a-z above a-y V", "a-x ~99 a-y V"
    assert verdicts(tmp_path, *claims) == ["inside the noise", "agrees", "inside the noise"]
    rows, notes = table(tmp_path, *claims)
    assert "1 seed, 2σ over seeds" in notes[0] and rows["Y"]["seeds"] == "3"
    assert rows["Y"]["against X"].startswith("≈ ") and not rows["Z"]["against X"].startswith("≈")


def test_two_single_seeds_are_measured_by_the_noise_of_their_table(tmp_path):
    for seed, share in enumerate((0.3, 0.5, 0.7)):  # of X: two standard deviations are about 40 points
        write(tmp_path, "a-x", seed, digits(share, seed))
    write(tmp_path, "a-y", 0, digits(0.8, "y"))
    write(tmp_path, "a-z", 0, digits(0.55, "z"))
    assert verdicts(tmp_path, "a-y above a-z V") == ["inside the noise"]


def test_the_same_problems_are_paired(tmp_path):
    """X is right wherever Y is, and once more: paired the interval is narrow, with other problems it is wide."""
    for seed in (0, 1):
        bits = digits(0.5, seed)
        write(tmp_path, "a-y", seed, bits)
        write(tmp_path, "a-x", seed, bits.replace("0", "1", 4))
    records = load_table(tmp_path)
    x, y = (records[records.variant == variant] for variant in ("a-x", "a-y"))
    paired, apart = (difference(x.assign(data_fingerprint=name), y, ACCURACY) for name in ("d", "other"))
    assert paired.mean == pytest.approx(apart.mean) == pytest.approx(2.0)
    assert paired.high - paired.low < 5 < apart.high - apart.low
    assert not paired.inside and apart.inside


def test_deleted_record_makes_exactly_its_cells_missing(folder):
    before, _ = table(folder)
    for seed in (0, 1, 2):
        (folder / "tiny" / "02_x" / f"a-y--s{seed}" / "result.json").unlink()
    after, notes = table(folder)
    changed = {(row, column) for row in before for column in before[row] if before[row][column] != after[row][column]}
    assert changed == {("Y", "accuracy %"), ("Y", "against X"), ("Y", "seeds")}
    assert {after[row][column] for row, column in changed} == {MISSING}
    assert after["Y"]["paper, GSM8k"] == "10.0 (V)" and verdicts(folder) == ["not run"]
    assert "X above Y (V): not run, missing (tier tiny)." in notes


def test_smoke_and_uncommitted_runs_prove_nothing(folder):
    write(folder, "a-q", 0, status="smoke")
    for seed in (0, 1, 2):
        (folder / "tiny" / "02_x" / f"a-y--s{seed}" / "result.json").unlink()
        write(folder / "again", "a-y", seed, digits(0.3, seed), dirty=True)
    assert verdicts(folder) == ["not run"]


def test_nothing_planned_nothing_said(tmp_path):
    assert build_studies(load_table(tmp_path), []) == sections(tmp_path, runs=[]) == []
    assert verdicts(tmp_path) == ["not run"]


def test_ablations_stay_out_of_the_main_tables(tmp_path):
    write(tmp_path, "ablation_codi-beta0")
    write(tmp_path, "arithmetic-codi")
    assert [s.name for s in build_sections(load_table(tmp_path), [])] == ["arithmetic"]
    titles = [s.title for s in build_studies(load_table(tmp_path), [])]
    assert any("what each part is worth" in title for title in titles)
    assert MEASURES["two steps %"].column == "metrics.out_of_domain.two steps.accuracy"
