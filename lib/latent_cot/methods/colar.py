"""CoLaR: a thought is r words of the chain at once, and each predicts the next (Tan et al., 2505.16552, section 3).

    g_t = 1/sqrt(r) · sum_{j=1…r} e(word_{rt+j})              the next r words of the chain, compressed into one embedding
    L_latent = |f(h_{t-1}) - sg[g_t]|² / var(e)               the latent head f says it before it is read
    L_words = - mean_j log p(word_{rt+j} | question, g_<t)    the LM head names its words
    L = L_words + L_answer + w · L_latent

In training a position reads the true g_t; at inference it reads what the head predicted, until the LM head says <eot>.
With r = 1 a thought is a word's embedding, and this is CoT. Where the official code differs: r is drawn anew for every batch
and written into the prompt, here it is one number; the head is a Gaussian, whose spread only the later reinforcement
learning needs (left out); one word of the r is drawn as label, here all count; a group that is cut short divides by the
root of its own length, as here.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel, body, state_width
from latent_backbones.tokens import EOT
from latent_cot.curriculum import Arrange, Budget, sequence
from latent_cot.families import own_logits
from latent_cot.losses import language_loss
from latent_cot.methods import Method, method
from latent_cot.models import Reasoner
from latent_cot.sequences import IGNORED, Batch
from latent_cot.supervision import Losses, read_through
from latent_cot.writers import width_of, writer


@writer("latent_head")
class LatentHead(nn.Sequential):
    """f: from the last hidden state to the next compressed embedding. The thoughts end where the LM head says <eot>."""

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase):
        d = width_of(lm)
        super().__init__(nn.Linear(state_width(lm), d), nn.GELU(), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, d))
        self.language_model, self.end = (lm,), tokenizer.get_vocab()[EOT]

    def forward(self, hidden: Float[Tensor, "*batch d_state"], i: int = 0) -> Float[Tensor, "*batch d"]:
        return super().forward(hidden)

    def stops(self, hidden: Float[Tensor, "batch d_state"]) -> Bool[Tensor, " batch"]:
        return own_logits(self.language_model[0])(hidden).argmax(-1) == self.end


@dataclass(frozen=True)
class ColarOptions:
    compression: int = 4  # r; paper: drawn from 1 to 5
    n_thoughts: int = 8  # at most, at inference; paper: 64
    latent_weight: float = 1.0  # w; paper: 1


def compressed(compression: int) -> Arrange:
    """question <bot> | a thought for every `compression` tokens of the chain | <eot> answer; <eot> is learned, too."""

    def arrange(problem, markers, rng):
        words = tuple(chain.from_iterable(problem.steps))
        groups = tuple(words[i : i + compression] for i in range(0, len(words), compression))
        return replace(sequence(problem, markers, len(groups), ()), said=groups, n_unsupervised=0)

    return arrange


def supervise_colar(reasoner: Reasoner, batch: Batch, latent_weight: float) -> Losses:
    """The three losses; those on thoughts are means over the chain's words."""
    said = batch.said[:, : int(batch.n_thoughts.max())]  # a micro-batch may be narrower than the batch
    spoken = said != IGNORED
    words, n_words = reasoner.embed(said.clamp(min=0)) * spoken[..., None], spoken.sum(-1, keepdim=True)
    target = words.sum(2) / n_words.clamp(min=1).to(words).sqrt()
    seen = read_through(reasoner, batch, thoughts=target)
    before = seen.thinking.states[:, :-1]  # the state that each thought is predicted from
    logits = reasoner.head(before)[:, :, None].expand(-1, -1, said.shape[2], -1)
    named = F.cross_entropy(logits[spoken], said[spoken], reduction="sum")
    table = next(body(reasoner.lm).get_input_embeddings().parameters()).detach()
    off = (reasoner.writer(before) - target.detach()).square().mean(-1) / table.var()
    return {
        "ce": language_loss(seen.predicting, reasoner.head, batch.language),
        "words": named / batch.n_said,
        "latent": latent_weight * (off * n_words.squeeze(-1)).sum() / batch.n_said,
    }


@method("CoLaR", "09_own_method", row={"steps": 2700, "keep_model": True})
def colar(options: ColarOptions, budget: Budget) -> Method:
    """One stage."""
    stage = budget.stage("colar", compressed(options.compression))
    supervise = partial(supervise_colar, latent_weight=options.latent_weight)
    return Method("colar", "latent_head", (stage,), supervise, options.n_thoughts, options=options)
