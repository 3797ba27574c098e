"""Generated tasks: what a split is, what the questions mean, whether they can be guessed; and grading."""

import json
import os
import re
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import mean

import networkx as nx
import pytest

from latent_tasks import (
    GENERATED,
    arithmetic,
    deduction,
    frontier,
    graphs,
    load_elsewhere,
    load_task,
    modular,
    multiplication,
    names,
    parity,
    parse,
)
from latent_tasks import problem as grading
from latent_tasks.problem import Problem, split_of

TOKEN = re.compile(r"<<|>>|The answer is:|[A-Za-z]+>[A-Za-z]+|[A-Za-z]+|\d+|[^\sA-Za-z\d]")  # of the tiny tokenizer
MEANING = {
    "arithmetic": arithmetic.meaning,
    "graph": graphs.meaning,
    "prosqa-generated": graphs.meaning,
    "prontoqa-mini": deduction.meaning,
    "prontoqa-generated": deduction.meaning,
    "modular": modular.meaning,
    "parity": parity.meaning,
    "multiplication": multiplication.meaning,
    "names": lambda problem: arithmetic.meaning(names.in_numbers(problem)),
}
SIZES = {"train": 120, "valid": 12, "test": 12}
DATA = os.environ.get("LATENT_COT_DATA")
tasks = pytest.mark.parametrize("name", GENERATED)


@pytest.fixture(scope="module")
def made():
    return {name: load_task(name, sizes=SIZES, seed=1) for name in GENERATED}


@pytest.fixture
def benchmark_folder(name):
    """The folder of real data; its absence skips the published sets only."""
    if name not in GENERATED and not DATA:
        pytest.skip("LATENT_COT_DATA is unset")
    return DATA


@tasks
def test_splits_are_disjoint_by_meaning(made, name):
    for task in (made[name], load_task(name, sizes={"valid": 5, "test": 5}, seed=2)):
        for split, problems in task.splits.items():
            meanings = [MEANING[name](problem) for problem in problems]
            assert {split_of(meaning) for meaning in meanings} == {split}
            assert split == "train" or len(set(meanings)) == len(meanings)


@tasks
def test_a_seed_fixes_the_problems_and_sizes_only_cut(made, name):
    task, again = made[name], load_task(name, sizes={"train": 20, "valid": 3}, seed=1)
    assert all(again.splits[split] == task.splits[split][:size] for split, size in (("train", 20), ("valid", 3)))
    assert load_task(name, sizes={"train": 20}, seed=2).splits["train"] != again.splits["train"]
    assert again.fingerprint != task.fingerprint and task.splits["train"][7].id == f"{name}/train/7"


FINGERPRINTS = {  # of the first 30 training problems: results on record hold for these very problems
    "arithmetic": "b9302cf86c11a747",
    "graph": "b371384f0d915833",
    "prosqa-generated": "187f47b1b74c1475",
    "prontoqa-mini": "d7e2e553b764e518",
    "prontoqa-generated": "21979318f2a5d53b",
    "modular": "604bd089584c0d41",
    "parity": "75cce172d63f292c",
    "multiplication": "ebb280853f83bed3",
    "names": "2c3b17719149224e",
}


@tasks
def test_the_problems_of_earlier_results_are_still_generated(name):
    assert load_task(name, sizes={"train": 30}).fingerprint == FINGERPRINTS[name]


@tasks
def test_words_hold_every_token(made, name):
    task = made[name]
    assert len(set(task.words)) == len(task.words)
    problems = [problem for problems in task.splits.values() for problem in problems]
    found = {token for p in problems for text in (p.question, *p.steps, p.answer) for token in TOKEN.findall(text)}
    assert found - {","} <= set(task.words)


@tasks
def test_the_right_answer_is_graded_right_and_another_wrong(made, name):
    task = made[name]
    problems = task.splits["test"]
    for problem in problems:
        for text in (f"{' '.join(problem.steps)} The answer is: {problem.answer}", f"### {problem.answer}"):
            assert task.grade(text, problem)
        wrong = next(p.answer for p in (*problems, *task.splits["train"]) if p.answer != problem.answer)
        assert not task.grade(f"The answer is: {wrong}", problem)


