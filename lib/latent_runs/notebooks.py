"""Run one notebook without a browser: its parameters are checked first, what it leaves is kept together.

A run's folder holds `inputs.json` (a key of all that the run depends on), `executed.ipynb`, its
checkpoints, and at the end `result.json` or `failed.json`. A folder whose key still holds and that has
no result is a killed run: the notebook resumes in it. Otherwise the run starts in an empty folder.
"""

from __future__ import annotations

import ast
import fcntl
import functools
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from latent_runs.places import IN_CHECKOUT, ROOT
from latent_runs.plainly import run_plainly
from latent_runs.records import portable, read_parameters, utc_now, write_atomic
from latent_runs.settings import check_parameters, nested, notebook_path


def run_notebook(
    notebook: str | Path, out: str | Path, parameters: Mapping[str, Any] | None = None, checked: bool = False
) -> Path:
    """Run a notebook in `out` and return the path of its executed copy, or without papermill of what it said, as text.

    The notebook gets `parameters` (a group's fields by dotted name or together) and, where it has the group `run`,
    `run.dir`: `out` as an absolute path; it must then write `result.json` there. The kernel is this interpreter, its
    directory the notebook's (that of an installed one is not ours to write to: it runs where we do).
    On failure `failed.json` holds the error's last lines, and `RuntimeError` is raised.
    """
    source, out, parameters = notebook_path(notebook), Path(out).resolve(), nested(parameters or {})
    if not checked:  # by the grid, for all its runs at once
        check_parameters(source, parameters)
    records = "run" in read_parameters(source)
    if records:
        parameters["run"] = parameters.get("run", {}) | {"dir": str(out)}
    out.mkdir(parents=True, exist_ok=True)
    directory, by_papermill = source.parent if IN_CHECKOUT else ROOT, importlib.util.find_spec("papermill") is not None
    executed = out / ("executed.ipynb" if by_papermill else "executed.txt")
    with exclusive(out / ".lock", f"a run of {source.stem} in {out}"):
        _prepare(out, source, parameters)
        try:
            if by_papermill:
                _execute(source, directory, parameters, executed)
            else:
                run_plainly(source, directory, parameters, executed)
            if records and not (out / "result.json").is_file():
                raise RuntimeError(f"{source.stem} ended without writing result.json to its run.dir")
        except Exception as error:
            lines = str(error).strip().splitlines()[-20:]
            failure = {"notebook": source.stem, "finished": utc_now(), "error": lines}
            write_atomic(out / "failed.json", json.dumps(failure, indent=1) + "\n")
            raise RuntimeError(f"{source.stem} failed in {out}: {lines[-1] if lines else error!r}") from error
    return executed


def _execute(source: Path, directory: Path, parameters: Mapping[str, Any], executed: Path) -> None:
    import papermill
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of `Literal` parameters, which are there
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # kernel python3 = this environment's, not the user's own
    # Sockets in a folder of its own: kernels that start together race for the same TCP ports.
    with tempfile.TemporaryDirectory() as sockets:
        papermill.execute_notebook(
            str(source),
            str(executed),
            parameters,
            kernel_name="python3",
            cwd=str(directory),
            progress_bar=False,
            start_timeout=300,
            config=Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
        )


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
    """SHA-256 of the code of the notebook, of methods and lessons and of `more` folders, without outputs, prose, comments."""
    cells = json.loads(notebook_path(notebook).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lessons = (Path(__file__).with_name(name) for name in ("lesson.py", "settings.py"))  # the latter has defaults
    lib = Path(__file__).parents[1]
    places = lib / "latent_tasks", lib / "latent_cot", *lessons, *more
    return hashlib.sha256("\0".join([*code, *map(_digest, places)]).encode()).hexdigest()


def inputs_key(notebook: str | Path, parameters: Mapping[str, Any]) -> str:
    """SHA-256 of all that a run depends on: code, parameters, and the result of the run it starts from."""
    values = nested(parameters)
    run = {name: value for name, value in values.pop("run", {}).items() if name != "dir"}
    start = Path(ROOT, run.get("init_from") or "none", "result.json")
    parent = hashlib.sha256(start.read_bytes()).hexdigest() if start.is_file() else ""
    text = json.dumps([code_digest(notebook), portable(values | run), parent], sort_keys=True)
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
def _digest(place: Path) -> str:
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    trees = [ast.dump(ast.parse(path.read_text())) for path in files]
    return hashlib.sha256("\0".join(trees).encode()).hexdigest()
