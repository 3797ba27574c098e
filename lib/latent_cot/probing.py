"""Reading thoughts: what a continuous thought says when the LM head is asked (Coconut, section 5; CODI, section 5)."""

import torch
from jaxtyping import Float
from torch import Tensor

from latent_cot.models import Reasoner


@torch.inference_mode()
def decode_thoughts(reasoner: Reasoner, thoughts: Float[Tensor, "thoughts d"], top_k: int = 5) -> list[list[tuple[str, float]]]:
    """The `top_k` tokens of each thought under the LM head, with their probabilities, most probable first."""
    best = reasoner.head(thoughts).float().softmax(-1).topk(top_k)
    return [
        [(reasoner.tokenizer.decode([token]).strip(), probability) for token, probability in zip(ids, probabilities)]
        for ids, probabilities in zip(best.indices.tolist(), best.values.tolist())
    ]
