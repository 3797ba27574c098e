"""What is supervised: a batch is read once, question | thoughts | language, and losses are made of what was there.

A method's own `supervise` reads the batch with `read_through` and returns named losses; their sum is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_cot.losses import language_loss, stop_loss
from latent_cot.models import Reasoner
from latent_cot.sequences import Batch, Language
from latent_cot.simcot import step_loss
from latent_cot.thoughts import Context, Thinking, last_real, read, read_behind, read_given

Losses = dict[str, Float[Tensor, ""]]
Supervise = Callable[[Reasoner, Batch], Losses]  # named parts; their sum is the loss
Levels = tuple[Float[Tensor, "batch columns _"], ...]  # the embedding output and each layer's output


@dataclass(frozen=True)
class Pass:
    """A batch read once: all that a loss may ask of it."""

    thinking: Thinking  # the thoughts, and the states that wrote them; its context is behind the language
    predicting: Float[Tensor, "batch l d"]  # states that predict each language token, the first one from the last thought
    levels: Levels  # hidden states at the language tokens read: all but the last, which predicts nothing


def read_question(reasoner: Reasoner, batch: Batch) -> tuple[Context, Levels]:
    """Read a batch's questions, which are padded on the left."""
    return read(reasoner.lm, reasoner.embed(batch.question), batch.question_mask)


def read_language(
    reasoner: Reasoner, context: Context, language: Language, positions: Int[Tensor, "batch l_less_1"] | None = None
) -> tuple[Float[Tensor, "batch l d"], Levels]:
    """Read language after question and thoughts, teacher-forced; returns `Pass.predicting` and `Pass.levels`. `positions`
    overrides the count of real tokens."""
    _, levels = read(reasoner.lm, reasoner.embed(language.ids[:, :-1]), language.mask[:, :-1], context, positions)
    return torch.cat([context.hidden[:, None], levels[-1]], dim=1), levels


def read_through(
    reasoner: Reasoner, batch: Batch, question: Context | None = None,
    thoughts: Float[Tensor, "batch thoughts d"] | None = None,
) -> Pass:  # fmt: skip
    """Read a batch's question, thoughts and language, in as few passes as may be: the question, every thought that another
    waits for, and the last thought with the language; all at once where no thought waits.

    A question that was read already is not read again; `thoughts` that are given are read as they are, otherwise the
    reasoner has its own.
    """
    thoughts = reasoner.given(batch) if thoughts is None else thoughts
    learns = any(weight.requires_grad for weight in reasoner.lm.parameters())  # else the question needs no backward pass
    if question is None and thoughts is not None and learns:
        return _read_whole(reasoner, batch, thoughts)
    said, mask = batch.language.ids[:, :-1], batch.language.mask[:, :-1]
    if question is None:  # words are looked up together: the gradient of a look-up is as large as the whole table
        asked, said = reasoner.embed(torch.cat([batch.question, said], 1)).tensor_split([batch.question.shape[1]], 1)
        question, _ = read(reasoner.lm, asked, batch.question_mask)
    else:
        said = reasoner.embed(said)
    if thoughts is None:
        thinking = reasoner.think(question, batch, leave_last=True)
    else:
        thinking = read_given(reasoner.lm, question, batch.n_thoughts, thoughts, leave=True)
    thinking, behind, levels = read_behind(reasoner.lm, thinking, said, mask)
    return Pass(thinking, torch.cat([behind[:, None], levels[-1]], 1), levels)


def _read_whole(reasoner: Reasoner, batch: Batch, thoughts: Float[Tensor, "batch held d"]) -> Pass:
    """Question, thoughts that are there already, and language in one pass."""
    language, n_thoughts = batch.language, batch.n_thoughts
    thoughts = thoughts[:, : int(n_thoughts.max())]
    real = torch.arange(thoughts.shape[1], device=thoughts.device) < n_thoughts[:, None]
    embeds = reasoner.embed(torch.cat([batch.question, language.ids[:, :-1]], 1))
    n_asked, n_thought = batch.question.shape[1], thoughts.shape[1]
    block = torch.cat([embeds[:, :n_asked], thoughts.to(embeds.dtype), embeds[:, n_asked:]], 1)
    context, levels = read(reasoner.lm, block, torch.cat([batch.question_mask, real, language.mask[:, :-1]], 1))
    asked, thought, said = levels[-1].split([n_asked, n_thought, language.ids.shape[1] - 1], 1)
    before = last_real(asked, batch.question_mask, asked[:, -1])
    behind = last_real(thought, real, before) if n_thought else before
    thinking = Thinking(context, thoughts, real, torch.cat([before[:, None], thought], 1))
    return Pass(thinking, torch.cat([behind[:, None], said], 1), tuple(level[:, n_asked + n_thought :] for level in levels))


def side_losses(reasoner: Reasoner, batch: Batch, seen: Pass) -> Losses:
    """What a reasoner's extra parts learn beside any method: when to stop (Coconut's classifier), what a thought says
    (SIM-CoT's decoder)."""
    losses = {}
    if reasoner.stop_head is not None:
        logits = reasoner.stop_head(seen.thinking.states[:, 1:]).squeeze(-1)
        losses["stop"] = stop_loss(logits, seen.thinking.real, batch.n_thoughts, batch.n_problems)
    if reasoner.step_decoder is not None:
        losses["steps"] = step_loss(reasoner, seen.thinking.thoughts, batch)
    return losses


def supervise_language(reasoner: Reasoner, batch: Batch) -> Losses:
    """Cross-entropy on the language that remains. All methods but CODI; with CODI's batches it is its SFT ablation."""
    seen = read_through(reasoner, batch)
    return {"ce": language_loss(seen.predicting, reasoner.head, batch.language)} | side_losses(reasoner, batch, seen)
