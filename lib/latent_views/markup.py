"""The search of a graph as a drawing, for lessons. Every word that a model or a reader wrote is escaped here."""

import html
from collections.abc import Mapping

import networkx as nx

from latent_tasks import Graph

BLUE, ORANGE = "#0072B2", "#E69F00"  # stay apart for colour-blind eyes, and a number stands beside each colour


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
