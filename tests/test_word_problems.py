"""Real word problems of one to three steps: chains that are computed, tests of which training knows no text."""

import json
import re
from collections import Counter
from functools import cache

import pytest

from latent_runs.places import ROOT
from latent_tasks import check_task, load_task
from latent_tasks.benchmarks import Dropped
from latent_tasks.problem import Problem
from latent_tasks.word_problems import SOURCES, by_steps, chain, checked, evaluated, last_result, masked, names_in

CHAINS = {  # as they are published: their steps
    "X=((22.0-14.0)/4.0)": ("<<22-14=8>>", "<<8/4=2>>"),
    "x=3*6": ("<<3*6=18>>",),
    "7+2=9": ("<<7+2=9>>",),
    "( 76.0 - 25.0 )": ("<<76-25=51>>",),
    "2+3*4": ("<<3*4=12>>", "<<2+12=14>>"),
    "(2+3)*4": ("<<2+3=5>>", "<<5*4=20>>"),
    "10-4-3": ("<<10-4=6>>", "<<6-3=3>>"),
    "12/(2*3)": ("<<2*3=6>>", "<<12/6=2>>"),
    "0.5*3": ("<<0.5*3=1.5>>",),
    "-3+5": ("<<-3+5=2>>",),
    "50%*8": ("<<50/100=0.5>>", "<<0.5*8=4>>"),
    "3 (nickel)*5 (cent/nickel)+2=17 (cent)": ("<<3*5=15>>", "<<15+2=17>>"),
}
NO_CHAINS = {
    "8.0": "no operation", "": "no arithmetic", "x=": "no arithmetic", "X-2=6": "no arithmetic", "1/3": "no plain decimal",
    "3/0": "divides by zero", "7 r5": "no arithmetic", "__import__('os')": "no arithmetic", "2**9": "no arithmetic",
    "True+1": "no arithmetic", "(1+2": "no arithmetic", "'a'*3": "no arithmetic",
}  # fmt: skip


@cache
def task():
    return load_task("word-problems")


@pytest.mark.parametrize("equation", CHAINS)
def test_an_equation_becomes_the_steps_of_its_evaluation(equation):
    assert chain(equation)[0] == CHAINS[equation]


@pytest.mark.parametrize("equation", NO_CHAINS)
def test_what_has_no_chain_is_left_out_with_a_reason(equation):
    with pytest.raises(Dropped, match=NO_CHAINS[equation]):
        chain(equation)


def test_chains_are_checked():
    assert checked(Problem("q", ("x=(1+2)*3",), "9"), "mawps").steps == ("<<1+2=3>>", "<<3*3=9>>")
    assert last_result(("<<1+2=3>>", "<<20/3=6.667>>")) == evaluated("20/3")
    wrong = [
        (("x=1+2",), "4", "asdiv", "does not give its answer"),
        (("<<1+2=4>>",), "4", "gsm8k-aug", "a step is wrong"),
        (("<<1+2=3>>",), "4", "gsm8k-aug", "does not give its answer"),
        (("<<1+2=3>>", "<<3+1=4>>", "<<4+1=5>>"), "5", "gsm8k-aug", "more steps"),
        (("1+2+3+4+5",), "15", "svamp", "more steps"),
        ((), "5", "gsm8k-aug", "no operation"),
    ]
    for steps, answer, source, reason in wrong:
        with pytest.raises(Dropped, match=reason):
            checked(Problem("q", steps, answer), source)


SAME = {  # the first text, and others that only numbers and names tell from it
    "numbers": ("Ann has 2 eggs.", "Ann has 1,250.5 eggs?", "ANN has twelve eggs"),
    "names": ("Then Ann gave Bob's hat away, and Bob left.", "Then Zoe gave Ann's hat away, and Ann left."),
    "pronouns": ("Ann sold 3 of her hats. She has 2.", "Bob sold 4 of his hats. He has 1."),
    "a name that is a word": ("Will saw 2 nuts. How many does Will mark?", "Ann saw 3 nuts. How many does Mark mark?"),
}


@pytest.mark.parametrize("kind", SAME)
def test_what_masking_makes_alike(kind):
    texts = [*SAME[kind], "Does Mark or Ann or ANN or Bob or Zoe know? Mark and Bob do.", "Will it? then how many"]
    names = names_in(texts)
    assert len({masked(text, names) for text in SAME[kind]}) == 1
    others = ["Ann has 2 hats", "Ann has 2 nuts", "I have 2 hats", "Ann has 2 hats and 3"]
    assert len({masked(text, names) for text in others}) == 4


