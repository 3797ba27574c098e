"""Verdicts follow from records: right sign, wrong sign, too small to tell, not run; and every study names real runs."""

import random

import pytest
from test_report import write

from latent_reports import studies
from latent_reports.claims import PAGE, build_studies
from latent_reports.report import MISSING, build_sections, read_records
from latent_reports.significance import ACCURACY, difference
from latent_reports.studies import ALONE, STUDIES, Study
from latent_runs.grid import Run, grid_path, read_grid

ROWS = "a-x | X | 40.0 V\n a-y | Y | 10.0 V\n a-z | Z | -"
GRID = [Run("tiny", "02_x", variant, {}, 0) for variant in ("a-x", "a-y", "a-z")]


def digits(share, seed):
    rng = random.Random(seed)
    return "".join("01"[rng.random() < share] for _ in range(200))


@pytest.fixture
def study(monkeypatch):
    """Replaces the studies by one, of X, Y and Z; returns a function that makes it."""

    def make(claims="a-x > a-y V", **options):
        monkeypatch.setattr("latent_reports.claims.STUDIES", [Study("Test", "a paper", ROWS, claims, **options)])

    make()
    return make


@pytest.fixture
def folder(tmp_path):
    for variant, share in (("a-x", 0.8), ("a-y", 0.3), ("a-z", 0.8)):
        for seed in (0, 1, 2):
            write(tmp_path, variant, seed, digits(share, f"{variant}{seed}"))
    return tmp_path


def verdicts(folder, runs=GRID):
    page = next(s for s in build_studies(read_records(folder), runs) if s.title.startswith(PAGE))
    return page.table["in miniature"].tolist()


def table(folder):
    (found,) = (s for s in build_studies(read_records(folder), GRID) if s.title.startswith("Test"))
    return {row.pop("setting"): row for row in found.table.to_dict("records")}, found.notes


@pytest.mark.parametrize(
    "claim, verdict",
    [
        ("a-x > a-y V", "agrees"),
        ("a-y > a-x V", "disagrees"),
        ("a-x > a-z V", "inside the noise"),
        ("a-x ~ a-z V", "agrees"),
        ("a-x ~ a-y V", "disagrees"),
    ],
)
def test_verdicts(folder, study, claim, verdict):
    study(claim)
    assert verdicts(folder) == [verdict]
    assert f": {verdict}, " in table(folder)[1][0] and "(tier tiny)" in table(folder)[1][0]


def test_less_is_better_where_it_costs(folder, study):
    for seed in (0, 1, 2):
        write(folder, "a-w", seed, metrics={"seconds_alone": 0.05 + 0.001 * seed, "accuracy": 0.5, "train_steps": 1})
    records = read_records(folder)
    x, w = (records[records.variant == variant] for variant in ("a-x", "a-w"))
    found = difference(x, w, ALONE)
    assert (found.mean, found.n_seeds) == (pytest.approx(-41), 3) and found.low <= found.mean <= found.high < 0
    study("a-x > a-y V", measures=(ACCURACY, ALONE))
    assert verdicts(folder) == ["agrees", "inside the noise"]  # all of the fixture's take the same time
    assert table(folder)[0]["Y"]["ms/question alone"] == "10.0 (1.0 ×)"


def test_intervals_are_over_seeds_and_problems(tmp_path):
    """Seeds that disagree widen what problems alone would call certain; identical seeds do not."""
    widths = {}
    for name, shares in {"steady": (0.5, 0.5, 0.5), "erratic": (0.1, 0.5, 0.9)}.items():
        for seed, share in enumerate(shares):
            write(tmp_path / name, "a-x", seed, digits(share, f"x{seed}"))
            write(tmp_path / name, "a-y", seed, digits(0.0, "y"))
        records = read_records(tmp_path / name)
        x, y = (records[records.variant == variant] for variant in ("a-x", "a-y"))
        found = difference(x, y, ACCURACY)
        assert found.mean == pytest.approx(100 * x["metrics.accuracy"].mean()) and found.low < found.mean < found.high
        widths[name] = found.high - found.low
    assert widths["erratic"] > 3 * widths["steady"]


