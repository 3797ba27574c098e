"""What a run leaves behind: one `result.json` with its numbers and their provenance.

A run is `<notebook>/<variant>--s<seed>`; that is also the path of its folder below a tier's folder.
A record is written whole or not at all, and a table is made from records only, so that no number
in it lacks its parameters, its data, its code and its machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

SCHEMA_VERSION = 1
STATUSES = ("complete", "smoke", "failed")
ROOT = Path(__file__).resolve().parents[2]
REQUIRED = ("parameters", "metrics", "n_evaluated", "wall_seconds", "model_fingerprint", "data_fingerprint", "started")
OPTIONAL = ("notebook", "variant", "seed", "tier", "tokens_per_answer", "status", "finished")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "numpy", "papermill")


def utc_now() -> str:
    """The present moment as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_id(notebook: str, variant: str, seed: int) -> str:
    """`<notebook>/<variant>--s<seed>`, a run's name and its folder below the tier's."""
    return f"{notebook}/{variant}--s{seed}"


def write_atomic(path: str | Path, text: str) -> None:
    """Put `text` under `path` whole, or leave what was there.

    A kill or a full disk leaves at most a hidden temporary file beside it.
    """
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


def write_result(path: str | Path, **fields: Any) -> dict[str, Any]:
    """Write a run's record and return it.

    The caller gives `REQUIRED` and may give `OPTIONAL`. Notebook, variant and seed default to what
    the path says (`…/<notebook>/<variant>--s<seed>/result.json`), seed and tier to the parameters;
    `status` to "smoke" when the parameter `budget` is not 1, else "complete". The rest (schema
    version, device, library versions, commit, time) is found out here.

    Raises `TypeError` for a missing or unknown field, `ValueError` for a NaN metric or a bad status.
    """
    missing, unknown = set(REQUIRED) - set(fields), set(fields) - {*REQUIRED, *OPTIONAL}
    if missing or unknown:
        raise TypeError(f"write_result: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}")
    folder, parameters = Path(path).resolve().parent, portable(fields["parameters"])
    variant, _, seed = folder.name.rpartition("--s")
    record = {
        "schema_version": SCHEMA_VERSION,
        "notebook": folder.parent.name,
        "variant": variant or folder.name,
        "seed": parameters.get("seed", int(seed) if seed.isdigit() else None),
        "tier": parameters.get("tier"),
        "status": "complete" if parameters.get("budget", 1.0) == 1 else "smoke",
        "tokens_per_answer": None,
        **fields,
        "parameters": parameters,
        "device": hardware(),
        "versions": versions(),
        "git": git_state(),
        "finished": fields.get("finished", utc_now()),
    }
    if record["status"] not in STATUSES:
        raise ValueError(f"status {record['status']!r} is none of {STATUSES}")
    write_atomic(path, json.dumps(record, indent=1, allow_nan=False, default=_plain) + "\n")
    return record


def load_results(folder: str | Path) -> pd.DataFrame:
    """Every `result.json` below `folder` as a row, nested fields as dotted columns.

    The column `trusted` is True for a complete run of committed code. Average those only.
    A record that is half-written, of another schema or not JSON raises `ValueError` naming the file.
    """
    import pandas as pd

    paths = sorted(Path(folder).rglob("result.json"))
    if not paths:
        return pd.DataFrame(columns=["id", "notebook", "variant", "seed", "tier", "status", "trusted", "path"])
    table = pd.json_normalize([_read(path) for path in paths])
    table.insert(0, "id", [run_id(*row) for row in table[["notebook", "variant", "seed"]].itertuples(index=False)])
    table["path"] = [str(path) for path in paths]
    return table


def is_trusted(record: Mapping[str, Any]) -> bool:
    """Whether a record may enter a table: complete, and its code not changed since its commit."""
    return record["status"] == "complete" and not (record["git"] or {}).get("dirty", False)


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
    """Commit and whether `lib/` or `notebooks/` differ from it; None outside a git checkout."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        dirty = bool(_git("status", "--porcelain", "--", "lib", "notebooks"))
        return {"commit": _git("rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, Any]:
    """The device that torch would use, with cores and threads."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    counts = {"gpus": len(gpus), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"name": gpus[0] if gpus else _cpu_name()} | counts


def versions() -> dict[str, str]:
    """Python and the libraries that can change a number."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}


def fingerprint_files(paths: Iterable[str | Path]) -> str:
    """SHA-256 over the files' names and contents, whatever the order they are given in."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def fingerprint_state_dict(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over a state dict's names, types, shapes and bits."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {record['schema_version']}, expected {SCHEMA_VERSION}")
        return record | {"trusted": is_trusted(record)}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a record: {error!r}") from error


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value.item()  # numpy and torch scalars


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
