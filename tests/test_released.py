"""`make released`, rehearsed: random weights in the layout of the released files, found in a folder, asked, put in a table."""

import json
import random

import pytest
import torch
from byte_models import write_backbone
from safetensors.torch import save_file

from latent_cot.models import ReasonerSpec, build_reasoner
from latent_cot.released import N_THOUGHTS, RELEASED, load_released
from latent_reports import recheck

SAVE = {"gpt2": ("pytorch_model.bin", torch.save), "llama": ("model.safetensors", save_file)}


def write_released(name: str, folder) -> torch.nn.Module:
    """Backbone, byte-level tokenizer and a state dict as the official trainer saves it; the reasoner that it is of."""
    base = write_backbone(name, folder / RELEASED[name].lm.rpartition("/")[2])
    reasoner = build_reasoner(ReasonerSpec(str(base), "projection", {"width": RELEASED[name].width}, lora_rank=128), seed=1)
    for parameter in reasoner.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # adapters begin at zero
    state = {f"codi.{key}": value.clone() for key, value in reasoner.lm.state_dict().items()}
    state |= {f"prj.{key}": value.clone() for key, value in reasoner.writer.state_dict().items()}
    file, save = SAVE[name]
    weights = folder / RELEASED[name].hub.rpartition("/")[2]
    weights.mkdir()
    save(state, weights / file)
    return reasoner.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    return folder, {name: write_released(name, folder) for name in RELEASED}


@pytest.fixture
def problems(tmp_path, monkeypatch):
    """The four sets with five problems each, in their published forms, two of which have two steps."""
    draw = random.Random(0)
    pairs = [(draw.randrange(2, 9), draw.randrange(2, 9)) for _ in range(5)]
    worked = [f"<<{a}+{b}={a + b}>>\n<<{a + b}*2={2 * (a + b)}>>\n#### {2 * (a + b)}" for a, b in pairs]
    gsm = [{"question": f"Ann has {a}  and  {b}?", "answer": steps} for (a, b), steps in zip(pairs, worked)]
    hard = [{"input": f"Ann has {a}000 and {b}?", "target": 1000.0 * a + b} for a, b in pairs]
    svamp = [{"Body": f"Ann has {a}", "Question": f"and {b}?", "Equation": f"( {a} + {b} )", "Answer": a + b} for a, b in pairs]
    multi = [{"sQuestion": f"Ann had {a} and {b}?", "lEquations": [f"X={a}+{b}"], "lSolutions": [a + b]} for a, b in pairs]
    files = {
        "gsm8k/test.jsonl": "\n".join(map(json.dumps, gsm)), "gsm_hard/gsmhardv2.jsonl": "\n".join(map(json.dumps, hard)),
        "svamp/SVAMP.json": json.dumps(svamp), "multiarith/MultiArith.json": json.dumps(multi),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("LATENT_COT_DATA", str(tmp_path))
    monkeypatch.setattr(recheck, "MAX_NEW_TOKENS", 6)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_what_was_released_is_what_is_loaded(folder):
    where, made = folder
    for name, theirs in made.items():
        ours = load_released(name, where)
        for (parameter, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b), (name, parameter)


def test_everything_is_measured_and_stands_beside_the_paper(folder, problems, tmp_path, capsys):
    out = tmp_path / "out"
    assert recheck.main(["gpt2", "llama", "--folder", str(folder[0]), "--out", str(out), "--controls", "4"]) == 0
    text = (out / "released.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    kept = json.loads((out / "released.json").read_text())
    for name, model in kept.items():
        assert model["hub"] == RELEASED[name].hub and list(model["sets"]) == list(recheck.SETS)
        for found in model["sets"].values():
            digits = found["runs"][0]["correct"]
            assert found["accuracy"] == digits.count("1") / 5 and found["n"] == 5 and found["controls_n"] == 4
            assert set(found["controls"]) >= {"removed", "swapped"} and found["seconds"]["median"] > 0
            assert found["new_tokens"] > N_THOUGHTS and found["donor"]["n"] <= 4
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| GSM8k ")]
    assert [(row[3], row[4]) for row in rows] == [("43.7 (V)", "37 to 43.67"), ("55.6 (2)", "3.3")]
    assert "| SVAMP | 5 |" in text and "42.9 (V)" in text and "96.1 (V)" in text


def test_thoughts_are_read_for_intermediate_results():
    decoded = [{"results": 1, "n": 9, "found": 0.5, "found in order": 0.25, "found in another's": None}]
    assert recheck.result_rows(decoded, "GPT-2") == [["1", "9", "50.0", "25.0", "–", "97.1 (V)"]]


def test_sampled_runs_differ_and_their_mean_counts(folder, problems, tmp_path):
    assert recheck.main(["--folder", str(folder[0]), "--out", str(tmp_path / "out"), "--samples", "2", "--first", "3"]) == 0
    found = json.loads((tmp_path / "out" / "released.json").read_text())["gpt2"]["sets"]["svamp"]
    assert len(found["runs"]) == 2 and found["n"] == 3
    assert found["accuracy"] == sum(run["accuracy"] for run in found["runs"]) / 2


@pytest.mark.parametrize("case", ["no folder", "no weights", "no file", "another model's"])
def test_what_is_missing_is_one_line(case, folder, problems, tmp_path, capsys):
    where = tmp_path / "mine"
    if case != "no folder":
        where.mkdir()
    if case in ("no file", "another model's"):
        (where / "CODI-gpt2").mkdir()
    if case == "another model's":
        (where / "gpt2").symlink_to(folder[0] / "gpt2")
        weights = folder[0] / "CODI-llama3.2-1b-Instruct" / "model.safetensors"
        (where / "CODI-gpt2" / "model.safetensors").symlink_to(weights)
    assert recheck.main(["--folder", str(where), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    wanted = {
        "no folder": "there is no such folder", "no weights": "zen-E/CODI-gpt2: not found in",
        "no file": "none of model.safetensors", "another model's": "does not fit",
    }  # fmt: skip
    assert wanted[case] in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        recheck.main(["gpt3"])
    assert "known: gpt2, llama" in capsys.readouterr().err
