"""Reading thoughts, and changing them: what one says at every layer, who looks at it, what the answer owes to it.

Coconut (2412.06769, section 5) and CODI (2502.21074, section 5) ask the LM head which words a thought is close to, CODI
*before* the projection: about the state h_{i-1} that the writer turned into z_i. The same state has a value at every
layer; the layers below the last go through the final norm first (the "logit lens", `families.lens`).

Shape letters: levels = the embedding output and each layer's output, columns = a problem's question, thoughts, language.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latent_backbones.parts import LanguageModel, body
from latent_cot.families import lens
from latent_cot.generation import Intervention, think_about
from latent_cot.models import Reasoner
from latent_cot.sequences import Sequence, check_length, collate
from latent_cot.thoughts import read

Decoded = list[list[tuple[str, float]]]  # for each thought its most probable words, with their probabilities


@dataclass(frozen=True)
class Reading:
    """All that one problem's columns held while a model read its question, had its thoughts, read its language."""

    n_question: int
    thoughts: Float[Tensor, "thoughts d"]
    levels: Float[Tensor, "levels columns d_state"]  # as the LM head would read them: all after the final norm
    attention: Float[Tensor, "layers columns columns"]  # from row to column, mean over heads
    logits: Float[Tensor, "language_and_1 v"]  # of each language token forced, and of the one that comes next

    @property
    def behind(self) -> Float[Tensor, "levels thoughts d_state"]:
        """The states that the writer saw: thought i is written at the column before it."""
        return self.levels[:, self.n_question - 1 :][:, : len(self.thoughts)]

    @property
    def looks(self) -> Float[Tensor, "thoughts_and_1 columns"]:
        """Attention, mean over layers, from where each thought was written, and from the last column, the answer's door."""
        rows = [*range(self.n_question - 1, self.n_question - 1 + len(self.thoughts)), self.attention.shape[1] - 1]
        return self.attention.mean(0)[rows]


def attention_weights(lm: LanguageModel, embeds: Float[Tensor, "columns d"]) -> Float[Tensor, "layers columns columns"]:
    """From every column to those before it, mean over heads. The kernel that tells its weights (eager) stays in no longer
    than this; it rounds otherwise (Llama: to float32) and cannot be trusted with padding, so nothing else is read with it."""
    config = body(lm).config
    before, config._attn_implementation = config._attn_implementation, "eager"
    try:
        layers = body(lm)(inputs_embeds=embeds[None], output_attentions=True, use_cache=False).attentions
    finally:
        config._attn_implementation = before
    return torch.stack([weights[0].mean(0) for weights in layers])


@torch.no_grad()
def read_along(reasoner: Reasoner, prompts: Seq[Sequence], intervene: Intervention | None = None) -> list[Reading]:
    """Answer nothing, watch: think (and `intervene`) as `answer` does, then read all columns at once, all levels kept.

    Prompts are `answer`'s: their language is what is forced after the thoughts; with the answer's prompt in it
    (`prompt(…, at_once=True)`) the last column is the answer's door. Raises ContextTooLong if one cannot fit,
    UnsupportedModel for a family without a final norm that can be told from the rest.
    """
    for prompt in prompts:
        check_length(prompt, reasoner.context_length)
    was_training = reasoner.training
    reasoner.eval()
    batch = collate(prompts, reasoner.markers).to(next(reasoner.parameters()).device)
    had = think_about(reasoner, batch, intervene)
    thoughts, real = had.thoughts, had.real
    embeds = torch.cat([reasoner.embed(batch.question), thoughts, reasoner.embed(batch.language.ids)], 1)
    mask = torch.cat([batch.question_mask, real, batch.language.mask], 1)
    _, (*lower, last) = read(reasoner.lm, embeds, mask)
    through = lens(reasoner.lm)
    levels = torch.stack([*(through(level) for level in lower), last])
    readings = []
    for i, (prompt, columns) in enumerate(zip(prompts, mask)):
        own = levels[:, i, columns]
        logits = reasoner.head(own[-1, -len(prompt.language) - 1 :])
        attention = attention_weights(reasoner.lm, embeds[i, columns])
        readings.append(Reading(len(prompt.question), thoughts[i][real[i]], own, attention, logits))
    reasoner.train(was_training)
    return readings


@torch.inference_mode()
def decode_thoughts(reasoner: Reasoner, thoughts: Float[Tensor, "thoughts d"], top_k: int = 5) -> Decoded:
    """The `top_k` tokens of each thought under the LM head, with their probabilities, most probable first."""
    probable = reasoner.head(thoughts).float().softmax(-1)
    best = probable.topk(min(top_k, probable.shape[-1]))  # a head can have fewer words than the tokenizer: edges are read only
    return [
        [(str(reasoner.tokenizer.decode([token])).strip(), probability) for token, probability in zip(ids, probabilities)]
        for ids, probabilities in zip(best.indices.tolist(), best.values.tolist())
    ]


def decode_levels(reasoner: Reasoner, states: Float[Tensor, "levels thoughts d_state"], top_k: int = 5) -> list[Decoded]:
    """`decode_thoughts` at every level of a `Reading`."""
    return [decode_thoughts(reasoner, state, top_k) for state in states]


def answer_probability(reading: Reading, answer: Seq[int]) -> float:
    """How probable the tokens of an answer are, all together, where they are the last that was forced."""
    predicted = reading.logits[-len(answer) - 1 : -1].softmax(-1)
    return float(predicted[range(len(answer)), list(answer)].prod())


# Interventions: what is read in place of the thoughts. The others stay as they were thought.


def remove(*which: int) -> Intervention:
    """Without these thoughts, the rest closing up."""
    return lambda thoughts: thoughts[:, [i for i in range(thoughts.shape[1]) if i not in which]]


def keep_only(which: int) -> Intervention:
    return lambda thoughts: thoughts[:, which : which + 1]


def overwrite(which: int, by: Float[Tensor, "*batch d"], share: float = 1.0) -> Intervention:
    """One thought is replaced (by another problem's, by a token's embedding), or with `share` < 1 moved towards that."""

    def intervene(thoughts):
        thoughts = thoughts.clone()
        thoughts[:, which] = torch.lerp(thoughts[:, which], by.expand_as(thoughts[:, which]).to(thoughts), share)
        return thoughts

    return intervene


def add_noise(which: int, scale: float, seed: int = 0) -> Intervention:
    """Gaussian noise, `scale` times as long as the thought; every problem gets the same direction."""

    def intervene(thoughts):
        noise = torch.randn(thoughts.shape[2], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        length = scale * thoughts[:, which].norm(dim=-1, keepdim=True)
        return overwrite(which, thoughts[:, which] + length * (noise / noise.norm()).to(thoughts))(thoughts)

    return intervene
