"""Verdicts follow from records: right sign, wrong sign, too small to tell, not run; and every study names real runs."""

import json
import random
import re

import numpy as np
import pytest
from test_report import write

from latent_reports.claims import PAGE, build_studies
from latent_reports.intervals import Part
from latent_reports.papers import Paper
from latent_reports.significance import ACCURACY, ALONE, MEASURES, TOKENS, Difference, difference, judge
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


def test_a_claim_is_asked_where_both_its_rows_are(tmp_path):
    """Another tier has rows of the same names: it is asked what it can answer, and nothing of a study about other rows."""
    here = [Run("small", "02_x", variant, {}, 0) for variant in ("a-x", "a-y")]
    assert verdicts(tmp_path, "a-x above a-y V", "a-x above a-z V", runs=here) == ["not run"]
    assert verdicts(tmp_path, "a-x above a-y V", "a-x above a-z V") == ["not run", "not run"]
    assert sections(tmp_path, "a-x above a-z V", runs=here) == []


def of_width(mean, half):
    """A difference whose 95 % interval is that wide on either side."""
    return Difference(ACCURACY, mean, [Part(np.array((half / 1.959964) ** 2), np.inf)], (0, 1, 2))


@pytest.mark.parametrize(
    ("low", "high", "par", "above"),
    [
        (-1.5, 1.5, "agrees", "inside the noise"),
        (0.5, 1.5, "agrees", "agrees"),  # above, and by too little to matter
        (-2.5, 1.5, "inside the noise", "inside the noise"),  # not known well enough is no agreement
        (0.5, 3.3, "inside the noise", "agrees"),  # above 0, perhaps within the margin
        (2.5, 5.5, "disagrees", "agrees"),
        (-5.5, -2.5, "disagrees", "disagrees"),
        (-50, 50, "inside the noise", "inside the noise"),
    ],
)
def test_on_a_par_needs_the_whole_interval_within_the_margin(low, high, par, above):
    found = of_width((low + high) / 2, (high - low) / 2)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    for opinion, verdict in ((judge(found, margin=2), par), (judge(found), above)):
        assert (opinion.p < 0.05) == (verdict != "inside the noise") and verdict in ("inside the noise", opinion.verdict)


def test_times_of_one_measurement_are_judged(folder):
    times = lambda ms, seed: dict.fromkeys(("median", "low", "high"), ms / 1000 + seed / 1e4)  # noqa: E731
    runs = {
        f"02_x/{variant}--s{seed}": {"model_fingerprint": "m", "alone": times(ms, seed)}
        for variant, ms in (("a-x", 10), ("a-w", 50)) for seed in (0, 1, 2)
    }  # fmt: skip
    for seed in (0, 1, 2):
        write(folder, "a-w", seed)
    (folder / "tiny" / "latency.json").write_text(json.dumps({"runs": runs}))
    records = load_table(folder)
    x, w = (records[records.variant == variant] for variant in ("a-x", "a-w"))
    found = difference(x, w, ALONE)
    assert (found.mean, found.judged) == (pytest.approx(-40), True)
    costly = dict(rows={"a-w": "W", "a-x": "X"}, numbers={}, measures=["ms/question alone"])
    assert verdicts(folder, "a-x below a-w V", "a-x above a-w V", **costly) == ["agrees", "disagrees"]
    rows, notes = table(folder, "a-x below a-w V", **costly | {"measures": ["accuracy %", "ms/question alone"]})
    assert rows["X"]["ms/question alone"] == "10.1 (10.1 to 10.1) (5.0 ×)"


def test_what_holds_by_construction_is_shown_and_not_counted(folder):
    for seed in (0, 1, 2):
        write(folder, "a-w", seed, digits(0.8, seed), extra={"new_tokens": 24.0})
    costly = dict(rows={"a-x": "X", "a-w": "W"}, numbers={}, measures=["accuracy %", "new tokens"])
    page = sections(folder, "a-x below a-w V", by_construction=["new tokens"], **costly)[0]
    assert page.table["in miniature"].tolist()[1] == "by construction" and "-22.0 tokens" in page.table.difference[1]
    assert page.notes[0].startswith("Of 1 claims: ") and "1 claims hold by construction" in page.notes[2]
    assert verdicts(folder, "a-x below a-w V", **costly)[1] == "agrees", "unless the file says so, it is a finding"
    assert difference(*(load_table(folder).query(f"variant == '{v}'") for v in ("a-x", "a-w")), TOKENS).p() < 1e-6


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


