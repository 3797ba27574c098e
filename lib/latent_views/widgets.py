"""The page inside a lesson: the same code on the same data, as a widget."""

from __future__ import annotations

import html
from collections.abc import Sequence as Seq
from typing import Any

import anywidget
import traitlets

from latent_cot.generation import answer
from latent_probes.probing import decode_thoughts
from latent_views.bundle import built, code, data_of, style
from latent_views.ready import load, recorded

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
        found = super()._repr_mimebundle_(**options)
        bundle, *metadata = found if isinstance(found, tuple) else (found,)
        shown = {**(bundle or {}), "text/html": opening(), "text/plain": "Instrument()"}
        return (shown, *metadata) if metadata else shown


def opening() -> str:
    """The question that the page opens on, its thoughts and the answer, as HTML without scripts."""
    path = next(path for path, record in recorded().items() if record["parameters"]["task"] == "graph")
    thinker = load(path)
    problem = thinker.task.splits["test"][0]
    (said,) = answer(thinker.reasoner, [thinker.prompt(problem, thinker.n_thoughts)], thinker.max_new_tokens)
    rows = [("question", problem.question)]
    for i, words in enumerate(decode_thoughts(thinker.reasoner, said.states[:-1], top_k=3), start=1):
        rows.append((f"thought {i} reads as", ", ".join(f"{word} {share:.0%}" for word, share in words)))
    return _table([*rows, ("written", said.text), ("right answer", problem.answer)])


def _table(rows: Seq[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>"