def test_one_seed_is_measured_by_the_noise_of_several(tmp_path, study):
    for seed, share in enumerate((0.4, 0.5, 0.6)):  # two standard deviations: about 20 points
        write(tmp_path, "a-y", seed, digits(share, seed))
    write(tmp_path, "a-x", 0, digits(0.52, "x"))
    write(tmp_path, "a-z", 0, digits(0.9, "z"))
    study("a-x > a-y V\na-z > a-y V\na-x ~ a-y V")
    assert verdicts(tmp_path) == ["inside the noise", "agrees", "inside the noise"]
    rows, notes = table(tmp_path)
    assert "1 seed, 2σ over seeds" in notes[0] and rows["Y"]["seeds"] == "3"
    assert rows["Y"]["against X"].startswith("≈ ") and not rows["Z"]["against X"].startswith("≈")


def test_two_single_seeds_are_measured_by_the_noise_of_their_table(tmp_path, study):
    for seed, share in enumerate((0.3, 0.5, 0.7)):  # of X: two standard deviations are about 40 points
        write(tmp_path, "a-x", seed, digits(share, seed))
    write(tmp_path, "a-y", 0, digits(0.8, "y"))
    write(tmp_path, "a-z", 0, digits(0.55, "z"))
    study("a-y > a-z V")
    assert verdicts(tmp_path) == ["inside the noise"]


def test_the_same_problems_are_paired(tmp_path):
    """X is right wherever Y is, and once more: paired the interval is narrow, with other problems it is wide."""
    for seed in (0, 1):
        bits = digits(0.5, seed)
        write(tmp_path, "a-y", seed, bits)
        write(tmp_path, "a-x", seed, bits.replace("0", "1", 4))
    records = read_records(tmp_path)
    x, y = (records[records.variant == variant] for variant in ("a-x", "a-y"))
    paired, apart = (difference(x.assign(data_fingerprint=name), y, ACCURACY) for name in ("d", "other"))
    assert paired.mean == pytest.approx(apart.mean) == pytest.approx(2.0)
    assert paired.high - paired.low < 5 < apart.high - apart.low
    assert not paired.inside and apart.inside


def test_deleted_record_makes_exactly_its_cells_missing(folder, study):
    before, _ = table(folder)
    for seed in (0, 1, 2):
        (folder / "tiny" / "02_x" / f"a-y--s{seed}" / "result.json").unlink()
    after, notes = table(folder)
    changed = {(row, column) for row in before for column in before[row] if before[row][column] != after[row][column]}
    assert changed == {("Y", "accuracy %"), ("Y", "against X"), ("Y", "seeds")}
    assert {after[row][column] for row, column in changed} == {MISSING}
    assert after["Y"]["paper, GSM8k"] == "10.0 (V)" and verdicts(folder) == ["not run"]
    assert "X above Y (V): not run, missing (tier tiny)." in notes


def test_smoke_and_uncommitted_runs_prove_nothing(folder, study):
    write(folder, "a-q", 0, status="smoke")
    for seed in (0, 1, 2):
        (folder / "tiny" / "02_x" / f"a-y--s{seed}" / "result.json").unlink()
        write(folder / "again", "a-y", seed, digits(0.3, seed), dirty=True)
    assert verdicts(folder) == ["not run"]


def test_nothing_planned_nothing_said(tmp_path, study):
    assert build_studies(read_records(tmp_path), []) == []
    assert verdicts(tmp_path) == ["not run"]


def test_studies_name_runs_of_the_grid_and_papers_numbers_have_marks():
    planned = {run.variant for tier in ("tiny", "small") for run in read_grid(grid_path(tier))}
    for one in STUDIES:
        assert set(one.labels) <= planned, one.title
        named = [word for line in one.claims.strip().splitlines() for word in line.split()[:3:2]]
        assert set(named) <= set(one.labels), one.title
        assert all(text[-3:] in ("(V)", "(2)", "(R)") for text in one.paper.values())
        assert all(line.split()[1] in ">~" and line.split()[3] in "V2R" for line in one.claims.strip().splitlines())
    shown = {variant for one in STUDIES for variant in one.labels}
    assert {variant for variant in planned if variant.startswith("ablation_")} <= shown, "a run that no table shows"
    with pytest.raises(ValueError, match="no mark"):
        Study("t", "s", "a | A | 12.3").paper


def test_ablations_stay_out_of_the_main_tables(tmp_path):
    write(tmp_path, "ablation_codi-beta0")
    write(tmp_path, "arithmetic-codi")
    assert [s.name for s in build_sections(read_records(tmp_path), [])] == ["arithmetic"]
    titles = [s.title for s in build_studies(read_records(tmp_path), [])]
    assert any("what each part is worth" in title for title in titles)
    assert studies.ELSEWHERE[0].column == "metrics.out_of_domain.two steps.accuracy"