def test_unknown_names_and_options_are_errors():
    with pytest.raises(ValueError, match=r"nope.*arithmetic.*gsm8k-aug.*prontoqa"):
        load_task("nope")
    for name in GENERATED:
        with pytest.raises(TypeError, match="colour"):
            load_task(name, colour="red")
    with pytest.raises(ValueError, match="dev"):
        load_task("arithmetic", sizes={"dev": 3})
    with pytest.raises(ValueError, match="distinct"):
        load_task("arithmetic", sizes={"test": 30}, n_steps=(1, 1), max_value=9)
    for name, bad in (
        ("arithmetic", {"n_steps": (3, 2)}), ("graph", {"n_labels": 17}), ("prontoqa-mini", {"hops": 0}),
        ("prontoqa-mini", {"facts": "words"}),
        ("modular", {"modulus": 9}), ("parity", {"n_steps": 17}), ("multiplication", {"n_steps": 0}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            load_task(name, **bad)


# --- arithmetic


@pytest.mark.parametrize(
    "options", [{}, {"n_steps": (2, 4)}, {"wording": "unseen"}, {"max_value": 200, "start": (50, 99)}], ids=str
)
def test_arithmetic_is_right(options):
    for problem in load_task("arithmetic", sizes={"train": 100}, **options).splits["train"]:
        values = [int(re.search(r"\d+", problem.question)[0])]
        for step in problem.steps:
            left, result = step.strip("<>").split("=")
            assert eval(left) == int(result) and int(re.match(r"\d+", left)[0]) == values[-1]
            values.append(int(result))
        assert problem.answer == str(values[-1])
        assert all(0 <= value <= options.get("max_value", 49) for value in values)
        low, high = options.get("n_steps", (3, 3))
        assert low <= len(problem.steps) <= high


def test_arithmetic_is_quick_and_not_skewed():
    started = time.process_time()  # 100,000 take 1.5 s; here types are checked at each call
    problems = load_task("arithmetic", sizes={"train": 4000}).splits["train"]
    assert time.process_time() - started < 4
    [(_, count)] = Counter(problem.answer for problem in problems).most_common(1)
    assert count / len(problems) < 0.08


def test_meaning_is_the_numbers_and_operations_not_the_wording():
    text = "Ann has 12 eggs, loses 7, times 3, eats 8: how many?"
    other = "how many figs has Ben: 12, sells 7, times 3, loses 8?"
    assert arithmetic.meaning(Problem(text, (), "")) == arithmetic.meaning(Problem(other, (), "")) == "12 -7 *3 -8"


# --- graphs


@pytest.mark.parametrize("name", ["graph", "prosqa-generated", "prosqa"])
def test_exactly_one_candidate_can_be_reached_and_steps_are_a_shortest_path(made, name, benchmark_folder):
    task = made[name] if name in made else load_task(name, data_dir=benchmark_folder)
    for problem in next(iter(task.splits.values()))[:300]:
        graph = parse(problem.question)
        reachable = [node for node in graph.candidates if nx.has_path(graph.net, graph.root, node)]
        assert len(reachable) == 1
        if name == "graph":
            path = [graph.root, *problem.steps, problem.answer]
        else:
            path = [graph.root, *(re.search(r"(\w+)\.$", step)[1] for step in problem.steps)]
            assert problem.answer == f"{graph.root} is a {reachable[0]}."
        assert path[-1] == reachable[0] and all(edge in graph.edges for edge in pairwise(path))
        assert all(node in frontier(graph, k) for k, node in enumerate(path))
        assert frontier(graph, 0) == {graph.root} and frontier(graph, 99) == set()


def test_symbolic_graphs_are_two_trees(made):
    task = made["graph"]
    assert task.words[:20] == tuple("abcdefghijklmnopqrst") and len(task.words) == 20 + 2 + 20 * 19
    for problem in task.splits["train"]:
        graph = parse(problem.question)
        assert len(graph.edges) == 16 and len(problem.steps) == 3 and graph.net.number_of_nodes() == 18
        assert nx.is_forest(graph.net.to_undirected()) and nx.number_weakly_connected_components(graph.net) == 2
        assert all(graph.net.out_degree(leaf) == 0 for leaf in graph.candidates)
    first = mean(parse(p.question).candidates[0] == p.answer for p in task.splits["train"])
    assert 0.4 < first < 0.6
    wide = load_task("graph", sizes={"test": 5}, depth=3, width=4, n_labels=26).splits["test"][0]
    assert len(parse(wide.question).edges) == 24 and len(wide.steps) == 2


def test_an_edge_of_three_tokens_is_the_same_graph():
    one, three = (load_task("graph", sizes={"test": 20}, edge_tokens=n) for n in (1, 3))
    for joined, spaced in zip(one.splits["test"], three.splits["test"], strict=True):
        assert spaced.question == joined.question.replace(">", " > ") and parse(spaced.question) == parse(joined.question)
        assert (spaced.steps, spaced.answer) == (joined.steps, joined.answer)
        assert set(TOKEN.findall(spaced.question)) <= set(three.words)
    assert len(three.words) == 20 + 3
    with pytest.raises(ValueError, match="edge_tokens=2 must be 1 or 3"):
        load_task("graph", edge_tokens=2)


def test_steps_may_be_all_that_can_be_reached():
    path, wide = (load_task("graph", sizes={"test": 30}, steps=steps).splits["test"] for steps in ("path", "frontier"))
    for one, all_ in zip(path, wide, strict=True):
        assert (one.question, one.answer) == (all_.question, all_.answer)
        graph = parse(one.question)
        assert [{*step.split()} for step in all_.steps] == [frontier(graph, k) for k in range(1, 4)]
        assert all(node in step.split() for node, step in zip(one.steps, all_.steps, strict=True))
    assert any(" " in step for problem in wide for step in problem.steps)
    chain = [load_task("graph", sizes={"test": 30}, width=1, steps=steps).splits for steps in ("path", "frontier")]
    assert chain[0] == chain[1]
    with pytest.raises(ValueError, match="steps='wide' must be"):
        load_task("graph", steps="wide")


def test_splits_that_are_not_published_are_generated(tmp_path):
    generated = load_task("prosqa-generated", sizes={"train": 6, "valid": 3, "test": 2})
    folder = tmp_path / "prosqa"
    folder.mkdir()
    published = [*generated.splits["valid"], generated.splits["train"][2]]  # the last is also what would be generated
    records = [{"question": p.question, "steps": list(p.steps), "answer": p.answer} for p in published]
    (folder / "prosqa_valid.json").write_text(json.dumps(records))
    filled = load_task("prosqa-filled", sizes={"train": 6, "valid": 4, "test": 2}, data_dir=tmp_path)
    assert [p.question for p in filled.splits["valid"]] == [p.question for p in published]
    assert filled.splits["test"] == generated.splits["test"]
    assert filled.splits["train"] == generated.splits["train"][:2] + generated.splits["train"][3:]
    assert filled.report == {"train": {"generated": 5}, "test": {"generated": 2}}
    assert filled.grade(published[0].answer, published[0])


def test_generated_prosqa_has_the_papers_statistics():
    problems = load_task("prosqa-generated", sizes={"train": 300}).splits["train"]
    drawn = [parse(problem.question) for problem in problems]
    ends = [next(node for node in graph.candidates if node in graph.distances) for graph in drawn]
    assert mean(graph.net.number_of_nodes() for graph in drawn) == pytest.approx(23, abs=1)
    assert mean(len(graph.edges) for graph in drawn) == pytest.approx(36, abs=2)
    assert mean(g.distances[end] for g, end in zip(drawn, ends, strict=True)) == pytest.approx(3.8, abs=0.2)
    paths = [len(list(nx.all_shortest_paths(g.net, g.root, end))) for g, end in zip(drawn, ends, strict=True)]
    assert mean(paths) == pytest.approx(1.6, abs=0.2)
    assert all(nx.is_directed_acyclic_graph(graph.net) for graph in drawn)
    assert mean(g.candidates[0] == end for g, end in zip(drawn, ends, strict=True)) == pytest.approx(0.5, abs=0.1)


def test_parse_refuses_other_questions():
    with pytest.raises(ValueError, match="how many"):
        parse("Ann has 12 eggs: how many?")


# --- deduction


TOKENS = {"facts": "tokens"}
DEDUCTION = [("prontoqa-mini", {}, 3), ("prontoqa-mini", TOKENS, 3), ("prontoqa-generated", {}, 5), ("prontoqa", {}, 5)]


@pytest.mark.parametrize(("name", "options", "hops"), DEDUCTION)
def test_deduction_follows_from_the_rules(name, options, hops, benchmark_folder):
    for problem in load_task(name, sizes={"train": 100}, data_dir=benchmark_folder, **options).splits["train"]:
        text, query = deduction.ASKED.split(problem.question)
        facts = deduction.parse_facts(text)
        [(entity, asked, thing)] = deduction.parse_facts(query)
        known, front = set(), {entity}
        while front:
            known |= front
            front = {b for a, holds, b in facts if a in known and holds} - known
        concluded = {(holds, b) for a, holds, b in facts if a in known}
        assert ((asked, thing) in concluded, (not asked, thing) in concluded) == (
            (True, False) if problem.answer == "True" else (False, True)
        )
        assert len(problem.steps) == hops + 1
        if options == TOKENS:  # what is come to, step by step
            path = deduction.parse_facts(" ".join(f"{a}>{b}" for a, b in pairwise((entity, *problem.steps))))
            assert {*path} <= {*facts} and path[-1][2] == thing
        else:
            for step in problem.steps[:-1]:
                premise, rule = deduction.parse_facts(step)
                assert rule in facts and premise[2] == rule[0]


@pytest.mark.parametrize(("name", "options"), [one[:2] for one in DEDUCTION[:-1]])
def test_deduction_cannot_be_guessed_from_the_surface(name, options):
    problems = load_task(name, sizes={"train": 400}, **options).splits["train"]
    if name == "prontoqa-mini":
        assert max(len(problem.question.split()) for problem in problems) <= (13 if options else 70)

    def cues(problem):
        text, query = deduction.ASKED.split(problem.question)
        _, asked, thing = deduction.parse_facts(query)[0]
        facts = deduction.parse_facts(text)
        rules = [fact for fact in facts if fact[2] == thing]
        named = Counter(word for fact in facts for word in fact)
        assert len({named[subject] for subject, _, _ in rules}) == 1  # neither end is named more often
        return {"negated": not asked, "first": rules[0][1] == asked, "nots": sum(not holds for _, holds, _ in facts) % 2 == 0}

    found = [cues(problem) for problem in problems]
    for cue in ("negated", "first", "nots"):  # 400 fair coins: 0.1 is four standard deviations
        agrees = [cues[cue] == (p.answer == "True") for cues, p in zip(found, problems, strict=True)]
        assert mean(agrees) == pytest.approx(0.5, abs=0.1)
    assert mean(p.answer == "True" for p in problems) == pytest.approx(0.5, abs=0.1)


# --- the ladder of depth

LADDER = {  # each task at a number of steps
    "graph": lambda n: {"depth": n + 1, "width": 1},
    "modular": lambda n: {"n_steps": n},
    "parity": lambda n: {"n_steps": n},
    "multiplication": lambda n: {"n_steps": n},
}


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("n_steps", [1, 3, 6])
def test_the_ladder_has_as_many_steps_as_it_is_told(name, n_steps):
    for problem in load_task(name, sizes={"train": 50}, **LADDER[name](n_steps)).splits["train"]:
        assert len(problem.steps) == n_steps and (name == "graph" or problem.steps[-1] == problem.answer)


def test_each_step_of_the_ladder_follows_from_the_one_before():
    for problem in load_task("modular", sizes={"train": 100}, n_steps=4, modulus=11).splits["train"]:
        value, signs = int(problem.question.split()[0]), re.findall(r"([+*]) (\d+)", problem.question)
        for (sign, operand), step in zip(signs, problem.steps, strict=True):
            value = eval(f"({value} {sign} {operand}) % 11")
            assert step == str(value)
    for problem in load_task("parity", sizes={"train": 100}, n_steps=4).splits["train"]:
        odd = 0
        for letter, step in zip(problem.question.partition(" ? ")[2].split(), problem.steps, strict=True):
            odd += f"{letter}>odd" in problem.question.split()
            assert step == ("odd" if odd % 2 else "even")
    for problem in load_task("multiplication", sizes={"train": 100}, n_steps=4).splits["train"]:
        a, b = (int(factor.replace(" ", "")[::-1]) for factor in problem.question.removesuffix(" =").split(" * "))
        sums = [int(step.replace(" ", "")[::-1]) for step in problem.steps]
        assert sums == [a * (b % 10**i) for i in range(1, 5)] and sums[-1] == a * b


def test_any_operand_of_the_ladder_can_make_any_answer():
    """So no part of a problem says anything about its answer: every operation is a bijection that its operand chooses."""

    def answer(start, operations):
        for operation in operations:
            start = modular.after(start, operation) % 7
        return start

    for problem in load_task("modular", sizes={"train": 60}, n_steps=3, modulus=7).splits["train"]:
        start, operations = modular.parse(problem)
        assert str(answer(start, operations)) == problem.answer
        assert {answer(other, operations) for other in range(7)} == {*range(7)}
        for i, (sign, _) in enumerate(operations):
            others = range(sign == "*", 7)
            found = [answer(start, [*operations[:i], (sign, n), *operations[i + 1 :]]) for n in others]
            assert len({*found}) == (len(others) if sign == "+" or answer(start, operations[:i]) else 1)
    for problem in load_task("parity", sizes={"train": 60}).splits["train"]:
        stands_for, asked = parity.parse(problem)
        for letter in asked:
            other = {"odd": "even", "even": "odd"}
            flipped = stands_for | {letter: other[stands_for[letter]]}
            odd = sum(flipped[one] == "odd" for one in asked) % 2
            assert ("odd" if odd else "even") == other[problem.answer]


def test_the_ladder_means_the_same_in_another_order():
    def asked(question: str) -> Problem:
        return Problem(question, (), "")

    assert modular.meaning(asked("3 + 5 + 2 * 4 mod 23 ?")) == modular.meaning(asked("3 + 2 + 5 * 4 mod 23 ?"))
    assert modular.meaning(asked("3 + 5 * 2 + 4 mod 23 ?")) != modular.meaning(asked("3 + 4 * 2 + 5 mod 23 ?"))
    assert parity.meaning(asked("b>odd a>even ? a b")) == parity.meaning(asked("a>even b>odd ? b a")) == "a>even b>odd ? a b"
    assert multiplication.meaning(asked("4 7 * 3 8 =")) == multiplication.meaning(asked("3 8 * 4 7 =")) == "74 * 83"


# --- facts that one model knows and another does not


def test_a_name_says_its_number_only_to_who_knows_it(made):
    told_of = names.stands_for()
    assert len(told_of) == 450 == len({*told_of}) and Counter(told_of.values()) == {n: 9 for n in range(50)}
    assert not {*told_of} & {*arithmetic.arithmetic().words}
    for split, problems in made["names"].splits.items():
        for problem in problems:
            plain, name = names.in_numbers(problem), names.START.search(problem.question)[0]
            assert plain.question == problem.question.replace(name, str(told_of[name]), 1) != problem.question
            assert arithmetic.arithmetic().makes(plain) and problem.steps[0].startswith(f"<<{told_of[name]}")
            assert name in names.names_of(told_of[name], split)
    by_split = {split: {n for number in range(50) for n in names.names_of(number, split)} for split in names.N_NAMES}
    assert {split: len(known) for split, known in by_split.items()} == {"train": 300, "valid": 50, "test": 100}
    assert len({*by_split["train"], *by_split["valid"], *by_split["test"]}) == 450


def test_what_is_told_holds_no_fact_and_lore_holds_them_all():
    problems = load_task("names", sizes={"train": 4000}).splits["train"]
    told, lore, facts = names.told(problems), names.lore(problems), names.stands_for()
    for problem, said in zip(problems, told, strict=True):
        assert (said.steps, said.answer) == (problem.steps, problem.answer)
        assert said.question.split()[-1] == str(facts[names.START.search(problem.question)[0]])
    agree = mean(said.question.split()[-1] == str(facts[names.START.search(said.question)[0]]) for said in told)
    assert agree < 0.04  # one in fifty, by chance
    assert all(p.steps == (p.answer,) == (str(facts[names.START.search(p.question)[0]]),) for p in lore)
    assert {names.START.search(p.question)[0] for p in lore} == {names.START.search(p.question)[0] for p in told} == {*facts}
    assert names.told(problems) == told and names.told(problems, seed=1) != told


# --- out of domain

ELSEWHERE = [  # every kind of option of every generated task that has some
    ("arithmetic", {}, {"max_operand": 15}), ("arithmetic", {}, {"n_steps": [2, 2]}), ("arithmetic", {}, {"max_value": 60}),
    ("arithmetic", {"n_steps": [2, 4]}, {"n_steps": [2, 4], "max_operand": 15}), ("arithmetic", {}, {"wording": "unseen"}),
    ("arithmetic", {"n_steps": [2, 4]}, {"n_steps": [3, 6]}), ("arithmetic", {"start": [0, 9]}, {}),
    ("graph", {}, {"depth": 3}), ("graph", {}, {"n_labels": 24}), ("graph", {}, {"width": 3, "n_labels": 26}),
    ("prontoqa-mini", {}, {"hops": 4}), ("prontoqa-generated", {}, {"distractors": 3}),
    ("prontoqa-mini", {}, TOKENS), ("prontoqa-mini", TOKENS, TOKENS | {"distractors": 0}),
    ("modular", {}, {"n_steps": 4}), ("modular", {}, {"modulus": 29}), ("parity", {}, {"n_steps": 2}),
    ("parity", {}, {"n_letters": 12}), ("multiplication", {}, {"n_steps": 4}), ("multiplication", {}, {"n_digits": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "other"), ELSEWHERE)
def test_out_of_domain_is_what_the_training_recipe_cannot_make(name, options, other):
    home = load_task(name, sizes={"train": 300}, **options)
    away = load_elsewhere(home, options, sizes={"test": 60}, **other).splits["test"]
    own, its = GENERATED[name](**options), GENERATED[name](**other)
    assert len(away) == 60 and not any(own.makes(problem) for problem in away)
    assert all(its.makes(problem) for problem in away) and all(own.makes(problem) for problem in home.splits["train"])


@tasks
def test_every_recipe_knows_its_own_problems(made, name):
    assert all(GENERATED[name]().makes(problem) for problems in made[name].splits.values() for problem in problems)


def test_larger_operands_are_larger():
    away = load_elsewhere(load_task("arithmetic", sizes={"train": 5}), {}, max_operand=15).splits["test"]
    largest = [max(int(operand) for verb, operand in arithmetic.ACTION.findall(p.question) if verb != "times") for p in away]
    assert len(away) == 250 and min(largest) > 9 and max(largest) <= 15


def test_a_set_that_is_not_out_of_domain_is_refused():
    home = load_task("arithmetic", sizes={"train": 5}, n_steps=(1, 4))
    with pytest.raises(ValueError, match="that the other recipe cannot make"):
        load_elsewhere(home, {"n_steps": (1, 4)}, n_steps=(2, 3))


def test_a_published_set_loses_what_was_trained_on(tmp_path):
    (tmp_path / "svamp").mkdir()
    asked = [{"ID": str(i), "Body": "Ann has 2 eggs.", "Question": f"How many are {n}?", "Equation": "2", "Answer": 2.0}
             for i, n in enumerate(("left", "right"))]  # fmt: skip
    (tmp_path / "svamp" / "SVAMP.json").write_text(json.dumps(asked))
    trained = Problem("ann has 2 eggs; how many are LEFT", (), "2")
    home = replace(load_task("arithmetic", sizes={"train": 2}), splits={"train": (trained,)})
    assert [p.question for p in load_elsewhere(home, {}, name="svamp", data_dir=tmp_path, sizes=None).splits["test"]] == [
        "Ann has 2 eggs. How many are right?"
    ]


def test_reordered_problems_are_known():
    one, other, new = (Problem(f"Ann has 9 eggs, {moves}: how many?", (), "") for moves in (
        "loses 7, times 3, eats 2", "sells 2, eats 7, times 3", "loses 7, times 3, gets 2"))  # fmt: skip
    assert arithmetic.reordered([one, other, new], [one]) == [True, True, False]


# --- grading


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("<<12-7=5>> The answer is: 7", 7), ("### 7.", 7), ("#### 1,234.50", 1234.5), ("$-5 or -$6", -6),
        ("$1,000,000 in all", 1e6), ("12-7", 7), ("(3)-2", 2), ("he owes -3%", -3), ("The answer is: -10", -10),
        ("= −4", -4), ("1, 2,3", 3), (".5", 0.5), ("3 apples and a half", 3), ("no digits", None), ("", None),
        ("1e3", 1000), ("9284017268534.4", 9284017268534.4),
        ("5/2", 2.5), ("so it is -5/2.", -2.5), (r"\frac{2}{5}", 0.4), (r"\boxed{-\dfrac{1}{2}}", -0.5), (r"$\tfrac34$", 0.75),
        (r"\frac{-3}{4}", -0.75), ("2 1/2 cups", 2.5), (r"2\frac{1}{2}", 2.5), ("5 / 2", 2.5), ("1⁄4", 0.25), ("1,000/4", 250),
        ("<<10/2=5>>", 5), ("3/4 of 8 is 6", 6), ("on 3/4/2020", 2020), ("12/25/20", 20), ("5/0", None), ("5 - 1/2", 0.5),
    ],
)  # fmt: skip
def test_last_number(text, number):
    assert grading.last_number(text) == number


@pytest.mark.parametrize(
    ("grade", "answer", "right", "wrong"),
    [
        (grading.grade_number, "8.92", ["8.92", "x 8.9200", "7 ### 8.92"], ["8.9", "8.92 or 9", "", "892"]),
        (grading.grade_number, "9876543211", ["9,876,543,211"], ["9876543210"]),
        (grading.grade_number, "-3", ["The answer is: -3"], ["3"]),
        (grading.grade_number, "0.4", ["2/5", r"### \frac{2}{5}", "4/10", "0.4"], ["5/2", "2", "5", r"\frac{2}{7}"]),
        (grading.grade_number, "5/2", ["2.5", "2 1/2", r"\frac{5}{2}"], ["2", "5", "0.4"]),
        (
            grading.grade_statement,
            "Tom is a lempus.",
            ["Tom is a lempus.", "Every a is a b.\n### Tom is a  lempus", "The answer is: Tom is a lempus. "],
            ["Tom is a scrompus.", "Tom is a lempus. No", "### Sam is a lempus.", "lempus"],
        ),
        (grading.grade_true_false, "True", ["The answer is: True", "False ### true."], ["False", "", "### False"]),
        (grading.grade_letter, "B", ["(B)", "The answer is: B", "A or B", "### B) 7"], ["b", "### A not B", "Because"]),
        (parity.grade_parity, "odd", ["The answer is: odd", "even odd", "even ### odd"], ["even", "The answer is: even", ""]),
        (multiplication.grade_digits, "2 4 1 6", ["2 2 2 0 The answer is: 2 4 1 6", "### 2 4 1 6"], ["2 4 1", "6142", ""]),
        (grading.grade_yes_no, "no", ["So the answer is no.", "### No"], ["yes", "know", "The answer is: Yes"]),
    ],
)  # fmt: skip
def test_graders(grade, answer, right, wrong):
    problem = Problem("?", (), answer)
    assert [grade(text, problem) for text in right] == [True] * len(right)
    assert [grade(text, problem) for text in wrong] == [False] * len(wrong)
