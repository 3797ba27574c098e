"""Graph search: what the written part of an answer is worth, and what the thoughts before it weigh up.

"Coconut thoughts keep several next steps at once" (2412.06769, section 5); a thought that is a superposition of the
whole frontier is the construction of 2505.12514. Three instruments: outcome classes per number of forced thoughts
(section 5.1), the search tree (5.2 and 5.3), and the breadth-first frontier in the thoughts themselves.
"""

import re
from collections import Counter
from collections.abc import Sequence as Seq
from dataclasses import replace
from itertools import pairwise
from typing import Literal, get_args

import networkx as nx
import torch
import torch.nn.functional as F

from latent_cot.evaluation import evaluate, prompt
from latent_cot.generation import Answer
from latent_cot.models import Reasoner
from latent_cot.sequences import IGNORED, Layout, collate, encode
from latent_cot.supervision import read_language, read_question
from latent_cot.thoughts import select
from latent_probes.probing import decode_thoughts
from latent_tasks import Problem, Task, frontier, parse
from latent_tasks.graphs import CONCEPTS, FACT, NAMES, SYMBOLIC_QUERY
from latent_tasks.problem import MARKER, grade_statement

LABEL = re.compile(r"[A-Za-z](>[A-Za-z])?")  # of the symbolic form, in this graph or not
WORD = re.compile(r"\w+(?:>\w+)?|\S")
Outcome = Literal["Correct Path", "Longer Path", "Hallucination", "Wrong Target", "Correct Label", "Incorrect Label"]


class UnknownWording(ValueError):
    """A written answer that says its steps in words which `classify` cannot read, so that it cannot judge them."""


def classify(text: str, problem: Problem) -> Outcome:
    """The outcome class of a written answer, judged against the problem's graph; exactly one of six.

    Nothing written before the answer: Correct or Incorrect Label. Otherwise the written edges must exist and join, and
    a partial path is completed by shortest paths: from its end to the node that is answered and, where that is the
    target, from the root to its start. What cannot be completed is a Hallucination; what leads elsewhere, Wrong Target
    (no path from the root leads to the other candidate, so its start is not asked for); what leads to the target as
    shortly as possible is a Correct, else a Longer Path.

    The two forms of the task are read: nodes, or sentences "Every a is a b." Broken ones of these words are a Hallucination;
    other words raise UnknownWording.
    """
    written, *said = MARKER.split(text.replace(" .", "."), maxsplit=1)  # a small vocabulary's words come spaced
    if not written.split():
        return "Correct Label" if grade_statement(text, problem) else "Incorrect Label"
    graph, facts = parse(problem.question), FACT.findall(written)
    if strange := _unread(FACT.sub(" ", written), problem):
        raise UnknownWording(f"cannot read {strange!r} in {written.strip()[:120]!r}: neither nodes nor 'Every a is a b.'")
    # Symbolic steps are the nodes themselves; sentences name both ends of an edge, so consecutive ones must share one.
    nodes = [facts[0][0], *(end for _, end in facts)] if facts else written.split()
    joined = all(end == start for (_, end), (start, _) in pairwise(facts)) and not (facts and FACT.sub("", written).split())
    target = _last_word(problem.answer)
    claimed = _last_word(said[0] if said else "") or nodes[-1]
    distance = nx.single_source_shortest_path_length(graph.net, nodes[-1]) if graph.net.has_node(nodes[-1]) else {}
    if not joined or not set(pairwise(nodes)) <= set(graph.edges) or claimed not in distance:
        return "Hallucination"
    if claimed != target:
        return "Wrong Target"
    if nodes[0] not in graph.distances:
        return "Hallucination"
    length = graph.distances[nodes[0]] + len(nodes) - 1 + distance[claimed]
    return "Correct Path" if length == graph.distances[target] else "Longer Path"


def _unread(rest: str, problem: Problem) -> str | None:
    """The first word of what no sentence holds that is neither of the problem nor of either form of the task."""
    known = {*WORD.findall(problem.question), *NAMES, *CONCEPTS, *"Every every is a an Is or . ? from".split()}
    return next((word for word in WORD.findall(rest) if not (word in known or LABEL.fullmatch(word))), None)


def _last_word(text: str) -> str:
    return text.rstrip(" .\n").rpartition(" ")[2]


