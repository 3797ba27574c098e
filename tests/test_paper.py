"""The paper tier without a GPU: its rows build what they say, cost what they really cost, and train on several processes."""

import json
import random
from dataclasses import replace

import pytest
import torch
from byte_models import write_backbone
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

from latent_backbones.tokens import tiny_tokenizer
from latent_costs import check_paper, estimate, flops
from latent_costs.estimate import blank_plan, lengths_key
from latent_costs.flops import SHAPES
from latent_costs.rehearsal import Plan
from latent_cot.curriculum import Budget
from latent_cot.methods import make
from latent_cot.models import Reasoner, ReasonerSpec, add_lora, build_reasoner, lower_frozen, save_reasoner, warm_start
from latent_cot.sequences import Encoded, collate, encode
from latent_cot.training import TrainOptions, train
from latent_runs.lesson import Lesson
from latent_runs.notebooks import run_notebook
from latent_runs.places import ROOT
from latent_runs.plan import grid_path, parse_yaml, read_grid
from latent_runs.settings import typed_parameters
from latent_tasks import Problem

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


@pytest.fixture
def thin(monkeypatch):
    """Thin models by the published names. What was counted of the real ones is not taken for theirs, nor the reverse."""
    for module in (flops, check_paper):
        monkeypatch.setattr(module, "SHAPES", SMALL)
    counted = (flops.layer_bytes, check_paper.depth)
    for one in counted:
        one.cache_clear()
    yield
    for one in counted:
        one.cache_clear()


# --- the grid ------------------------------------------------------------------------------------------------------


def test_epochs_are_optimiser_steps():
    assert parse_yaml("!epochs [40, 385620, 128]") == 120_506
    with pytest.raises(ValueError):
        parse_yaml("!epochs [40, 128]")


