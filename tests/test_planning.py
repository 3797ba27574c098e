"""Six outcome classes that are exhaustive and disjoint, and a search tree whose probabilities are the model's own."""

import random
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import networkx as nx
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from latent_backbones.tokens import tiny_tokenizer
from latent_cot.evaluation import evaluate, prompt
from latent_cot.models import Reasoner, ReasonerSpec
from latent_cot.sequences import encode
from latent_probes.planning import Outcome, UnknownWording, classify, k_sweep, next_concepts
from latent_tasks import Problem, Task, load_task, parse
from latent_tasks.graphs import fact
from latent_tasks.problem import grade_statement

# Two ways from r to t, three and four edges long; w is the other candidate; v leads to t but cannot be reached.
EDGES = ("r>a", "a>b", "b>t", "r>c", "c>d", "d>e", "e>t", "s>u", "u>w", "v>t")
SYMBOLIC = Problem(f"{' '.join(EDGES)} ? t w from r", ("a", "b"), "t", "symbolic")
NAME = {node: f"{node}1" for node in "abcdetuvwx"} | {"r": "Tom1", "s": "Sam1"}  # two tokens each
FACTS = [fact(*(NAME[node] for node in edge.split(">"))) for edge in EDGES]
LANGUAGE = Problem(f"{' '.join(FACTS)} Is Tom1 a t1 or w1?", (FACTS[0], FACTS[1], FACTS[2]), "Tom1 is a t1.", "language")
PROBLEMS = {"symbolic": SYMBOLIC, "language": LANGUAGE}

CASES = [  # the nodes written, the node answered (None: nothing is), the class of the nodes and of the sentences
    ("rabt", "t", None, "Correct Path"),
    ("ab", "t", "Correct Path", "Correct Path"),
    ("abt", "t", "Correct Path", "Correct Path"),
    ("bt", "t", "Correct Path", "Correct Path"),  # completed at its start
    ("rab", "t", None, "Correct Path"),  # completed at its end
    ("abt", None, "Correct Path", "Correct Path"),
    ("rcdet", "t", None, "Longer Path"),
    ("de", "t", "Longer Path", "Longer Path"),
    ("et", "t", "Longer Path", "Longer Path"),
    ("adet", "t", "Hallucination", "Hallucination"),  # a>d is no edge
    ("at", "t", "Hallucination", "Hallucination"),  # a step left out in between
    ("ab", "w", "Hallucination", "Hallucination"),  # no way from b to what is answered
    ("vt", "t", "Hallucination", "Hallucination"),  # no way from the root to v
    ("uw", "t", "Hallucination", "Hallucination"),
    ("suw", "w", "Wrong Target", "Wrong Target"),
    ("uw", "w", "Wrong Target", "Wrong Target"),
    ("ab", None, "Wrong Target", "Wrong Target"),  # a valid path that was left in the middle
    ("", "t", "Correct Label", "Correct Label"),
    ("", "w", "Incorrect Label", "Incorrect Label"),
    ("", None, "Incorrect Label", "Incorrect Label"),
]


def spoken(form: str, nodes: str, answered: str | None) -> str:
    """What a model writes: the nodes, or a sentence for each edge between them."""
    if form == "symbolic":
        said, steps = answered, list(nodes)
    else:
        said = answered and f"{NAME['r']} is a {NAME[answered]}."
        steps = [fact(NAME[a], NAME[b]) for a, b in pairwise(nodes)]
    return " ".join([*steps, *([f"The answer is: {said}"] if said else [])])


@pytest.mark.parametrize(("nodes", "answered", "symbolic", "language"), CASES)
def test_outcome_classes(nodes, answered, symbolic, language):
    assert classify(spoken("language", nodes, answered), LANGUAGE) == language
    if symbolic:
        assert classify(spoken("symbolic", nodes, answered), SYMBOLIC) == symbolic


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Tom1 is a a1. Every b1 is a t1. ### Tom1 is a t1.", "Hallucination"),  # both are edges; they do not join
        ("Tom1 is a a1. Every a1 b1. Every b1 is a t1. ### Tom1 is a t1.", "Hallucination"),  # no sentence
        ("Every Every ### Tom1 is a t1.", "Hallucination"),
        ("Tom1 is a a1.\nEvery a1 is a b1.\nEvery b1 is a t1.\n### Tom1 is a t1.", "Correct Path"),
        (" ### Tom1 is a t1", "Correct Label"),
        ("### ", "Incorrect Label"),
        ("Tom1 is a a1 . Every a1 is a b1 . ### Tom1 is a t1 .", "Correct Path"),  # as a word-level vocabulary decodes
    ],
)
def test_broken_sentences(text, outcome):
    assert classify(text, LANGUAGE) == outcome


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Every r is an a, so Tom1 is a b1. ### Tom1 is a t1.", "language"),
        ("All a1 are b1. ### Tom1 is a t1.", "language"),
        ("Tom1 is a a1. Therefore Tom1 is a b1. ### Tom1 is a t1.", "language"),
        ("First we go to a, then to b. ### t", "symbolic"),
        ("a -> b ### t", "symbolic"),
    ],
)
def test_an_unknown_wording_is_an_error_and_no_hallucination(text, form):
    with pytest.raises(UnknownWording, match="cannot read"):
        classify(text, PROBLEMS[form])


