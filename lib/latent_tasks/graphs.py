"""Graph search, generated in two forms: which of two candidates can be reached from the root?

Symbolic, "ProsQA in miniature": two disjoint random layered trees, as "a>b c>d b>e … ? e k from a".
Language (ProsQA): "Every a is a b. … Tom is a a. … Is Tom a e or k?" Graphs grow node by node, after appendix A of
Coconut (arXiv 2412.06769), with numbers fitted to the published validation file.
"""

import math
import random
import re
import string
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import networkx as nx

from latent_tasks.problem import Parts, Problem, Recipe, generated, grade_statement

SYMBOLIC_QUERY = re.compile(r"\? (\w+) (\w+) from (\w+)\s*$")
LANGUAGE_QUERY = re.compile(r"Is (\w+) an? (\w+) or (?:an? )?(\w+)\?\s*$")
FACT = re.compile(r"(?:Every )?(\w+) is an? (\w+)\.")
EDGE = re.compile(r"(\w+) ?> ?(\w+)")
NAMES = tuple("Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam Stella Tom Wren".split())
CONCEPTS = tuple(
    f"{stem}pus"
    for stem in "bom boom brim chor dum fel fom ger gor grim gwom hil im jel jom ker lem lor num quim rem rom ror "
    "scrom shum ster stor ter tim tum vum wor wum yer yim yum zhor zum".split()
)
N_GROWN, NODE_SPREAD = 23, 3  # nodes grown, plus or minus; those left without any edge are not mentioned
PARENTS = 2.2  # mean of the Poisson number of parents drawn for a node
ORPHANS = 0.25  # how often a node for which none was drawn stays without (it may become an entity); else it gets one
DEPTH_BIAS = 3.0  # a possible parent at depth d has weight 1 + DEPTH_BIAS·d
ONE_SIDED = 0.45  # chance that a node takes no parent below the second root; the same for the first
MIN_DISTANCE, FAR_BIAS = 3, 6.0  # the target is at least 3 edges away; each further edge makes it 6 times as likely


@dataclass(frozen=True)
class Graph:
    """A directed graph with a query: which of the candidates can be reached from the root?"""

    edges: tuple[tuple[str, str], ...]
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

    @property
    def canonical(self) -> str:
        """Graph and query as text, whatever the order of edges and candidates: the meaning that decides the split."""
        edges = " ".join(sorted(f"{source}>{target}" for source, target in self.edges))
        return f"{edges} ? {' '.join(sorted(self.candidates))} from {self.root}"


def parse(question: str) -> Graph:
    """Read graph and query from a question in either form; ValueError where it ends in neither form of query."""
    if query := SYMBOLIC_QUERY.search(question):
        one, other, root = query.groups()
        edges = EDGE.findall(question[: query.start()])
    elif query := LANGUAGE_QUERY.search(question):
        root, one, other = query.groups()
        edges = FACT.findall(question[: query.start()])
    else:
        raise ValueError(f"no graph query at the end of {question[-80:]!r}")
    return Graph(tuple((source, target) for source, target in edges), root, (one, other))


def frontier(graph: Graph, k: int) -> set[str]:
    """The nodes at distance k from the root: what a breadth-first search looks at in step k."""
    return {node for node, distance in graph.distances.items() if distance == k}


def meaning(problem: Problem) -> str:
    """The canonical graph of a problem, read back from its question."""
    return parse(problem.question).canonical


@generated("graph")
def symbolic(
    *, depth: int = 4, width: int = 2, n_labels: int = 20, edge_tokens: Literal[1, 3] = 1,
    steps: Literal["path", "frontier"] = "path",
) -> Recipe:  # fmt: skip
    """Two trees of a root and `depth` levels of `width` nodes; a leaf of each is a candidate. Steps are inner nodes.

    `edge_tokens`: an edge is one token, "a>b", or three, "a > b", which a model then has to bind (arXiv 2505.12514).
    `steps`: a step is the next node on the path, or all nodes as far from the root, in alphabetical order. With a `width` of 1
    it is a chain of `depth` hops, to be told from another, and the two are the same.
    """
    labels, n_nodes = string.ascii_letters[:n_labels], 2 * (1 + depth * width)
    if depth < 1 or width < 1 or not n_nodes <= n_labels <= len(string.ascii_letters):
        raise ValueError(f"graph: {n_labels=} must be from {n_nodes} (both trees) to 52")
    if edge_tokens not in (1, 3):
        raise ValueError(f"graph: {edge_tokens=} must be 1 or 3")
    if steps not in ("path", "frontier"):
        raise ValueError(f"graph: {steps=} must be 'path' or 'frontier'")
    arrow = ">" if edge_tokens == 1 else " > "

    def sample(rng: random.Random) -> tuple[str, Graph]:
        pool = iter(rng.sample(labels, n_nodes))
        roots, leaves, edges = [], [], []
        for _ in range(2):
            level = [next(pool)]
            roots += level
            for _ in range(depth):
                above, level = level, [next(pool) for _ in range(width)]
                edges += [(rng.choice(above), node) for node in level]
            leaves.append(rng.choice(level))
        graph = Graph(tuple(edges), rng.choice(roots), (leaves[0], leaves[1]))
        return graph.canonical, graph

    def write(graph: Graph, rng: random.Random) -> Parts:
        text = " ".join(f"{source}{arrow}{target}" for source, target in rng.sample(graph.edges, len(graph.edges)))
        first, second = rng.sample(graph.candidates, 2)
        [target] = graph.distances.keys() & {first, second}
        on_the_way = nx.shortest_path(graph.net, graph.root, target)[1:-1]
        if steps == "frontier":
            on_the_way = [" ".join(sorted(frontier(graph, k))) for k in range(1, depth)]
        return f"{text} ? {first} {second} from {graph.root}", tuple(on_the_way), target

    def makes(problem: Problem) -> bool:
        if not SYMBOLIC_QUERY.search(problem.question):
            return False
        graph = parse(problem.question)
        roots = [node for node in graph.net if not graph.net.in_degree(node)]
        levels = [[*map(len, nx.bfs_layers(graph.net, root))] for root in roots]
        return {*graph.net} <= {*labels} and levels == [[1, *[width] * depth]] * 2

    edge_words = [f"{a}>{b}" for a in labels for b in labels if a != b] if edge_tokens == 1 else [">"]
    return Recipe(sample, write, grade_statement, (*labels, "?", "from", *edge_words), makes=makes)


