"""ProsQA problems in language form, generated: random directed graphs in which one of two concepts is reachable.

Graphs grow node by node, after appendix A of Coconut (arXiv 2412.06769). The numbers below were fitted to the 300
problems of the published validation file; both have means of 23 nodes, 36 edges, a shortest path of 3.8 edges and
1.6 shortest paths. The text has the published form, "Every x is a y. … Is Tom a x or y?".
"""

import math
import random
from itertools import pairwise

import networkx as nx

from latent_cot.tasks.grading import grade_statement
from latent_cot.tasks.graphs import Graph, canonical
from latent_cot.tasks.problem import Problem, Task, deal

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

Draft = tuple[Graph, str]  # the named graph, and its target


def prosqa(sizes: dict[str, int] | None = None, seed: int = 0) -> Task:
    """Generate the task in language form."""
    words = (*NAMES, *CONCEPTS, "Every", "is", "a", "Is", "or", ".", "?")
    return Task(
        "prosqa-generated", deal("prosqa-generated", sizes, seed, sample, write, rename), grade_statement, words=words
    )


def grow(rng: random.Random) -> tuple[list[tuple[int, int]], list[int]]:
    """The edges of a random graph over the roots 0 and 1, and each node's group.

    A group says from which roots a node can be reached: 0 neither, 1 root 0, 2 root 1, 3 both.
    """
    groups, depths, edges = [1, 2], [0, 0], []
    for node in range(2, N_GROWN + rng.randint(-NODE_SPREAD, NODE_SPREAD)):
        side = rng.random()
        barred = 2 if side < ONE_SIDED else 1 if side < 2 * ONE_SIDED else 4
        pool = [other for other in range(node) if not groups[other] & barred]
        drawn = _poisson(PARENTS, rng) or (rng.random() > ORPHANS)
        count = min(len(pool), drawn)
        weights = [1 + DEPTH_BIAS * depths[other] for other in pool]
        parents = set(rng.choices(pool, weights, k=count)) if count else set()
        edges += [(parent, node) for parent in sorted(parents)]
        groups.append(0)
        for parent in parents:
            groups[node] |= groups[parent]
        depths.append(1 + max((depths[parent] for parent in parents), default=-1))
    return edges, groups


def _poisson(mean: float, rng: random.Random) -> int:
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * rng.random()
    return count


def sample(rng: random.Random) -> tuple[str, Draft]:
    """A named graph with a query of which exactly one candidate can be reached, and its meaning."""
    while True:
        edges, groups = grow(rng)
        nodes = sorted({node for edge in edges for node in edge})
        inner = {source for source, _ in edges}
        entities = set(nodes) - {target for _, target in edges}
        root = rng.randrange(2)
        leaves = [node for node in nodes if node not in inner]
        wrong = [leaf for leaf in leaves if groups[leaf] == 2 - root]
        own = [leaf for leaf in leaves if groups[leaf] == 1 + root]
        if not wrong or not own or len(entities) > len(NAMES) or not {0, 1} <= entities:
            continue
        paths = nx.single_source_shortest_path_length(nx.DiGraph(edges), root)
        right = [leaf for leaf in own if paths[leaf] >= MIN_DISTANCE]
        if right:
            break
    name = {node: f"{'E' if node in entities else 'c'}{node}" for node in nodes}  # until it is renamed
    [target] = rng.choices(right, [FAR_BIAS ** paths[leaf] for leaf in right])
    graph = Graph(tuple((name[a], name[b]) for a, b in edges), name[root], (name[target], name[rng.choice(wrong)]))
    return rename((graph, name[target]), rng)


def rename(draft: Draft, rng: random.Random) -> tuple[str, Draft]:
    """The same graph under other names, and its meaning: much quicker than growing another graph."""
    graph, target = draft
    people, concepts = iter(rng.sample(NAMES, len(NAMES))), iter(rng.sample(CONCEPTS, len(CONCEPTS)))
    nodes = dict.fromkeys(node for edge in graph.edges for node in edge)
    new = {node: next(people if node[0].isupper() else concepts) for node in nodes}
    first, second = graph.candidates
    graph = Graph(tuple((new[a], new[b]) for a, b in graph.edges), new[graph.root], (new[first], new[second]))
    return canonical(graph), (graph, new[target])


def write(draft: Draft, rng: random.Random, id: str) -> Problem:
    """Word a graph: shuffled facts, the query, and one of the shortest paths as steps."""
    graph, target = draft
    path = rng.choice(sorted(nx.all_shortest_paths(graph.net, graph.root, target)))
    facts = [fact(*edge) for edge in rng.sample(graph.edges, len(graph.edges))]
    first, second = rng.sample(graph.candidates, 2)
    question = f"{' '.join(facts)} Is {graph.root} a {first} or {second}?"
    steps = tuple(fact(*edge) for edge in pairwise(path))
    return Problem(question, steps, fact(graph.root, target), id)


def fact(source: str, target: str) -> str:
    """One edge as a sentence; only entities are capitalised."""
    return f"{source} is a {target}." if source[0].isupper() else f"Every {source} is a {target}."
