"""CODI: one model teaches itself (Shen et al., 2502.21074, section 3).

    teacher:  question | – | steps, answer                   cross-entropy on all of it
    student:  question <bot> | z_1 … z_6 | <eot> answer      cross-entropy on the answer
    z_{i+1} = LayerNorm(MLP(h_i))                            `writers.Projection`
    L = L_student + α·L_teacher + β·L_KD                     (Eq. 3; L_KD: `losses.distillation_loss`)

L_KD matches the two at one token, the answer's door; `trajectory_weight` adds every thought (`trajectory`, after KaVa).
With α = β = 0 nothing but the answer is supervised, and the thoughts are free. Teacher and student are the same weights,
so they read the question once and go on from the same context.
Where the official code differs: it runs the teacher twice and lets thoughts attend to the question's padding and GPT-2's
positions count it; by default the answer attends to it, too, with `fix_attn_mask` it does not. `attend_to_padding` is True
for the former, "thoughts" for the latter. Both reproduce it on ragged batches up to what the padding itself holds: there it
depends on the attention kernel, with PyTorch's on a CPU a uniform mix of the question.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from latent_cot.curriculum import Budget, distill
from latent_cot.losses import Distance, distillation_loss, language_loss
from latent_cot.methods import Method, method
from latent_cot.models import Reasoner
from latent_cot.sequences import Batch
from latent_cot.supervision import Losses, Pass, read_language, read_question, read_through, side_losses
from latent_cot.thoughts import Context, read, with_padding_visible
from latent_cot.trajectory import trajectory_loss


@dataclass(frozen=True)
class CodiOptions:
    """Official options under plain names; defaults are GPT-2's but for the last step, which the miniature needs."""

    n_thoughts: int = 6  # num_latent; paper: 6, the best of the numbers tried
    distance: Distance = "smooth_l1"  # distill_loss_type
    divide_by_std: bool = True  # distill_loss_div_std
    student_weight: float = 1.0
    teacher_weight: float = 1.0  # ref_loss_factor
    distill_weight: float = 1.0  # distill_loss_factor (20 for LLaMA)
    trajectory_weight: float = 0.0  # of L_traj: the thoughts, too, are pulled to the teacher's steps
    keep_last_step: bool = True  # include_last_cot; paper: False, and 31.7 % instead of 43.7 % with True
    levels: Seq[int] = ()  # hidden states that are matched: 0 the embedding, -1 the last layer; (): all
    door_offset: int = 0  # where they are matched, in tokens behind the door
    attend_to_padding: bool | Literal["thoughts"] = False  # True: not fix_attn_mask; "thoughts": fix_attn_mask
    keep_only_step: bool = True  # where last steps go, that of a one-step problem stays; official: goes, too


