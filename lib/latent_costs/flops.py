"""What one sequence costs a model of a given shape: FLOPs of every read, bytes that a training step keeps.

With N the weights that multiply a token, n tokens read after s others, A the width of all heads, L the layers:

    forward  2 N n + 4 L A n (s + n)      backward: twice that, but once for frozen weights (LoRA, SoftCoT)
"""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from latent_backbones.parts import body
from latent_backbones.tokens import tiny_tokenizer
from latent_cot.families import set_layers
from latent_cot.models import Reasoner, ReasonerSpec, add_lora, build_reasoner, lower_frozen
from latent_cot.sequences import Sequence
from latent_cot.thoughts import read
from latent_cot.writers import width_of

SHAPES: dict[str, PreTrainedConfig] = {  # as published
    name: AutoConfig.for_model(**shape)
    for name, shape in json.loads(Path(__file__).with_name("shapes.json").read_text()).items()
}
LOGIT_BYTES = 14  # of a logit at the peak: in bf16, in fp32, its log-softmax (4, which autograd keeps) and its gradient


def matrices(module: nn.Module, lora: bool = False) -> int:
    """The weights that multiply every token, LoRA's or the others."""
    found = ((name, m.weight) for name, m in module.named_modules() if isinstance(m, nn.Linear | Conv1D))
    return sum(weight.numel() for name, weight in found if ("lora_" in name) == lora)


class Shape:
    """The numbers of a model that the formulas need; counts are of weights."""

    def __init__(self, reasoner: Reasoner):
        lm, head, parameters = body(reasoner.lm), reasoner.lm.get_output_embeddings().weight, list(reasoner.parameters())
        width = getattr(lm.config, "head_dim", None) or lm.config.hidden_size // lm.config.num_attention_heads
        self.total = sum(p.numel() for p in parameters)
        self.bytes = sum(p.numel() * p.element_size() for p in parameters)
        self.trained = sum(p.numel() for p in parameters if p.requires_grad)
        self.matmul, self.lora, self.writer = matrices(lm), matrices(lm, lora=True), matrices(reasoner.writer)
        self.head, self.vocabulary = head.numel(), len(head)
        self.layers: int = lm.config.num_hidden_layers
        self.attention: int = width * lm.config.num_attention_heads  # width of all heads
        self.keys: int = width * (getattr(lm.config, "num_key_value_heads", None) or lm.config.num_attention_heads)
        self.full = head.requires_grad  # all weights are trained
        self.half = head.dtype == torch.bfloat16  # frozen weights are kept as autocast wants them
        self.frozen = not any(p.requires_grad for p in reasoner.lm.parameters())  # nothing flows back into the question


def blank_reasoner(spec: ReasonerSpec) -> Reasoner:
    """A reasoner without values, tiny or of a published shape. Raises `KeyError` for a model that is not in `SHAPES`."""
    if spec.lm == "tiny":
        with torch.device("meta"):
            return build_reasoner(spec)
    config = copy.deepcopy(SHAPES[spec.lm])
    config.vocab_size += 3  # <pad>, <bot>, <eot>
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(config)
        return lower_frozen(Reasoner(add_lora(lm, spec) if spec.lora_rank else lm, tiny_tokenizer(("x",)), spec))


def cut(lm: str, n_layers: int) -> PreTrainedConfig:
    """A published shape with its first layers only."""
    config = copy.deepcopy(SHAPES[lm])
    set_layers(config, n_layers)
    return config


def read_flops(shape: Shape, new: float, seen: float) -> float:
    """Forward and backward of `new` tokens after `seen` others, through the body."""
    forward = 2 * (shape.matmul + shape.lora) * new + 4 * shape.layers * shape.attention * new * (seen + new)
    if shape.frozen and not seen:
        return forward
    return 3 * forward - (0 if shape.full else 2 * shape.matmul * new)


def reads(sequence: Sequence) -> list[tuple[int, int]]:
    """The passes through the model that one problem takes, in order: tokens read, tokens seen before."""
    q, t = len(sequence.question), sequence.n_thoughts
    alone = max(t - 1, 0) if sequence.states is None else 0  # the last one is read with the language; an assistant's all are
    found = [(q, 0), *((1, q + i) for i in range(alone)), (t - alone + len(sequence.language) - 1, q + alone)]
    return found + [(len(sequence.teacher) - 1, q - 1)] * bool(sequence.teacher)  # the teacher does not see <bot>


def n_supervised(sequence: Sequence) -> int:
    return len(sequence.language) - sequence.n_unsupervised + len(sequence.teacher)


def head_flops(shape: Shape, sequence: Sequence) -> float:
    """The LM head where something is supervised, and the projection of the thoughts."""
    return (6 if shape.full else 4) * shape.head * n_supervised(sequence) + 6 * shape.writer * sequence.n_thoughts


@functools.cache
def layer_bytes(spec: ReasonerSpec, precision: str) -> float:
    """What autograd keeps for a token in one layer, counted in a layer of the real width."""
    config = cut(spec.lm, 1) if spec.lm != "tiny" else blank_reasoner(replace(spec, n_layers=1, words=("x",))).lm.config
    config.vocab_size = 8
    lm = AutoModelForCausalLM.from_config(config)
    lm = add_lora(lm, spec) if spec.lora_rank else lm.requires_grad_(spec.writer != "assistant")
    lm = lower_frozen(Reasoner(lm, tiny_tokenizer(("x",)), replace(spec, writer="nobody", writer_options={}))).lm
    held = {p.untyped_storage().data_ptr() for p in lm.parameters()}
    counts = []
    for n in (8, 16):
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        embeds = torch.zeros(1, n, width_of(lm), requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                read(lm.train(), embeds, torch.ones(1, n, dtype=torch.bool))
        counts.append(sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in held))
    return (counts[1] - counts[0]) / 8


def activations(shape: Shape, sequence: Sequence, per_layer: float, value: int) -> float:
    """Bytes that autograd keeps for one problem: layers, keys and values read again and again, logits."""
    tokens = sum(new for new, seen in reads(sequence) if seen or not shape.frozen)
    again = sum(2 * shape.keys * seen * value for _, seen in reads(sequence))
    return shape.layers * (tokens * per_layer + again) + LOGIT_BYTES * shape.vocabulary * n_supervised(sequence)


def copies(shape: Shape, sequence: Sequence) -> int:
    """Bytes of the bf16 copies that autocast makes of the weights: once of trained ones, in every pass of frozen ones."""
    if shape.half:
        return 2 * (shape.lora + shape.writer)
    if shape.full:
        return 2 * (shape.matmul + shape.writer + shape.head)
    return 2 * (shape.matmul * (len(reads(sequence)) - shape.frozen) + shape.head * (1 + bool(sequence.teacher)))
