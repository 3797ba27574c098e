"""Run one notebook without a browser: its parameters are checked first, what it leaves is kept together.

papermill only warns about a parameter that a notebook does not have, and exits 0; here it is an error
before any kernel starts. papermill's own inspection drops what it cannot match (`str | None`), so the
parameters cell is read with `ast`.

A run's folder holds `inputs.json` (a key of all that the run depends on), `executed.ipynb`, its
checkpoints, and at the end `result.json` or `failed.json`. A folder whose key still holds and that has
no result is a killed run: the notebook resumes in it. Otherwise the run starts in an empty folder.
"""

from __future__ import annotations

import ast
import difflib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import latent_cot
from latent_runs.places import IN_CHECKOUT, NOTEBOOKS, ROOT
from latent_runs.records import portable, read_parameters, utc_now, write_atomic

NAMES = {"Any": Any, "Literal": typing.Literal, "Optional": typing.Optional}
BUILTINS = {kind.__name__: kind for kind in (bool, dict, float, int, list, str, tuple)}


@dataclass(frozen=True)
class Parameter:
    """One line `name: annotation = default` of a notebook's parameters cell."""

    name: str
    annotation: str
    default: str

    def __str__(self) -> str:
        return f"{self.name}: {self.annotation} = {self.default}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` has the annotated type. An int is a float; a bool is no int."""
        kind = eval(self.annotation, {"__builtins__": BUILTINS}, NAMES)  # our own notebook, about to be run
        return _fits(value, kind)


def notebook_path(notebook: str | Path) -> Path:
    """`02_explicit_baselines` (in notebooks/) or the path of any notebook. Raises `FileNotFoundError`."""
    for path in (Path(notebook), NOTEBOOKS / f"{notebook}.ipynb", NOTEBOOKS / f"{notebook}"):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    raise FileNotFoundError(f"no notebook {str(notebook)!r}; notebooks/ has: {known}")


def typed_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook, by name."""
    found = read_parameters(notebook_path(notebook))
    return {name: Parameter(name, annotation, default) for name, (annotation, default) in found.items()}


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a parameter that the notebook does not have or that has the wrong type."""
    known, name = typed_parameters(notebook), notebook_path(notebook).stem
    listing = "".join(f"\n  {parameter}" for parameter in known.values()) or " none"
    for key, value in parameters.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{name} has no parameter {key!r}{hint} It takes:{listing}")
        if not known[key].accepts(value):
            given = f"{value!r} ({type(value).__name__})"
            raise ValueError(f"{name}: {key} must be {known[key].annotation}, not {given}. It takes:{listing}")


def run_notebook(notebook: str | Path, out: str | Path, parameters: Mapping[str, Any] | None = None) -> Path:
    """Run a notebook in `out` and return the path of its executed copy.

    The notebook gets `parameters` and, where it has that parameter, `run_dir`: `out` as an absolute path;
    it must then write `result.json` there. The kernel is this interpreter, its directory the notebook's (that of an installed
    one is not ours to write to: it runs where we do).
    On failure `failed.json` holds the error's last lines, and `RuntimeError` is raised.
    """
    import papermill
    from traitlets.config import Config

    source, out, parameters = notebook_path(notebook), Path(out).resolve(), dict(parameters or {})
    check_parameters(source, parameters)
    records = "run_dir" in read_parameters(source)
    if records:
        parameters["run_dir"] = str(out)
    out.mkdir(parents=True, exist_ok=True)
    # Sockets in a folder of its own: kernels that start together race for the same TCP ports.
    with exclusive(out / ".lock", f"a run of {source.stem} in {out}"), tempfile.TemporaryDirectory() as sockets:
        _prepare(out, source, parameters)
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # kernel python3 = this environment's, not the user's own
        try:
            papermill.execute_notebook(
                str(source),
                str(out / "executed.ipynb"),
                parameters,
                kernel_name="python3",
                cwd=str(source.parent if IN_CHECKOUT else ROOT),
                progress_bar=False,
                start_timeout=300,
                config=Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            )
            if records and not (out / "result.json").is_file():
                raise RuntimeError(f"{source.stem} ended without writing result.json to its run_dir")
        except Exception as error:
            lines = str(error).strip().splitlines()[-20:]
            failure = {"notebook": source.stem, "finished": utc_now(), "error": lines}
            write_atomic(out / "failed.json", json.dumps(failure, indent=1) + "\n")
            raise RuntimeError(f"{source.stem} failed in {out}: {lines[-1] if lines else error!r}") from error
    return out / "executed.ipynb"


def set_aside_stale(folder: Path, planned: Mapping[Path, str]) -> list[Path]:
    """Rename to `stale.json` each `result.json` below `folder` whose inputs have changed since.

    So a table shows a run that is out of date as missing, never as an old number. `planned` gives, by
    run folder, the key that the grid asks for now; other folders are checked against their own inputs.
    """
    aside: list[Path] = []
    while stale := [path for path in sorted(folder.rglob("result.json")) if not _is_current(path.parent, planned)]:
        for path in stale:  # again until nothing changes: a run is stale once the run that it starts from is
            path.replace(path.with_name("stale.json"))
        aside += stale
    return aside


def code_digest(notebook: str | Path, *more: Path) -> str:
    """SHA-256 of the code of the notebook, of the library and of `more` folders, without outputs, prose and comments."""
    cells = json.loads(notebook_path(notebook).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    folders = Path(latent_cot.__file__).parent, *more
    return hashlib.sha256("\0".join([*code, *map(_folder_digest, folders)]).encode()).hexdigest()


def inputs_key(notebook: str | Path, parameters: Mapping[str, Any]) -> str:
    """SHA-256 of all that a run depends on: code, parameters, and the result of the run it starts from."""
    start = Path(ROOT, parameters.get("init_from") or "none", "result.json")
    parent = hashlib.sha256(start.read_bytes()).hexdigest() if start.is_file() else ""
    values = {name: value for name, value in parameters.items() if name != "run_dir"}
    text = json.dumps([code_digest(notebook), portable(values), parent], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[IO[str]]:
    """Hold the lock file `path`, which the system frees however the process ends, or raise `RuntimeError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeError(f"{what} is going on already (process {file.read().strip()})") from None
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield file


def _prepare(out: Path, source: Path, parameters: Mapping[str, Any]) -> None:
    inputs = {"key": inputs_key(source, parameters), "notebook": source.stem, "parameters": portable(parameters)}
    killed = _read_inputs(out).get("key") == inputs["key"] and not (out / "result.json").exists()
    for path in out.iterdir():
        if path.name in ("failed.json", "stale.json") or (not killed and path.name != ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_atomic(out / "inputs.json", json.dumps(inputs, indent=1) + "\n")


def _is_current(folder: Path, planned: Mapping[Path, str]) -> bool:
    inputs = _read_inputs(folder)
    try:
        now = inputs_key(inputs["notebook"], inputs["parameters"])
    except (KeyError, FileNotFoundError):
        return False
    return inputs["key"] == now == planned.get(folder, now)


def _read_inputs(folder: Path) -> dict[str, Any]:
    path = folder / "inputs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@functools.cache
def _folder_digest(folder: Path) -> str:
    trees = [ast.dump(ast.parse(path.read_text())) for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256("\0".join(trees).encode()).hexdigest()


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if kind is None or kind is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple and Ellipsis not in arguments:
        return isinstance(value, (list, tuple)) and len(value) == len(arguments) and all(map(_fits, value, arguments))
    if origin in (list, tuple):
        return isinstance(value, (list, origin)) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(_fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in pairs)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