def test_fewer_than_three_common_seeds_are_not_judged(tmp_path):
    """One seed of 90 points beside 50 is as little judged as any; and the row says over which seeds the difference is."""
    for seed in (0, 1, 2):
        write(tmp_path, "a-y", seed, digits(0.5, seed))
        write(tmp_path, "a-x", seed + 1, digits(0.9, f"x{seed}"))
    write(tmp_path, "a-z", 0, digits(0.9, "z"))
    claims = "a-x above a-y V", "a-z above a-y V", "a-x ~99 a-z V", "a-z ~99 a-y V"
    assert verdicts(tmp_path, *claims) == ["not judged"] * 4
    rows, notes = table(tmp_path, *claims)
    assert "seeds 1, 2 of both: not judged (tier tiny)." in notes[0] and rows["Y"]["seeds"] == "3"
    form = r"([+-][\d.]+) points \(([\d.]+) against ([\d.]+)\), seeds 1, 2 of both: not judged"
    told = re.fullmatch(form, rows["Y"]["against X"])
    gap, mine, other = map(float, told.groups())
    assert gap == pytest.approx(mine - other, abs=0.11), "of the same seeds, though each row's mean is of all its own"
    assert "no seed in common" in rows["Z"]["against X"]
    write(tmp_path, "a-x", 0, digits(0.9, "x"))
    assert verdicts(tmp_path, *claims[:2]) == ["agrees", "not judged"]
    assert "seeds 0, 1, 2 of both (tier tiny)." in table(tmp_path)[1][0], "X has one more, of which its mean is made, too"


def test_of_one_seed_the_interval_is_over_problems_and_proves_nothing(tmp_path):
    write(tmp_path, "a-x", 0, digits(0.9, "x"))
    write(tmp_path, "a-y", 0, digits(0.5, "y"))
    records = load_table(tmp_path)
    found = difference(*(records[records.variant == variant] for variant in ("a-x", "a-y")))
    assert not found.judged and 0 < found.low < found.mean < found.high and judge(found) == ("not judged", None)


def test_both_at_the_floor(tmp_path):
    """Where neither row is above guessing, no difference is a finding; where one is, it is."""
    graph = {"parameters": {"task": "graph"}}
    for variant, share in (("a-x", 0.49), ("a-y", 0.53), ("a-z", 0.9)):
        for seed in (0, 1, 2):
            write(tmp_path, variant, seed, digits(share, variant), **graph)
    claims = "a-y above a-x V", "a-x ~2 a-y V", "a-z above a-x V", "a-z ~2 a-x V"
    assert verdicts(tmp_path, *claims) == ["at the floor", "at the floor", "agrees", "disagrees"]
    assert "3 seeds, at the floor" in table(tmp_path, *claims)[1][0]
    for path in tmp_path.rglob("result.json"):
        path.write_text(path.read_text().replace('"new_tokens"', '"chance": 0.95, "new_tokens"'))
    assert verdicts(tmp_path, *claims) == ["at the floor"] * 4, "a record that says its task's chance is believed"


def test_many_claims_are_corrected_for_their_number(tmp_path):
    """A difference that one claim by itself would call certain is not so among twenty."""
    for seed in (0, 1, 2):
        write(tmp_path, "a-y", seed, digits(0.5, f"y{seed}"))
        write(tmp_path, "a-x", seed, digits(0.5 + 0.03 * seed + 0.12, f"x{seed}"))
        write(tmp_path, "a-z", seed, digits(0.5, f"z{seed}"))
    assert verdicts(tmp_path, "a-x above a-y V") == ["agrees"]
    many = verdicts(tmp_path, "a-x above a-y V", *["a-y above a-z V"] * 19)
    assert many == ["inside the noise"] * 20
    notes = sections(tmp_path, "a-x above a-y V", *["a-y above a-z V"] * 19)[0].notes
    assert "20 of them could be judged" in notes[1] and "chance alone would give about 1.0 verdicts" in notes[1]


def test_the_same_problems_are_paired(tmp_path):
    """X is right wherever Y is, and once more: paired the interval is narrow, with other problems it is wide."""
    for seed in (0, 1, 2):
        bits = digits(0.5, "the same problems are hard under every seed")
        write(tmp_path, "a-y", seed, bits)
        write(tmp_path, "a-x", seed, bits.replace("0", "1", 4 + seed % 2))
    records = load_table(tmp_path)
    x, y = (records[records.variant == variant] for variant in ("a-x", "a-y"))
    paired, apart = (difference(x.assign(data_fingerprint=name), y, ACCURACY) for name in ("d", "other"))
    assert paired.mean == pytest.approx(apart.mean) == pytest.approx(2 + 1 / 6)
    assert paired.high - paired.low < 5 < apart.high - apart.low
    assert not paired.inside and apart.inside


def test_deleted_record_makes_exactly_its_cells_missing(folder):
    before, _ = table(folder)
    for seed in (0, 1, 2):
        (folder / "tiny" / "02_x" / f"a-y--s{seed}" / "result.json").unlink()
    after, notes = table(folder)
    changed = {(row, column) for row in before for column in before[row] if before[row][column] != after[row][column]}
    assert changed == {("Y", "accuracy %"), ("Y", "against X"), ("Y", "seeds"), ("Y", "code")}
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
