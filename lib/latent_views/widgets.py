"""The page inside a lesson: the same code on the same data, as a widget; and a form for models that no page can hold."""

from __future__ import annotations

import html
from collections.abc import Sequence as Seq
from typing import Any

import anywidget
import ipywidgets
import traitlets

from latent_cot.generation import Answer, answer
from latent_probes.probing import decode_thoughts
from latent_tasks import Problem
from latent_views.bundle import built, code, data_of, style
from latent_views.ready import load, recorded
from latent_views.thinkers import Thinker

MODULE = "{code}\nexport default {{ render({{ model, el }}) {{ new Page(el, model.get('data')); }} }};"


class Instrument(anywidget.AnyWidget):
    """Ask the shipped models, look into their thoughts, change them. It computes in the browser; no kernel is asked.

    Where there is no browser (a stored notebook, a printed one) it says which question it opens on and what is answered.
    """

    _esm = MODULE.format(code=code())
    _css = style()
    data = traitlets.Dict().tag(sync=True)

    def __init__(self, **options: Any):
        super().__init__(data=data_of(built()), **options)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return _stored(super()._repr_mimebundle_(**options), opening(), "Instrument()")


class Question(ipywidgets.VBox):
    """Ask a model a question of its task, or one's own: its answer in words and in thoughts, what these read as, and its answer
    with the thoughts that it had about another problem. The kernel computes, so any model will do."""

    def __init__(self, thinker: Thinker):
        self.thinker, wide, offered = thinker, {"width": "98%"}, thinker.task.splits["test"]
        self.pick = ipywidgets.Dropdown(options=[(p.question[:90], p) for p in offered], description="pick", layout=wide)
        self.typed = ipywidgets.Textarea(offered[0].question, description="or type", layout=wide)
        self.ask = ipywidgets.Button(description="Ask", button_style="primary")
        self.said = ipywidgets.HTML()
        self.pick.observe(lambda change: setattr(self.typed, "value", change["new"].question), "value")
        self.ask.on_click(lambda _: self.answer())
        super().__init__([self.pick, self.typed, self.ask, self.said])
        self.answer()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return _stored(super()._repr_mimebundle_(**options), self.said.value, "Question()")

    def answer(self) -> None:
        """Answer what is typed; or say in plain words why it cannot be read."""
        offered = self.thinker.task.splits["test"]
        asked = next((p for p in offered if p.question == self.typed.value), Problem(self.typed.value, (), ""))
        other = next(p for p in offered if p.question != asked.question)
        try:
            self.said.value = told(self.thinker, asked, other)
        except ValueError as error:
            self.said.value = html.escape(str(error))


def _stored(found: Any, shown: str, plain: str) -> Any:
    """What a widget gives a notebook to store, and beside it HTML for where no kernel runs."""
    bundle, *metadata = found if isinstance(found, tuple) else (found,)
    bundle = {**(bundle or {}), "text/html": shown, "text/plain": plain}
    return (bundle, *metadata) if metadata else bundle


def told(thinker: Thinker, problem: Problem, other: Problem) -> str:
    """What a model answers in words, in thoughts, and with its thoughts about another problem, as a table in HTML."""
    rows = [("question", problem.question)]
    if thinker.aloud is not None:
        (aloud,) = answer(thinker.aloud, [thinker.prompt(problem, 0, marked=False)], thinker.max_new_tokens)
        rows.append(("in words", aloud.text))
    said, elsewhere = _in_thoughts(thinker, problem), _in_thoughts(thinker, other)
    rows += [("in thoughts", said.text), *_readings(thinker, said)]
    rows.append((f"with the thoughts about “{other.question}”", _in_thoughts(thinker, problem, elsewhere).text))
    return _table(rows + ([("right answer", problem.answer)] if problem.answer else []))


def opening() -> str:
    """The question that the page opens on, its thoughts and the answer, as HTML without scripts."""
    path = next(path for path, record in recorded().items() if record["parameters"]["task"] == "graph")
    thinker = load(path)
    problem = thinker.task.splits["test"][0]
    said = _in_thoughts(thinker, problem)
    rows = [("question", problem.question), *_readings(thinker, said), ("written", said.text)]
    return _table([*rows, ("right answer", problem.answer)])


def _in_thoughts(thinker: Thinker, problem: Problem, donor: Answer | None = None) -> Answer:
    change = None if donor is None else lambda had: donor.thoughts[None]
    asked = thinker.prompt(problem, thinker.n_thoughts)
    return answer(thinker.reasoner, [asked], thinker.max_new_tokens, intervene=change)[0]


def _readings(thinker: Thinker, said: Answer) -> list[tuple[str, str]]:
    read = decode_thoughts(thinker.reasoner, said.states[: len(said.thoughts)], top_k=3)
    words = [", ".join(f"{word} {share:.0%}" for word, share in best) for best in read]
    return [(f"thought {i} reads as", reading) for i, reading in enumerate(words, start=1)]


def _table(rows: Seq[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>"
