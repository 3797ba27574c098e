"""Accuracy, tokens spent, seconds, and the controls that every result with thoughts must stand beside."""

import time
from collections.abc import Callable, Sequence as Seq
from dataclasses import dataclass
from typing import Literal

import torch

from latent_cot.generation import Answer, Intervention, Sampling, answer
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded, Layout, Sequence, encode
from latent_cot.tasks import Problem, Task
from latent_cot.tokens import Markers

Control = Literal["thoughts", "removed", "swapped", "mean"]
# What happens to a batch's thoughts before the answer: nothing, none are had, each problem gets its neighbour's,
# every problem gets the same (the batch's mean: a pause in their place, in the range the model knows).
INTERVENTIONS: dict[Control, Intervention | None] = {
    "thoughts": None,
    "removed": None,
    "swapped": lambda thoughts: thoughts.roll(1, dims=0),
    "mean": lambda thoughts: thoughts.mean(0, keepdim=True).expand_as(thoughts),
}


@dataclass(frozen=True)
class Evaluation:
    problems: tuple[Problem, ...]
    answers: tuple[Answer, ...]
    correct: tuple[bool, ...]
    seconds: float  # wall time of the whole batched evaluation

    @property
    def accuracy(self) -> float:
        return sum(self.correct) / len(self.correct)

    @property
    def metrics(self) -> dict[str, float]:
        """Accuracy, new tokens per question (thoughts and language), seconds per question when batched."""
        n = len(self.correct)
        spent = sum(a.n_tokens for a in self.answers) / n
        return {"accuracy": self.accuracy, "new_tokens": spent, "seconds_batched": self.seconds / n, "n": n}


def prompt(problem: Encoded, markers: Markers, n_thoughts: int, marked: bool = True) -> Sequence:
    """What a model is given to answer: question [<bot>] | n thoughts | [<eot>]."""
    bot = (markers.bot,) if marked and markers.bot is not None else ()
    eot = (markers.eot,) if marked and markers.eot is not None else ()
    return Sequence(problem.id, problem.question + bot, n_thoughts, eot)


def evaluate(
    reasoner: Reasoner,
    task: Task,
    problems: Seq[Problem],
    n_thoughts: int,
    marked: bool,
    *,
    layout: Layout = Layout(),
    max_new_tokens: int,
    batch_size: int = 128,
    control: Control = "thoughts",
    sampling: Sampling = Sampling(),
) -> Evaluation:
    """Answer and grade problems. `n_thoughts` and `marked` are the method's (`Method.n_thoughts`, …)."""
    n_thoughts = 0 if control == "removed" else n_thoughts
    encoded = encode(problems, reasoner.tokenizer, layout)
    prompts = [prompt(problem, reasoner.markers, n_thoughts, marked) for problem in encoded]
    started = time.perf_counter()
    answers = answer(reasoner, prompts, max_new_tokens, batch_size, sampling, INTERVENTIONS[control])
    seconds = time.perf_counter() - started
    correct = tuple(bool(task.grade(a.text, p)) for a, p in zip(answers, problems))
    return Evaluation(tuple(problems), tuple(answers), correct, seconds)


def seconds_alone(ask: Callable[[Problem], object], problems: Seq[Problem]) -> float:
    """Median wall seconds per question at batch size 1, the papers' way of timing; the first question warms up."""
    times = []
    for problem in problems:
        started = time.perf_counter()
        ask(problem)
        times.append(time.perf_counter() - started)
    return float(torch.tensor(times[1:] or times).median())
