"""The paper tier without a GPU: its rows build what they say, cost what they really cost, and train on several processes."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

from latent_costs import check_paper, estimate, flops
from latent_costs.estimate import blank_plan, lengths_key
from latent_costs.flops import SHAPES
from latent_costs.rehearsal import Plan
from latent_cot.curriculum import Budget
from latent_cot.methods import make
from latent_cot.models import Reasoner, ReasonerSpec, add_lora, lower_frozen
from latent_cot.sequences import Encoded, collate
from latent_cot.tokens import tiny_tokenizer
from latent_cot.training import TrainOptions
from latent_runs.notebooks import run_notebook
from latent_runs.places import ROOT
from latent_runs.plan import grid_path, parse_yaml, read_grid

OTHERS = {"vocab_size": 50_257, "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_key_value_heads": 2}
SMALL = {
    lm: GPT2Config(n_embd=128, n_layer=3, n_head=2, activation_function="gelu_pytorch_tanh")
    if shape.model_type == "gpt2"
    else type(shape)(**OTHERS, num_attention_heads=4, tie_word_embeddings=True)
    for lm, shape in SHAPES.items()
}
OPTIONS = {
    "cot": {},
    "coconut": {"latents_per_step": 2, "final_stage": True},
    "codi": {"keep_last_step": False},
    "softcot": {"n_thoughts": 4, "assistant": "x"},
}
METHODS = {name: make(name, options, Budget(steps=5, steps_per_stage=1, lr=1e-3)) for name, options in OPTIONS.items()}
KINDS = [(name, lora) for name in METHODS for lora in (0, 8) if not (name == "softcot" and lora)]
RUNS = {run.variant: run for run in read_grid(grid_path("paper"))}
LENGTHS = json.loads(estimate.LENGTHS.read_text())
small = pytest.mark.parametrize("lm", list(SMALL)[:2], ids=("gpt2", "llama"))


# --- the grid ------------------------------------------------------------------------------------------------------


def test_epochs_are_optimiser_steps():
    assert parse_yaml("!epochs [40, 385620, 128]") == 120_506
    with pytest.raises(ValueError):
        parse_yaml("!epochs [40, 128]")


def test_rows_have_the_epochs_and_settings_of_their_sources(monkeypatch):
    """The whole of a rehearsed run, beside what PAPERS-quoting comments promise: epochs, lr, LoRA, thoughts."""
    monkeypatch.setattr(flops, "SHAPES", SMALL)
    epochs = {
        "gsm8k-cot": 25, "gsm8k-icot": 80, "gsm8k-coconut": 44, "gsm8k-no_curriculum": 50, "prontoqa-coconut": 50,
        "prosqa-no_curriculum": 50, "prosqa-cot": 50, "gpt2_aug-codi": 40, "gpt2_nl-coconut": 50, "gpt2_csqa-codi": 50,
        "llama_aug-codi": 10, "llama_aug-coconut": 10, "llama_aug-icot": 10, "llama_nl-codi": 3, "llama_csqa-codi": 3,
    }  # fmt: skip
    for variant, wanted in epochs.items():
        run = RUNS[variant]
        plan = blank_plan(run, LENGTHS[lengths_key(run)]["lengths"])
        steps = sum(stage.steps for stage in plan.method.curriculum)
        problems = run.parameters["data.n_train"] - (100 if "csqa" in variant else 0)
        assert steps * plan.options.batch_size / problems == pytest.approx(wanted, rel=0.01), variant
        lora, lr = plan.reasoner.spec.lora_rank, plan.method.curriculum[-1].lr
        if variant.endswith("codi"):
            assert (lora, lr, plan.options.clip) == (128, 8e-4 if "llama" in variant else 3e-3, 2.0)
            assert plan.method.curriculum[0].warmup == pytest.approx(0.03 * steps, abs=1)
            assert plan.method.options.distill_weight == (20 if "llama" in variant else 1)
            assert plan.method.options.keep_last_step == ("csqa" in variant)
        elif "gpt2" not in variant and "llama" not in variant and "icot" not in variant:
            assert (lora, lr, plan.options.precision) == (0, 1e-4, "no")
            assert {(stage.schedule, stage.warmup) for stage in plan.method.curriculum} == {("constant_with_warmup", 0)}


def test_every_row_has_lengths():
    assert {lengths_key(run) for run in (*RUNS.values(), *estimate.training_runs("gpu"))} == set(LENGTHS)


# --- the estimate --------------------------------------------------------------------------------------------------


def made(
    lm: str, name: str, lora: int, precision: str = "no", attention: str = "sdpa", frozen_dtype: str = "float32"
) -> tuple[Plan, object]:
    """A small real model, and a batch of problems that are all alike: no padding."""
    method = METHODS[name]
    writer_options = {"d_assistant": 32} if name == "softcot" else {}
    spec = ReasonerSpec(lm=lm, writer=method.writer, writer_options=writer_options, lora_rank=lora, lora_dropout=0.0)
    spec = replace(spec, frozen_dtype=frozen_dtype)
    torch.manual_seed(0)
    model, rows = AutoModelForCausalLM.from_config(SMALL[lm], attn_implementation=attention), 6
    reasoner = lower_frozen(Reasoner(add_lora(model, spec) if lora else model, tiny_tokenizer(("x",)), spec))
    states = torch.randn(1, 4, 32) if name == "softcot" else None
    problem = Encoded("0", (5,) * 40, ((6,) * 9,) * 3, (7,) * 6, door=3, states=states)
    arranged = method.curriculum[-1].arrange(problem, reasoner.markers, random.Random(0))
    options = TrainOptions(batch_size=rows, precision=precision)
    plan = Plan(reasoner, replace(method, curriculum=method.curriculum[-1:]), [problem], options)
    return plan, collate([arranged] * rows, reasoner.markers)


@small
@pytest.mark.parametrize(("name", "lora"), KINDS)
def test_flops_are_those_that_pytorch_counts(lm, name, lora, monkeypatch):
    monkeypatch.setattr(flops, "SHAPES", SMALL)
    plan, batch = made(lm, name, lora, attention="eager")  # the counter does not see the fused kernel of a CPU
    with FlopCounterMode(display=False) as counter:
        sum(plan.method.supervise(plan.reasoner, batch).values()).backward()
    assert estimate.estimate(plan).flops == pytest.approx(counter.get_total_flops(), rel=0.03)


HELD = [(name, lora, precision, "float32") for name, lora in KINDS for precision in ("no", "bf16")]
HELD += [(name, lora, "bf16", "bfloat16") for name, lora in KINDS if lora]


@small
@pytest.mark.parametrize(("name", "lora", "precision", "frozen"), HELD)
def test_memory_is_what_autograd_keeps(lm, name, lora, precision, frozen, monkeypatch):
    monkeypatch.setattr(flops, "SHAPES", SMALL)
    monkeypatch.setattr(flops, "LOGIT_BYTES", 4)  # what of a logit is kept, without what passes
    plan, batch = made(lm, name, lora, precision, frozen_dtype=frozen)
    held, kept = {p.untyped_storage().data_ptr() for p in plan.reasoner.parameters()}, {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            sum(plan.method.supervise(plan.reasoner, batch).values())
    real = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in held)
    cost = estimate.estimate(plan)
    shape = flops.Shape(plan.reasoner)
    weights = sum(p.untyped_storage().nbytes() for p in plan.reasoner.parameters())
    assert cost.memory - weights - 12 * shape.trained == pytest.approx(real, rel=0.15)


def test_every_row_fits_one_gpu_of_80_gb():
    """As README's table has it, and the largest rows estimated anew. Decimal gigabytes: 80e9 bytes are 74.5 GiB, of the 79
    that such a card has."""
    text = (ROOT / "README.md").read_text()
    block = text[text.index(estimate.BEGIN) : text.index(estimate.END)]
    cells = [line.split("|") for line in block.splitlines() if line.startswith("| 0")]
    found = {row[1].split()[1]: row[2] for row in cells}
    assert len(found) == len(RUNS) and {name: gib for name, gib in found.items() if int(gib) * 2**30 >= 80e9} == {}
    for name, run in RUNS.items():
        if name in ("llama3b-coconut", "llama8b-coconut"):
            row = estimate.row(run, estimate.estimate(blank_plan(run, LENGTHS[lengths_key(run)]["lengths"])))
            assert int(row[1]) == int(found[name]), "make estimate"


def test_shapes_have_the_published_sizes():
    published = {
        "gpt2": 124.4e6, "Llama-3.2-1B": 1235.8e6, "Llama-3.2-3B": 3212.7e6, "Llama-3-8B": 8030.3e6, "3.1-8B": 8030.3e6,
        "2.5-1.5B": 1543.7e6, "2.5-7B": 7615.6e6,
    }  # fmt: skip
    for name, size in published.items():
        (lm,) = (lm for lm in SHAPES if name in lm)
        with torch.device("meta"):
            assert AutoModelForCausalLM.from_config(SHAPES[lm]).num_parameters() == pytest.approx(size, rel=5e-4), lm


def test_readme_holds_a_row_for_every_run():
    text = (ROOT / "README.md").read_text()
    block = text[text.index(estimate.BEGIN) : text.index(estimate.END)]
    assert [line.split(" | ")[0][5:] for line in block.splitlines() if line.startswith("| 0")] == list(RUNS)


# --- the check -----------------------------------------------------------------------------------------------------


def test_check_takes_two_steps_of_every_row(data_dir, monkeypatch, capsys, tmp_path):
    """Thin models, so that every row is tried here; `make check-paper` has them at their real shape."""
    for module in (flops, check_paper):
        monkeypatch.setattr(module, "SHAPES", SMALL)
    monkeypatch.setattr(check_paper, "LENGTHS", tmp_path / "lengths.json")
    assert check_paper.main(["--only", "*softcot*"]) == 0
    assert check_paper.main(["--only", "*codi*", "--record"]) == 0
    output = capsys.readouterr().out
    assert "10 of 10 rows passed" in output and "6 of 6 rows passed" in output
    assert "gsm8k's problems, SmolLM2's tokenizer" in output
    recorded = json.loads((tmp_path / "lengths.json").read_text())
    ours = {key: LENGTHS[key]["lengths"] for key in recorded if "gpt2" in key}  # llama's vocabulary is cut in this test
    assert ours == {key: recorded[key]["lengths"] for key in ours}


def test_check_names_the_row_that_fails(data_dir, monkeypatch, capsys):
    for module in (flops, check_paper):
        monkeypatch.setattr(module, "SHAPES", SMALL)
    monkeypatch.setattr(check_paper, "train", lambda *_, **__: 1 / 0)
    assert check_paper.main(["--only", "*/prosqa-pause*"]) == 1
    output = capsys.readouterr().out
    assert "FAILED 02_explicit_baselines/prosqa-pause--s0: ZeroDivisionError" in output and "0 of 2 rows" in output


@pytest.mark.parametrize("lm", SHAPES, ids=lambda lm: lm.partition("/")[2])
def test_a_model_too_large_for_this_machine_loses_layers(lm, data_dir, monkeypatch, tmp_path):
    for module in (flops, check_paper):
        monkeypatch.setattr(module, "SHAPES", SMALL)
    monkeypatch.setattr(check_paper, "LARGEST", 1)
    monkeypatch.setattr(check_paper, "depth", check_paper.depth.__wrapped__)
    check_paper.write_model(lm, tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).num_hidden_layers == check_paper.LAYERS_KEPT < 3
    assert check_paper.stood_in("gsm8k-aug", lm).endswith("2 layers")


# --- several processes ---------------------------------------------------------------------------------------------


def test_two_processes_from_a_notebook_train_as_one_and_train_again(tmp_path, monkeypatch):
    """Lesson 04 trains CoT, then CODI."""
    monkeypatch.delenv("LATENT_COT_BUDGET", raising=False)  # 1 % of the steps, and not of 5 %
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as in a notebook: threads are there when it is forked
    small = {"run.budget": 0.01, "data": {"n_train": 256, "n_valid": 8, "n_test": 8}, "training.batch_size": 6}
    histories, finals = [], []
    for n in (1, 2):
        out = tmp_path / str(n) / "x--s0"
        executed = run_notebook("04_codi_self_distillation", out, small | {"run.n_processes": n})
        assert executed.read_text().count("Launching training on 2") == (2 if n == 2 else 0)
        with safe_open(out / "checkpoint.safetensors", framework="pt") as file:
            histories.append([entry["loss"] for entry in json.loads(file.metadata()["progress"])["history"]])
        finals.append(load_file(out / "model.safetensors"))
    assert len(histories[0]) > 10
    assert histories[0] == pytest.approx(histories[1], rel=1e-4)
    for name, weight in finals[0].items():
        torch.testing.assert_close(weight, finals[1][name], rtol=1e-2, atol=1e-4)