@pytest.mark.parametrize("form", ["symbolic", "language"])
def test_classes_are_exhaustive_and_agree_with_the_grade(form):
    """Whatever is written: one of the six; the right ones for right answers only, label classes for bare answers only."""
    rng, seen = random.Random(0), set()
    for _ in range(5000):
        path = rng.choice(["abt", "cdet", "suw", "vt", "ax"])  # x is no node of the graph
        nodes = "".join(rng.sample("abcdetuvwx", rng.randrange(4))) if rng.random() < 0.3 else path[rng.randrange(4) :]
        text = spoken(form, nodes, rng.choice("tw"))
        outcome = classify(text, PROBLEMS[form])
        seen.add(outcome)
        assert grade_statement(text, PROBLEMS[form]) or outcome in ("Hallucination", "Wrong Target", "Incorrect Label")
        assert (not text.partition("The answer is:")[0]) == outcome.endswith("Label")
    assert seen == set(get_args(Outcome))


def test_published_steps(data_dir):
    """On all real validation problems; the other candidate is reached from another root only."""
    rng = random.Random(0)
    problems = load_task("prosqa", data_dir=data_dir).splits["valid"]
    assert len(problems) == 300

    def classified(edges, problem):
        return classify("\n".join(fact(*edge) for edge in edges) + f"\n### {fact(graph.root, edges[-1][1])}", problem)

    for problem in problems:
        graph = parse(problem.question)
        assert classify("\n".join(problem.steps) + f"\n### {problem.answer}", problem) == "Correct Path"
        target, other = sorted(graph.candidates, key=lambda node: f"a {node}." not in problem.answer)
        path = list(pairwise(nx.shortest_path(graph.net, graph.root, target)))
        for place, (source, end) in enumerate(path):
            wrong = rng.choice([node for node in graph.net if node not in graph.net[source] and node != end])
            for edge in ((source, wrong), (wrong, end)) if (wrong, end) not in graph.edges else ((source, wrong),):
                assert classified([*path[:place], edge, *path[place + 1 :]], problem) == "Hallucination"
        start = rng.choice([node for node in nx.ancestors(graph.net, other) if not graph.net.in_degree(node)])
        assert classified(list(pairwise(nx.shortest_path(graph.net, start, other))), problem) == "Wrong Target"


@pytest.fixture(scope="module")
def reasoner() -> Reasoner:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer((*"abcdetuvwrs1.?", *EDGES, "from", "Tom", "Sam", "Every", "is", "Is", "or"))
    size = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "vocab_size": len(tokenizer)}
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    lm = GPT2LMHeadModel(GPT2Config(**size, **special, initializer_range=0.3))
    return Reasoner(lm, tokenizer, ReasonerSpec(writer="hidden")).double().eval()


def uncached(reasoner: Reasoner, problem: Problem, k: int, text: str, n_read: int) -> float:
    """Probability of the tokens of `text` after the first `n_read`, everything read anew for each thought."""
    start = prompt(encode([problem], reasoner.tokenizer)[0], reasoner.markers, k)
    embeds = reasoner.embed(torch.tensor([start.question]))
    for _ in range(k):
        levels = reasoner.lm(inputs_embeds=embeds, output_hidden_states=True).hidden_states
        embeds = torch.cat([embeds, levels[-1][:, -1:]], 1)
    tokens = (*start.language, *reasoner.tokenizer.encode(text))
    logits = reasoner.lm(inputs_embeds=torch.cat([embeds, reasoner.embed(torch.tensor([tokens]))], 1)).logits[0]
    scored = range(len(start.language) + n_read, len(tokens))
    return float(torch.stack([logits[i - len(tokens) - 1].softmax(-1)[tokens[i]] for i in scored]).prod())


@pytest.mark.parametrize("form", ["symbolic", "language"])
@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("markers", [True, False])
@torch.no_grad()
def test_next_concepts_are_products_over_tokens(reasoner, form, k, markers):
    reasoner.spec = replace(reasoner.spec, markers=markers)
    found = next_concepts(reasoner, PROBLEMS[form], k)
    assert set(found) == set(parse(PROBLEMS[form].question).net)
    for node, probability in found.items():
        lead, n_read = ("", 0) if form == "symbolic" else ("Every ", 1) if k else ("Tom1 is a ", 4)
        wanted = uncached(reasoner, PROBLEMS[form], k, lead + node, n_read)
        torch.testing.assert_close(probability, wanted, rtol=1e-4, atol=1e-9)  # probabilities are taken in float32


@torch.no_grad()
def test_at_once_asks_for_the_answer(reasoner):
    """As `prompt` writes it; in the language form the answer is a sentence about the root."""
    for problem, text, n_read in ((SYMBOLIC, "The answer is: t", 1), (LANGUAGE, "The answer is: Tom1 is a t1", 5)):
        found = next_concepts(reasoner, problem, 2, at_once=True)[problem.answer.removesuffix(".").split()[-1]]
        torch.testing.assert_close(found, uncached(reasoner, problem, 2, text, n_read), rtol=1e-4, atol=1e-9)


def test_sweep_forces_the_number_of_thoughts(reasoner):
    problems = [SYMBOLIC, LANGUAGE]
    task, options = Task("both", {}, grade_statement), {"marked": True, "max_new_tokens": 8}
    rows = k_sweep(reasoner, task, problems, [0, 1, 3], **options)
    for row, k in zip(rows, (0, 1, 3), strict=True):
        alone = evaluate(reasoner, task, problems, n_thoughts=k, **options)
        assert all(len(answer.thoughts) == k for answer in alone.answers)
        assert (row["thoughts"], row["accuracy"], row["new_tokens"]) == (k, alone.accuracy, alone.metrics["new_tokens"])
        found = [classify(answer.text, problem) for answer, problem in zip(alone.answers, problems, strict=True)]
        assert {outcome: row[outcome] for outcome in get_args(Outcome)} == {o: found.count(o) / 2 for o in get_args(Outcome)}
