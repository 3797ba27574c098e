"""ProntoQA-style deduction, generated: is a statement about one entity true, after a chain of rules?

Two chains of the same shape, each tied to its own entity, end in opposite statements about one property:
    Max is a lorpus. Every lorpus is a wumpus. … Every impus is shy.        True or false: Max is shy.
    Sam is a yumpus. Every yumpus is a rompus. … Every numpus is not shy.
So only following the chain tells; the words of the question ("not", how often something is named) do not. That is
where this leaves the published files: there a single unconnected rule names the property the other way round, and
both entity facts are about the same entity. Sentence forms and steps are those of the published files.
"""

import random
import re
from itertools import pairwise

from latent_cot.tasks.grading import grade_true_false
from latent_cot.tasks.problem import Problem, Task, deal
from latent_cot.tasks.prosqa import CONCEPTS

NAMES = ("Alex", "Fae", "Max", "Polly", "Rex", "Sally", "Sam", "Stella", "Wren")
PROPERTIES = tuple(
    "aggressive amenable angry bitter blue bright brown cold discordant dull earthy fast feisty floral fruity happy "
    "hot kind large liquid loud luminous mean melodic metallic moderate muffled nervous opaque orange overcast rainy "
    "red shy slow small snowy sour spicy sunny sweet temperate transparent windy wooden".split()
)
Fact = tuple[str, bool, str]  # subject, whether it holds, concept or property
SENTENCE = re.compile(r"(?:(?:Every|Each) )?(\w+) (?:is|are) (not )?(?:an? )?(\w+)\.")


def deduction(
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    *,
    name: str = "prontoqa-generated",
    hops: int = 5,
    distractors: int = 6,
    n_concepts: int = 24,
    varied: bool = True,
) -> Task:
    """Generate the task: `hops` rules lead from the entity to the property (5 in the papers).

    `distractors` is the number of pairs of rules beside the chains, one on each; `varied` mixes "Each x is a y",
    "Every x is a y" and "Xes are ys" as the published files do. Raises ValueError if the concepts do not suffice.
    """
    concepts = CONCEPTS[:n_concepts]
    if hops < 1 or not 0 <= distractors < len(PROPERTIES) // 2 or 2 * (hops + distractors) > len(concepts):
        raise ValueError(f"{name}: impossible {hops=}, {distractors=} with {len(concepts)} concepts")

    def sample(rng: random.Random) -> tuple[str, tuple[list[Fact], list[Fact], Fact]]:
        pool, properties = iter(rng.sample(concepts, len(concepts))), iter(rng.sample(PROPERTIES, len(PROPERTIES)))
        entities, asked, holds = rng.sample(NAMES, 2), next(properties), rng.random() < 0.5
        chains = [[entity, *(next(pool) for _ in range(hops))] for entity in entities]
        proofs = [
            [(a, True, b) for a, b in pairwise(chain)] + [(chain[-1], sign, asked)]
            for chain, sign in zip(chains, (holds, not holds), strict=True)
        ]
        beside: list[Fact] = []
        for _ in range(distractors):  # the same kind of rule at the same place of both chains
            place, is_property = rng.randint(1, hops), rng.random() < 0.5
            for chain in chains:
                sign, thing = (rng.random() < 0.5, next(properties)) if is_property else (True, next(pool))
                beside.append((chain[place], sign, thing))
        rules = [*proofs[0][1:], *proofs[1][1:], *beside]
        query = (entities[0], rng.random() < 0.5, asked)
        facts = rng.sample(rules, len(rules)) + rng.sample([proofs[0][0], proofs[1][0]], 2)
        return spell(facts, query), (facts, proofs[0], query)

    def write(draft: tuple[list[Fact], list[Fact], Fact], rng: random.Random, id: str) -> Problem:
        facts, proof, query = draft
        worded = {fact: sentence(fact, rng.choice(("Every", "Each", "")) if varied else "Every") for fact in facts}
        steps = [f"{sentence((query[0], True, rule[0]))} {worded[rule]}" for rule in proof[1:]]
        conclusion = (query[0], *proof[-1][1:])
        question = f"{' '.join(worded[fact] for fact in facts)} True or false: {sentence(query)}"
        return Problem(question, (*steps, sentence(conclusion)), str(conclusion == query), id)

    forms = [form for c in concepts for form in ((c, plural(c), plural(c).capitalize()) if varied else (c,))]
    grammar = "Every is a an not . : True or false False".split() + ["Each", "are"] * varied
    words = (*NAMES, *forms, *PROPERTIES, *grammar)
    return Task(name, deal(name, sizes, seed, sample, write), grade_true_false, words=words)


def prontoqa_mini(sizes: dict[str, int] | None = None, seed: int = 0, *, hops: int = 3, distractors: int = 1) -> Task:
    """The short form: three hops, one wording, about 50 words."""
    return deduction(sizes, seed, name="prontoqa-mini", hops=hops, distractors=distractors, n_concepts=17, varied=False)


def sentence(fact: Fact, quantifier: str = "Every") -> str:
    """One fact in words; a rule takes a quantifier, "" for the plural form."""
    subject, holds, thing = fact
    noun = thing in CONCEPTS
    if subject in CONCEPTS and not quantifier:
        return f"{plural(subject).capitalize()} are {'' if holds else 'not '}{plural(thing) if noun else thing}."
    article = ("an " if thing[0] in "aeiou" else "a ") if noun else ""
    start = f"{quantifier} {subject}" if subject in CONCEPTS else subject
    return f"{start} is {'' if holds else 'not '}{article}{thing}."


def plural(concept: str) -> str:
    """ "wumpus" -> "wumpuses"."""
    return f"{concept}es"


def spell(facts: list[Fact], query: Fact) -> str:
    """Facts and query as text, whatever their order: what decides the split."""
    words = sorted(f"{subject}{'>' if holds else '!'}{thing}" for subject, holds, thing in facts)
    return f"{' '.join(words)} ? {query[0]}{'>' if query[1] else '!'}{query[2]}"


def parse_facts(text: str) -> list[Fact]:
    """The facts of a text in any of the forms, plurals turned into singulars."""
    return [(_single(a), not negation, _single(b)) for a, negation, b in SENTENCE.findall(text)]


def _single(word: str) -> str:
    return word[:-2].lower() if word.endswith("puses") else word


def meaning(problem: Problem) -> str:
    """The facts and the query of a problem, read back from its question."""
    text, query = problem.question.split(" True or false: ")
    return spell(parse_facts(text), parse_facts(query)[0])
