"""What the instrument shows, as HTML. Every word that a model or a reader wrote is escaped here."""

import html
from collections.abc import Mapping
from collections.abc import Sequence as Seq

import networkx as nx

from latent_cot.generation import Answer
from latent_tasks import Graph
from latent_views.plots import THOUGHT

# Legible from the back of a room; blue and orange stay apart for colour-blind eyes, and a number stands beside each colour.
BLUE, ORANGE = "#0072B2", "#E69F00"
STYLE = """<style>
.instrument, .instrument :is(select, input, button, p, th, td, .widget-label, .widget-readout) {
  font: 20px/1.35 system-ui, sans-serif !important; color: #111}
.instrument :is(select, input, button, .widget-label, .widget-readout) {height: 44px !important; line-height: 40px !important}
.instrument .widget-inline-hbox {height: auto} .instrument .widget-label {width: auto; min-width: 92px}
.instrument button {background: #e8e8e8} .instrument button.mod-active {background: #0072B2; color: #fff}
.instrument :focus-visible {outline: 4px solid #D55E00 !important}
.instrument h3 {font-size: 22px; margin: 14px 0 4px} .instrument p {margin: 2px 0} .instrument small {font-size: 16px}
.instrument .big {font-size: 30px !important; font-weight: 700 !important} .instrument .card {width: 620px; margin-right: 24px}
.instrument table {border-spacing: 3px; border-collapse: separate} .instrument th {text-align: left; white-space: nowrap}
.instrument td {padding: 3px 8px; border-radius: 5px; text-align: center; white-space: nowrap; color: inherit}
.instrument .looks :is(th, td) {font-size: 16px !important; padding: 3px 5px}
.instrument .says {background: #fff3d6; border-left: 8px solid #E69F00; padding: 8px 16px; font-size: 22px;
  overflow-wrap: anywhere}
</style>"""


def says(text: str) -> str:
    """A message in plain words, cut where it gets long."""
    return f"<div class=says role=status>{html.escape(text if len(text) < 300 else text[:300] + ' …')}</div>"


def card(title: str, said: Answer | None, seconds: float, right: bool | None, note: str = "") -> str:
    """What was written, and what it cost."""
    shown = f"<h3>{html.escape(title)}</h3>"
    if said is not None:
        verdict = {True: "✓ right, ", False: "✗ wrong, ", None: ""}[right]
        n, dots = len(said.thoughts), f"<span style='color:{BLUE}'>{THOUGHT * len(said.thoughts)}</span>"
        shown += f"<p class=big>{dots} {html.escape(said.text or '(nothing)')}</p><p>{verdict}{n} thought{'s' * (n != 1)} + "
        shown += f"{len(said.tokens)} tokens = {said.n_tokens} positions, {1000 * seconds:.0f} ms</p>"
    return f"<div class=card>{shown}<p><small>{html.escape(note)}</small></p></div>"


def heat_map(title: str, columns: Seq[str], rows: Mapping[str, Seq[tuple[float, str, str]]], style: str = "") -> str:
    """A table of (share, words, more words): the shade is the share, all words are in the cell's title."""

    def cell(share: float, words: str, more: str) -> str:
        look = f"background:rgba(0,114,178,{share:.2f});color:{'#fff' if share > 0.85 else '#111'}"
        below = f"<br><small>{html.escape(more[:36])}</small>" if more else ""
        return f"<td style='{look}' title='{html.escape(f'{words} {more}')}'>{html.escape(words)}{below}</td>"

    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    named = {html.escape(name): "".join(cell(*item) for item in row) for name, row in rows.items()}
    lines = "".join(f"<tr><th>{name}</th>{cells}</tr>" for name, cells in named.items())
    return f"<h3>{html.escape(title)}</h3><table class='{style}'><tr><th></th>{head}</tr>{lines}</table>"


def bars(before: Mapping[str, float], after: Mapping[str, float] | None) -> str:
    """The answer's distribution, its most probable words on either side."""
    sides = [("thoughts as they were", BLUE, before), *([("as changed", ORANGE, after)] if after else [])]
    head, lines = "".join(f"<th>{name}</th>" for name, *_ in sides), ""
    for word in sorted({**before, **(after or {})}, key=lambda word: -max(side.get(word, 0) for *_, side in sides))[:6]:
        lines += f"<tr><th class=big>{html.escape(word)}</th>"
        for _, colour, side in sides:
            bar = f"display:inline-block;height:24px;width:{2 + 170 * side.get(word, 0):.0f}px;background:{colour}"
            lines += f"<td style='width:250px;text-align:left'><span style='{bar}'></span> {side.get(word, 0):.1%}</td>"
    return f"<div class=card><h3>How probable is each answer?</h3><table><tr><th></th>{head}</tr>{lines}</table></div>"


def tree(graph: Graph, words: Mapping[str, float], title: str = "Which node would it say next?") -> str:
    """The graph, each node with the probability of being said next; a thick ring marks the root, orange the candidates, dots
    the nodes to which the root does not lead."""
    places: dict[str, tuple[int, int]] = {}
    drawn = ""
    sources = {node for node, degree in graph.net.in_degree if not degree} | {graph.root}
    for depth, nodes in enumerate(nx.bfs_layers(graph.net, sorted(sources))):
        reached_first = sorted(nodes, key=lambda node: node not in graph.distances)
        places |= {node: (50 + 120 * depth, 40 + 72 * row) for row, node in enumerate(reached_first)}
    for a, b in graph.net.subgraph(places).edges:  # a cycle of a typed question may hang on nothing
        (x, y), (x2, y2) = places[a], places[b]
        drawn += f"<line x1={x} y1={y} x2={x2} y2={y2} stroke=#777 stroke-width=3 />"
    for node, (x, y) in places.items():
        p, ring = words.get(node, 0.0), ORANGE if node in graph.candidates else "#111"
        width, ink = 6 if node in (graph.root, *graph.candidates) else 2, "#fff" if p > 0.85 else "#111"
        size, dots = 24 if len(node) < 4 else 14, "" if node in graph.distances else "stroke-dasharray=4"
        drawn += f"<circle cx={x} cy={y} r=25 fill=#fff /><circle cx={x} cy={y} r=25 stroke={ring} stroke-width={width} {dots} "
        drawn += f"fill={BLUE} fill-opacity={p:.2f} /><text x={x} y={y + 8} text-anchor=middle font-size={size} fill={ink}>"
        drawn += f"{html.escape(node)}</text><text x={x + 30} y={y + 26} font-size=17>{f'{p:.0%}' if p >= 0.005 else ''}</text>"
    extent = f"width={80 + max(x for x, _ in places.values())} height={45 + max(y for _, y in places.values())}"
    return f"<h3>{html.escape(title)}</h3><svg {extent}>{drawn}</svg>"
