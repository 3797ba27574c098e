"""What thoughts carry: with another problem's thoughts in place, is it that problem's answer that is given?

That thoughts are *needed* (the answer is lost without them) says nothing of what is *in* them. The donor rate does: of pairs
of problems with different answers, the share in which the donor's answer is given when its thoughts stand there, minus the
share in which it is given when a third problem's do. A chain copied in words is the yardstick.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq

from latent_cot.evaluation import prompt
from latent_cot.generation import answer_batch
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded, Layout, Sequence, encode
from latent_tasks import Problem, Task

DONOR, THIRD = 1, 2  # whose thoughts, by how far before the problem it stands in its batch


def donor_rate(
    reasoner: Reasoner, task: Task, problems: Seq[Problem], n_thoughts: int, marked: bool, *, layout: Layout = Layout(),
    max_new_tokens: int, batch_size: int = 128, encoder: Callable[..., list[Encoded]] = encode,
) -> dict[str, int | float] | None:  # fmt: skip
    """Of thoughts. `n` pairs, shares `given` with the donor's and `otherwise` with a third problem's, and `rate`, between -1
    and 1; None where no three problems have three answers. Options are `evaluate`'s."""
    encoded = encoder(problems, reasoner.tokenizer, layout)
    prompts = [prompt(problem, reasoner.markers, n_thoughts, marked) for problem in encoded]

    def say(rows: range, shift: int) -> list[str]:
        asked = [prompts[i] for i in rows]
        return [a.text for a in answer_batch(reasoner, asked, max_new_tokens, intervene=lambda had: had.roll(shift, dims=0))]

    return _rate(reasoner, task, problems, batch_size, say)


def written_donor_rate(
    reasoner: Reasoner, task: Task, problems: Seq[Problem], *, layout: Layout = Layout(), batch_size: int = 128
) -> dict[str, int | float] | None:
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

    return _rate(reasoner, task, problems, batch_size, say)


def _rate(
    reasoner: Reasoner, task: Task, problems: Seq[Problem], batch_size: int, say: Callable[[range, int], list[str]]
) -> dict[str, int | float] | None:
    was_training = reasoner.training
    reasoner.eval()
    given, otherwise = [], []
    for start in range(0, len(problems) - THIRD, batch_size):
        end = start + batch_size
        rows = range(start, len(problems) if len(problems) - end <= THIRD else end)  # never one or two alone
        with_donors, with_thirds = say(rows, DONOR), say(rows, THIRD)
        for place, i in enumerate(rows):
            donor, third = (problems[rows[place - shift]] for shift in (DONOR, THIRD))
            if len({task.grade.read(problem.answer) for problem in (problems[i], donor, third)}) == 3:
                given.append(task.grade(with_donors[place], donor))
                otherwise.append(task.grade(with_thirds[place], donor))
        if rows.stop == len(problems):
            break
    reasoner.train(was_training)
    if not given:
        return None
    shares = {"given": sum(given) / len(given), "otherwise": sum(otherwise) / len(given)}
    return {"n": len(given), **shares, "rate": shares["given"] - shares["otherwise"]}
