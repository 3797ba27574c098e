"""Intermediate-result accuracy: do the thoughts say the results of the steps that they replaced? (CODI, section 5)

Of the problems answered correctly: the share whose results, in order, are all among the k most probable tokens of the
thoughts. The last step's result is the answer, and counts: of a one-step problem there is no other, and the paper has
97.1 % there. A result of several tokens (numbers, for tokenizers that split them) is never found.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

from latent_cot.evaluation import Evaluation
from latent_cot.models import Reasoner
from latent_cot.probing import decode_thoughts
from latent_tasks import DataError, Problem
from latent_tasks.files import read_records
from latent_tasks.problem import grade_number


@dataclass(frozen=True)
class Decoding:
    """What the thoughts before one answer decode to: for each thought its tokens, most probable first."""

    problem: Problem
    prediction: str
    decoded: tuple[tuple[str, ...], ...]


def decode_all(reasoner: Reasoner, result: Evaluation, top_k: int = 5) -> list[Decoding]:
    """An evaluation's problems and answers, with what the states that wrote each thought say through the LM head: Coconut's
    thoughts themselves, CODI's before their projection, and with pauses what the model had in mind while the writer looked
    away."""
    said = (decode_thoughts(reasoner, answer.states[:-1], top_k) for answer in result.answers)
    words = [tuple(tuple(word for word, _ in top) for top in thoughts) for thoughts in said]
    return [Decoding(p, a.text, decoded) for p, a, decoded in zip(result.problems, result.answers, words)]


def read_decodings(path: str | Path) -> list[Decoding]:
    """Decodings made elsewhere, from .json (an array) or .jsonl, plain or .gz.

    A record has question (text), steps (list of texts), answer and prediction (text or number), and decoded: for each
    thought a list of its most probable tokens, best first, each a text or a pair of text and probability.
    Raises DataError naming file and line (in an array, the record's number) at the first record that is otherwise.
    """
    found = []
    for place, record in read_records(Path(path)):
        try:
            answer, prediction = (str(_typed(record[name], str | int | float)) for name in ("answer", "prediction"))
            steps = tuple(_typed(step, str) for step in _typed(record["steps"], list))
            tops = [[t[0] if isinstance(t, list) else t for t in _typed(top, list)] for top in _typed(record["decoded"], list)]
            problem = Problem(_typed(record["question"], str), steps, answer, place)
            found.append(Decoding(problem, prediction, tuple(tuple(_typed(token, str) for token in top) for top in tops)))
        except (LookupError, TypeError) as error:
            raise DataError(f"{place}: {type(error).__name__}: {error}") from error
    return found


def _typed(value, kind):
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.60} is not of type {getattr(kind, '__name__', kind)}")
    return value


def _plain(token: str) -> str:
    """A token or result as it is compared: "1,200", "$1200." and "1200.0" are the same."""
    token = token.strip(" \n<>.$%")
    try:
        return str(float(token.replace(",", "")))
    except ValueError:
        return token


def in_order(steps: Seq[str], decoded: Seq[Seq[str]], top_k: int = 5) -> bool:
    """Whether each step's result (behind its last "=", else its last word) is among the top k of a thought that comes
    after the thought of the result before it."""
    tops = iter([{_plain(token) for token in tokens[:top_k]} for tokens in decoded])
    results = [_plain((step.rpartition("=")[2].split() or [""])[-1]) for step in steps]
    return all(any(result in top for top in tops) for result in results)  # `tops` goes on where it was left


def by_steps(decodings: Seq[Decoding], top_k: int = 5, grade: Callable[[str, Problem], bool] = grade_number) -> list[dict]:
    """A row for each number of steps: n such problems were answered correctly, for which share of them all results are
    found in order, and as a control in the thoughts of the next of them (None if there is but one)."""
    groups: dict[int, list[Decoding]] = {}
    for decoding in decodings:
        if decoding.problem.steps and grade(decoding.prediction, decoding.problem):
            groups.setdefault(len(decoding.problem.steps), []).append(decoding)
    rows = []
    for n_steps, group in sorted(groups.items()):
        own, other = (
            sum(in_order(one.problem.steps, some.decoded, top_k) for one, some in zip(group, thoughts)) / len(group)
            for thoughts in (group, group[1:] + group[:1])
        )
        rows.append({"steps": n_steps, "n": len(group), "found": own, "found in another's": other if len(group) > 1 else None})
    return rows