def write(folder, mawps=(), asdiv=(), multiarith=(), svamp=(), aug=()):
    def problems(some):
        return [{"original_text": q, "equation": e, "ans": a} for q, e, a in some]

    xml = "".join(f"<Problem><Question>{q}</Question><Answer>{a}</Answer><Formula>{e}</Formula></Problem>" for q, e, a in asdiv)
    files = {"asdiv/ASDiv.xml": f"<a>{xml}</a>", "gsm8k_aug/train.txt": "\n".join(f"{q}||{e} #### {a}" for q, e, a in aug)}
    files |= {f"mawps/{split}set.json": json.dumps(problems(some)) for split, some in mawps}
    multi = [{"sQuestion": q, "lEquations": [e], "lSolutions": [a]} for q, e, a in multiarith]
    files |= {"multiarith/MultiArith.json": json.dumps(multi)}
    files |= {"svamp/SVAMP.json": json.dumps([{"Body": "", "Question": q, "Equation": e, "Answer": a} for q, e, a in svamp])}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_no_text_of_a_test_is_trained_on_though_its_numbers_and_names_differ(tmp_path):
    asdiv = [(f"Ann sees {n} cats and Bob {n} dogs. How many {'so' * n}?", f"{n}+{n}", 2 * n) for n in range(2, 60)]
    write(
        tmp_path,
        mawps=[("train", [("Zoe has 7 red hats and 2. How many?", "x=7+2", 9)]), ("test", [("A fish?", "x=1+1", 2)])],
        asdiv=asdiv, multiarith=[("What?", "X=2*3", 6)], svamp=[("Ann has 3 red hats and 4. How many?", "( 3 + 4 )", 7)],
        aug=[("Bob has 12 red hats and one. How many?", "<<12+1=13>>", 13), ("One more?", "<<5-1=4>>", 4)],
    )  # fmt: skip
    made = load_task("word-problems", data_dir=tmp_path)
    names = names_in(p.question for some in made.splits.values() for p in some)
    tested = {masked(p.question, names) for p in made.splits["test"]}
    assert not tested & {masked(p.question, names) for split in ("train", "valid") for p in made.splits[split]}
    assert made.report["train"]["its text, numbers and names masked, is in another split"] == 2
    assert {p.id.partition("/")[0] for p in made.splits["test"]} >= {"svamp", "mawps", "asdiv"}
    cut = load_task("word-problems", data_dir=tmp_path, sizes={"test": 2, "train": 3}, sources=["asdiv"])
    assert (len(cut.splits["test"]), len(cut.splits["train"])) == (2, 3)


def test_an_unknown_source_and_an_unknown_option_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no source 'gsm9k'; known: mawps"):
        load_task("word-problems", data_dir=tmp_path, sources=["gsm9k"])
    with pytest.raises(ValueError, match="sauces"):
        check_task("word-problems", sauces=[])


def test_every_chain_of_the_real_ones_is_computed_and_short(data_dir):
    for problems in task().splits.values():
        for problem in problems:
            source = problem.id.partition("/")[0].replace("_", "-")
            assert 1 <= len(problem.steps) <= SOURCES[source]
            for step in problem.steps:
                assert re.fullmatch(r"<<[^<>]+=[^<>=]+>>", step)
            assert abs(float(last_result(problem.steps)) - float(problem.answer)) <= 1e-3


def test_no_real_test_text_is_trained_on(data_dir):
    splits = task().splits
    names = names_in(p.question for some in splits.values() for p in some)
    texts = {split: {masked(p.question, names) for p in some} for split, some in splits.items()}
    assert not texts["test"] & (texts["train"] | texts["valid"]) and not texts["valid"] & texts["train"]


def test_the_data_page_has_the_counts(data_dir):
    text = (ROOT / "data" / "README.md").read_text()
    rows = {cells[1].strip(" `"): cells[2:6] for line in text.splitlines() if len(cells := line.split("|")) == 7}
    for split, counts in by_steps(task()).items():
        assert [int(cell.replace(",", "")) for cell in rows[split]] == [*counts, sum(counts)], split
    left = Counter[str]()
    for counts in task().report.values():
        left.update(counts)
    for reason, n in left.items():
        assert f"{reason}: {n:,}" in text


def test_the_test_holds_every_source(data_dir):
    found = Counter(problem.id.partition("/")[0] for problem in task().splits["test"][:500])
    assert set(found) == {source.replace("-", "_") for source in SOURCES} and min(found.values()) >= 10
