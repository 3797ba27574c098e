"""Soft Thinking: a thought is a mixture of words, weighted by how probable each is (Zhang et al., 2505.15778).

    z_{i+1} = sum_v p_i(v) e(v),   p_i = softmax(W_head h_i / τ) over its k most probable words          (section 3.1)

Nothing is trained for it: a model that writes its chain of thought thinks the same chain in mixtures, one position a word,
and speaks when its most probable next word is the one that opens an answer. Where every p_i is sure of a word this is CoT.
Where the official code differs: it also filters by top-p and min-p, and ends a chain whose entropy stays low (Cold Stop).
Here a chain ends by its own word, or after `n_thoughts`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel, body
from latent_cot.curriculum import Budget
from latent_cot.families import own_logits
from latent_cot.methods import Method, NoOptions, method
from latent_cot.methods.explicit import cot
from latent_cot.writers import writer


@writer("mixture")
class Mixture(nn.Module):
    """The mixture of the `top_k` most probable words' embeddings. It has no weights of its own: the words are the LM's.

    `ends_with` is the text whose first token, once it is the most probable, ends the thoughts.
    """

    def __init__(
        self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, temperature: float = 1.0, top_k: int = 30,
        ends_with: str = "The answer is:",
    ):  # fmt: skip
        super().__init__()
        self.language_model = (lm,)  # in a tuple: its weights are not the writer's
        self.temperature, self.top_k = temperature, top_k
        self.end = tokenizer.encode(ends_with, add_special_tokens=False)[0]

    def forward(self, hidden: Float[Tensor, "batch d_state"], i: int) -> Float[Tensor, "batch d"]:
        (lm,) = self.language_model
        logits = own_logits(lm)(hidden) / self.temperature
        best, words = logits.topk(min(self.top_k, logits.shape[-1]))
        embeds = body(lm).get_input_embeddings()(words)
        return torch.einsum("bv,bvd->bd", best.softmax(-1).to(embeds), embeds)

    def stops(self, hidden: Float[Tensor, "batch d_state"]) -> Bool[Tensor, " batch"]:
        """Would the next word open the answer?"""
        return own_logits(self.language_model[0])(hidden).argmax(-1) == self.end


@dataclass(frozen=True)
class SoftThinkingOptions:
    n_thoughts: int = 32  # at most; the paper's chains have thousands of words
    temperature: float = 1.0  # τ; paper: 0.6
    top_k: int = 30  # paper: 30


@method("Soft Thinking", "09_own_method", row={"after": "arithmetic-cot", "steps": 0, "keep_model": True})
def soft_thinking(options: SoftThinkingOptions, budget: Budget) -> Method:
    """Trained as CoT is, for as many steps as the budget has (none, after a CoT model); it thinks only when it is asked."""
    return Method(
        name="soft_thinking",
        writer="mixture",
        curriculum=cot(NoOptions(), budget).curriculum,
        n_thoughts=options.n_thoughts,
        thinks_between_markers=False,
        writes_chain=True,
        writer_options={"temperature": options.temperature, "top_k": options.top_k},
        options=options,
    )
