"""Accuracy, tokens spent, and the controls that every result with thoughts must stand beside."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from latent_backbones.tokens import Markers
from latent_cot.generation import Answer, Intervention, Sampling, answer
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded, Layout, Sequence, encode
from latent_tasks import Problem, Task

Control = Literal["thoughts", "removed", "swapped", "mean"]


def _swap(thoughts: Float[Tensor, "batch thoughts d"]) -> Float[Tensor, "batch thoughts d"]:
    if len(thoughts) == 1:
        raise ValueError("a lone problem has nobody to swap thoughts with; evaluate more problems, in larger batches")
    return thoughts.roll(1, dims=0)


# What happens to a batch's thoughts before the answer: nothing, none are had, each problem gets its neighbour's,
# every problem gets the same (the batch's mean: a pause in their place, in the range the model knows). Without thoughts
# the answer's prompt is written for the model: one that was also taught to reason in words would do that instead.
INTERVENTIONS: dict[Control, Intervention | None] = {
    "thoughts": None,
    "removed": None,
    "swapped": _swap,
    "mean": lambda thoughts: thoughts.mean(0, keepdim=True).expand_as(thoughts),
}


@dataclass(frozen=True)
class Evaluation:
    problems: tuple[Problem, ...]
    answers: tuple[Answer, ...]
    correct: tuple[bool, ...]

    @property
    def accuracy(self) -> float:
        return sum(self.correct) / len(self.correct)

    @property
    def metrics(self) -> dict[str, Any]:
        """Accuracy, new tokens per question (thoughts and language); `correct` has one digit a problem, in the task's order,
        for paired comparisons."""
        n = len(self.correct)
        spent = sum(a.n_tokens for a in self.answers) / n
        correct = "".join("01"[c] for c in self.correct)
        return {"accuracy": self.accuracy, "new_tokens": spent, "n": n, "correct": correct}


def prompt(problem: Encoded, markers: Markers, n_thoughts: int, marked: bool = True, at_once: bool = False) -> Sequence:
    """What a model is given to answer: question [<bot>] | n thoughts | [<eot>]; `at_once` adds the answer's prompt."""
    bot = (markers.bot,) if marked and markers.bot is not None else ()
    eot = (markers.eot,) if marked and markers.eot is not None else ()
    language = eot + problem.tail + problem.answer[: problem.door + 1] * at_once
    return Sequence(problem.id, problem.before(n_thoughts) + bot, n_thoughts, language, states=problem.states)


def evaluate(
    reasoner: Reasoner, task: Task, problems: Seq[Problem], n_thoughts: int, marked: bool, *, layout: Layout = Layout(),
    max_new_tokens: int, batch_size: int = 128, control: Control = "thoughts", sampling: Sampling = Sampling(),
    encoder: Callable[..., list[Encoded]] = encode, reasons_aloud: bool = False,
) -> Evaluation:  # fmt: skip
    """Answer and grade problems. `n_thoughts` and `marked` are the method's (`Method.n_thoughts`, …).

    `encoder` is `encode` or, for SoftCoT, an assistant's; `reasons_aloud` for a model whose language after the thoughts
    is its reasoning: it goes on to reason when they are removed.
    """
    removed = control == "removed"
    encoded = encoder(problems, reasoner.tokenizer, layout)
    n, at_once = 0 if removed else n_thoughts, removed and not reasons_aloud
    prompts = [prompt(problem, reasoner.markers, n, marked, at_once) for problem in encoded]
    if at_once:  # room for the answer, and none for steps behind the answer's prompt
        max_new_tokens = max(len(problem.answer) - problem.door - 1 for problem in encoded)
    answers = answer(reasoner, prompts, max_new_tokens, batch_size, sampling, INTERVENTIONS[control])
    correct = tuple(bool(task.grade(a.text, p)) for a, p in zip(answers, problems))
    return Evaluation(tuple(problems), tuple(answers), correct)


def majority(task: Task, evaluations: Seq[Evaluation]) -> tuple[bool, ...]:
    """Self-consistency: is what most evaluations answer right, problem by problem? The first of equals wins."""
    verdicts = []
    for answers, correct in zip(zip(*(e.answers for e in evaluations)), zip(*(e.correct for e in evaluations))):
        said = [task.grade.read(answer.text) for answer in answers]
        votes = Counter(word for word in said if word is not None)
        verdicts.append(bool(votes) and correct[said.index(votes.most_common(1)[0][0])])
    return tuple(verdicts)


def measure(
    reasoner: Reasoner, task: Task, problems: Seq[Problem], n_thoughts: int, **options
) -> tuple[dict[str, Any], dict[Control, Evaluation]]:
    """What a record keeps of a trained model: accuracy, tokens; for one that thinks, the controls. With the
    evaluations that it stands on. `options` are `evaluate`'s.
    """

    def ask(some: Seq[Problem], control: Control = "thoughts") -> Evaluation:
        return evaluate(reasoner, task, some, n_thoughts=n_thoughts, control=control, **options)

    asked: dict[Control, Evaluation] = {"thoughts": ask(problems)}
    metrics = asked["thoughts"].metrics
    if n_thoughts:
        controls = [control for control in get_args(Control) if control != "thoughts"]
        asked |= {control: ask(problems, control) for control in controls}
        metrics["controls"] = {control: asked[control].accuracy for control in controls}
    return metrics, asked
