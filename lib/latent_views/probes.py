"""Linear probes: can a step's result be read from a thought, whatever the LM head says?

A probe reads one thought and names one intermediate result, by a linear discriminant of training problems. What it gets
right of other problems stands beside what it gets right where thoughts and problems are mismatched, which is what the
numbers alone allow.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from latent_cot.generation import answer
from latent_probes.decodings import results
from latent_tasks import Problem
from latent_views.thinkers import Thinker

N_FIT, N_HELD_OUT = 2000, 500  # problems


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
    weight, bias = _discriminate(x, y, n_classes)

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


def _discriminate(
    x: Float[Tensor, "problems thoughts d"], y: Int[Tensor, "problems results"], n_classes: int
) -> tuple[Float[Tensor, "thoughts results d classes"], Float[Tensor, "thoughts results classes"]]:
    """log p(class | x) = mu_c' S^-1 x - mu_c' S^-1 mu_c / 2 + log p(class), up to what all classes share: Fisher's linear
    discriminant, with the classes' means mu_c, the spread S within classes, and every class counted once more than seen."""
    told = F.one_hot(y, n_classes).to(x)
    seen = told.sum(0)
    means = torch.einsum("ptd,prc->trcd", x, told) / seen.clamp(min=1)[:, :, None]
    off = x[:, :, None] - torch.stack([means[:, r, y[:, r]] for r in range(y.shape[1])], 2).transpose(0, 1)
    spread = torch.einsum("ptrd,ptre->trde", off, off) / len(x)
    size = spread.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    weight = torch.linalg.solve(spread + 1e-3 * size * torch.eye(x.shape[2]), means.mT)
    bias = -torch.einsum("trcd,trdc->trc", means, weight) / 2 + ((seen + 1) / (len(x) + n_classes)).log()
    return weight, torch.where(seen > 0, bias, torch.finfo(x.dtype).min / 2)
