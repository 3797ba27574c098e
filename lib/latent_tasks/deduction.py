"""ProntoQA-style deduction, generated: is a statement about one entity true, after a chain of rules?

Two chains of the same shape, each tied to its own entity, end in opposite statements about one property:
    Max is a lorpus. Every lorpus is a wumpus. … Every impus is shy.        True or false: Max is shy.
    Sam is a yumpus. Every yumpus is a rompus. … Every numpus is not shy.
So only following the chain tells, not the words of the question. In the published files, whose sentence forms and
steps these are, one unconnected rule names the property the other way round, and there is only one entity.

The miniature also comes with a token for each fact, as symbolic graphs have one for each edge: "Max>lorpus … impus>notshy ?
shy Max". The entity stands last, where a chain begins, and the steps are what is come to: "lorpus", …, "impus", "notshy".
"""

import random
import re
from itertools import pairwise
from typing import Literal

from latent_tasks.graphs import CONCEPTS
from latent_tasks.problem import Parts, Problem, Recipe, generated, grade_true_false

NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
PROPERTIES = tuple(
    "aggressive amenable angry bitter blue bright brown cold discordant dull earthy fast feisty floral fruity happy "
    "hot kind large liquid loud luminous mean melodic metallic moderate muffled nervous opaque orange overcast rainy "
    "red shy slow small snowy sour spicy sunny sweet temperate transparent windy wooden".split()
)
Fact = tuple[str, bool, str]  # subject, whether it holds, concept or property
Form = Literal["published", "every", "tokens"]  # "Every x is a y", "Each x is a y", "Xes are ys"; the first alone; "x>y"
Draft = tuple[list[Fact], list[Fact], Fact]  # all facts, those of the proof in order, the query
SENTENCE = re.compile(r"(?:(?:Every|Each) )?(\w+) (?:is|are) (not )?(?:an? )?(\w+)\.")
TOKEN, QUERY = re.compile(r"(\w+)>(not)?(\w+)"), re.compile(r"(not)?(\w+) (\w+)")
ASKED = re.compile(r" (?:True or false:|\?) ")  # what stands before the query


@generated("prontoqa-generated")
def deduction(*, hops: int = 5, distractors: int = 6) -> Recipe:
    """`hops` rules lead from the entity to the property (5 in the papers); `distractors` pairs of rules lead nowhere."""
    return chains(hops, distractors, CONCEPTS[:24], "published")


@generated("prontoqa-mini")
def miniature(*, hops: int = 3, distractors: int = 1, facts: Literal["sentences", "tokens"] = "sentences") -> Recipe:
    """Shorter, of fewer concepts, all rules as "Every x is a y"; or with `facts` of a token each, which hand the model the
    binding of words into a fact that a first layer otherwise has to learn."""
    if facts not in ("sentences", "tokens"):
        raise ValueError(f"prontoqa: {facts=} must be 'sentences' or 'tokens'")
    return chains(hops, distractors, CONCEPTS[:17], "every" if facts == "sentences" else "tokens")


