"""What the exercises tell a reader to set or to use is there."""

import ast
import re

import nbformat
import pytest

from latent_runs.places import NOTEBOOKS, ROOT
from latent_runs.settings import check_parameters, typed_parameters
from latent_views.turns import NOT_YET, compare

BOOKS = sorted(NOTEBOOKS.glob("*.ipynb"))


def exercises(path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    (text,) = (cell.source.partition("## Experiments")[2] for cell in cells if "## Experiments" in cell.source)
    return text


def code(path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_parameters_that_are_set_are_there(path):
    """`name = value` sets a parameter of the lesson, one after another; `name=value` is an argument."""
    known = typed_parameters(path)
    for exercise in re.split(r"\n\d+\. ", exercises(path)):
        told = {}
        for name, value in re.findall(r"`(\w+) = ([^`]+)`", exercise):
            try:
                told[name] = ast.literal_eval(value)
            except ValueError:  # a call: the reader's own variable
                continue
            assert name in known
            check_parameters(path, told)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_names_that_are_used_are_there(path):
    """`module.name` of what the notebook imports, or of the library."""
    names: dict = {}
    imports = [node for node in ast.parse(code(path)).body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec("\n".join(map(ast.unparse, imports)), names)
    for dotted in re.findall(r"`((?:\w+\.)+\w+)(?:\([^`]*\))?`", exercises(path)):
        first, *rest = dotted.split(".")
        if first in names or first.startswith("latent_"):
            value = names.get(first) or __import__(first)
            for i, name in enumerate(rest):
                if first.startswith("latent_") and not hasattr(value, name):
                    __import__(".".join([first, *rest[: i + 1]]))
                assert hasattr(value, name), f"there is no {dotted}"
                value = getattr(value, name)
        else:
            assert re.search(rf"\b{first}\b", code(path)) or dotted.endswith((".json", ".yaml", ".py")), f"there is no {dotted}"


# --- what is filled in -----------------------------------------------------------------------------------------------

WRONG = {  # of each lesson, an answer that its check has to catch: what a reader might well try
    "00_start_here": "def donor_rate(given, third, donors):\n    return sum(map(str.__eq__, given, donors)) / len(donors)",
    "01_data_prep": "def earlier(question):\n    return 'a'",
    "02_explicit_baselines": "def loss(logits, labels):\n    return F.cross_entropy(logits, labels.clamp(min=0))",
    "03_coconut_stages": "def think(lm, context, n, write):\n    return write(context.hidden, 0)",
    "04_codi_self_distillation": "def door(tokens, answer):\n    return tokens.index(answer[0])",
    "05_softcot_projector": "def project(states, weight, bias):\n    return states @ weight.T",
    "06_decoding_thoughts": "def written_at(n_question, k):\n    return n_question + k - 1",
    "07_ablations": "def paired(first, second):\n    return sum(first.values()) / 3 - sum(second.values()) / 3",
    "08_paper_tables": "def half_width(gaps):\n    return 1.96 * pd.Series(gaps).sem()",
    "09_own_method": "def mixture(logits, embeddings, temperature=1.0):\n    return logits.softmax(-1) @ embeddings",
    "10_one_gpu": "def passes(n_thoughts, n_words):\n    return n_thoughts + 1 + n_words",
}  # fmt: skip


def turns_of(path) -> list[tuple[str, str, str]]:
    """Starter, check and folded solution of each exercise that is filled in; they follow one another."""
    cells = nbformat.read(path, as_version=4).cells
    starters = [i for i, cell in enumerate(cells) if "exercise" in cell.metadata.get("tags", ())]
    assert all("check" in cells[i + 1].metadata.tags and "<details>" in cells[i + 2].source for i in starters)
    return [
        (cells[i].source, cells[i + 1].source, re.search(r"```python\n(.*?)\n```", cells[i + 2].source, re.S)[1])
        for i in starters
    ]


def said(path, answer: str, check: str) -> str:
    """What a check says of an answer, in a notebook of which only the imports were run."""
    imports = [node for node in ast.parse(code(path)).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec("\n".join(map(ast.unparse, imports)), names)
    *before, last = ast.parse(check).body
    exec("\n".join([answer, *map(ast.unparse, before)]), names)
    return eval(ast.unparse(last), names)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_starter_is_not_answered_yet_a_solution_right_and_a_wrong_answer_caught(path):
    turns = turns_of(path)
    assert turns, "nothing to fill in"
    for starter, check, solution in turns:
        assert said(path, starter, check) == NOT_YET
        assert said(path, solution, check) == "right"
        assert said(path, f"{starter.splitlines()[0]}\n    return object()", check).startswith("not yet")
    (_, check, _), *_ = (turn for turn in turns if turn[0].split("(")[0] == WRONG[path.stem].split("(")[0])
    assert said(path, WRONG[path.stem], check).startswith("not yet"), "a wrong answer passes"


def test_a_guess_is_told_beside_the_result():
    assert compare(None, 54.2) == "No guess made; it is 54.2 %."
    assert compare(50, 54.2) == "You said 50 %, it is 54.2 %: 4.2 off."


def test_every_question_for_learners_has_a_heading_that_answers_it():
    lines = re.findall(r"^(\d+)\. .*\(`(\w+)`, (.+)\)$", (ROOT / "tests" / "questions.md").read_text(), re.M)
    assert [int(number) for number, *_ in lines] == [*range(1, 21)]
    for _, lesson, heading in lines:
        cells = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4).cells
        assert any(re.search(rf"^#+ {re.escape(heading)}$", cell.source, re.M) for cell in cells), (
            f"{lesson} has no {heading!r}"
        )