def test_rows_have_the_epochs_and_settings_of_their_sources(thin):
    """The whole of a rehearsed run, beside what PAPERS-quoting comments promise: epochs, lr, LoRA, thoughts."""
    epochs = {
        "gsm8k-cot": 25, "gsm8k-icot": 80, "gsm8k-coconut": 22, "gsm8k_50-coconut": 50, "gsm8k-no_curriculum": 50,
        "prontoqa-coconut": 50,
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
def test_flops_are_those_that_pytorch_counts(lm, name, lora, thin):
    plan, batch = made(lm, name, lora, attention="eager")  # the counter does not see the fused kernel of a CPU
    with FlopCounterMode(display=False) as counter:
        sum(plan.method.supervise(plan.reasoner, batch).values()).backward()
    assert estimate.estimate(plan).flops == pytest.approx(counter.get_total_flops(), rel=0.03)


HELD = [(name, lora, precision, "float32") for name, lora in KINDS for precision in ("no", "bf16")]
HELD += [(name, lora, "bf16", "bfloat16") for name, lora in KINDS if lora]


@small
@pytest.mark.parametrize(("name", "lora", "precision", "frozen"), HELD)
def test_memory_is_what_autograd_keeps(lm, name, lora, precision, frozen, thin, monkeypatch):
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


# --- settings that only faithful rows need ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    return {name: write_backbone(name, tmp_path_factory.mktemp(name)) for name in ("gpt2", "llama")}


@pytest.mark.parametrize("every", [0, 1, 2])
def test_adam_begins_anew_as_often_as_it_is_told(every):
    """Its first step is one learning rate long in every weight, so where each step is a first one a weight is one or three of
    them away after three steps."""
    words = ("one", "two", "three")
    spec = ReasonerSpec(d_model=16, n_heads=2, context=32, words=words)
    reasoner, lr = build_reasoner(spec), 1e-3
    problems = encode([Problem(f"one {word}", ("two",), "three", word) for word in words], reasoner.tokenizer)
    method = make("cot", {}, Budget(steps=3, lr=lr, warmup=0, schedule="constant_with_warmup"))
    before = {name: p.detach().clone() for name, p in reasoner.named_parameters()}
    options = TrainOptions(batch_size=3, weight_decay=0.0, betas=(0.9, 0.999), clip=1e9, validations=0, reset_every=every)
    train(reasoner, method, problems, options, progress_bar=False)
    moved = torch.cat([((p.detach() - before[name]).abs() / lr).flatten() for name, p in reasoner.named_parameters()])
    whole = ((moved - moved.round()).abs() < 0.02) & (moved > 0.5)
    assert (whole[moved > 0.5].float().mean() > 0.9) == (every == 1)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_markers_start_as_another_token_and_again_behind_other_weights(name, backbones, tmp_path):
    spec = ReasonerSpec(str(backbones[name]), "hidden", markers_from="<<")
    reasoner = build_reasoner(spec)
    source, markers = reasoner.tokenizer("<").input_ids[0], [reasoner.markers.bot, reasoner.markers.eot]
    for layer in (reasoner.lm.get_input_embeddings(), reasoner.lm.get_output_embeddings()):
        assert torch.equal(layer.weight[markers], layer.weight[[source] * 2])
    plain = build_reasoner(replace(spec, markers_from=""))
    assert not torch.equal(plain.embed(torch.tensor(markers)), plain.embed(torch.tensor([source] * 2)))
    with torch.no_grad():
        plain.lm.get_input_embeddings().weight[source] += 1.0
    save_reasoner(plain, tmp_path)
    warm_start(reasoner, tmp_path)
    assert torch.equal(reasoner.embed(torch.tensor(markers)), plain.embed(torch.tensor([source] * 2)))


def test_lora_reaches_the_matrices_that_are_named(backbones):
    for names, wanted in (((), {"q_proj", "k_proj", "up_proj"}), (("q_proj", "v_proj"), {"q_proj", "v_proj"})):
        reasoner = build_reasoner(ReasonerSpec(str(backbones["llama"]), lora_rank=2, lora_targets=names))
        reached = {name.split(".lora_")[0].rpartition(".")[2] for name, p in reasoner.named_parameters() if p.requires_grad}
        assert wanted <= reached and (not names or reached == wanted)


def test_texts_that_are_too_long_are_left_out_by_their_plain_tokens(backbones, tmp_path):
    """CODI counts question, chain and answer as one text, whatever the layout adds; a byte is a token here."""
    for split, sign in (("train", "q"), ("test", "Q")):
        lines = [{"question": sign * n, "steps": ["<<1+1=2>>"], "answer": "2"} for n in (5, 6, 7)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {"task": str(tmp_path), "method": "cot", "model": {"lm": str(backbones["gpt2"])}}
    for most, kept in ((0, [5, 6, 7]), (16, [5, 6]), (15, [5])):
        namespace = {name: parameter.value for name, parameter in typed_parameters("02_explicit_baselines").items()}
        lesson = Lesson("02_explicit_baselines", namespace | given | {"data": {"n_valid": 0, "max_text_tokens": most}})
        encoded = lesson.encode(lesson.reasoner(lesson.method("cot")))
        assert sorted(len(problem.question) - 1 for problem in encoded) == kept


# --- the check -----------------------------------------------------------------------------------------------------


def test_check_takes_two_steps_of_every_row(data_dir, thin, monkeypatch, capsys, tmp_path):
    """Thin models, so that every row is tried here; `make check-paper` has them at their real shape."""
    monkeypatch.setattr(check_paper, "LENGTHS", tmp_path / "lengths.json")
    assert check_paper.main(["--only", "*softcot*"]) == 0
    assert check_paper.main(["--only", "*/ablation_*-[osnc][lopt]*"]) == 0  # operators, static teachers …
    assert check_paper.main(["--only", "*-codi--*", "--record"]) == 0
    output = capsys.readouterr().out
    assert all(f"{n} of {n} rows passed" in output for n in (12, 6, 6))
    assert "gsm8k's problems, SmolLM2's tokenizer" in output
    recorded = json.loads((tmp_path / "lengths.json").read_text())
    ours = {key: LENGTHS[key]["lengths"] for key in recorded if "gpt2" in key}  # llama's vocabulary is cut in this test
    assert ours == {key: recorded[key]["lengths"] for key in ours}


def test_check_asks_a_step_decoder_to_learn_but_for_the_table_it_never_reads(thin, monkeypatch, capsys):
    row = ["--tier", "gpu", "--only", "*/ladder_4-codi_decoder*"]
    assert check_paper.main(row) == 0
    monkeypatch.setattr(check_paper, "train", lambda *_, **__: [{"loss": 1.0}] * 2)
    assert check_paper.main(row) == 1
    output = capsys.readouterr().out
    assert "did not move" in output and "embed_tokens" not in output.partition("step_decoder")[2]


def test_check_names_the_row_that_fails(data_dir, thin, monkeypatch, capsys):
    monkeypatch.setattr(check_paper, "train", lambda *_, **__: 1 / 0)
    assert check_paper.main(["--only", "*/prosqa-pause*"]) == 1
    output = capsys.readouterr().out
    assert "FAILED 02_explicit_baselines/prosqa-pause--s0: ZeroDivisionError" in output and "0 of 2 rows" in output


@pytest.mark.parametrize("lm", SHAPES, ids=lambda lm: lm.partition("/")[2])
def test_a_model_too_large_for_this_machine_loses_layers(lm, data_dir, thin, monkeypatch, tmp_path):
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
