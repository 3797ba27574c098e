"""What thoughts carry: with another problem's thoughts in place, is it that problem's answer that is given?

That thoughts are *needed* (the answer is lost without them) says nothing of what is *in* them. The donor rate does: of pairs
of problems with different answers, the share in which the donor's answer is given when its thoughts stand there, minus the
share in which it is given when a third problem's do. A chain copied in words is the yardstick.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from latent_cot.evaluation import prompt
from latent_cot.generation import answer_batch
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded, Layout, Sequence, encode
from latent_tasks import Problem, Task

DONOR, THIRD = 1, 2  # whose thoughts, by how far before the problem it stands in its batch
Rate = dict[str, int | float]


@dataclass(frozen=True)
class Donation:
    """What was answered to a problem with its donor's thoughts in place, and with a third problem's."""

    problem: Problem
    donor: Problem
    third: Problem
    with_donor: str
    with_third: str


def donate(
    reasoner: Reasoner, problems: Seq[Problem], n_thoughts: int, marked: bool, *, layout: Layout = Layout(),
    max_new_tokens: int, batch_size: int = 128, encoder: Callable[..., list[Encoded]] = encode,
) -> list[Donation]:  # fmt: skip
    """Every problem with another's thoughts. Options are `evaluate`'s."""
    encoded = encoder(problems, reasoner.tokenizer, layout)
    prompts = [prompt(problem, reasoner.markers, n_thoughts, marked) for problem in encoded]

    def say(rows: range, shift: int) -> list[str]:
        asked = [prompts[i] for i in rows]
        return [a.text for a in answer_batch(reasoner, asked, max_new_tokens, intervene=lambda had: had.roll(shift, dims=0))]

    return _donated(reasoner, problems, batch_size, say)


def donate_chains(
    reasoner: Reasoner, problems: Seq[Problem], *, layout: Layout = Layout(), batch_size: int = 128
) -> list[Donation]:
    """The same of a chain of words: another problem's steps, as they are taught, stand before the answer's prompt."""
    encoded = encode(problems, reasoner.tokenizer, layout)
    room = max(len(one.answer) - one.door - 1 for one in encoded)

    def say(rows: range, shift: int) -> list[str]:
        asked = []
        for place, i in enumerate(rows):
            own, other = encoded[i], encoded[rows[place - shift]]
            chain = (*own.tail, *(token for step in other.steps for token in step), *own.answer[: own.door + 1])
            asked.append(Sequence(own.id, own.question, 0, chain))
        return [a.text for a in answer_batch(reasoner, asked, room)]

    return _donated(reasoner, problems, batch_size, say)


def donor_rate(task: Task, donations: Seq[Donation]) -> Rate | None:
    """`n` pairs, shares `given` with the donor's thoughts and `otherwise` with a third problem's, and `rate`, between -1 and 1;
    None where no three problems have three answers."""
    told = [one for one in donations if len({task.grade.read(p.answer) for p in (one.problem, one.donor, one.third)}) == 3]
    if not told:
        return None
    given = sum(task.grade(one.with_donor, one.donor) for one in told) / len(told)
    otherwise = sum(task.grade(one.with_third, one.donor) for one in told) / len(told)
    return {"n": len(told), "given": given, "otherwise": otherwise, "rate": given - otherwise}


def _donated(
    reasoner: Reasoner, problems: Seq[Problem], batch_size: int, say: Callable[[range, int], list[str]]
) -> list[Donation]:
    was_training = reasoner.training
    reasoner.eval()
    found: list[Donation] = []
    for start in range(0, len(problems) - THIRD, batch_size):
        end = start + batch_size
        rows = range(start, len(problems) if len(problems) - end <= THIRD else end)  # never one or two alone
        for place, (with_donor, with_third) in enumerate(zip(say(rows, DONOR), say(rows, THIRD))):
            problem, donor, third = (problems[rows[place - shift]] for shift in (0, DONOR, THIRD))
            found.append(Donation(problem, donor, third, with_donor, with_third))
        if rows.stop == len(problems):
            break
    reasoner.train(was_training)
    return found
