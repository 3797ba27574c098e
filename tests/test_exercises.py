"""What the exercises tell a reader to set or to use is there."""

import ast
import re

import nbformat
import pytest

from latent_runs.places import NOTEBOOKS
from latent_runs.settings import check_parameters, typed_parameters

BOOKS = sorted(NOTEBOOKS.glob("*.ipynb"))


def exercises(path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    (text,) = (cell.source.partition("## Exercises")[2] for cell in cells if "## Exercises" in cell.source)
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
