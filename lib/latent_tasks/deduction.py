"""ProntoQA-style deduction, generated: is a statement about one entity true, after a chain of rules?

Two chains of the same shape, each tied to its own entity, end in opposite statements about one property:
    Max is a lorpus. Every lorpus is a wumpus. … Every impus is shy.        True or false: Max is shy.
    Sam is a yumpus. Every yumpus is a rompus. … Every numpus is not shy.
So only following the chain tells, not the words of the question. In the published files, whose sentence forms and
steps these are, one unconnected rule names the property the other way round, and there is only one entity.
"""

import random
import re
from itertools import pairwise

from latent_tasks.graphs import CONCEPTS
from latent_tasks.problem import Parts, Problem, Recipe, grade_true_false

NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
PROPERTIES = tuple(
    "aggressive amenable angry bitter blue bright brown cold discordant dull earthy fast feisty floral fruity happy "
    "hot kind large liquid loud luminous mean melodic metallic moderate muffled nervous opaque orange overcast rainy "
    "red shy slow small snowy sour spicy sunny sweet temperate transparent windy wooden".split()
)
Fact = tuple[str, bool, str]  # subject, whether it holds, concept or property
Draft = tuple[list[Fact], list[Fact], Fact]  # all facts, those of the proof in order, the query
SENTENCE = re.compile(r"(?:(?:Every|Each) )?(\w+) (?:is|are) (not )?(?:an? )?(\w+)\.")


def deduction(*, hops: int = 5, distractors: int = 6, mini: bool = False) -> Recipe:
    """`hops` rules lead from the entity to the property (5 in the papers); `distractors` pairs of rules lead nowhere.

    `mini` has fewer concepts, and only one of the published forms "Every x is a y", "Each x is a y", "Xes are ys".
    """
    concepts = CONCEPTS[: 17 if mini else 24]
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
        worded = {fact: sentence(fact, "Every" if mini else rng.choice(("Every", "Each", ""))) for fact in facts}
        steps = [f"{sentence((query[0], True, rule[0]))} {worded[rule]}" for rule in proof[1:]]
        conclusion = (query[0], *proof[-1][1:])
        question = f"{' '.join(worded[fact] for fact in facts)} True or false: {sentence(query)}"
        return question, (*steps, sentence(conclusion)), str(conclusion == query)

    def makes(problem: Problem) -> bool:
        text, _, query = problem.question.partition(" True or false: ")
        facts, chain = parse_facts(text), len(problem.steps) - 1  # the last step is the conclusion
        named = {word for fact in (*facts, *parse_facts(query)) for word in (fact[0], fact[2])} & {*CONCEPTS}
        plain = all(word.startswith("Every") for word in re.split(r"(?<=[.:]) ", text) if word.split()[0] not in NAMES)
        return chain == hops and len(facts) == 2 * (hops + 1 + distractors) and named <= {*concepts} and (plain or not mini)

    forms = concepts if mini else [form for c in concepts for form in (c, f"{c}es", f"{c}es".capitalize())]
    grammar = f"Every is a an not . : True or false False{'' if mini else ' Each are'}".split()
    return Recipe(sample, write, grade_true_false, (*NAMES, *forms, *PROPERTIES, *grammar), makes=makes)


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
    singular = re.sub(r"(\w+pus)es", lambda plural: plural[1].lower(), text)
    return [(subject, not negation, thing) for subject, negation, thing in SENTENCE.findall(singular)]


def meaning(problem: Problem) -> str:
    """The facts and the query of a problem, read back from its question."""
    text, query = problem.question.split(" True or false: ")
    return canonical(parse_facts(text), parse_facts(query)[0])
