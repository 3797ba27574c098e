"""Records as a table: every `result.json` of a folder, and whether it may be averaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from latent_runs.keys import inputs_key, parent_folder
from latent_runs.records import SCHEMA_VERSION, known_commits, record_digest

if TYPE_CHECKING:
    import pandas as pd

Code = Literal["same key", "older code", "unknown commit"]
MODEL = "model.safetensors"  # beside the record whose numbers it gave
LATENCY = "latency.json"  # beside a tier's runs: seconds a question of all its models (`latent_costs.latency`)
CARRIED = "carried.json"  # beside a record: which part of a problem its thoughts carry (`latent_reports.carried`)
ANSWERS = "answers.jsonl.gz"  # what it said (`latent_runs.answers`)


def run_id(notebook: str, variant: str, seed: int) -> str:
    """`<notebook>/<variant>--s<seed>`, a run's name and its folder below the tier's."""
    return f"{notebook}/{variant}--s{seed}"


def command(record: Mapping[str, Any]) -> str:
    """The command that makes a recorded run of the grid again, with the runs that it starts from."""
    name = run_id(record["notebook"], record["variant"], record["seed"])
    return f"make tables TIER={record['tier']} SEEDS={record['seed']} ONLY='{name}'"


def load_results(folder: str | Path) -> pd.DataFrame:
    """Every `result.json` below `folder` as a row, nested fields as dotted columns.

    The column `trusted` is True for a complete run of committed code. Average those only.
    A record that is half-written, of another schema, not JSON, or changed since its run wrote it raises `ValueError` naming
    the file. Those of before records had a digest are taken as they are.
    """
    import pandas as pd  # here: the grid starts faster without it

    paths = sorted(Path(folder).rglob("result.json"))
    if not paths:
        return pd.DataFrame(columns=["id", "notebook", "variant", "seed", "tier", "status", "trusted", "path"])
    table = pd.json_normalize([_read(path) for path in paths])
    table.insert(0, "id", [run_id(*row) for row in table[["notebook", "variant", "seed"]].itertuples(index=False)])
    table["path"] = [str(path) for path in paths]
    starts = table.reindex(columns=["parameters.run.init_from", "parameters.init_from"]).astype(object).bfill(axis=1)
    table["starts_from"] = starts.iloc[:, 0].fillna("")  # records of before the group `run` have it among the parameters
    return table


def is_trusted(record: Mapping[str, Any]) -> bool:
    """Whether a record may enter a table: complete, and its code not changed since its commit."""
    return record["status"] == "complete" and not (record["git"] or {}).get("dirty", False)


def code_of(folder: Path) -> Code:
    """Whether today's code would make the record in a folder, and the one that it started from, or older code did; where even
    that cannot be looked up, its commit is unknown. The parent lies as it did in the record's tier."""
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    start = record["parameters"].get("run", {}).get("init_from") or record["parameters"].get("init_from")
    parent = parent_folder(start, folder) if start else None
    try:
        same = record.get("key") == inputs_key(record["notebook"], record["parameters"], folder)
    except FileNotFoundError:  # the notebook is no more
        same = False
    if same and (parent is None or not (parent / "result.json").is_file() or code_of(parent) == "same key"):
        return "same key"
    commits, commit = known_commits(), (record["git"] or {}).get("commit")
    return "older code" if commit and (commits is None or commit in commits) else "unknown commit"


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {record['schema_version']}, expected {SCHEMA_VERSION}")
        trusted = is_trusted(record)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a record: {error!r}") from error
    if record.pop("digest", None) not in (None, record_digest(record)):
        raise ValueError(f"{path} was changed since its run wrote it, so it is not trusted: delete it and run it again")
    return record | {"trusted": trusted}
