"""A run's folder: `inputs.json` (a key of all that the run depends on), `executed.ipynb`, checkpoints, and at the end
`result.json` or `failed.json`.

What a run left may be taken away when it runs again; nothing else in the folder ever is. A folder without `inputs.json` is
somebody's, unless it is empty.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from latent_backbones.whole import set_aside_broken
from latent_runs.records import write_atomic

INPUTS = "inputs.json"
NEWS = ("failed.json", "stale.json")  # of the last run; gone when another begins
RECORD = ("result.json", "answers.jsonl.gz", "executed.ipynb", "executed.txt")
LEFT = (*RECORD, "*.safetensors", "*.safetensors.part", "*.safetensors.broken")  # by a run, at the top of its folder
CHECKPOINTS = ("checkpoint.safetensors", "best.safetensors")
TRAINING = ("checkpoint.safetensors*", "best.safetensors*")  # by a training of its own, in a folder below


def read_inputs(folder: Path) -> dict[str, Any]:
    """What the run in a folder depends on; nothing where no run was."""
    path = folder / INPUTS
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found if {"key", "notebook", "parameters"} <= set(found) else {}
    except (ValueError, TypeError):
        return {}


@contextmanager
def claimed(out: Path, what: str) -> Iterator[None]:
    """Hold the folder `out`, made if need be, for a run.

    Raises `ValueError`, and touches nothing, if it is a file or holds files that are not a run's; `RuntimeError` if another
    run is going on in it, or if it cannot be written to.
    """
    try:
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file; a run needs a folder of its own")
        inside = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        others = [name for name in inside if name != ".lock" and not name.startswith(f".{INPUTS}.")]
        if others and not read_inputs(out):
            named = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
            raise ValueError(f"{out} is no run's folder, and not empty ({named}); name a new one")
        with exclusive(out / ".lock", f"a run of {what} in {out}"):
            yield
    except OSError as error:
        raise RuntimeError(f"no run can be made in {out}: {error}") from error


def prepare(out: Path, inputs: Mapping[str, Any]) -> list[str]:
    """Leave in `out` what a killed run of the same inputs can go on from, or else nothing of former runs; return a line for
    each checkpoint that is broken, which is set aside."""
    killed = read_inputs(out).get("key") == inputs["key"] and not (out / "result.json").exists()
    below = [path for path in out.iterdir() if path.is_dir() and not path.is_symlink() and not (path / INPUTS).exists()]
    found = [path for name in NEWS for path in out.glob(name)]
    if not killed:
        found += [path for name in LEFT for path in out.glob(name)]
        found += [path for folder in below for name in TRAINING for path in folder.glob(name)]
    for path in found:
        path.unlink()
    write_atomic(out / INPUTS, json.dumps(inputs, indent=1) + "\n")
    return [said for folder in (out, *below) for name in CHECKPOINTS if (said := set_aside_broken(folder / name))]


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
