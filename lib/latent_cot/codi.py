"""CODI: one model teaches itself (Shen et al., 2502.21074, section 3).

    teacher:  question | – | steps, answer                   cross-entropy on all of it
    student:  question <bot> | z_1 … z_6 | <eot> answer      cross-entropy on the answer
    z_{i+1} = LayerNorm(MLP(h_i))                            `thoughts.Projection`
    L = L_student + α·L_teacher + β·L_KD                     (Eq. 3; L_KD: `losses.distillation_loss`)

L_KD matches the two at one token, the answer's door. Teacher and student are the same weights, so they read the
question once and go on from the same context.
Where the official code differs: it runs the teacher twice and, by default, lets thoughts and answer attend to the
question's padding (`attend_to_padding` reproduces that, up to what the padding itself holds: there it depends on the
attention kernel, with PyTorch's on a CPU a uniform mix of the question).
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from latent_cot.curriculum import Stage, distill
from latent_cot.losses import Distance, distillation_loss, language_loss
from latent_cot.methods import Losses, Method, read_language
from latent_cot.models import Reasoner
from latent_cot.sequences import Batch
from latent_cot.simcot import step_loss
from latent_cot.thoughts import Context, read, with_padding_visible


@dataclass(frozen=True)
class CodiOptions:
    """Official options under plain names; defaults are those of GPT-2."""

    n_thoughts: int = 6  # num_latent
    distance: Distance = "smooth_l1"  # distill_loss_type
    divide_by_std: bool = True  # distill_loss_div_std
    student_weight: float = 1.0
    teacher_weight: float = 1.0  # ref_loss_factor
    distill_weight: float = 1.0  # distill_loss_factor (20 for LLaMA)
    keep_last_step: bool = False  # include_last_cot
    levels: Seq[int] = ()  # hidden states that are matched: 0 the embedding, -1 the last layer; (): all
    door_offset: int = 0  # where they are matched, in tokens behind the door
    attend_to_padding: bool = False  # not fix_attn_mask


def supervise_codi(reasoner: Reasoner, batch: Batch, options: CodiOptions, static: Reasoner | None = None) -> Losses:
    """The three losses of a batch whose problems carry a teacher's language.

    A `static` teacher (the paper's ablation) is another reasoner that nobody trains: it sets the states at the door, and
    `teacher_weight` is that of the student's own chain (0 there; above 0 is "multitask").
    """
    embeds, mask = reasoner.embed(batch.question), batch.question_mask
    # The question is left-padded: <bot> is its last column for every problem, and hidden from the teacher.
    end = mask.shape[1] - (reasoner.markers.bot is not None)
    columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    if options.attend_to_padding:  # a reading of its own for the teacher, whose positions the padding does not shift
        student, _ = read(reasoner.lm, embeds, mask, positions=columns)
        student = with_padding_visible(student)
        teacher, _ = read(reasoner.lm, embeds[:, :end], mask[:, :end])
    else:
        student, levels = read(reasoner.lm, embeds, mask)
        teacher = Context(student.cache, mask & (columns < end), levels[-1][:, end - 1])
    student, thoughts, _ = reasoner.think(student, batch)

    predicting, student_levels = read_language(reasoner, student, batch.language)
    losses = {"student": options.student_weight * language_loss(predicting, reasoner.head, batch.language)}
    if options.teacher_weight or (options.distill_weight and static is None):
        predicting, teacher_levels = read_language(reasoner, teacher, batch.teacher)
        losses["teacher"] = options.teacher_weight * language_loss(predicting, reasoner.head, batch.teacher)
    if reasoner.step_decoder is not None:
        losses["steps"] = step_loss(reasoner, thoughts, batch)
    if options.distill_weight:
        if static is not None:
            with torch.no_grad():
                static.to(mask.device)
                teacher, _ = read(static.lm, static.embed(batch.question[:, :end]), mask[:, :end])
                _, teacher_levels = read_language(static, teacher, batch.teacher)
        matched = options.levels or range(len(student_levels))
        rows = torch.arange(len(batch.ids), device=mask.device)
        at_door = distillation_loss(
            tuple(student_levels[level][rows, batch.language.door] for level in matched),
            tuple(teacher_levels[level][rows, batch.teacher.door] for level in matched),
            options.distance,
            options.divide_by_std,
            batch.n_problems,
        )
        losses["distill"] = options.distill_weight * at_door
    return losses


def codi(options: CodiOptions, steps: int, lr: float, warmup: int = 20, static: Reasoner | None = None) -> Method:
    """One stage, one cosine. The official run starts from a pretrained LM; a tiny one is warm-started from CoT."""
    arrange = distill(options.n_thoughts, options.keep_last_step, options.door_offset)
    stage = Stage("codi", steps, arrange, lr, "cosine", warmup)
    return Method(
        name="codi",
        writer="projection",
        curriculum=(stage,),
        n_thoughts=options.n_thoughts,
        supervise=lambda reasoner, batch: supervise_codi(reasoner, batch, options, static),
        options=(options, static is not None),
    )
