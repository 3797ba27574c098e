"""What language remains, stage by stage: the curricula as data.

A `Stage` says for how many optimiser steps, at which learning rate, and how a problem is arranged as
`question | thoughts | language`. A curriculum is a tuple of stages; the training loop knows nothing else.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from latent_backbones.tokens import Markers
from latent_cot.sequences import Encoded, Sequence

Arrange = Callable[[Encoded, Markers, random.Random], Sequence]
Mixing = Literal["none", "uniform", "improved"]
Schedule = Literal["constant_with_warmup", "cosine", "linear"]


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int  # optimiser steps; the optimiser and its warm-up start anew with each stage
    arrange: Arrange
    lr: float
    schedule: Schedule = "constant_with_warmup"
    warmup: int = 20  # optimiser steps


@dataclass(frozen=True)
class Budget:
    """How many optimiser steps a method has, and how large they are."""

    steps: int = 900  # of a method with one stage; of the last stage of others
    steps_per_stage: int = 0  # of the stages between
    start_steps: int = 0  # of plain CoT before everything else; 0: the model can reason already
    lr: float = 3e-3
    start_lr: float = 0.0  # of plain CoT; 0: `lr`
    warmup: int = 20  # optimiser steps, in every stage
    schedule: Schedule | None = None  # of every stage; None: the method's own

    def middle(self, name: str, arrange: Arrange, steps: int | None = None) -> Stage:
        """A stage on the way: its learning rate stays where it is."""
        steps = self.steps_per_stage if steps is None else steps
        return Stage(name, steps, arrange, self.lr, self.schedule or "constant_with_warmup", self.warmup)

    def stage(self, name: str, arrange: Arrange) -> Stage:
        """The last stage, or the only one: its learning rate goes down to zero."""
        return Stage(name, self.steps, arrange, self.lr, self.schedule or "cosine", self.warmup)

    def for_start(self) -> "Budget":
        """What plain CoT gets of it, before everything else."""
        return replace(self, steps=self.start_steps, lr=self.start_lr or self.lr)


def sequence(
    problem: Encoded, markers: Markers, n_thoughts: int, remaining: tuple[tuple[int, ...], ...], marked: bool = True,
    latents_per_step: int = 1,
) -> Sequence:  # fmt: skip
    """question [<bot>] | n thoughts | [<eot>] remaining steps, answer. `<eot>` and the chat's tail are read, never learned.

    The last of every `latents_per_step` thoughts stands for a step, while there are any."""
    bot = (markers.bot,) if marked and markers.bot is not None else ()
    eot = (markers.eot,) if marked and markers.eot is not None else ()
    steps = (*eot, *problem.tail, *chain.from_iterable(remaining))
    said = [part for step in problem.steps for part in (*[()] * (latents_per_step - 1), step)][:n_thoughts]
    return Sequence(
        id=problem.id,
        question=problem.before(n_thoughts) + bot,
        n_thoughts=n_thoughts,
        language=steps + problem.answer,
        n_unsupervised=len(eot) + len(problem.tail),
        door=len(steps) + problem.door,
        states=problem.states,
        said=tuple(said),
    )


def all_steps(n_thoughts: int = 0) -> Arrange:
    """CoT-SFT (no thoughts) and SoftCoT: every step in language."""
    return lambda problem, markers, rng: sequence(problem, markers, n_thoughts, problem.steps, marked=False)


def no_steps(n_thoughts: int = 0) -> Arrange:
    """No-CoT-SFT (no thoughts), pause tokens, and the students of CODI: only the answer in language."""
    return lambda problem, markers, rng: sequence(problem, markers, n_thoughts, (), marked=n_thoughts > 0)


def replace_steps_with_thoughts(
    stage: int,
    last_stage: int,
    latents_per_step: int = 1,
    pad_to_last: bool = True,
    mixing: Mixing = "none",
    mixing_share: float = 0.3,
    thoughts: bool = True,
) -> Arrange:
    """Coconut, stage k: the first k steps become c·k thoughts, steps k+1… stay in language (section 3, Figure 2).

    Past `last_stage` all remaining steps go; the thoughts stay c·last_stage (`pad_to_last`, the official
    `pad_latent_to_max`) or c·min(steps, last_stage). `mixing` puts other stages in: "uniform" with probability
    `mixing_share` (the official `uniform_prob`: any k up to the problem's number of steps), "improved" always, stage i
    with weight i+1 among 0…k (2602.22441). `thoughts=False` drops steps on the same schedule without thinking
    ("w/o thought"), then without markers.
    """

    def arrange(problem: Encoded, markers: Markers, rng: random.Random) -> Sequence:
        k = stage
        if mixing == "uniform" and rng.random() < mixing_share:
            k = rng.randrange(len(problem.steps) + 1)
        elif mixing == "improved":
            k = rng.choices(range(stage + 1), weights=range(1, stage + 2))[0]
        kept, replaced = problem.steps[k:], k
        if k > last_stage:
            kept, replaced = (), last_stage if pad_to_last else min(len(problem.steps), last_stage)
        n_thoughts = replaced * latents_per_step if thoughts else 0
        return sequence(problem, markers, n_thoughts, kept, thoughts, latents_per_step)

    return arrange


def remove_tokens_from_left(n_removed: int, smoothing: float = 4.0) -> Arrange:
    """iCoT: the first `n_removed` tokens of the chain are gone, and o more with P(o) ∝ exp(-λo) (2405.14838, sec. 3)."""

    def arrange(problem: Encoded, markers: Markers, rng: random.Random) -> Sequence:
        extra = int(rng.expovariate(smoothing)) if math.isfinite(smoothing) else 0
        chain_tokens = tuple(chain.from_iterable(problem.steps))[n_removed + extra :]
        return sequence(problem, markers, 0, (chain_tokens,), marked=False)

    return arrange


def distill(n_thoughts: int, keep_last_step: bool, door_offset: int = 0, keep_only_step: bool = True) -> Arrange:
    """CODI: the student sees thoughts and the answer, the teacher all steps (the last one dropped by default) and the
    answer. Without its last step a one-step problem leaves the teacher nothing to say; `keep_only_step` keeps it there
    (the official code does not).
    Both are matched `door_offset` tokens behind the door. Raises ValueError if language does not reach that far."""

    def arrange(problem: Encoded, markers: Markers, rng: random.Random) -> Sequence:
        kept = keep_last_step or (keep_only_step and len(problem.steps) == 1)
        steps = problem.steps if kept else problem.steps[:-1]
        explicit = tuple(chain.from_iterable(steps))
        student = sequence(problem, markers, n_thoughts, ())
        door, teacher = student.door + door_offset, explicit + problem.answer
        if not 0 <= door < len(student.language) - 1:  # the last token of language is never read
            raise ValueError(f"problem {problem.id!r} has no token {door_offset} behind its door")
        teacher_door = len(explicit) + problem.door + door_offset
        return replace(student, door=door, teacher=teacher, teacher_door=teacher_door)

    return arrange
