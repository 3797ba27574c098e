"""What a thought about a name carries: with another problem's thoughts, is it calculated with the number of *that* name?

Where thoughts hold a fact that the question lacks, the donor rate is near zero however well they hold it: the answer to the
donor's question is made of the donor's operations, which stand in its question and not in its thoughts. Here another question
can be asked: is the answer what *this* problem's operations make of the *donor's* number?
"""

from collections.abc import Sequence as Seq

from latent_probes.donors import Donation, Rate
from latent_tasks import Task
from latent_tasks.names import MAX_VALUE, number_of, values_from


def fact_rate(task: Task, donations: Seq[Donation]) -> Rate | None:
    """`n` pairs, the shares `given` with the donor's thoughts and `otherwise` with a third problem's in which the answer is
    what this problem's operations make of the donor's number, and `rate`, their difference, between -1 and 1.

    Asked where that can be calculated in the numbers of the task and is neither this problem's own answer nor what the
    third's number gives. None where there is no such pair.
    """
    n = given = otherwise = 0
    for one in donations:
        way, other = (values_from(number_of(problem), one.problem) for problem in (one.donor, one.third))
        gives, own = way[-1], task.grade.read(one.problem.answer)
        if all(0 <= value <= MAX_VALUE for value in way) and gives not in (other[-1], own):
            n += 1
            given += task.grade.read(one.with_donor) == gives
            otherwise += task.grade.read(one.with_third) == gives
    return {"n": n, "given": given / n, "otherwise": otherwise / n, "rate": (given - otherwise) / n} if n else None
