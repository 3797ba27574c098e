"""The whole trajectory: every thought is pulled to what the teacher held at its step, not the answer's door alone.

    c_i = mean of the teacher's states at the words of step i         the chain, compressed to as many as there are thoughts
    L_traj = 1/B sum_problems sum_i 1/M sum_{level m} D(sg[c_i^m], h_i^m) / sigma^p       h_i: the student's, at thought i

The simplest form of KaVa (2510.02312), which pulls the thoughts' keys and values to a compressed cache of the teacher's, and
of LoRi (2606.05315), which pulls states: keys and values are linear in a level's normed states, so that equal states leave
equal ones. Where KaVa differs: it keeps, head by head, those of the chain's keys and values that the answer looks at and that
do not repeat each other, so that a place need not be a step; here a step's words are averaged and thought i stands for step i.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latent_cot.losses import Distance, distillation_loss
from latent_cot.sequences import IGNORED, Language

AtThoughts = tuple[Float[Tensor, "batch thoughts _"], ...]  # by level: the embedding output, and each layer's
AtWords = tuple[Float[Tensor, "batch words_read _"], ...]


def states_of_steps(
    levels: AtWords, chain: Language, said: Int[Tensor, "batch thoughts words"]
) -> tuple[AtThoughts, Bool[Tensor, "batch thoughts"]]:
    """The mean state over each step's words in a teacher's chain, level by level, and which steps the chain holds (a last
    step that was dropped is not there). Steps stand one behind another from the chain's first word on."""
    n_words = (said != IGNORED).sum(-1)
    first = n_words.cumsum(1) - n_words
    places = first[..., None] + torch.arange(said.shape[2], device=said.device)
    inside = (said != IGNORED) & (places < levels[0].shape[1])
    places = places.clamp(max=levels[0].shape[1] - 1)
    rows = torch.arange(len(said), device=said.device)[:, None, None]
    held = ((chain.ids[rows, places] == said) & inside).sum(-1) == n_words
    means = tuple((level[rows, places] * inside[..., None]).sum(2) / n_words.clamp(min=1)[..., None] for level in levels)
    return means, held & (n_words > 0)


def trajectory_loss(
    student: AtThoughts, teacher: AtWords, chain: Language, said: Int[Tensor, "batch thoughts words"],
    distance: Distance, divide_by_std: bool, n_problems: int,
) -> Float[Tensor, ""]:  # fmt: skip
    """L_traj = 1/B sum_problems sum_i 1/M sum_{level m} D(sg[c_i^m], h_i^m) / sigma^p, over the steps that the chain holds.

    It is `distillation_loss` with a thought in each row in place of a door. `student` holds the states at the thoughts,
    `teacher` those at the chain's words; options as at the door."""
    wanted, held = states_of_steps(teacher, chain, said)
    if not held.any():
        return student[0].new_zeros(())
    pairs = tuple(level[held] for level in student), tuple(level[held] for level in wanted)
    return distillation_loss(*pairs, distance, divide_by_std, n_problems)