def chains(hops: int, distractors: int, concepts: tuple[str, ...], form: Form) -> Recipe:
    """The recipe of both."""
    if hops < 1 or not 0 <= distractors < len(PROPERTIES) // 2 or 2 * (hops + distractors) > len(concepts):
        raise ValueError(f"prontoqa: impossible {hops=}, {distractors=} with {len(concepts)} concepts")

    def sample(rng: random.Random) -> tuple[str, Draft]:
        pool, properties = iter(rng.sample(concepts, len(concepts))), iter(rng.sample(PROPERTIES, len(PROPERTIES)))
        entities, asked, holds = rng.sample(NAMES, 2), next(properties), rng.random() < 0.5
        chains = [[entity, *(next(pool) for _ in range(hops))] for entity in entities]
        proofs = [
            [(a, True, b) for a, b in pairwise(chain)] + [(chain[-1], sign, asked)]
            for chain, sign in zip(chains, (holds, not holds), strict=True)
        ]
        rules = [*proofs[0][1:], *proofs[1][1:]]
        for _ in range(distractors):  # the same kind of rule at the same place of both chains
            place, is_property = rng.randint(1, hops), rng.random() < 0.5
            for chain in chains:
                sign, thing = (rng.random() < 0.5, next(properties)) if is_property else (True, next(pool))
                rules.append((chain[place], sign, thing))
        query = (entities[0], rng.random() < 0.5, asked)
        facts = rng.sample(rules, len(rules)) + rng.sample([proofs[0][0], proofs[1][0]], 2)
        return canonical(facts, query), (facts, proofs[0], query)

    def write(draft: Draft, rng: random.Random) -> Parts:
        facts, proof, query = draft
        conclusion = (query[0], *proof[-1][1:])
        answer = str(conclusion == query)
        if form == "tokens":
            question = f"{' '.join(f'{fact[0]}>{come_to(fact)}' for fact in facts)} ? {come_to(query)} {query[0]}"
            return question, tuple(map(come_to, proof)), answer
        worded = {fact: sentence(fact, "Every" if form == "every" else rng.choice(("Every", "Each", ""))) for fact in facts}
        steps = [f"{sentence((query[0], True, rule[0]))} {worded[rule]}" for rule in proof[1:]]
        question = f"{' '.join(worded[fact] for fact in facts)} True or false: {sentence(query)}"
        return question, (*steps, sentence(conclusion)), answer

    def makes(problem: Problem) -> bool:
        text, query = ASKED.split(problem.question)
        facts, chain = parse_facts(text), len(problem.steps) - 1  # the last step is the conclusion
        named = {word for fact in (*facts, *parse_facts(query)) for word in (fact[0], fact[2])} & {*CONCEPTS}
        alike = form_of(text) == form or (form_of(text), form) == ("every", "published")
        return chain == hops and len(facts) == 2 * (hops + 1 + distractors) and named <= {*concepts} and alike

    plurals = [form for c in concepts for form in (f"{c}es", f"{c}es".capitalize())] if form == "published" else []
    words = (*NAMES, *concepts, *plurals, *PROPERTIES)
    if form == "tokens":
        negated = tuple(come_to(("", False, word)) for word in PROPERTIES)
        tokens = [f"{a}>{b}" for a in (*NAMES, *concepts) for b in (*concepts, *PROPERTIES, *negated) if a != b]
        return Recipe(sample, write, grade_true_false, (*words, *negated, "?", "True", "False", *tokens), makes=makes)
    grammar = f"Every is a an not . : True or false False{' Each are' if form == 'published' else ''}".split()
    return Recipe(sample, write, grade_true_false, (*words, *grammar), makes=makes)


def form_of(text: str) -> Form:
    """How the facts of a text are written."""
    if TOKEN.search(text.partition(" ")[0]):
        return "tokens"
    sentences = re.split(r"(?<=[.:]) ", text)
    return "every" if all(one.startswith("Every") for one in sentences if one.split()[0] not in NAMES) else "published"


def come_to(fact: Fact) -> str:
    """What a fact says of its subject, in one word."""
    _, holds, thing = fact
    return thing if holds else f"not{thing}"


def sentence(fact: Fact, quantifier: str = "Every") -> str:
    """One fact in words; a rule takes a quantifier, "" for the plural form."""
    subject, holds, thing = fact
    is_rule, is_noun, negation = subject in CONCEPTS, thing in CONCEPTS, "" if holds else "not "
    if is_rule and not quantifier:
        return f"{subject.capitalize()}es are {negation}{thing}{'es' if is_noun else ''}."
    article = ("an " if thing[0] in "aeiou" else "a ") if is_noun else ""
    return f"{quantifier + ' ' if is_rule else ''}{subject} is {negation}{article}{thing}."


def canonical(facts: list[Fact], query: Fact) -> str:
    """Facts and query as text, whatever their order: the meaning that decides the split."""
    *words, asked = (f"{subject}{'>' if holds else '!'}{thing}" for subject, holds, thing in (*facts, query))
    return f"{' '.join(sorted(words))} ? {asked}"


def parse_facts(text: str) -> list[Fact]:
    """The facts of a text in any of the forms, plurals turned into singulars."""
    if query := QUERY.fullmatch(text):
        return [(query[3], not query[1], query[2])]
    if not text.endswith("."):
        return [(subject, not negation, thing) for subject, negation, thing in TOKEN.findall(text)]
    singular = re.sub(r"(\w+pus)es", lambda plural: plural[1].lower(), text)
    return [(subject, not negation, thing) for subject, negation, thing in SENTENCE.findall(singular)]


def meaning(problem: Problem) -> str:
    """The facts and the query of a problem, read back from its question."""
    text, query = ASKED.split(problem.question)
    return canonical(parse_facts(text), parse_facts(query)[0])
