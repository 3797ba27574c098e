"""What a run leaves behind: one `result.json` with its numbers and their provenance.

In a grid a run's folder is `…/<notebook>/<variant>--s<seed>`. Tables are made from records only: no number without its origin.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latent_cot
from latent_runs.places import IN_CHECKOUT, NOTEBOOKS, ROOT, check_code_is_here

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA_VERSION = 1
STATUSES = ("complete", "smoke", "failed")
REQUIRED = {"parameters", "metrics", "n_evaluated", "wall_seconds", "model_fingerprint", "data_fingerprint", "started"}
OPTIONAL = {"notebook", "variant", "seed", "tier", "tokens_per_answer", "status", "finished", "key"}
SOURCE = "LATENT_COT_SOURCE"  # the file `source.json` of a pack
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "numpy", "papermill")


def utc_now() -> str:
    """The present moment as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_parameters(notebook: str | Path) -> dict[str, tuple[str, str]]:
    """By name, the annotation and default in the cell tagged `parameters`; none if there is no such cell.

    `notebook` is a path, or the name of one in notebooks/ without its suffix.
    """
    path = Path(NOTEBOOKS, notebook).with_suffix(".ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    body = ast.parse(tagged[0]).body if tagged else []
    found = {}
    for node in body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise ValueError(f"{path.name}, parameters cell: write `name: type = value`, not {ast.unparse(node)!r}")
        found[node.target.id] = ast.unparse(node.annotation), ast.unparse(node.value)
    return found


def write_atomic(path: str | Path, text: str) -> None:
    """Put `text` under `path` whole; a kill or a full disk leaves what was there, and at most a hidden file beside it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_block(path: str | Path, block: str) -> None:
    """Put `block` in place of what stands between its first and last line. Raises `ValueError` unless these are there once."""
    (begin, *_, end), old = block.splitlines(), Path(path).read_text(encoding="utf-8")
    new, found = re.subn(f"{begin}.*?{end}", lambda _: block, old, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{path} needs {begin} … {end} once, has it {found} times")
    write_atomic(path, new)


def write_result(path: str | Path, **fields: Any) -> dict[str, Any]:
    """Write a run's record and return it.

    The caller gives `REQUIRED` and may give `OPTIONAL`; notebook, variant and seed default to what the path says,
    seed and tier to the parameters, `status` to "complete".
    Raises `TypeError` for a missing or unknown field, `ValueError` for a NaN metric or a bad status.
    """
    missing, unknown = REQUIRED - set(fields), set(fields) - REQUIRED - OPTIONAL
    if missing or unknown:
        raise TypeError(f"write_result: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}")
    folder, parameters = Path(path).resolve().parent, portable(fields["parameters"])
    variant, _, seed = folder.name.rpartition("--s")
    record = {
        "schema_version": SCHEMA_VERSION,
        "notebook": folder.parent.name,
        "variant": variant or folder.name,
        "seed": parameters.get("seed", int(seed) if seed.isdigit() else None),
        "tier": parameters.get("run", {}).get("tier", "tiny"),
        "status": "complete",
        "tokens_per_answer": None,
        **fields,
        "parameters": parameters,
        "device": hardware(),
        "versions": {"latent-cot": latent_cot.__version__, "python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "git": git_state(),
        "finished": fields.get("finished", utc_now()),
    }
    if record["status"] not in STATUSES:
        raise ValueError(f"status {record['status']!r} is none of {STATUSES}")
    record["digest"] = record_digest(json.loads(json.dumps(record, allow_nan=False, default=_as_json)))
    write_atomic(path, json.dumps(record, indent=1, allow_nan=False, default=_as_json) + "\n")
    return record


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of what a record says, however its JSON is laid out, but for its own `digest`."""
    said = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def portable(value: Any) -> Any:
    """`value` with paths inside the repository made relative to it, so that records travel."""
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, (str, Path)) and str(value).startswith(f"{ROOT}{os.sep}"):
        return Path(value).relative_to(ROOT).as_posix()
    return value


def git_state() -> dict[str, Any] | None:
    """Commit, and whether `lib/` or `notebooks/` differ from it, as they were when this process first asked, which is when its
    code was loaded; None outside a git checkout of this repository. Where there is no git, a pack (`latent_runs.pack`) says
    which commit the code is of, and whether it still is. Raises `RuntimeError` in the folder of another checkout.
    """
    check_code_is_here()
    return _git_state(ROOT)


@functools.cache
def _git_state(root: Path) -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=60).decode().removesuffix("\n")

    try:
        if not IN_CHECKOUT or Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return packed_state()
        dirty = bool(git("status", "--porcelain", "--", "lib", "notebooks"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return packed_state()


@functools.cache
def known_commits() -> frozenset[str] | None:
    """All commits of this checkout; None where there is no git to ask."""
    try:
        command = ["git", "-C", str(ROOT), "rev-list", "--all"]
        found = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=60).decode().split()
        return frozenset(found) if IN_CHECKOUT else None
    except (OSError, subprocess.SubprocessError):
        return None


def packed_state() -> dict[str, Any] | None:
    """The commit that the pack in use was made of, and whether the code here differs from it; None without a pack."""
    path = Path(os.environ.get(SOURCE, ""))
    if not (IN_CHECKOUT and path.is_file()):
        return None
    packed = json.loads(path.read_text(encoding="utf-8"))
    return {"commit": packed["commit"], "dirty": packed["digest"] != source_digest()}


def source_digest() -> str:
    """SHA-256 of the code that runs: `lib/` and the notebooks, names and bytes."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "lib").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def hardware() -> dict[str, Any]:
    """The device that torch would use, with cores and threads."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    info = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    cpus = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    name = [*gpus, *cpus, platform.processor() or platform.machine()][0]
    return {"name": name, "gpus": len(gpus), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def fingerprint_state_dict(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over a state dict's names, types, shapes and bits."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a machine without Jupyter has no papermill
        return None


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value.item()  # numpy and torch scalars
