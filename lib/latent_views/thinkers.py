"""A trained model and all that is needed to ask it."""

from dataclasses import dataclass, replace

from latent_backbones.tokens import check_words
from latent_cot.evaluation import prompt
from latent_cot.models import Reasoner
from latent_cot.sequences import Layout, Sequence, encode
from latent_tasks import Problem, Task


@dataclass(frozen=True)
class Thinker:
    """`aloud` writes the explicit chain; `note` says who that is, or why nobody does."""

    reasoner: Reasoner
    task: Task  # the problems of its "test" split are offered, at least two
    n_thoughts: int
    aloud: Reasoner | None
    note: str
    layout: Layout = Layout()
    max_new_tokens: int = 32
    marked: bool = True  # <bot> and <eot> stand around its thoughts

    def prompt(self, problem: Problem, n_thoughts: int, marked: bool | None = None, at_once: bool = False) -> Sequence:
        """Raises ValueError, in plain words, for a question that the model cannot read."""
        if not problem.question.strip():
            raise ValueError("Type a question, or pick one.")
        check_words(problem.question, self.reasoner.tokenizer)
        asked = replace(problem, answer=problem.answer or "0")  # of a typed question nobody knows the answer
        (encoded,) = encode([asked], self.reasoner.tokenizer, self.layout)
        room = self.reasoner.context_length - self.n_thoughts - self.max_new_tokens
        if len(encoded.question) > room:
            raise ValueError(f"The question is too long: {len(encoded.question)} tokens, and this model has room for {room}.")
        return prompt(encoded, self.reasoner.markers, n_thoughts, self.marked if marked is None else marked, at_once)
