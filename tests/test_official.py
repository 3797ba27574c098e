"""The paper tier beside the official configurations: every key has a row that says the same, or a reason."""

import re

import pytest

from latent_costs import official
from latent_costs.official import FOLDER, Code, Value, differences, in_effect, page_block, read_codes, same
from latent_reports.papers import paper_value
from latent_runs.places import GRIDS
from latent_runs.plan import grid_path, read_grid

RUNS = read_grid(grid_path("paper"))
CODES = read_codes()
PAGE = GRIDS / "papers" / "README.md"


def one(**value) -> Code:
    """A code of one value, of the row gsm8k-cot."""
    entry = Value.model_validate({"key": "lr", "quote": 'lr: !!float "1e-4"', "at": {"a.yaml": 3}} | value)
    head = {"repository": "a/b", "commit": "0" * 40, "licence": "MIT", "files": {"a.yaml": ["gsm8k-cot"]}}
    return Code(**head, keys={"a.yaml": ["lr"]}, unset={}, values=[entry])


@pytest.mark.parametrize("name", CODES)
def test_the_grid_is_as_the_official_files_have_it(name):
    assert [*differences(CODES[name], RUNS)] == []


def test_every_value_says_where_it_stands():
    assert set(CODES) == {"coconut", "codi", "icot", "softcot"}
    for code in CODES.values():
        assert re.fullmatch("[0-9a-f]{40}", code.commit) and len(code.values) > 20
        for value in code.values:
            assert value.quote.strip() == value.quote and "\n" not in value.quote
            assert value.at and all(line > 0 for line in value.at.values())


DIFFERENT = {  # what is wrong: the value, and what is said
    "another setting": ({"ours": {"lr": 2e-4}}, r"gsm8k-cot: lr is 0.0001, not 0.0002 \(a/b@0000000, a.yaml:3: lr"),
    "no such setting": ({"ours": {"learning": 1e-4}}, "gsm8k-cot: learning is None, not 0.0001"),
    "another value": ({"quote": "lr: 3", "ours": {"lr": 1e-4}}, "lr: 3 is not .*, and nothing says why"),
    "no such row": ({"ours": {"lr": 1e-4}, "rows": ["nobody-*"]}, r"a.yaml:3: no row nobody-\*"),
    "no row at all": ({"ours": {"lr": 1e-4}, "at": {"b.yaml": 1}}, "b.yaml:1: no row any"),
    "an untold key": ({"key": "momentum", "quote": "momentum: 0", "why": "none"}, "a.yaml: nothing is said of lr"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_is_told(case):
    value, said = DIFFERENT[case]
    assert re.search(said, "\n".join(differences(one(**value), RUNS)))


def test_a_value_of_ours_needs_no_reason_and_no_value_needs_one():
    assert [*differences(one(ours={"lr": 1e-4}), RUNS)] == []
    assert [*differences(one(quote="lr: 3", ours={"lr": 1e-4}, why="too large"), RUNS)] == []
    with pytest.raises(ValueError, match="needs a reason"):
        one()


@pytest.mark.parametrize(
    ("quote", "key", "value"),
    [
        ('lr: !!float "1e-4"', "lr", "1e-4"), ("--lora_r 128 --lora_alpha 32 --lora_init", "lora_alpha", "32"),
        ("export EPOCHS=80", "epochs", "80"), ('--lr_scheduler_type "cosine"', "lr_scheduler_type", "cosine"),
        ("parser.add_argument('--lr', type=float, default=5e-5)", "lr", "5e-5"), ("r=16,  # Rank", None, "16"),
        ('"max_new_tokens": 256,', None, "256"), ("--do_train", "do_train", ""),
        ('x: int = field(default=1000, metadata={"help": "a, b"})', "x", "1000"),
    ],
)  # fmt: skip
def test_a_line_has_its_value(quote, key, value):
    assert Value(key=key, quote=quote, at={"a": 1}, why="x").written == value


def test_what_is_compared_is_what_a_run_has_in_effect():
    runs = {run.variant: run for run in RUNS}
    codi, coconut = in_effect(runs["gpt2_aug-codi"]), in_effect(runs["gsm8k-coconut"])
    names = "options.divide_by_std", "model.lora_alpha", "model.writer", "model.writer_options.norm"
    assert [codi[name] for name in names] == [True, 32, "projection", True]  # defaults
    assert round(codi["epochs"], 1) == 40 and codi["share of steps in warm-up"] == 0.03
    assert coconut["after"] == "gsm8k-cot" and round(coconut["epochs"], 1) == 3 * 3 + 13
    assert all(round(in_effect(runs[name])["epochs"], 1) == 50 for name in ("gsm8k_50-coconut", "gsm8k-no_curriculum"))
    assert not same(True, 1) and not same("1", 1) and same((0.9, 0.999), [0.9, 0.999]) and not same([1], [1, 2])


def test_the_page_has_the_table_of_arguments_and_every_old_name():
    text = PAGE.read_text(encoding="utf-8")
    assert page_block(CODES) in text, "python -m latent_costs.official --page papermill_runs/papers/README.md"
    for name in [*CODES["codi"].keys["README.md"], *official.ONCE.values()]:
        assert f"`{name}`" in text


def test_the_pages_ratios_are_those_of_the_papers_numbers():
    text = PAGE.read_text(encoding="utf-8")
    codi, coconut = (paper_value(name, "GSM8k").number.value for name in ("codi", "coconut"))
    cot = paper_value("cot", "GSM8k", first="CODI").number.value
    large = [paper_value(name, "GSM8k", "LLaMA-3.2-1B").number.value for name in ("codi", "cot")]
    assert f'"{100 * codi / cot:.1f} % of CoT" is {codi} of {cot}' in text
    assert f'"{100 * large[0] / large[1]:.1f} %" is {large[0]} of {large[1]}' in text
    more = f"{codi} to {coconut}: relative, {codi - coconut:.1f} points"
    assert f'"{100 * codi / coconut - 100:.1f} % above Coconut" is {more}' in text


def test_the_command_says_what_differs(monkeypatch, capsys):
    assert official.main([]) == 0
    assert f"codi: {len(CODES['codi'].values)} values" in capsys.readouterr().out
    monkeypatch.setattr(official, "read_codes", lambda: {"x": one(ours={"lr": 2e-4})})
    assert official.main([]) == 1
    assert "gsm8k-cot: lr is 0.0001, not 0.0002" in capsys.readouterr().out
    assert FOLDER.is_dir()
