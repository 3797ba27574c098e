"""The losses: cross-entropy on the language that remains, CODI's distillation at the answer's door, the stop loss.

Every loss is a sum over the given rows divided by a count over the *global* batch (carried by `Batch`), so that
micro-batches and processes add up exactly to the loss of the whole batch.

Shape letters: batch = problems, l = longest language, d = width, v = vocabulary.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latent_cot.sequences import IGNORED, Language

Distance = Literal["l1", "l2", "smooth_l1"]


def language_loss(
    predicting: Float[Tensor, "batch l d"], head: Callable[[Tensor], Tensor], language: Language
) -> Float[Tensor, ""]:
    """Cross-entropy of the supervised tokens; `predicting[:, j]` is the state that predicts language token j.

    L_CE = - 1/N sum_{supervised j} log p(y_j | question, thoughts, y_<j)

    The LM head runs at supervised positions only (it is a third of GPT-2's work).
    """
    supervised = language.labels != IGNORED
    logits = wide(head(predicting[supervised]))
    return F.cross_entropy(logits, language.labels[supervised], reduction="sum") / language.n_supervised


def wide(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """At least fp32: bf16 is too coarse for a softmax and for means."""
    return values.float() if values.dtype == torch.bfloat16 else values


def distillation_loss(
    student: tuple[Float[Tensor, "batch _"], ...],
    teacher: tuple[Float[Tensor, "batch _"], ...],
    distance: Distance,
    divide_by_std: bool,
    n_problems: int,
) -> Float[Tensor, ""]:
    """CODI's L_KD: the student's state at the answer's door, pulled to the teacher's, at every level.

    L_KD = 1/M sum_{level m} D(sg[h_teacher^m], h_student^m) / sigma(h_teacher^m)^p     (CODI, Eq. 2)

    sg = stop-gradient, sigma = standard deviation over the rows given and the width, p = 2 for L2 and 1 otherwise (as in
    the official code), or 0 without `divide_by_std`. sigma is of the rows at hand: a statistic of the micro-batch.
    """
    measure = {"l1": F.l1_loss, "l2": F.mse_loss, "smooth_l1": F.smooth_l1_loss}[distance]
    share = len(student[0]) / n_problems
    total = student[0].new_zeros(())
    for ours, theirs in zip(student, teacher, strict=True):
        ours, theirs = wide(ours), wide(theirs.detach())
        level = measure(ours, theirs)
        if divide_by_std:
            level = level / theirs.std() ** (2 if distance == "l2" else 1)
        total = total + level * share
    return total / len(student)


def stop_loss(
    stop_logits: Float[Tensor, "batch thoughts"],
    real: Bool[Tensor, "batch thoughts"],
    n_thoughts: Int[Tensor, " batch"],
    n_problems: int,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of "this is the last thought" after each thought (Coconut, section 3, ending of thoughts)."""
    steps = torch.arange(stop_logits.shape[1], device=stop_logits.device)
    is_last = (steps == n_thoughts[:, None] - 1).to(stop_logits.dtype)
    per_thought = F.binary_cross_entropy_with_logits(stop_logits, is_last, reduction="none") * real
    return (per_thought.sum(1) / n_thoughts.clamp(min=1)).sum() / n_problems
