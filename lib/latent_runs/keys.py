"""What a run depends on, as one key: its parameters, the code that it can reach, and the weights and data that it starts from.

Code is reached from the cells that a headless run executes (`cells`): a definition at the top of a module counts once code that
counts speaks its name, and all else at the top of a module once the module is imported. So a loss is part of the runs that
it trains and of no others. What registers itself (methods, writers, generated tasks) is named by parameters and by calls, not
by imports: its module counts where one of these names it. Comments, docstrings and layout never count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latent_runs.cells import PARAMETERS, headless, tags
from latent_runs.groups import TASK
from latent_runs.places import ROOT
from latent_runs.records import portable
from latent_runs.settings import nested, notebook_path, typed_parameters

LIB = Path(__file__).parents[1]
REGISTER = "latent_cot.methods"  # a package that imports all its modules, whatever they are called
REGISTERING = ("method", "writer", "generated")  # decorators: what they stand over is found by a text
ASKING = ("make", "entry", "method", "load_task")  # calls that are told such a text first
WHOLE_REGISTER = {"METHODS", "TITLES"}  # who speaks of these depends on all that is registered
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Piece:
    """A statement at the top of a module, as text without docstrings."""

    text: str
    defines: frozenset[str]  # none: it counts whoever speaks of what
    names: frozenset[str]  # that it speaks
    asks: frozenset[str]  # registered names that it calls for
    imports: frozenset[str]  # modules, where it imports some itself
    registers: frozenset[str]


@dataclass(frozen=True)
class Module:
    pieces: tuple[Piece, ...]
    imports: frozenset[str]
    renamed: frozenset[str]  # what it imports under other names, which its pieces do not speak


def inputs_key(notebook: str | Path, parameters: Mapping[str, Any], beside: Path | None = None) -> str:
    """SHA-256 of all that a run depends on. The run that it starts from is where the parameters say, or, of a record that was
    copied with those of its tier, `beside` that record's folder."""
    values = {name: one.value for name, one in typed_parameters(notebook).items()} | nested(parameters)
    run = {name: value for name, value in values.pop("run", {}).items() if name != "dir"}
    start = _start(run.get("init_from", ""), beside)
    text = json.dumps([code_digest(notebook, {"task": TASK} | values), portable(values | run), start], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(notebook: str | Path, parameters: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of the code that a run of the notebook can reach."""
    cells = [cell for cell in headless(notebook_path(notebook))["cells"] if PARAMETERS not in tags(cell)]
    source = "\n".join("".join(cell["source"]) for cell in cells)
    state = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(LIB.rglob("*.py")))
    return _digest(source, frozenset(_texts(parameters or {})), LIB, state)


def parent_folder(init_from: str, beside: Path | None = None) -> Path:
    """Where the run is that another one starts from."""
    return beside.parents[1] / Path(*Path(init_from).parts[-2:]) if beside else Path(ROOT, init_from)


def _start(init_from: str, beside: Path | None) -> list[str]:
    """The fingerprints of the weights that a run starts from and of the data that they were trained on; none of no record."""
    path = parent_folder(init_from, beside) / "result.json" if init_from else None
    if not (path and path.is_file()):
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return [str(found[name]) for name in ("model_fingerprint", "data_fingerprint")]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [*value.values()]
    yield from [value] if isinstance(value, str) else ()
    for inside in value if isinstance(value, (list, tuple)) else ():
        yield from _texts(inside)


@functools.lru_cache(maxsize=1024)
def _digest(source: str, told: frozenset[str], lib: Path, state: tuple) -> str:
    try:
        cells = ast.parse(source)
    except SyntaxError:  # words of a shell, in somebody's own notebook: it counts as it stands, and with it all that there is
        return hashlib.sha256(repr([source, [path.read_bytes() for path, *_ in state]]).encode()).hexdigest()
    modules = _library(lib, state)
    named = {name: at for at, module in modules.items() for piece in module.pieces for name in piece.registers}
    known = frozenset(modules)
    own = [piece for node in cells.body if (piece := _piece(node, known))]
    spoken = {name for piece in own for name in piece.names}
    # Of what the cells import, that counts which a cell that counts speaks of.
    loaded = {at for node in ast.walk(cells) for at, as_name in _imported(node, known) if as_name in spoken}
    loaded |= {named[text] for text in told & named.keys()}
    counted = {("", i): piece for i, piece in enumerate(own)}
    before = None
    while before != (len(loaded), len(counted)):
        before = len(loaded), len(counted)
        for (at, _), piece in counted.items():
            loaded |= piece.imports | {named[name] for name in piece.asks & named.keys()}
            loaded |= {*named.values()} if piece.names & WHOLE_REGISTER and at != REGISTER else set()
        loaded |= {other for at in loaded for other in modules[at].imports}
        spoken = {name for piece in counted.values() for name in piece.names}
        spoken |= {name for at in loaded for name in modules[at].renamed}
        for at in loaded:
            reached = ((i, piece) for i, piece in enumerate(modules[at].pieces) if not piece.defines or piece.defines & spoken)
            counted |= {(at, i): piece for i, piece in reached}
    return hashlib.sha256("\0".join(f"{at} {counted[at, i].text}" for at, i in sorted(counted)).encode()).hexdigest()


def _library(lib: Path, state: tuple) -> dict[str, Module]:
    """All modules of the packages in `lib`, by name."""
    names = [".".join(path.relative_to(lib).with_suffix("").parts).removesuffix(".__init__") for path, *_ in state]
    return {name: _module(*file, frozenset(names)) for name, file in zip(names, state)}


@functools.lru_cache(maxsize=1024)
def _module(path: Path, when: int, size: int, known: frozenset[str]) -> Module:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    other = {alias.name for node in imports for alias in node.names if alias.asname}
    pieces = tuple(piece for node in body if (piece := _piece(node, known)))
    return Module(pieces, frozenset(at for node in imports for at, _ in _imported(node, known)), frozenset(other))


def _piece(node: ast.stmt, known: frozenset[str]) -> Piece | None:
    """None of an import and of a docstring."""
    if isinstance(node, (ast.Import, ast.ImportFrom)) or _is_text(node):
        return None
    registers, defines = set[str](), set[str]()
    if isinstance(node, DEFINITIONS):
        over = {_called(one): one for one in node.decorator_list if isinstance(one, ast.Call) and _called(one) in REGISTERING}
        registers = {node.name if kind == "method" else str(_first(one) or "") for kind, one in over.items()}
        # How a method is called in tables, and its row in a grid, are not what it does.
        node.decorator_list = [one for one in node.decorator_list if one is not over.get("method")]
        defines = {node.name} if not registers else set()
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        plain = [one.id for one in targets if isinstance(one, ast.Name)]
        defines = {*plain} if len(plain) == len(targets) else set()
    for inside in ast.walk(node):
        if isinstance(inside, DEFINITIONS) and _is_text(inside.body[0]):
            inside.body = inside.body[1:] or [ast.Pass()]
    parts = [*ast.walk(node)]
    within = [one for one in parts if isinstance(one, (ast.Import, ast.ImportFrom))]
    names = {one.id for one in parts if isinstance(one, ast.Name)}
    names |= {one.attr for one in parts if isinstance(one, ast.Attribute)}
    names |= {alias.name for one in within for alias in one.names}
    asked = {str(_first(one)) for one in parts if isinstance(one, ast.Call) and _called(one) in ASKING}
    imports = {at for one in within for at, _ in _imported(one, known)}
    return Piece(ast.unparse(node), *map(frozenset, (defines, names, asked, imports, registers)))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def _first(call: ast.Call) -> Any:
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


def _imported(node: ast.AST, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The modules of ours that a statement imports, with the packages that they are in, each under the name that it gets."""
    if isinstance(node, ast.Import):
        found = [(alias.name, alias.asname or alias.name.partition(".")[0]) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        inside = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        found = [one if one[0] in known else (str(node.module), one[1]) for one in inside]
    else:
        return
    for module, name in found:
        parts = module.split(".")
        yield from ((at, name) for n in range(1, len(parts) + 1) if (at := ".".join(parts[:n])) in known)
