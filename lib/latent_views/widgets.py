"""The instrument: ask a trained model in words and in thoughts, look into the thoughts, change them, watch the answer.

A reader's question goes through `Thinker.prompt`, which refuses in plain words what the model cannot read; what is shown
goes through `markup`, which escapes it.
"""

import html
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ipywidgets as ui
import torch
from jaxtyping import Float
from torch import Tensor

from latent_cot.evaluation import prompt
from latent_cot.generation import Answer, answer
from latent_cot.models import Reasoner
from latent_cot.probing import Reading, decode_levels, decode_thoughts, overwrite, read_along, remove
from latent_cot.sequences import Layout, Sequence, encode
from latent_cot.tokens import check_words
from latent_tasks import Problem, Task, parse
from latent_views.markup import STYLE, bars, card, heat_map, says, tree
from latent_views.plots import THOUGHT


@dataclass(frozen=True)
class Thinker:
    """A trained model and all that is needed to ask it. `aloud` writes the explicit chain; `note` says who that is, or why
    nobody does."""

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


class Instrument:
    """The controls. `thinkers` gives, by the name to show, how to load each model; an error while loading is shown."""

    def __init__(self, thinkers: Mapping[str, Callable[[], Thinker]]):
        self.thinkers, self.problem, self.busy = thinkers, Problem("", (), ""), False
        self.loaded: Thinker | None = None
        self.before: dict[str, float] = {}  # the next words with the thoughts as they were
        self.edits: dict[int, tuple[str, Tensor | None]] = {}  # thought -> what was done, what it is now (None: removed)
        wide, wrap = ui.Layout(width="auto", flex="1 1 auto"), ui.Layout(flex_flow="row wrap")
        self.model = ui.Dropdown(options=list(thinkers), description="Model", layout=wide)
        self.pick = ui.Dropdown(description="Pick", layout=wide)
        self.question = ui.Text(description="or type", layout=wide, continuous_update=False)
        self.n_thoughts = ui.IntSlider(description="Thoughts", min=0, layout=wide, continuous_update=False)
        self.which = ui.ToggleButtons(style={"button_width": "56px"})
        self.word = ui.Text(placeholder="a word", layout=ui.Layout(width="130px"))
        actions = {"Ask": self._ask, "Remove": self._remove, "Swap with another problem's": self._swap}
        actions |= {"Overwrite with": self._write, "Restore": self._ask}
        self.buttons = {text: ui.Button(description=text, layout=ui.Layout(width="auto")) for text in actions}
        for text, button in self.buttons.items():
            button.on_click(lambda _, act=actions[text]: self._guarded(act))
        asking = {self.model: self._load, self.pick: self._take, self.question: self._ask, self.n_thoughts: self._ask}
        for control, act in asking.items():
            control.observe(lambda _, act=act: self._guarded(act), "value")
        out = self.outputs = {name: ui.HTML() for name in ("message", "aloud", "silent", "bars", "tree", "levels", "looks")}
        ask, *change, restore = self.buttons.values()
        rows = [ui.HTML(STYLE), ui.HBox([self.model, self.n_thoughts]), self.pick, ui.HBox([self.question, ask])]
        rows += [out["message"], ui.Box([out["aloud"], out["silent"]], layout=wrap)]
        rows += [ui.Box([ui.Label("Thought"), self.which, *change, self.word, restore], layout=wrap)]
        rows += [ui.Box([out["bars"], out["tree"]], layout=wrap), out["levels"], out["looks"]]
        self.box = ui.VBox(rows)
        self.box.add_class("instrument")
        self._guarded(self._load)

    @property
    def thinker(self) -> Thinker:
        if self.loaded is None:
            raise ValueError("This model is not there. Choose another one.")
        return self.loaded

    def _repr_mimebundle_(self, **options) -> dict[str, object]:
        """The controls where they are alive; elsewhere (a stored notebook, no kernel) what they show now."""
        shown = "".join(output.value for output in self.outputs.values())
        title = f"<p>{html.escape(str(self.model.value))}</p><p class=big>{html.escape(self.problem.question)}</p>"
        return self.box._repr_mimebundle_(**options) | {"text/html": f"<div class=instrument>{STYLE}{title}{shown}</div>"}

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever a reader types or a model does, there is a message and the instrument stays alive."""
        if self.busy:  # a control was set by an action, not by the reader
            return
        self.busy, self.outputs["message"].value = True, ""
        try:
            act()
        except Exception as error:
            plain = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self.outputs["message"].value = says(plain)
        finally:
            self.busy = False

    def _clear(self) -> None:
        self.problem, self.edits, self.which.options = Problem("", (), ""), {}, ()
        for output in self.outputs.values():
            output.value = ""

    def _load(self) -> None:
        self._clear()
        self.loaded, self.pick.options = None, ()
        self.loaded = self.thinkers[self.model.value]()
        self.n_thoughts.max = self.n_thoughts.value = self.thinker.n_thoughts
        self.pick.options = [(problem.question, problem) for problem in self.thinker.task.splits["test"]]
        self.pick.index = 0
        self._take()

    def _take(self) -> None:
        self.question.value = self.pick.value.question
        self._ask()

    def _ask(self) -> None:
        """A question, its thoughts unchanged: everything is computed anew."""
        self._clear()
        thinker = self.thinker
        text, k, reasoner = self.question.value, self.n_thoughts.value, thinker.reasoner
        known = {problem.question: problem for problem in thinker.task.splits["test"]}
        problem = known.get(text, Problem(text, (), ""))
        words = reasoner.tokenizer.batch_decode([[token] for token in thinker.prompt(problem, k).question])
        self.problem = problem
        said, seconds = None, 0.0
        if thinker.aloud is not None:
            said, seconds = self._answer(thinker.aloud, thinker.prompt(problem, 0, marked=False))
        self.outputs["aloud"].value = card("In words", said, seconds, self._grade(said), thinker.note)
        reading, rows = self._show(), {}
        k = len(reading.thoughts)  # a model may end its thoughts itself
        self.which.options, self.which.index = [(str(i + 1), i) for i in range(k)], 0 if k else None
        names = [f"thought {i + 1}" for i in range(k)]
        for level, decoded in reversed([*enumerate(decode_levels(reasoner, reading.behind, top_k=3))]):
            best = [[f"{word or '␣'} {p:.2f}" for word, p in row] for row in decoded]
            cells = [(row[0][1], first, ", ".join(rest)) for row, (first, *rest) in zip(decoded, best)]
            rows[f"layer {level}" if level else "embedding"] = cells
        self.outputs["levels"].value = heat_map("What does each thought say?", names, rows) if k else ""
        looks = {
            name: [(p, f"{100 * p:.0f}" if p >= 0.005 else "", "") for p in row[: len(words) + k]]
            for name, row in zip([*names, "answer"], reading.looks.tolist())
        }
        columns = [*words, *(f"{THOUGHT}{i + 1}" for i in range(k))]
        self.outputs["looks"].value = heat_map("Where does it look? (% of attention)", columns, looks, "looks")

    def _show(self) -> Reading:
        """The answer, with the thoughts as they are now; the reading ends at the answer's door."""
        thinker, k = self.thinker, self.n_thoughts.value
        # A model that was also taught to write its steps does so where no thought is left, unless asked for the answer.
        left = k - sum(by is None for _, by in self.edits.values())
        asked, at_once = (thinker.prompt(self.problem, k, at_once=now) for now in (not left, True))
        said, seconds = self._answer(thinker.reasoner, asked)
        self.outputs["silent"].value = card("In thoughts", said, seconds, self._grade(said))
        # The door it came to itself, after the steps it wrote; where it came to none, it is put before one.
        written, door = asked.language + said.tokens, at_once.language[len(thinker.prompt(self.problem, k).language) :]
        ends = [i for i in range(len(door), len(written)) if written[i - len(door) : i] == door]
        reading = self._read(replace(at_once, language=written[: ends[0]]) if ends else at_once)
        self.current = self._words(reading)
        self.before = self.before if self.edits else self.current
        self.outputs["bars"].value = bars(self.before, self.current if self.edits else None)
        try:
            graph = parse(self.problem.question)
        except ValueError:
            graph = None  # no question about a graph
        if graph:  # the next step where one is left, otherwise the answer
            now = self._read(at_once if k == thinker.n_thoughts else thinker.prompt(self.problem, k))
            self.outputs["tree"].value = tree(graph, self._words(now))
        done = ". ".join(f"Thought {i + 1} {what}" for i, (what, _) in self.edits.items())
        self.outputs["message"].value = says(f"{done}.") if done else ""
        return reading

    def _answer(self, reasoner: Reasoner, asked: Sequence) -> tuple[Answer, float]:
        started = time.perf_counter()
        (said,) = answer(reasoner, [asked], self.thinker.max_new_tokens, intervene=self._intervene)
        return said, time.perf_counter() - started

    def _read(self, asked: Sequence) -> Reading:
        return read_along(self.thinker.reasoner, [asked], self._intervene)[0]

    def _grade(self, said: Answer | None) -> bool | None:
        return self.thinker.task.grade(said.text, self.problem) if said and self.problem.answer else None

    def _words(self, reading: Reading) -> dict[str, float]:
        """The most probable next words after all that was read."""
        reasoner = self.thinker.reasoner
        best = decode_thoughts(reasoner, reading.levels[-1, -1:], min(40, len(reasoner.tokenizer)))[0]
        return dict(reversed(best))  # of two tokens that look alike, the more probable one

    def _intervene(self, thoughts: Float[Tensor, "batch thoughts d"]) -> Float[Tensor, "batch left d"]:
        for i, (_, by) in self.edits.items():
            thoughts = thoughts if by is None else overwrite(i, by)(thoughts)
        return remove(*(i for i, (_, by) in self.edits.items() if by is None))(thoughts)

    def _edit(self, what: str, change: Callable[[int], Tensor | None]) -> None:
        if self.which.value is None:
            raise ValueError("There is no thought to change: ask something, with at least one thought.")
        self.edits[self.which.value] = what, change(self.which.value)
        self._show()

    def _remove(self) -> None:
        self._edit("removed", lambda i: None)

    def _swap(self) -> None:
        other = next(p for p in self.thinker.task.splits["test"] if p.question != self.problem.question)
        asked = self.thinker.prompt(other, self.n_thoughts.value)
        self._edit(f"taken from “{other.question}”", lambda i: read_along(self.thinker.reasoner, [asked])[0].thoughts[i])

    def _write(self) -> None:
        reasoner, word = self.thinker.reasoner, self.word.value.strip()
        check_words(word, reasoner.tokenizer)
        ids = reasoner.tokenizer.encode(word, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError("Write one word that the model knows into the field, then press the button.")
        self._edit(f"overwritten with “{word}”", lambda i: reasoner.embed(torch.tensor([ids]))[0, 0])