def supervise_codi(reasoner: Reasoner, batch: Batch, options: CodiOptions, static: Reasoner | None = None) -> Losses:
    """The losses of a batch whose problems carry a teacher's language: student, teacher, door and, if asked for, trajectory.

    A `static` teacher (the paper's ablation) is another reasoner that nobody trains: it sets the states at the door, and
    `teacher_weight` is that of the student's own chain (0 there; above 0 is "multitask").
    """
    assert batch.teacher is not None, "CODI's batches carry a teacher's language"
    mask = batch.question_mask
    # The question is left-padded: <bot> is its last column for every problem, and hidden from the teacher.
    end = mask.shape[1] - (reasoner.markers.bot is not None)
    columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    if options.attend_to_padding:  # a reading of its own for the teacher, whose positions the padding does not shift
        embeds = reasoner.embed(batch.question)
        question = with_padding_visible(read(reasoner.lm, embeds, mask, positions=columns)[0])
        teacher, _ = read(reasoner.lm, embeds[:, :end], mask[:, :end])
    else:
        question, levels = read_question(reasoner, batch)
        teacher = Context(question.cache, mask & (columns < end), levels[-1][:, end - 1])
    student = _read_official(reasoner, batch, question) if options.attend_to_padding == "thoughts" else None
    student = student or read_through(reasoner, batch, question)
    losses = {"student": options.student_weight * language_loss(student.predicting, reasoner.head, batch.language)}
    pulled = options.distill_weight or options.trajectory_weight
    if options.teacher_weight or (pulled and static is None):
        predicting, teacher_levels = read_language(reasoner, teacher, batch.teacher)
        losses["teacher"] = options.teacher_weight * language_loss(predicting, reasoner.head, batch.teacher)
    losses |= side_losses(reasoner, batch, student)
    if pulled and static is not None:
        with torch.no_grad():
            static.to(mask.device)
            teacher, _ = read(static.lm, static.embed(batch.question[:, :end]), mask[:, :end])
            _, teacher_levels = read_language(static, teacher, batch.teacher)
    if options.distill_weight:
        matched = options.levels or range(len(student.levels))
        rows = torch.arange(len(batch.ids), device=mask.device)
        at_door = distillation_loss(
            tuple(student.levels[level][rows, batch.language.door] for level in matched),
            tuple(teacher_levels[level][rows, batch.teacher.door] for level in matched),
            options.distance,
            options.divide_by_std,
            batch.n_problems,
        )
        losses["distill"] = options.distill_weight * at_door
    had = student.thinking
    if options.trajectory_weight and had.thoughts.shape[1]:
        _, at_thoughts = read(reasoner.lm, had.thoughts, had.real, question)
        how = options.distance, options.divide_by_std, batch.n_problems
        steps = batch.said[:, : had.thoughts.shape[1]]
        on_the_way = trajectory_loss(at_thoughts, teacher_levels, batch.teacher, steps, *how)
        losses["trajectory"] = options.trajectory_weight * on_the_way
    return losses


def _read_official(reasoner: Reasoner, batch: Batch, question: Context) -> Pass:
    """As with `fix_attn_mask`: thoughts see the padding of the question, language does not, and the positions count it."""
    thinking = reasoner.think(question, batch)
    hidden = torch.cat([batch.question_mask, thinking.real], 1)
    behind = hidden.shape[1] + torch.arange(batch.language.ids.shape[1] - 1, device=hidden.device)
    context = replace(thinking.context, mask=hidden)
    return Pass(thinking, *read_language(reasoner, context, batch.language, behind.expand(len(hidden), -1)))


ALSO = {
    "codi_long": "CODI (total budget)",
    "codi_undistilled": "– without distillation",
    "codi_free": "– thoughts free, answer alone",
    "codi_static": "– a teacher that stands still",
    "codi_decoder": "– a decoder at each thought, no door",
    "codi_trajectory": "– the whole trajectory",
}


@method("CODI", "04_codi_self_distillation", also=ALSO)
def codi(options: CodiOptions, budget: Budget) -> Method:
    """One stage, one cosine. The official run starts from a pretrained LM; a tiny one is warm-started from CoT."""
    kept = options.keep_last_step, options.door_offset, options.keep_only_step
    stage = budget.stage("codi", distill(options.n_thoughts, *kept))
    supervise = partial(supervise_codi, options=options)
    return Method("codi", "projection", (stage,), supervise, options.n_thoughts, writes_chain=True, options=options)


@dataclass(frozen=True)
class StaticCodiOptions(CodiOptions):
    """CODI's, for a teacher that stands still: by the name a checkpoint knows that another reasoner taught."""


def with_static_teacher(made: Method, teacher: Reasoner) -> Method:
    """CODI with another reasoner as its teacher, which nobody trains (the paper's ablation)."""
    assert isinstance(made.options, CodiOptions)
    supervise = partial(supervise_codi, options=made.options, static=teacher)
    return replace(made, supervise=supervise, options=StaticCodiOptions(**vars(made.options)))
