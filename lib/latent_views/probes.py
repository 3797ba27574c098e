"""Linear probes: can a step's result be read from a thought, whatever the LM head says?

A probe reads one thought and names one intermediate result, by a linear discriminant of training problems. What it gets
right of other problems stands beside what it gets right where thoughts and problems are mismatched, which is what the
numbers alone allow.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latent_cot.generation import answer
from latent_probes.decodings import results
from latent_probes.linear import discriminate, right
from latent_tasks import Problem
from latent_views.thinkers import Thinker

N_HELD_OUT = 500  # problems


@dataclass(frozen=True)
class Probes:
    """One probe for each thought and each intermediate result."""

    weight: Float[Tensor, "thoughts results d classes"]
    bias: Float[Tensor, "thoughts results classes"]
    right: Float[Tensor, "thoughts results"]  # share of held-out problems
    mismatched: Float[Tensor, "thoughts results"]  # the same with another problem's thoughts


def fit_probes(thinker: Thinker, fit: Seq[Problem], held_out: Seq[Problem], n_classes: int) -> Probes | None:
    """Probes of a model that always has as many thoughts; None where the problems have no results 0…n_classes-1 in common."""
    n_results = {len(results(problem.steps)) for problem in (*fit, *held_out)}
    if len(n_results) != 1 or not (n := n_results.pop()):
        return None
    (x, y), (x_other, y_other) = _states(thinker, fit, n), _states(thinker, held_out, n)
    weight, bias = discriminate(x, y, n_classes)
    shares = (right(thoughts, y_other, weight, bias) for thoughts in (x_other, x_other.roll(1, 0)))
    return Probes(weight, bias, *shares)


def _states(
    thinker: Thinker, problems: Seq[Problem], n_results: int
) -> tuple[Float[Tensor, "problems thoughts d"], Int[Tensor, "problems results"]]:
    prompts = [thinker.prompt(problem, thinker.n_thoughts) for problem in problems]
    had = torch.stack([said.thoughts for said in answer(thinker.reasoner, prompts, 1, batch_size=256)])
    wanted = [[int(float(result)) for result in results(problem.steps)] for problem in problems]
    return had, torch.tensor(wanted).reshape(len(problems), n_results)
