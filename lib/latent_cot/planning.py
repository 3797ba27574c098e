"""Graph search inside the thoughts: does thought k hold the breadth-first frontier at distance k?

"Coconut thoughts keep several next steps at once" (2412.06769, section 5); a thought that is a superposition of the
whole frontier is the construction of 2505.12514.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from latent_cot.generation import Answer
from latent_cot.models import Reasoner
from latent_cot.probing import decode_thoughts
from latent_cot.tasks import Problem, frontier, parse


@dataclass(frozen=True)
class FrontierShare:
    """Over problems, for the k-th thought: how often its most probable token lies in the frontier at distance k, how
    often its most probable |frontier| tokens are exactly the frontier, and the mass on the true path's node."""

    thought: int
    top_1_in_frontier: float
    top_is_frontier: float
    mass_on_path: float
    mass_on_frontier: float


def frontier_shares(reasoner: Reasoner, problems: Seq[Problem], answers: Seq[Answer]) -> list[FrontierShare]:
    """One row per thought, for problems whose steps are the nodes of the path (the symbolic graph task)."""
    shares = []
    for k in range(min(len(problems[0].steps), len(answers[0].thoughts))):
        inside = exact = on_path = mass = 0.0
        for problem, answer in zip(problems, answers):
            nodes = frontier(parse(problem.question), k + 1)
            (decoded,) = decode_thoughts(reasoner, answer.thoughts[k : k + 1], top_k=20)
            inside += decoded[0][0] in nodes
            exact += {word for word, _ in decoded[: len(nodes)]} == nodes
            on_path += sum(p for word, p in decoded if word == problem.steps[k])
            mass += sum(p for word, p in decoded if word in nodes)
        n = len(problems)
        shares.append(FrontierShare(k + 1, inside / n, exact / n, on_path / n, mass / n))
    return shares
