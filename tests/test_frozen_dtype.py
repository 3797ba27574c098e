"""Frozen weights in bf16 under LoRA: what is trained is fp32, losses are nearly those of fp32, save and load work."""

import random
from dataclasses import replace

import pytest
import torch
from test_thoughts import encoded

from latent_cot.curriculum import Budget
from latent_cot.generation import answer_batch
from latent_cot.methods import make
from latent_cot.models import ReasonerSpec, build_reasoner, load_reasoner, save_reasoner
from latent_cot.training import TrainOptions, train

BUDGET = Budget(steps=3, steps_per_stage=3, lr=1e-2, warmup=1)
STAGES = {"n_stages": 1, "final_stage": False, "mixing": "none"}
METHODS = {
    "cot": make("cot", {}, BUDGET),
    "pause": make("pause", {"n_thoughts": 2}, BUDGET),
    "coconut": make("coconut", STAGES, BUDGET),
    "codi": make("codi", {"n_thoughts": 2}, BUDGET),
}
each_method = pytest.mark.parametrize("name", METHODS)


def reasoner_of(llama: str, name: str, dtype: str):
    writer = {"writer": METHODS[name].writer, "writer_options": dict(METHODS[name].writer_options)}
    return build_reasoner(ReasonerSpec(lm=llama, lora_rank=4, lora_dropout=0.0, frozen_dtype=dtype, **writer))


@each_method
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_only_adapters_and_writer_are_trained_in_fp32(name, precision, llama, tmp_path):
    full, half = (reasoner_of(llama, name, dtype) for dtype in ("float32", "bfloat16"))
    before = {n: p.detach().clone() for n, p in half.named_parameters()}
    assert {n for n, p in half.named_parameters() if p.requires_grad} == {
        n for n, p in full.named_parameters() if p.requires_grad
    }
    options = TrainOptions(batch_size=8, validations=0, precision=precision)
    losses = []
    for reasoner in (full, half):
        losses.append(train(reasoner, METHODS[name], encoded(reasoner, 16), options, progress_bar=False)["loss"])
    assert ((losses[0] - losses[1]).abs() < 0.02 * losses[0]).all() and (losses[0] != losses[1]).any()
    for n, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), n
        assert parameter.requires_grad or torch.equal(parameter, before[n]), n
    assert any(not torch.equal(p, before[n]) for n, p in half.named_parameters() if ".lora_" in n)
    save_reasoner(half, tmp_path)
    loaded = load_reasoner(tmp_path)
    for (n, ours), theirs in zip(half.named_parameters(), loaded.parameters(), strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), n
    prompts = [METHODS[name].curriculum[-1].arrange(p, half.markers, random.Random(0)) for p in encoded(half, 3)]
    prompts = [replace(one, language=one.language[:1], teacher=()) for one in prompts]
    said = [[answer.tokens for answer in answer_batch(one.eval(), prompts, 4)] for one in (half, loaded)]
    assert said[0] == said[1]


@pytest.mark.parametrize("fields", [{}, {"lora_rank": 2, "step_decoder_layers": 1}])
def test_where_nothing_is_frozen_it_is_refused(fields):
    with pytest.raises(ValueError, match="frozen_dtype=bfloat16 needs frozen weights"):
        build_reasoner(ReasonerSpec(words=("x",), frozen_dtype="bfloat16", **fields))
