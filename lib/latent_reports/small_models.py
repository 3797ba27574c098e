"""Tiny random models of many families, for README's table of them (`families`).

Windows are shorter than any text; softcaps and multipliers are far from 1, so that whoever forgot them would be seen.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel
from latent_backbones.tokens import tiny_tokenizer
from latent_tasks import load_task

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
    "jamba": SIZE | HEADS | MAMBA | {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1},
    "falcon_h1": LLAMA | MAMBA | {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_chunk_size": 8},
    "lfm2": SIZE | HEADS | {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3},
}


class InDouble(TorchFunctionMode):
    """Everything in float64: also what a family computes in float32 whatever it is given (norms, softmax, angles)."""

    def __enter__(self):
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        torch.set_default_dtype(torch.float32)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def double(value):
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(double, args), **{name: double(value) for name, value in (kwargs or {}).items()})


def tiny_model(family: str, seed: int = 0) -> tuple[LanguageModel, PreTrainedTokenizerBase]:
    """A random model of a family, in which every weight matters, and a tokenizer for it."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(TASK.words or ())
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(family.partition(",")[0], vocab_size=len(tokenizer), **special, **FAMILIES[family])
    lm = AutoModelForCausalLM.from_config(config, dtype=torch.float32, experts_implementation="eager").eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return lm, tokenizer
