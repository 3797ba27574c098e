"""Linear probes: which step's result, and whether the answer, can be read from a state, whatever the LM head says.

At CODI's door the student's state is pulled to that of the teacher, which has read the steps. That can teach a step only if the
teacher's state says it (2502.21074, section 3, has the one state stand for the whole chain). In a thought it tells which step
the thought stands for, if any.
"""

from collections.abc import Sequence as Seq
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from latent_cot.evaluation import Evaluation
from latent_probes.decodings import comes_to, plain
from latent_tasks import Problem

N_FIT = 2000  # problems
MOST = 200  # words that a probe tells apart: in a free text every number is another


def discriminate(
    x: Float[Tensor, "problems places d"], y: Int[Tensor, "problems results"], n_classes: int
) -> tuple[Float[Tensor, "places results d classes"], Float[Tensor, "places results classes"]]:
    """Weights and biases of a probe for each place and each result.

    log p(class | x) = mu_c' S^-1 x - mu_c' S^-1 mu_c / 2 + log p(class), up to what all classes share: Fisher's linear
    discriminant, with the classes' means mu_c, the spread S within classes, and every class counted once more than seen."""
    told = F.one_hot(y, n_classes).to(x)
    seen = told.sum(0)
    means = torch.einsum("ptd,prc->trcd", x, told) / seen.clamp(min=1)[:, :, None]
    off = x[:, :, None] - torch.stack([means[:, r, y[:, r]] for r in range(y.shape[1])], 2).transpose(0, 1)
    spread = torch.einsum("ptrd,ptre->trde", off, off) / len(x)
    size = spread.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    weight = torch.linalg.solve(spread + 1e-3 * size * torch.eye(x.shape[2]).to(x), means.mT)
    bias = -torch.einsum("trcd,trdc->trc", means, weight) / 2 + ((seen + 1) / (len(x) + n_classes)).log()
    return weight, torch.where(seen > 0, bias, torch.finfo(x.dtype).min / 2)


def right(
    x: Float[Tensor, "problems places d"], y: Int[Tensor, "problems results"],
    weight: Float[Tensor, "places results d classes"], bias: Float[Tensor, "places results classes"],
) -> Float[Tensor, "places results"]:  # fmt: skip
    """The share of problems of which probes name the right class."""
    said = torch.einsum("btd,trdc->btrc", x, weight) + bias
    return (said.argmax(-1) == y[:, None]).float().mean(0)


def words_of(problem: Problem) -> list[str]:
    """What each step comes to, and the answer."""
    return [*map(comes_to, problem.steps), plain(problem.answer)]


def comparable(problems: Seq[Problem]) -> bool:
    """Whether problems have equally many steps, and no more than 200 words for what these come to."""
    said = [words_of(problem) for problem in problems]
    return len({len(words) for words in said}) == 1 and len({word for words in said for word in words}) <= MOST


def held(
    fit: Float[Tensor, "places problems d"], of_fit: Seq[Problem],
    tested: Float[Tensor, "places others d"], of_tested: Seq[Problem],
) -> list[dict[str, Any]]:  # fmt: skip
    """Probes of states, fitted to some problems and tested on others, which are `comparable`: a row for each place (a level, a
    thought) and each step's result (1 is the first step) and the answer (step 0), with the share of problems in which the probe
    names it, and as a control in which it names it from another problem's state."""
    said = [words_of(problem) for problem in (*of_fit, *of_tested)]
    known = {word: i for i, word in enumerate(sorted({word for words in said for word in words}))}
    y = torch.tensor([[known[word] for word in words] for words in said], device=fit.device)
    of_those, of_others = y[: len(of_fit)], y[len(of_fit) :]
    x = tested.float().transpose(0, 1)
    probes = discriminate(fit.float().transpose(0, 1), of_those, len(known))
    shares, controls = (right(states, of_others, *probes) for states in (x, x.roll(1, 0)))
    steps = [*range(1, y.shape[1]), 0]
    return [
        {"place": place, "step": step, "right": float(shares[place, i]), "another's": float(controls[place, i])}
        for place in range(len(shares))
        for i, step in enumerate(steps)
    ]


def in_thoughts(fit: Evaluation, tested: Evaluation) -> list[dict[str, Any]]:
    """`held` of the states that wrote the thoughts (places 0, 1 …) and the one behind the last; no rows where answers have
    unlike numbers of thoughts."""
    if len({len(answer.states) for one in (fit, tested) for answer in one.answers}) > 1:
        return []
    states = [torch.stack([answer.states for answer in one.answers], 1) for one in (fit, tested)]
    return held(states[0], fit.problems, states[1], tested.problems)
