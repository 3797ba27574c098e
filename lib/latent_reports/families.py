"""README's table of model families: what holds for each, tried on tiny random models in float64.

    python -m latent_reports.families --readme README.md

A cell is ✓ where all numbers agree to 1e-9 (save = load: bit for bit), and else the largest difference, or the error. Windows
are shorter than the texts, softcaps and multipliers far from 1, so that whoever forgot them would be seen.
"""

import argparse
import copy
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from latent_cot.curriculum import distill
from latent_cot.evaluation import prompt
from latent_cot.families import UnsupportedModel, check_family
from latent_cot.generation import answer_batch
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.models import Reasoner, ReasonerSpec, add_lora, build_reasoner, load_reasoner, save_reasoner
from latent_cot.probing import read_along
from latent_cot.sequences import collate, encode
from latent_cot.sequences import Sequence as Text
from latent_cot.supervision import read_language, read_question, read_through
from latent_cot.thoughts import body, causal, read
from latent_cot.tokens import tiny_tokenizer
from latent_runs.records import replace_block
from latent_tasks import load_task

BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"
TASK = load_task("arithmetic", sizes={"train": 40}, n_steps=(1, 4))
WINDOW = 5  # shorter than any question
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 96}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA = SIZE | HEADS | {"head_dim": 8}
BOTH = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
CAPS = {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}
OPT = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 96}
ALIBI = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1}
MAMBA = {"mamba_d_state": 8, "mamba_d_conv": 2, "mamba_expand": 2}
# By family, or family and variant: what makes it small, and what makes it differ from the others.
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96},
    "gpt_neo, local attention": SIZE
    | {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "gpt_neox": SIZE | {"num_attention_heads": 4, "rotary_pct": 0.5},
    "opt": OPT | {"word_embed_proj_dim": 32},
    "opt, narrow embeddings": OPT | {"word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "bloom": ALIBI,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 96, "expansion_ratio": 2},
    "falcon": ALIBI,
    "falcon, ALiBi": ALIBI | {"alibi": True},
    "phi": SIZE | HEADS,
    "phi3, window": SIZE | HEADS | {"sliding_window": WINDOW},
    "llama": LLAMA,
    "mistral, window": LLAMA | {"sliding_window": WINDOW},
    "mixtral, window, experts": LLAMA | {"sliding_window": WINDOW, "num_local_experts": 4},
    "qwen2, window": SIZE | HEADS | BOTH | {"use_sliding_window": True},
    "qwen3, window": LLAMA | BOTH | {"use_sliding_window": True},
    "qwen3_moe, experts": LLAMA | EXPERTS,
    "gemma2, window": LLAMA | BOTH | CAPS,
    "gemma3_text, window": LLAMA | BOTH | CAPS,
    "olmo2": SIZE | HEADS,
    "granite": SIZE
    | HEADS
    | {"embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3},
    "cohere": SIZE | HEADS | {"logit_scale": 0.25},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "jamba": SIZE | HEADS | MAMBA | {"num_experts": 2, "use_mamba_kernels": False, "attn_layer_period": 2, "attn_layer_offset": 1},
    "falcon_h1": LLAMA | MAMBA | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_chunk_size": 8},
    "lfm2": SIZE | HEADS | {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3},
}


class InDouble(TorchFunctionMode):
    """Everything in float64: also what a family computes in float32 whatever it is given (norms, softmax, angles)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def double(value):
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(double, args), **{name: double(value) for name, value in (kwargs or {}).items()})


def tiny_model(family: str, seed: int = 0):
    """A random model of a family, in which every weight matters, and a tokenizer for it."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(TASK.words)
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(family.partition(",")[0], vocab_size=len(tokenizer), **special, **FAMILIES[family])
    lm = AutoModelForCausalLM.from_config(config, dtype=torch.float32, experts_implementation="eager").eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return lm, tokenizer


def agree(found: Tensor, expected: Tensor) -> None:
    """Raise AssertionError, with the largest difference, unless all numbers agree to 1e-9."""
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    off = float((found - expected).abs().max() / expected.abs().max().clamp(min=1)) if found.numel() else 0.0
    assert off <= 1e-9, f"off by {off:.1e}"


def texts(reasoner: Reasoner, n_thoughts: Sequence[int] = (3, 0, 2, 1)) -> list[Text]:
    """A problem for each number of thoughts, with CODI's teacher; questions and chains differ in length."""
    problems, rng = encode(TASK.splits["train"][: len(n_thoughts)], reasoner.tokenizer), random.Random(0)
    return [distill(n, True)(problem, reasoner.markers, rng) for problem, n in zip(problems, n_thoughts)]


def reread(reasoner: Reasoner, text: Text) -> tuple[Tensor, Tensor]:
    """Thoughts and logits as the papers describe them: everything is read again for each, by the model's own `forward`."""
    embeds = reasoner.embed(torch.tensor([text.question]))
    for i in range(text.n_thoughts):
        hidden = body(reasoner.lm)(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, -1]
        embeds = torch.cat([embeds, reasoner.writer(hidden, i)[:, None]], 1)
    embeds = torch.cat([embeds, reasoner.embed(torch.tensor([text.language[:-1]]))], 1)
    logits = causal(reasoner.lm)(inputs_embeds=embeds, use_cache=False).logits[0, -len(text.language) :]
    return embeds[0, len(text.question) :][: text.n_thoughts], logits


def alone_as_in_a_batch(reasoner: Reasoner) -> None:
    """Thoughts and logits of problems with unequally many; CODI's losses, whose teacher does not see <bot>."""
    company, codi = texts(reasoner), CodiOptions(divide_by_std=False)
    batch = collate(company, reasoner.markers)
    seen, together, apart = read_through(reasoner, batch), supervise_codi(reasoner, batch, codi), dict.fromkeys(LOSSES, 0.0)
    for i, text in enumerate(company):
        one = collate([text], reasoner.markers)
        alone, losses = read_through(reasoner, one), supervise_codi(reasoner, one, codi)
        agree(seen.thinking.thoughts[i, : text.n_thoughts], alone.thinking.thoughts[0])
        agree(reasoner.head(seen.predicting[i, : len(text.language)]), reasoner.head(alone.predicting[0]))
        for name, (whole, part) in LOSSES.items():
            apart[name] += losses[name] * part(one) / whole(batch)
    for name, loss in apart.items():
        agree(together[name], loss)


LOSSES: dict[str, Any] = {
    "student": [lambda batch: batch.language.n_supervised] * 2,
    "teacher": [lambda batch: batch.teacher.n_supervised] * 2,
    "distill": [lambda batch: batch.n_problems] * 2,
}


def cached_as_uncached(reasoner: Reasoner) -> None:
    for text in texts(reasoner):
        one = collate([text], reasoner.markers)
        seen, (thoughts, logits) = read_through(reasoner, one), reread(reasoner, text)
        agree(seen.thinking.thoughts[0], thoughts)
        agree(reasoner.head(seen.predicting[0]), logits)


def forked_as_fresh(reasoner: Reasoner) -> None:
    """Go on from a question in two ways; the second knows nothing of the first, nor of a column hidden from it."""
    text = texts(reasoner, (2,))[0]
    batch = collate([text], reasoner.markers)
    question, levels = read_question(reasoner, batch)
    reasoner.think(question, batch)
    hidden = torch.arange(len(text.question)) < len(text.question) - 1  # <bot>
    teacher = replace(question, mask=question.mask & hidden, hidden=levels[-1][:, -2])
    found = reasoner.head(read_language(reasoner, teacher, batch.teacher)[0])
    words = torch.tensor([[*text.question[:-1], *text.teacher[:-1]]])
    agree(found, reasoner.lm(input_ids=words, use_cache=False).logits[:, len(text.question) - 2 :])


def logits_are_its_own(reasoner: Reasoner) -> None:
    text = texts(reasoner, (0,))[0]
    ids = torch.tensor([[*text.question, *text.language]])
    _, levels = read(reasoner.lm, reasoner.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    agree(reasoner.head(levels[-1]), reasoner.lm(input_ids=ids, use_cache=False).logits)


def saved_as_loaded(reasoner: Reasoner) -> None:
    """A folder as a hub has it, a reasoner built on it, trained a little, saved and loaded."""
    lm, (text,) = copy.deepcopy(reasoner.lm).float(), texts(reasoner, (2,))
    with tempfile.TemporaryDirectory() as folder:
        lm.save_pretrained(folder)
        reasoner.tokenizer.save_pretrained(folder)
        built = build_reasoner(ReasonerSpec(lm=folder, writer="projection")).eval()
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.mul_(1.1)
        save_reasoner(built, Path(folder) / "trained")
        loaded = load_reasoner(Path(folder) / "trained").eval()
        batch = collate([text], built.markers)
        before, after = (r.head(read_through(r, batch).predicting) for r in (built, loaded))
        assert torch.equal(before, after), "not the same"


def takes_lora(reasoner: Reasoner) -> None:
    """Every matrix of every layer (experts' too) has an adapter, each adapter learns, and what holds without holds with."""
    lm = copy.deepcopy(reasoner.lm)
    embeddings = {id(table.weight) for table in lm.modules() if isinstance(table, nn.Embedding)}
    linear = [module.weight for module in lm.modules() if isinstance(module, nn.Linear | Conv1D)]
    experts = [weight for weight in lm.parameters() if weight.dim() == 3]
    matrices = {id(w) for w in linear + experts if w is not lm.get_output_embeddings().weight} - embeddings
    adapted = Reasoner(add_lora(lm, LORA), reasoner.tokenizer, LORA).double().eval()
    trained = {name: weight for name, weight in adapted.lm.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in trained.values():
            weight.normal_(0, 0.2)
    logits_are_its_own(adapted)
    cached_as_uncached(adapted)
    (text,) = texts(adapted, (2,))
    reread(adapted, text)[1].logsumexp(-1).sum().backward()
    assert all("lora_" in name for name in trained), "more than LoRA is trained"
    layers = [module for module in adapted.lm.modules() if isinstance(module, LoraLayer)]
    reached = {id(m.get_param() if isinstance(m, ParamWrapper) else m.get_base_layer().weight) for m in layers}
    assert matrices <= reached, f"{len(matrices & reached)} of {len(matrices)} matrices"
    assert all(weight.grad is not None and weight.grad.any() for weight in trained.values()), "an adapter learns nothing"


LORA = ReasonerSpec(writer="projection", lora_rank=2, lora_dropout=0.0)


def can_be_probed(reasoner: Reasoner) -> None:
    """What is watched is what was thought and said, alone as in a batch; attention looks back only and sums to one."""
    problems = encode(TASK.splits["train"][:3], reasoner.tokenizer)
    doors = [prompt(problem, reasoner.markers, n, at_once=True) for problem, n in zip(problems, (3, 0, 2))]
    for door, reading, said in zip(doors, read_along(reasoner, doors), answer_batch(reasoner, doors, 2)):
        (alone,) = read_along(reasoner, [door])
        for name in ("thoughts", "levels", "attention", "logits"):
            agree(getattr(reading, name), getattr(alone, name))
        agree(reading.thoughts, said.thoughts)
        assert int(reading.logits[-1].argmax()) == said.tokens[0], "another word"
        agree(reasoner.head(reading.levels[-1, -1]), reading.logits[-1])
        agree(reading.attention.sum(-1), torch.ones_like(reading.attention[..., 0]))
        assert not reading.attention.triu(1).any(), "it looks ahead"


COLUMNS: dict[str, Callable[[Reasoner], None]] = {
    "alone = in a batch": alone_as_in_a_batch,
    "cached = uncached": cached_as_uncached,
    "forked = fresh": forked_as_fresh,
    "logits = its own": logits_are_its_own,
    "saved = loaded": saved_as_loaded,
    "LoRA": takes_lora,
    "probing": can_be_probed,
}


def row(family: str) -> list[str]:
    """What holds for a family, in `COLUMNS`; or why it is refused."""
    lm, tokenizer = tiny_model(family)
    try:
        check_family(lm)
    except UnsupportedModel as error:
        return [family, str(error)]
    cells = []
    for name, holds in COLUMNS.items():
        try:
            if holds is saved_as_loaded:
                holds(Reasoner(lm, tokenizer, ReasonerSpec(writer="projection")))
            else:
                with InDouble():
                    holds(Reasoner(copy.deepcopy(lm), tokenizer, ReasonerSpec(writer="projection")).double().eval())
            cells.append("✓")
        except Exception as error:
            cells.append(f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error))
    return [family, *cells]
