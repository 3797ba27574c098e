"""CSFT: a thought is a mixture of words, and each is told which words belong in it (CoT2, Gozeten et al., 2505.23648, sec. 3).

    z_i = sum_v a_i(v) e(v),   a_i = softmax(W_head h_{i-1})               who writes: the LM head's own mixture of all words
    a*_i = 1/|S_i| on each of S_i, the states legal after i steps          the target, uniform
    L = L_answer + w · 1/B sum_problems sum_i H(a*_i, a_i)                 H: cross-entropy

No step is written in any stage, but every thought has a target of its own: supervision per step, and a soft one. The words of
a step are its S_i: those of a graph's breadth-first frontier (`steps="frontier"`), or the one state that there is (a chain to
follow, a running result). Where the paper differs: it also trains on prefixes of targets in place of the model's own mixtures
(teacher forcing; recalled, not checked); here training reads what inference reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel, body
from latent_cot.curriculum import Budget, no_steps
from latent_cot.families import own_logits
from latent_cot.losses import language_loss, wide
from latent_cot.methods import Method, method
from latent_cot.models import Reasoner
from latent_cot.sequences import IGNORED, Batch
from latent_cot.supervision import Losses, read_through, side_losses
from latent_cot.writers import writer


@writer("expectation")
class Expectation(nn.Module):
    """The mean embedding of the next word. It has no weights of its own: head and words are the LM's."""

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase):
        super().__init__()
        self.language_model = (lm,)  # in a tuple: its weights are not the writer's

    def forward(self, hidden: Float[Tensor, "batch d_state"], i: int) -> Float[Tensor, "batch d"]:
        (lm,) = self.language_model
        chances = own_logits(lm)(hidden).softmax(-1)
        words = body(lm).get_input_embeddings()(torch.arange(chances.shape[-1], device=hidden.device))
        return chances.to(words) @ words


def legal_loss(
    before: Float[Tensor, "batch thoughts d_state"],
    head: Callable[[Tensor], Tensor],
    legal: Int[Tensor, "batch thoughts words"],
    n_problems: int,
) -> Float[Tensor, ""]:
    """Cross-entropy of each thought with the uniform distribution over its `legal` words S_i, which `IGNORED` fills up.

    L_legal = - 1/B sum_problems sum_{thought i} 1/|S_i| sum_{v in S_i} log a_i(v),   a_i = softmax(W_head h_{i-1})

    `before[:, i]` is the state that thought i was written from. A thought without a legal word is free.
    """
    there = legal != IGNORED
    sizes = there.sum(-1)
    chosen = sizes > 0
    of_legal = wide(head(before[chosen])).log_softmax(-1).gather(-1, legal[chosen].clamp(min=0)) * there[chosen]
    return -(of_legal.sum(-1) / sizes[chosen]).sum() / n_problems


def supervise_csft(reasoner: Reasoner, batch: Batch, legal_weight: float) -> Losses:
    """The answer's cross-entropy, and each thought's with the words of the step that it stands for."""
    seen = read_through(reasoner, batch)
    width = seen.thinking.thoughts.shape[1]  # a micro-batch may be narrower than the batch
    legal = legal_loss(seen.thinking.states[:, :width], reasoner.head, batch.said[:, :width], batch.n_problems)
    losses = {"ce": language_loss(seen.predicting, reasoner.head, batch.language), "legal": legal_weight * legal}
    return losses | side_losses(reasoner, batch, seen)


@dataclass(frozen=True)
class CsftOptions:
    n_thoughts: int = 3  # as many as steps
    legal_weight: float = 1.0  # w


@method("CSFT", "09_own_method")
def csft(options: CsftOptions, budget: Budget) -> Method:
    """One stage. What language remains: the answer."""
    stage = budget.stage("csft", no_steps(options.n_thoughts))
    supervise = partial(supervise_csft, legal_weight=options.legal_weight)
    return Method("csft", "expectation", (stage,), supervise, options.n_thoughts, options=options)
