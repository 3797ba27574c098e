"""Which part of a problem do its thoughts carry? With a donor's thoughts in place, of which mixture of both is it the answer?

An arithmetic problem is a number and operations. Some of these a model may take from the question, where they still stand when
it answers, and others from its thoughts. With a donor's thoughts the latter are the donor's, and a *hybrid* is answered:

    question 12 -7 *3 -8, thoughts of 10 +5 +1 *2
    dd..     10 +5 *3 -8    they carry the result of the first step
    .ddd     12 +5 +1 *2    the operations, and not the number
    dddd     10 +5 +1 *2    the answer, the only one that the donor rate counts
"""

from collections.abc import Sequence as Seq
from itertools import product

from latent_probes.donors import Donation, Rate
from latent_tasks import Task
from latent_tasks.arithmetic import meaning
from latent_tasks.names import CALCULATE


def hybrid_rates(task: Task, donations: Seq[Donation]) -> dict[str, Rate]:
    """By hybrid, a letter for the number and one for each operation, `d` where it is the donor's and `.` where it is the
    question's own: of `n` pairs the shares `given` with the donor's thoughts and `otherwise` with a third problem's in which
    it is answered, and `rate`, their difference, between -1 and 1.

    Asked where its answer is a number of the task, not this problem's own and not what the third's thoughts would bring about.
    Only problems of equally many steps can be mixed; a hybrid that no pair can tell is left out.
    """
    parts = [[meaning(p).split() for p in (one.problem, one.donor, one.third)] for one in donations]
    length = max((len(own) for own, *_ in parts), default=0)
    found: dict[str, Rate] = {}
    for whose in map("".join, product(".d", repeat=length)):
        n = given = otherwise = 0
        for one, (own, donor, third) in zip(donations, parts):
            if not len(own) == len(donor) == len(third) == length:
                continue
            gives, other = (calculated(mixed(own, theirs, whose)) for theirs in (donor, third))
            if str(gives) in (task.words or ()) and gives not in (other, calculated(own)):
                n += 1
                given += task.grade.read(one.with_donor) == gives
                otherwise += task.grade.read(one.with_third) == gives
        if n:
            found[whose] = {"n": n, "given": given / n, "otherwise": otherwise / n, "rate": (given - otherwise) / n}
    return found


def mixed(own: Seq[str], donors: Seq[str], whose: str) -> list[str]:
    """Parts of a problem, where `whose` says `d` the donor's: `["12", "-7"]`, `["10", "+5"]`, "d." make `["10", "-7"]`."""
    return [theirs if letter == "d" else mine for mine, theirs, letter in zip(own, donors, whose)]


def calculated(parts: Seq[str]) -> int:
    """What a number and its operations come to: 7 of `["12", "-7", "+2"]`."""
    start, *operations = parts
    value = int(start)
    for operation in operations:
        value = CALCULATE[operation[0]](value, int(operation[1:]))
    return value


def in_words(whose: str) -> str:
    """What thoughts carry that bring a hybrid about: "the result of step 1" of `dd..`, "operations 1, 2, 3" of `.ddd`."""
    done = len(whose) - len(whose.lstrip("d"))
    if done == len(whose):
        return "the answer"
    carried = ["the number" if done == 1 else f"the result of step {done - 1}"] * (done > 0)
    alone = [str(place) for place in range(done, len(whose)) if whose[place] == "d"]
    return ", ".join([*carried, *([f"operation{'s' * (len(alone) > 1)} " + ", ".join(alone)] if alone else [])])
