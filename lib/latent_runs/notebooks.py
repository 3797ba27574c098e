"""Run one notebook without a browser: its parameters are checked first, what it leaves is kept together (`folders`).

A folder whose key of inputs still holds and that has no result is a killed run: the notebook resumes in it. Otherwise the run
starts anew.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from latent_runs.cells import headless
from latent_runs.folders import claimed, prepare, read_inputs
from latent_runs.keys import inputs_key
from latent_runs.leash import leash
from latent_runs.places import IN_CHECKOUT, ROOT, kernel_environment
from latent_runs.plainly import run_plainly
from latent_runs.records import portable, read_parameters, utc_now, write_atomic
from latent_runs.settings import check_parameters, nested, notebook_path

SOCKET_FOLDER = 80  # bytes of its name, at most: a Unix socket's whole path has 103 on macOS, 107 on Linux


def run_notebook(
    notebook: str | Path, out: str | Path, parameters: Mapping[str, Any] | None = None, checked: bool = False,
    every_cell: bool = False,
) -> Path:  # fmt: skip
    """Run a notebook in `out` and return the path of its executed copy, or without papermill of what it said, as text.

    The notebook gets `parameters` (a group's fields by dotted name or together) and, where it has the group `run`,
    `run.dir`: `out` as an absolute path; it must then write `result.json` there. The kernel is this interpreter, its
    directory the notebook's (that of an installed one is not ours to write to: it runs where we do).
    Of a notebook with cells tagged `run` only these are executed (`cells`); with `every_cell` what a reader needs, too.
    On failure `failed.json` holds what the error says first and its last lines, and `RuntimeError` is raised; so it is where
    `out` cannot be written to, and `ValueError` where it is a file or holds what no run left.
    """
    source, out, parameters = notebook_path(notebook), Path(out).resolve(), nested(parameters or {})
    if not checked:  # by the grid, for all its runs at once
        check_parameters(source, parameters)
    records = "run" in read_parameters(source)
    if records:
        parameters["run"] = parameters.get("run", {}) | {"dir": str(out)}
    directory, by_papermill = source.parent if IN_CHECKOUT else ROOT, importlib.util.find_spec("papermill") is not None
    executed = out / ("executed.ipynb" if by_papermill else "executed.txt")
    with claimed(out, source.stem):
        inputs = {"key": inputs_key(source, parameters), "notebook": source.stem, "parameters": portable(parameters)}
        for line in prepare(out, inputs):
            print(line, file=sys.stderr, flush=True)
        try:
            if by_papermill:
                _execute(source, directory, parameters, executed, every_cell)
            else:
                run_plainly(headless(source, every_cell)["cells"], directory, parameters, executed)
            if records and not (out / "result.json").is_file():
                raise RuntimeError(f"{source.stem} ended without writing result.json to its run.dir")
        except Exception as error:
            what, lines = _said(error), str(error).strip().splitlines()[-20:]
            failure = {"notebook": source.stem, "finished": utc_now(), "what": what, "error": lines}
            see = ""
            with suppress(OSError):  # on a full disk: the error itself is what has to be said
                write_atomic(out / "failed.json", json.dumps(failure, indent=1) + "\n")
                see = f"; see {out / 'failed.json'}"
            raise RuntimeError(f"{source.stem} failed: {what}{see}") from error
    return executed


def _execute(source: Path, directory: Path, parameters: Mapping[str, Any], executed: Path, every_cell: bool) -> None:
    import papermill
    from traitlets.config import Config

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of `Literal` parameters, which are there
    with _kernel_transport() as transport, tempfile.TemporaryDirectory() as scratch:
        to_run = Path(scratch, source.name)
        to_run.write_text(json.dumps(headless(source, every_cell)), encoding="utf-8")
        papermill.execute_notebook(
            _unformatted(to_run),
            _unformatted(executed),
            parameters,
            kernel_name="python3",
            cwd=str(directory),
            progress_bar=False,
            start_timeout=300,
            kernel_manager_class=_leashed_kernels(),
            config=Config({"ConnectionFileMixin": transport}),
        )


def _leashed_kernels() -> type:
    """A manager of kernels that end with this process, killed or not: one that went on would write where the next run does."""
    from jupyter_client import AsyncKernelManager

    class LeashedKernelManager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # asynchronous in its base, too
            await super().start_kernel(preexec_fn=leash(), **options)

    return LeashedKernelManager


@contextmanager
def _kernel_transport() -> Iterator[dict[str, str]]:
    """How a kernel is talked to while it runs: through sockets in a folder of its own, since kernels that start together race
    for the same TCP ports; by TCP where no folder for temporary files has a name short enough for a socket. Meanwhile the
    environment is one in which a kernel finds this code."""
    short = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")
             if len(os.fsencode(place)) < SOCKET_FOLDER and os.access(place, os.W_OK | os.X_OK)]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=short[0] if short else None) as scratch:
        with patch.dict(os.environ, kernel_environment(scratch)):
            yield {"transport": "ipc", "ip": f"{scratch}/kernel"} if short else {"transport": "tcp", "ip": "127.0.0.1"}


def _unformatted(path: Path) -> str:
    """A path as papermill is to be told it, which takes braces for parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _said(error: Exception) -> str:
    """What an error says first; of one in a cell (papermill's, with `ename` and `evalue`), what the cell's own says."""
    kind, text = getattr(error, "ename", type(error).__name__), str(getattr(error, "evalue", error))
    first = next((line.strip() for line in text.splitlines() if line.strip(" -")), "")
    return f"{kind}: {first}" if first else kind


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


def _is_current(folder: Path, planned: Mapping[Path, str]) -> bool:
    inputs = read_inputs(folder)
    try:
        now = inputs_key(inputs["notebook"], inputs["parameters"])
    except (KeyError, FileNotFoundError):
        return False
    return inputs["key"] == now == planned.get(folder, now)
