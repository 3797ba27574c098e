"""A grid as it is planned: which notebook with which parameters, in which order; read from YAML and from the register."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from latent_runs.places import GRIDS, ROOT, RUNS, whole_paths
from latent_runs.results import run_id

GRID_KEYS = {"tier", "threads", "gpu", "runs"}
RUN_KEYS = {"notebook", "variant", "parameters", "after", "extra", "settings", "keep_model", "minutes", "gib", "answers"}


@dataclass(frozen=True)
class Run:
    """One run of the grid. `after` is the run it warm-starts from; `extra` runs are outside the default; the model of one
    with `keep_model` ships with its record (seed 0). In a queue (`latent_runs.queue`) a run has estimated `minutes` and GPU
    memory, and says what question it answers."""

    tier: str
    notebook: str
    variant: str
    parameters: dict[str, Any]
    seed: int
    after: Run | None = None
    extra: bool = False
    keep_model: bool = False
    threads: int = 1
    gpu: int = 0
    minutes: float = 0.0
    gib: float = 0.0
    answers: str = ""

    @property
    def id(self) -> str:
        return run_id(self.notebook, self.variant, self.seed)

    @property
    def folder(self) -> Path:
        return RUNS / self.tier / self.id

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def arguments(self) -> dict[str, Any]:
        """All parameters that the notebook gets, but for `run.dir`, which `run_notebook` adds."""
        start = {"run.init_from": str(self.after.folder)} if self.after else {}
        return whole_paths(self.parameters, ROOT) | {"run.tier": self.tier, "seed": self.seed} | start


class _Yaml(yaml.SafeLoader):
    """YAML in which `1e-3` is a number, as in YAML 1.2, and not a text."""


_FLOAT = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789"))


def _epochs(loader: _Yaml, node: yaml.SequenceNode) -> int:
    """`!epochs [epochs, problems, batch size]`: that many passes over the problems, in optimiser steps."""
    epochs, problems, batch = loader.construct_sequence(node)
    return round(epochs * problems / batch)


_Yaml.add_constructor("!epochs", _epochs)


def parse_yaml(text: str | IO[str]) -> Any:
    """A YAML document as plain Python values."""
    return yaml.load(text, Loader=_Yaml)


def parse_value(text: str) -> Any:
    """The value of `name=value`: JSON, as the grid writes it; else what begins like a list or a mapping, a quoted text or a tag
    is YAML, and all else one YAML scalar, in which " #" and ": " stand for themselves, as they may in a path."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    if text[:1] in tuple("[{\"'!"):
        try:
            return parse_yaml(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{text!r} is no YAML: {' '.join(str(error).split())}") from None
    loader = _Yaml("")
    kind = loader.resolve(yaml.ScalarNode, text, (True, False)) if text else "tag:yaml.org,2002:str"
    return loader.construct_object(yaml.ScalarNode(kind, text))


def grid_path(tier: str) -> Path:
    """The grid's file. Raises `FileNotFoundError` listing the tiers there are."""
    path = GRIDS / f"{tier}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in GRIDS.glob("*.yaml")))
        raise FileNotFoundError(f"no tier {tier!r}; papermill_runs/ has: {known}")
    return path


def read_grid(path: str | Path, seeds: Sequence[int] = (0,)) -> list[Run]:
    """The runs of a grid file, once for each seed; a run comes after the one it starts from.

    `settings` makes an entry a sweep: by name, parameters that differ, each the run `<variant>-<name>`. The grid `tiny` has,
    beside its file, the rows that methods were registered with, each the run `arithmetic-<method>`.
    Raises `ValueError` for an unknown key, a variant named twice, or an `after` that is not above.
    """
    path = Path(path)
    with path.open(encoding="utf-8") as file:
        grid = parse_yaml(file)
    _only_keys(grid, GRID_KEYS, path.name)
    entries = [*grid["runs"], *(_registered() if grid["tier"] == "tiny" else ())]
    return [run for seed in seeds for run in _runs_of(path.name, grid, entries, seed)]


def _registered() -> list[dict[str, Any]]:
    from latent_cot.methods import METHODS  # here: it brings torch along

    made = []
    for name, method in METHODS.items():
        if method.row is not None:
            own = {key: value for key, value in method.row.items() if key in RUN_KEYS}
            parameters = {"method": name} | {key: value for key, value in method.row.items() if key not in own}
            made.append({"notebook": method.lesson, "variant": f"arithmetic-{name}", "parameters": parameters} | own)
    return made


def _runs_of(file: str, grid: dict[str, Any], entries: list[dict[str, Any]], seed: int) -> list[Run]:
    runs: dict[str, Run] = {}
    for entry in entries:
        where = f"{file}, run {entry.get('variant')!r}"
        _only_keys(entry, RUN_KEYS, where)
        after, sweep = entry.get("after"), entry.get("settings", {"": {}})
        if after is not None and after not in runs:
            raise ValueError(f"{where}: no run {after!r} above it to start after")
        for name, change in sweep.items():
            variant = f"{entry['variant']}-{name}" if name else str(entry["variant"])
            if variant in runs:
                raise ValueError(f"{file}, run {variant!r} is there twice")
            runs[variant] = Run(
                tier=grid["tier"],
                notebook=entry["notebook"],
                variant=variant,
                parameters=entry.get("parameters", {}) | change,
                seed=seed,
                after=runs[after] if after is not None else None,
                extra=entry.get("extra", False),
                keep_model=entry.get("keep_model", False),
                threads=grid.get("threads", 1),
                gpu=grid.get("gpu", 0),
                **{key: entry[key] for key in ("minutes", "gib", "answers") if key in entry},
            )
    return [*runs.values()]


def _only_keys(given: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := set(given) - known:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}; known: {sorted(known)}")
