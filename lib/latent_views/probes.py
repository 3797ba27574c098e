"""Linear probes: can a step's result be read from a thought, whatever the LM head says?

A probe is a softmax regression from one thought to one intermediate result, fitted on training problems. What it gets right of
other problems stands beside what it gets right where thoughts and problems are mismatched: that is what the numbers alone allow.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from latent_cot.decodings import results
from latent_cot.generation import answer
from latent_tasks import Problem
from latent_views.thinkers import Thinker

N_FIT, N_HELD_OUT = 3000, 500  # problems


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
    middle, spread = x.mean(0), x.std(0).clamp(min=1e-6)
    weight, bias = _regress((x - middle) / spread, y, n_classes)
    weight = weight / spread[:, None, :, None]  # as it reads what was not standardised
    bias = bias - torch.einsum("td,trdc->trc", middle, weight)

    def share(thoughts: Float[Tensor, "problems thoughts d"]) -> Float[Tensor, "thoughts results"]:
        said = torch.einsum("btd,trdc->btrc", thoughts, weight) + bias
        return (said.argmax(-1) == y_other[:, None]).float().mean(0)

    return Probes(weight, bias, share(x_other), share(x_other.roll(1, 0)))


def _states(
    thinker: Thinker, problems: Seq[Problem], n_results: int
) -> tuple[Float[Tensor, "problems thoughts d"], Int[Tensor, "problems results"]]:
    prompts = [thinker.prompt(problem, thinker.n_thoughts) for problem in problems]
    had = torch.stack([said.thoughts for said in answer(thinker.reasoner, prompts, 1, batch_size=256)])
    wanted = [[int(float(result)) for result in results(problem.steps)] for problem in problems]
    return had, torch.tensor(wanted).reshape(len(problems), n_results)


def _regress(
    x: Float[Tensor, "problems thoughts d"], y: Int[Tensor, "problems results"], n_classes: int
) -> tuple[Float[Tensor, "thoughts results d classes"], Float[Tensor, "thoughts results classes"]]:
    """All softmax regressions at once, with a little weight decay."""
    weight = torch.zeros(x.shape[1], y.shape[1], x.shape[2], n_classes, requires_grad=True)
    bias = torch.zeros(x.shape[1], y.shape[1], n_classes, requires_grad=True)
    labels = y[:, None].expand(-1, x.shape[1], -1)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        said = torch.einsum("btd,trdc->btrc", x, weight) + bias
        value = F.cross_entropy(said.flatten(0, 2), labels.flatten(), reduction="sum") / len(x) + 1e-3 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weight.detach(), bias.detach()
