"""Graph search: "ProsQA in miniature", and reading a graph back from a question in either form.

Symbolic: two disjoint random layered trees, their edges shuffled; which of two leaves can be reached?
    a>b c>d b>e … ? e k from a        steps: the nodes between root and leaf        answer: the leaf
Language (ProsQA): "Every a is a b. … Tom is a a. … Is Tom a e or k?"
"""

import random
import re
import string
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from latent_cot.tasks.grading import grade_statement
from latent_cot.tasks.problem import Problem, Task, deal

Edge = tuple[str, str]
SYMBOLIC_QUERY = re.compile(r"\? (\w+) (\w+) from (\w+)\s*$")
LANGUAGE_QUERY = re.compile(r"Is (\w+) an? (\w+) or (?:an? )?(\w+)\?\s*$")
FACT = re.compile(r"(?:Every )?(\w+) is an? (\w+)\.")


@dataclass(frozen=True)
class Graph:
    """A directed graph with a query: which of the candidates can be reached from the root?"""

    edges: tuple[Edge, ...]
    root: str
    candidates: tuple[str, str]

    @cached_property
    def net(self) -> nx.DiGraph:
        """The same as a networkx graph (root and candidates are always nodes)."""
        net = nx.DiGraph(self.edges)
        net.add_nodes_from((self.root, *self.candidates))
        return net

    @cached_property
    def distances(self) -> dict[str, int]:
        """Every node that can be reached, with its distance from the root in edges."""
        return nx.single_source_shortest_path_length(self.net, self.root)


def parse(question: str) -> Graph:
    """Read the graph and the query from a question in symbolic or in language form.

    Raises ValueError where the question ends in neither form of query.
    """
    if query := SYMBOLIC_QUERY.search(question):
        *candidates, root = query.groups()
        edges = tuple(tuple(word.split(">")) for word in question[: query.start()].split())
    elif query := LANGUAGE_QUERY.search(question):
        root, *candidates = query.groups()
        edges = tuple(FACT.findall(question[: query.start()]))
    else:
        raise ValueError(f"no graph query at the end of {question[-80:]!r}")
    return Graph(edges, root, tuple(candidates))


def frontier(graph: Graph, k: int) -> set[str]:
    """The nodes at distance k from the root: what a breadth-first search looks at in step k."""
    return {node for node, distance in graph.distances.items() if distance == k}


def canonical(graph: Graph) -> str:
    """The graph and its query as text, whatever the order of edges and candidates: what decides the split."""
    edges = " ".join(sorted(f"{source}>{target}" for source, target in graph.edges))
    return f"{edges} ? {' '.join(sorted(graph.candidates))} from {graph.root}"


def meaning(problem: Problem) -> str:
    """The canonical graph of a problem, read back from its question."""
    return canonical(parse(problem.question))


def graph(
    sizes: dict[str, int] | None = None, seed: int = 0, *, depth: int = 4, width: int = 2, n_labels: int = 20
) -> Task:
    """Generate the symbolic task: two trees of a root and `depth` levels of `width` nodes.

    Each node's parent is random in the level above, each candidate random among a tree's deepest nodes; chance
    is 50 %. Raises ValueError when the labels do not suffice for both trees.
    """
    labels = tuple(string.ascii_letters[:n_labels])
    if depth < 1 or width < 1 or not 2 * (1 + depth * width) <= n_labels <= len(string.ascii_letters):
        raise ValueError(f"graph: {n_labels=} must be from {2 * (1 + depth * width)} (both trees) to 52")

    def sample(rng: random.Random) -> tuple[str, Graph]:
        pool = iter(rng.sample(labels, 2 * (1 + depth * width)))
        roots, leaves, edges = [], [], []
        for _ in range(2):
            level = [next(pool)]
            roots += level
            for _ in range(depth):
                above, level = level, [next(pool) for _ in range(width)]
                edges += [(rng.choice(above), node) for node in level]
            leaves.append(rng.choice(level))
        drawn = Graph(tuple(edges), rng.choice(roots), tuple(leaves))
        return canonical(drawn), drawn

    def write(drawn: Graph, rng: random.Random, id: str) -> Problem:
        text = " ".join(f"{source}>{target}" for source, target in rng.sample(drawn.edges, len(drawn.edges)))
        first, second = rng.sample(drawn.candidates, 2)
        target = next(leaf for leaf in drawn.candidates if leaf in drawn.distances)
        path = nx.shortest_path(drawn.net, drawn.root, target)
        return Problem(f"{text} ? {first} {second} from {drawn.root}", tuple(path[1:-1]), target, id)

    words = (*labels, "?", "from", *(f"{s}>{t}" for s in labels for t in labels if s != t))
    return Task("graph", deal("graph", sizes, seed, sample, write), grade_statement, words=words)