@generated("prosqa-generated")
def prosqa() -> Recipe:
    """The language form."""
    return Recipe(sample, write, grade_statement, (*NAMES, *CONCEPTS, *"Every is a Is or . ?".split()), rename)


def grow(rng: random.Random) -> tuple[list[tuple[int, int]], list[int]]:
    """Edges of a random graph, and from which roots each node can be reached: 0 none, 1 root 0, 2 root 1, 3 both."""
    groups, depths, edges = [1, 2], [0, 0], []
    for node in range(2, N_GROWN + rng.randint(-NODE_SPREAD, NODE_SPREAD)):
        side = rng.random()
        barred = 2 if side < ONE_SIDED else 1 if side < 2 * ONE_SIDED else 4
        pool = [other for other in range(node) if not groups[other] & barred]
        drawn, product = 0, rng.random()
        while product > math.exp(-PARENTS):  # Poisson
            drawn, product = drawn + 1, product * rng.random()
        count = min(len(pool), drawn or (rng.random() > ORPHANS))
        weights = [1 + DEPTH_BIAS * depths[other] for other in pool]
        parents = sorted(set(rng.choices(pool, weights, k=count))) if count else []
        edges += [(parent, node) for parent in parents]
        groups.append(0)
        for parent in parents:
            groups[node] |= groups[parent]
        depths.append(1 + max((depths[parent] for parent in parents), default=-1))
    return edges, groups


def sample(rng: random.Random) -> tuple[str, Graph]:
    """A named graph of whose candidates only the first can be reached, and its meaning."""
    right: list[int] = []
    while not right:
        edges, groups = grow(rng)
        sources, targets = ({edge[end] for edge in edges} for end in (0, 1))
        entities, leaves = sources - targets, sorted(targets - sources)
        root = rng.randrange(2)
        wrong = [leaf for leaf in leaves if groups[leaf] == 2 - root]
        if wrong and len(entities) <= len(NAMES) and {0, 1} <= entities:
            distances = nx.single_source_shortest_path_length(nx.DiGraph(edges), root)
            right = [leaf for leaf in leaves if groups[leaf] == 1 + root and distances[leaf] >= MIN_DISTANCE]
    name = {node: f"{'E' if node in entities else 'c'}{node}" for node in sources | targets}  # until it is renamed
    [target] = rng.choices(right, [FAR_BIAS ** distances[leaf] for leaf in right])
    named = tuple((name[source], name[target]) for source, target in edges)
    return rename(Graph(named, name[root], (name[target], name[rng.choice(wrong)])), rng)


def rename(graph: Graph, rng: random.Random) -> tuple[str, Graph]:
    """The same graph under other names, and its meaning: much quicker than growing another graph."""
    people, concepts = iter(rng.sample(NAMES, len(NAMES))), iter(rng.sample(CONCEPTS, len(CONCEPTS)))
    nodes = dict.fromkeys(node for edge in graph.edges for node in edge)
    new = {node: next(people if node[0].isupper() else concepts) for node in nodes}
    right, wrong = graph.candidates
    graph = Graph(tuple((new[a], new[b]) for a, b in graph.edges), new[graph.root], (new[right], new[wrong]))
    return graph.canonical, graph


def write(graph: Graph, rng: random.Random) -> Parts:
    """Word a graph: shuffled facts, the query, and one of the shortest paths as steps."""
    path = rng.choice(sorted(nx.all_shortest_paths(graph.net, graph.root, graph.candidates[0])))
    facts = " ".join(fact(*edge) for edge in rng.sample(graph.edges, len(graph.edges)))
    first, second = rng.sample(graph.candidates, 2)
    steps = tuple(fact(*edge) for edge in pairwise(path))
    return f"{facts} Is {graph.root} a {first} or {second}?", steps, fact(graph.root, path[-1])


def fact(source: str, target: str) -> str:
    """One edge as a sentence; only entities are capitalised."""
    return f"{source} is a {target}." if source[0].isupper() else f"Every {source} is a {target}."