def k_sweep(reasoner: Reasoner, task: Task, problems: Seq[Problem], ks: Seq[int], **options) -> list[dict]:
    """Accuracy, tokens and the share of each outcome with k thoughts forced, a row for each k; `options` are `evaluate`'s.

    Only a model that was trained with other stages mixed in knows how to go on in words from any k. What it writes in words
    of its own is counted as unread; if the problems' own steps are in other words, UnknownWording is raised at once.
    """
    for problem in problems:
        classify(f"{' '.join(problem.steps)} The answer is: {problem.answer}", problem)
    rows = []
    for k in ks:
        result = evaluate(reasoner, task, problems, **options | {"n_thoughts": k})
        counts = Counter(_outcome(answer.text, problem) for answer, problem in zip(result.answers, problems))
        measured = {name: result.metrics[name] for name in ("accuracy", "new_tokens", "n")}
        shares = {name: counts[name] / len(problems) for name in get_args(Outcome)}
        rows.append({"thoughts": k, **measured, **shares, "unread": counts["unread"] / len(problems)})
    return rows


def _outcome(text: str, problem: Problem) -> str:
    try:
        return classify(text, problem)
    except UnknownWording:
        return "unread"


@torch.no_grad()
def next_concepts(
    reasoner: Reasoner, problem: Problem, k: int, marked: bool = True, layout: Layout = Layout(), at_once: bool = False
) -> dict[str, float]:
    """Probability of each of the graph's nodes as the next concept, when language is forced after k thoughts.

    p(concept) = product over its tokens, given question, k thoughts and, in the language form, the beginning of the
    next sentence: "Every", or "Tom is a" where nothing has been thought yet. `at_once` asks for the answer instead.
    """
    graph, markers, tokenizer = parse(problem.question), reasoner.markers, reasoner.tokenizer
    sentence = "Every " if k and not at_once else f"{graph.root} is a "
    lead = "" if SYMBOLIC_QUERY.search(problem.question) else sentence
    start = prompt(encode([problem], tokenizer, layout)[0], markers, k, marked, at_once)
    n_lead = len(start.language) + len(tokenizer.encode(lead.rstrip(), add_special_tokens=False))
    rows = []
    for node in graph.net:
        words = tokenizer.encode(lead + node, add_special_tokens=False)
        # The end of sequence is there to be left out again: a language of one token has nothing to read.
        rows.append(replace(start, language=(*start.language, *words, markers.eos), n_unsupervised=n_lead))
    batch, was_training = collate(rows, markers).to(next(reasoner.parameters()).device), reasoner.training
    reasoner.eval()
    one = batch.rows(slice(0, 1))
    thinking = reasoner.think(read_question(reasoner, one)[0], one)
    context = select(thinking.context, torch.zeros_like(batch.n_thoughts))  # thought once, continued with every node
    predicting, _ = read_language(reasoner, context, batch.language)
    reasoner.train(was_training)
    labels = batch.language.labels.masked_fill(batch.language.labels == markers.eos, IGNORED)
    surprise = F.cross_entropy(reasoner.head(predicting).float().mT, labels, reduction="none", ignore_index=IGNORED)
    return dict(zip(graph.net, (-surprise.sum(1)).exp().tolist(), strict=True))


def frontier_shares(reasoner: Reasoner, problems: Seq[Problem], answers: Seq[Answer]) -> list[dict]:
    """A row for each problem and k-th thought (symbolic graph task, whose steps are the nodes of the path): is its most
    probable token in the frontier at distance k, are its most probable |frontier| tokens exactly the frontier, and how
    much probability is on the true path's node and on the frontier?"""
    rows = []
    for problem, answer in zip(problems, answers):
        graph = parse(problem.question)
        decoded = decode_thoughts(reasoner, answer.thoughts[: len(problem.steps)], top_k=20)
        for k, words in enumerate(decoded, start=1):
            nodes, mass = frontier(graph, k), dict(words)
            top = [word for word, _ in words[: len(nodes)]]
            shares: dict[str, float] = {"top_1_in_frontier": top[0] in nodes, "top_is_frontier": set(top) == nodes}
            shares |= {"mass_on_path": mass.get(problem.steps[k - 1], 0.0)}
            rows.append({"thought": k, **shares, "mass_on_frontier": sum(mass.get(node, 0.0) for node in nodes)})
    return rows
