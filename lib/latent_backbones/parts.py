"""The parts of a causal LM that everything here asks for, bare or in PEFT's wrapper."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

LanguageModel = Any  # a causal LM of transformers, bare or in PEFT's wrapper: no class is common to both


def causal(lm: LanguageModel) -> PreTrainedModel:
    """The model out of its PEFT wrapper, if it has one (adapters stay in)."""
    return getattr(lm, "get_base_model", lambda: lm)()


def body(lm: LanguageModel) -> PreTrainedModel:
    """The transformer without its LM head, also from inside a PEFT wrapper."""
    found = causal(lm).get_decoder()
    return found if found is not causal(lm) else next(m for m in found.children() if isinstance(m, PreTrainedModel))


def embeddings_of(lm: LanguageModel) -> Float[Tensor, "v d"]:
    """The table of input embeddings; of a module that makes them out of several, the first."""
    return next(body(lm).get_input_embeddings().parameters())


def state_width(lm: LanguageModel) -> int:
    """The width of what the LM head reads. Embeddings may have another (`writers.width_of`), levels between too."""
    return lm.get_output_embeddings().weight.shape[1]
