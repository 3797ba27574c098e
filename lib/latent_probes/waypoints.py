"""What a thought on a graph carries: with another problem's thoughts, does the answer go on from where *they* had come to?

On graphs the donor's answer is hardly ever among this problem's candidates, so that the donor rate is near zero whatever
thoughts hold. Here another question can be asked: if the donor's last node has arrows in this problem's graph, is the answer
at the end of one of them? Then thoughts carry the place that was reached, and the answer is the next step from there, on
this problem's own arrows.
"""

from collections.abc import Sequence as Seq

from latent_probes.donors import Donation, Rate
from latent_tasks import Problem, Task
from latent_tasks.graphs import parse


def waypoint_rate(task: Task, donations: Seq[Donation]) -> Rate | None:
    """`n` pairs, the shares `given` with the donor's thoughts and `otherwise` with a third problem's in which the answer is
    one that the donor's last node leads to here, and `rate`, their difference, between -1 and 1.

    Asked where that node leads somewhere, but neither to this problem's own answer nor to where a third problem's last node
    leads. None where there is no such pair.
    """
    n = given = otherwise = 0
    for one in donations:
        net = parse(one.problem.question).net
        last = (_last_node(one.donor), _last_node(one.third))
        ends, others = ({*net.successors(node)} if node in net else set() for node in last)
        if ends and not ends & (others | {one.problem.answer}):
            n += 1
            given += task.grade.read(one.with_donor) in ends
            otherwise += task.grade.read(one.with_third) in ends
    return {"n": n, "given": given / n, "otherwise": otherwise / n, "rate": (given - otherwise) / n} if n else None


def _last_node(problem: Problem) -> str | None:
    """Where the written steps of a problem have come to; None if it has none."""
    return problem.steps[-1].split()[-1] if problem.steps else None
