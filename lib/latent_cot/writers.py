"""Who writes the thoughts: modules that turn the last hidden state into the next input embedding.

A writer is registered under the name that a `ReasonerSpec` calls it by. What builds it is given the language model and its
tokenizer, which some need, and the spec's `writer_options`. A method's own writer stands in the method's module.

Papers: Coconut (2412.06769, section 3), CODI (2502.21074, section 3.2), pause tokens (2310.02226), SoftCoT (2502.12134).
"""

import importlib
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel, embeddings_of, state_width

Build = Callable[..., nn.Module]  # (lm, tokenizer, **writer_options) -> a `thoughts.Writer`
WRITERS: dict[str, Build] = {}


def writer(*names: str) -> Callable[[Build], Build]:
    """Register what builds a writer under one or more names."""

    def register(build: Build) -> Build:
        WRITERS.update(dict.fromkeys(names, build))
        return build

    return register


def build_writer(name: str, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, **options) -> nn.Module:
    """Raises ValueError for an unknown name, TypeError for an unknown option."""
    importlib.import_module("latent_cot.methods")  # the methods' modules register writers of their own
    if name not in WRITERS:
        raise ValueError(f"no writer {name!r}; known: {', '.join(WRITERS)}")
    return WRITERS[name](lm, tokenizer, **options)


def width_of(lm: LanguageModel) -> int:
    """d, the width of a language model's input embeddings, and so of a thought."""
    return embeddings_of(lm).shape[1]


@writer("nobody", "hidden")
class HiddenState(nn.Module):
    """Coconut: the last hidden state is the next input, as it is. Raises ValueError where the two differ in width."""

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase):
        super().__init__()
        if state_width(lm) != width_of(lm):
            raise ValueError(f"states {state_width(lm)} wide are not inputs {width_of(lm)} wide: take a writer that projects")

    def forward(self, hidden: Float[Tensor, "batch d"], i: int) -> Float[Tensor, "batch d"]:
        return hidden


@writer("pause")
class Pause(nn.Module):
    """Pause tokens: one learned embedding, whatever the model has read (Goyal et al., 2310.02226)."""

    looks_at_nothing = True  # so that all of them are read at once

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(width_of(lm)) * 0.02)

    def forward(self, hidden: Float[Tensor, "batch d_state"], i: int) -> Float[Tensor, "batch d"]:
        return self.embedding.to(hidden.dtype).expand_as(hidden)


@writer("projection")
class Projection(nn.Sequential):
    """CODI: Dropout → Linear → GELU → Linear → LayerNorm over the last hidden state (CODI, section 3.2).

    `width` is the MLP's (0: the model's; official `prj_dim`). Submodules carry the official names, so that released
    projections load as they are.
    """

    def __init__(
        self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, width: int = 0, norm: bool = True, dropout: float = 0.0
    ):
        d, d_state = width_of(lm), state_width(lm)
        super().__init__(nn.Dropout(dropout), nn.Linear(d_state, width or d), nn.GELU(), nn.Linear(width or d, d))
        if norm:
            self.add_module("ln", nn.LayerNorm(d))

    def forward(self, hidden: Float[Tensor, "batch d_state"], i: int = 0) -> Float[Tensor, "batch d"]:
        return super().forward(hidden)


@writer("assistant")
class AssistantMap(nn.Linear):
    """SoftCoT: one linear map from the states of an assistant, `d_assistant` wide. All else is frozen."""

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, d_assistant: int):
        super().__init__(d_assistant, width_of(lm))
        lm.requires_grad_(False)
