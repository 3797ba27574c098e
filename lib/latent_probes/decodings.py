"""Intermediate-result accuracy: do the thoughts say the results of the steps that they replaced? (CODI, section 5)

Of the problems answered correctly: the share whose intermediate results (all steps' but the last one's, which is the answer)
are all among the k most probable tokens of the states that were read: the one at <bot> and the one behind each thought, seven
of six thoughts, as the official probe reads them. By the number of intermediate results: the paper's 97.1, 83.9 and 75.0 are
for one, two and three. A result of several tokens (numbers, for tokenizers that split them) is never found.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

from latent_cot.evaluation import Evaluation
from latent_cot.models import Reasoner
from latent_probes.probing import decode_thoughts
from latent_tasks import DataError, Problem
from latent_tasks.files import read_records
from latent_tasks.problem import grade_number


@dataclass(frozen=True)
class Decoding:
    """What the thoughts before one answer decode to: for each state that was read its tokens, most probable first."""

    problem: Problem
    prediction: str
    decoded: tuple[tuple[str, ...], ...]


def decode_all(reasoner: Reasoner, result: Evaluation, top_k: int = 5) -> list[Decoding]:
    """An evaluation's problems and answers, with what the states say through the LM head that wrote each thought, and the one
    behind the last: Coconut's thoughts themselves, CODI's before their projection, and with pauses what the model had in mind
    while the writer looked away."""
    said = (decode_thoughts(reasoner, answer.states, top_k) for answer in result.answers)
    words = [tuple(tuple(word for word, _ in top) for top in thoughts) for thoughts in said]
    return [Decoding(p, a.text, decoded) for p, a, decoded in zip(result.problems, result.answers, words)]


def read_decodings(path: str | Path) -> list[Decoding]:
    """Decodings made elsewhere, from .json (an array) or .jsonl, plain or .gz.

    A record has question (text), steps (list of texts), answer and prediction (text or number), and decoded: for each state
    (as many as thoughts, and one) its most probable tokens, best first, each a text or a pair of text and probability.
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


def plain(token: str) -> str:
    """A token or result as it is compared: "1,200", "$1200." and "1200.0" are the same."""
    token = token.strip(" \n<>.$%")
    try:
        return str(float(token.replace(",", "")))
    except ValueError:
        return token


def comes_to(step: str) -> str:
    """What a step comes to: what stands behind its last "=", else its last word."""
    return plain((step.rpartition("=")[2].split() or [""])[-1])


def results(steps: Seq[str]) -> list[str]:
    """What each step but the last comes to: the last one's is the answer."""
    return [comes_to(step) for step in steps[:-1]]


def found(wanted: Seq[str], decoded: Seq[Seq[str]], top_k: int = 5, in_order: bool = False) -> bool:
    """Whether every result is among the top k of some thought; `in_order`: of one after that of the result before it."""
    tops = [{plain(token) for token in tokens[:top_k]} for tokens in decoded]
    left = iter(tops)
    return all(any(result in top for top in (left if in_order else tops)) for result in wanted)  # `left` goes on where it was


def by_results(decodings: Seq[Decoding], top_k: int = 5, grade: Callable[[str, Problem], bool] = grade_number) -> list[dict]:
    """A row for each number of intermediate results: n such problems were answered correctly, for which share of them all
    are found, in any order and in that of the steps, and as a control in the thoughts of the next of them (None if there is
    but one). Problems of one step have no intermediate result and no row."""
    groups: dict[int, list[Decoding]] = {}
    for decoding in decodings:
        if len(decoding.problem.steps) > 1 and grade(decoding.prediction, decoding.problem):
            groups.setdefault(len(decoding.problem.steps) - 1, []).append(decoding)
    rows: list[dict] = []
    for n_results, group in sorted(groups.items()):
        wanted, others = [results(one.problem.steps) for one in group], group[1:] + group[:1]

        def share(thoughts: Seq[Decoding], in_order: bool = False) -> float:
            return sum(found(some, one.decoded, top_k, in_order) for some, one in zip(wanted, thoughts)) / len(thoughts)

        other = share(others) if len(group) > 1 else None
        rows.append({
            "results": n_results, "n": len(group), "found": share(group), "found in order": share(group, True),
            "found in another's": other,
        })  # fmt: skip
    return rows
