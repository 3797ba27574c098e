"""A method is three choices: who writes the thoughts, what language remains, what is supervised."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latent_cot.curriculum import Stage
from latent_cot.losses import language_loss, stop_loss
from latent_cot.models import Reasoner, WriterName
from latent_cot.sequences import Batch, Language
from latent_cot.simcot import step_loss
from latent_cot.thoughts import Context, read

Losses = dict[str, Float[Tensor, ""]]
Supervise = Callable[[Reasoner, Batch], Losses]  # named parts; their sum is the loss


def read_language(
    reasoner: Reasoner, context: Context, language: Language
) -> tuple[Float[Tensor, "batch l d"], tuple[Float[Tensor, "batch l_in d"], ...]]:
    """Read language after question and thoughts, teacher-forced.

    Returns the states that predict each language token (the first one is predicted by the context's last state), and
    the hidden states of every level at the tokens read (all but the last, which predicts nothing).
    """
    _, levels = read(reasoner.lm, reasoner.embed(language.ids[:, :-1]), language.mask[:, :-1], context)
    return torch.cat([context.hidden[:, None], levels[-1]], dim=1), levels


def supervise_language(reasoner: Reasoner, batch: Batch) -> Losses:
    """Cross-entropy on the language that remains. All methods but CODI; with CODI's batches it is its SFT ablation."""
    question, _ = read(reasoner.lm, reasoner.embed(batch.question), batch.question_mask)
    stop_logits = []

    def watch(hidden):  # the classifier learns from the same pass and never acts in it
        stop_logits.append(reasoner.stop_head(hidden).squeeze(-1))
        return torch.zeros(len(hidden), dtype=torch.bool, device=hidden.device)

    stop = watch if reasoner.stop_head is not None else None
    context, thoughts, real = reasoner.think(question, batch, stop)
    predicting, _ = read_language(reasoner, context, batch.language)
    losses = {"ce": language_loss(predicting, reasoner.head, batch.language)}
    if reasoner.stop_head is not None:
        logits = torch.stack(stop_logits, 1) if stop_logits else real.to(predicting.dtype)  # no thoughts: no columns
        losses["stop"] = stop_loss(logits, real, batch.n_thoughts, batch.n_problems)
    if reasoner.step_decoder is not None:
        losses["steps"] = step_loss(reasoner, thoughts, batch)
    return losses


@dataclass(frozen=True)
class Method:
    name: str
    writer: WriterName  # who writes the thoughts
    curriculum: tuple[Stage, ...]  # what language remains
    n_thoughts: int  # thoughts at inference
    supervise: Supervise = supervise_language  # what is supervised
    thinks_between_markers: bool = True  # at inference, <bot> and <eot> stand there even around no thoughts
    options: object = None  # what `supervise` was made with; a run does not go on from a checkpoint of other options
