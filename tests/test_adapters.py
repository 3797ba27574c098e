"""A model that is too large to ship travels as what its source lacks, and is the same again."""

import json

import pytest
import torch
from byte_models import write_backbone

from latent_cot.adapters import PARTS, put_together, take_apart
from latent_cot.models import ReasonerSpec, build_reasoner, load_reasoner, save_reasoner, warm_start
from latent_runs import grid
from latent_runs.keys import inputs_key
from latent_runs.notebooks import set_aside_stale
from latent_runs.records import REQUIRED, fingerprint_state_dict, write_result

RUN = "small/02_explicit_baselines/mine-cot--s0"


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def trained(request, tmp_path_factory):
    """A folder with a model whose adapters and writer were changed, and the source that it adapts."""
    source = str(write_backbone("llama", tmp_path_factory.mktemp("llama")))
    reasoner = build_reasoner(ReasonerSpec(lm=source, lora_rank=2, writer="projection", frozen_dtype=request.param), seed=3)
    with torch.no_grad():
        for parameter in reasoner.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    folder = tmp_path_factory.mktemp("trained")
    save_reasoner(reasoner, folder)
    return folder, source


def test_it_is_the_same_bit_for_bit_and_small(trained, tmp_path):
    folder, _ = trained
    take_apart(folder, tmp_path)
    whole, again = load_reasoner(folder), put_together(tmp_path)
    assert again.spec == whole.spec
    assert fingerprint_state_dict(again.state_dict()) == fingerprint_state_dict(whole.state_dict())
    learned = sum(p.numel() for p in whole.parameters() if p.requires_grad) + 3 * 32  # rows of pad, bot and eot
    parts = (tmp_path / PARTS).stat().st_size
    assert 4 * learned < parts + 4000 < (folder / "model.safetensors").stat().st_size


@pytest.fixture
def shipped(trained, tmp_path, monkeypatch):
    """The model's adapters beside its record, and where it would have been trained."""
    folder, source = trained
    monkeypatch.setattr(grid, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(grid, "RUNS", tmp_path / "runs")
    monkeypatch.setattr("latent_runs.results.known_commits", lambda: frozenset())
    told = {"task": "word-problems", "model": {"lm": source, "lora_rank": 2}}
    fields = dict.fromkeys(REQUIRED, "a") | {"metrics": {}, "n_evaluated": 1, "wall_seconds": 1.0, "parameters": told}
    fields |= {"notebook": "02_explicit_baselines", "key": inputs_key("02_explicit_baselines", told), "data_fingerprint": "d"}
    fields |= {"model_fingerprint": fingerprint_state_dict(load_reasoner(folder).state_dict())}
    write_result(folder / "result.json", **fields)
    grid._ship(folder, tmp_path / "recorded" / RUN)
    (tmp_path / "recorded" / RUN / "result.json").write_bytes((folder / "result.json").read_bytes())
    return tmp_path


def test_what_starts_from_it_can_after_it_was_taken(shipped, trained):
    folder, source = trained
    assert grid.main(["take", RUN]) == 0
    here = shipped / "runs" / RUN
    assert set_aside_stale(shipped / "runs", {}) == [] and (here / "result.json").exists()
    child, start = build_reasoner(ReasonerSpec(lm=source, lora_rank=2), seed=9), load_reasoner(folder)
    warm_start(child, here)
    assert fingerprint_state_dict(child.lm.float().state_dict()) == fingerprint_state_dict(start.lm.float().state_dict())
    assert grid.main(["take", RUN]) == 0, "and once more"


def said(capsys) -> str:
    return capsys.readouterr().err


def test_what_cannot_be_taken_says_why(shipped, capsys):
    assert grid.main(["take", "small/02_explicit_baselines/yours-cot--s0"]) == 1
    assert f"no adapters of small/02_explicit_baselines/yours-cot--s0 ship with its record; there are: {RUN}" in said(capsys)
    path = shipped / "recorded" / RUN / "result.json"
    record = json.loads(path.read_text())
    for name, why in (("model_fingerprint", "do not make the model of its record"), ("key", "trained by older code")):
        path.write_text(json.dumps(record | {name: "another"}))
        assert grid.main(["take", RUN]) == 1 and why in said(capsys)
    assert not (shipped / "runs" / RUN / "result.json").exists()
