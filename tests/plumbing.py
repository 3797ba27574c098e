"""How much of the lessons' code is plumbing, and what of it they share word for word.

    python tests/plumbing.py [FOLDER] [--package NAME]

Plumbing is an import; the parameters cell; a statement whose calls all go to the package that runs lessons: to names
imported from it, or to objects made by calling one; and the lines of a call with more than six arguments. Of a compound
statement, the header and each statement in it are judged by themselves. Blank lines and comments are not counted.
"""

import argparse
import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

MANY = 6  # arguments
BLOCK = 4  # consecutive lines that, shared, are a block


@dataclass(frozen=True)
class Lesson:
    name: str
    code: int  # lines
    plumbing: int
    blocks: tuple[tuple[str, ...], ...]  # runs of lines without a blank between, imports and parameters left out

    @property
    def share(self) -> float:
        return self.plumbing / max(1, self.code)


def statements(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, set[int]]]:
    """Each statement with its lines; of a compound one, those of its header."""
    for node in body:
        inner = [part for name in ("body", "orelse", "finalbody") for part in getattr(node, name, [])]
        inner += [part for handler in getattr(node, "handlers", []) for part in handler.body]
        end = min((part.lineno - 1 for part in inner), default=node.end_lineno)
        yield node, set(range(node.lineno, max(end, node.lineno) + 1))
        yield from statements(inner)


def header(node: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement without the statements inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt | ast.ExceptHandler):
            yield from ast.walk(child)


def root(node: ast.expr) -> str:
    """The name that a chain of attributes, calls and indices starts from."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def read(path: Path, package: str) -> Lesson:
    imported, made, code, plumbing, blocks = {"globals"}, set(), 0, 0, []  # globals(): what a lesson is opened with
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = ["" if line[:1] in "%!" else line for line in "".join(cell["source"]).splitlines()]
        counted = {i for i, line in enumerate(lines, 1) if line.strip() and not line.strip().startswith("#")}
        parameters = "parameters" in cell["metadata"].get("tags", ())
        found, left_out = set(), set(counted) if parameters else set()
        for node, own in statements(ast.parse("\n".join(lines)).body):
            calls = [part for part in header(node) if isinstance(part, ast.Call)]
            for call in calls:
                if len(call.args) + len(call.keywords) > MANY:
                    found |= set(range(call.lineno, call.end_lineno + 1))
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.asname or alias.name.partition(".")[0] for alias in node.names}
                origins = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                imported |= names if any(f"{origin}.".startswith(f"{package}.") for origin in origins) else set()
                left_out |= own
            elif calls and all(root(call.func) in imported | made for call in calls):
                found |= own
            value = getattr(node, "value", None)
            if isinstance(node, ast.Assign) and isinstance(value, ast.Call) and root(value.func) in imported:
                made |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        code, plumbing = code + len(counted), plumbing + len(counted & (found | left_out))
        kept = [line.rstrip() if i in counted - left_out else "" for i, line in enumerate(lines, 1)]
        blocks += [tuple(run) for some, run in groupby(kept, bool) if some]
    return Lesson(path.stem, code, plumbing, tuple(blocks))


def windows(block: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [block[i : i + BLOCK] for i in range(len(block) - BLOCK + 1)]


def common(a: Lesson, b: Lesson) -> Iterator[tuple[str, ...]]:
    """The longest runs of lines in `a` of which each `BLOCK` stand in `b`, too."""
    there = {window for block in b.blocks for window in windows(block)}
    for block in a.blocks:
        hits = [i for i, window in enumerate(windows(block)) if window in there]
        for _, run in groupby(hits, key=lambda i: i - hits.index(i)):
            first, *rest = run
            yield block[first : max([first, *rest]) + BLOCK]


def lessons(folder: Path, package: str) -> list[Lesson]:
    return [read(path, package) for path in sorted(folder.glob("*.ipynb"))]


def total_share(found: list[Lesson]) -> float:
    return sum(lesson.plumbing for lesson in found) / sum(lesson.code for lesson in found)


def shared(found: list[Lesson]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Two lessons and lines that stand in both, one after another."""
    return [(a.name, b.name, lines) for a, b in combinations(found, 2) for lines in common(a, b)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1] / "notebooks")
    parser.add_argument("--package", default="latent_runs", help="the package that runs lessons")
    options = parser.parse_args()
    found = lessons(options.folder, options.package)
    for lesson in found:
        print(f"{lesson.name:32}{lesson.code:6}{lesson.plumbing:6}{lesson.share:8.1%}")
    print(f"{'all':32}{sum(one.code for one in found):6}{sum(one.plumbing for one in found):6}{total_share(found):8.1%}")
    for a, b, lines in shared(found):
        print(f"\nin {a} and {b}:", *lines, sep="\n    ")


if __name__ == "__main__":
    main()
