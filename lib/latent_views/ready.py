"""Ready to think: the trained models that ship with their records, and those that were trained here.

    python -m latent_views.ready        the models, their sizes, and the commands that make them again
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from latent_cot.models import load_reasoner
from latent_runs.lesson import layout_of
from latent_runs.places import ASSETS, RECORDED, RUNS
from latent_runs.results import MODEL, command
from latent_runs.trained import load_trained
from latent_tasks import Problem, load_task
from latent_views.thinkers import Thinker

N_OFFERED = 12  # problems to pick from
RUN = re.compile(r"(?P<tier>[^/]+)/(?P<notebook>[^/]+)/(?P<variant>.+)--s(?P<seed>\d+)")


def recorded(folder: Path = RECORDED) -> dict[Path, dict[str, Any]]:
    """By model file, the record beside it."""
    return {path: json.loads(path.with_name("result.json").read_text()) for path in sorted(folder.rglob(MODEL))}


def find(name: str) -> Path:
    """The model of a run, "tier/notebook/variant--s0": it ships with its record, or was trained here. Raises FileNotFoundError,
    with the command that trains it, where there is none."""
    for path in (RECORDED / name / MODEL, RUNS / name / MODEL):
        if path.is_file():
            return path
    run = RUN.fullmatch(name)
    makes = f", and `{command(run.groupdict())}` trains it" if run else ""
    raise FileNotFoundError(f"no model of {name} is here: it is none of those that ship (python -m latent_views.ready){makes}")


def load(path: Path) -> Thinker:
    """A model with its record beside it. Its explicit chain is its own where it was also taught to write one, else that of the
    CoT model it started from."""
    record = json.loads(path.with_name("result.json").read_text())
    one, start = load_trained(path.parent, record, N_OFFERED), record["parameters"]["run"].get("init_from", "")
    beside = path.parents[2] / Path(*Path(start).parts[-2:]) / MODEL
    aloud, note = None, "This model has unlearned to write its steps."
    if one.method.writes_chain:
        aloud, note = one.reasoner, "Written by the same weights."
    elif start and beside.is_file():
        aloud, note = load_reasoner(beside.parent), "Written by the CoT model that this one started from."
    layout, n_thoughts, marked = layout_of(one.data), one.method.n_thoughts, one.method.thinks_between_markers
    return Thinker(one.reasoner, one.task, n_thoughts, aloud, note, layout, one.data.max_new_tokens, marked)


def problems(path: Path, n: int) -> tuple[Problem, ...]:
    """The first `n` test problems of the task that a model was trained on, with that task's options."""
    parameters = json.loads(path.with_name("result.json").read_text())["parameters"]
    return load_task(parameters["task"], sizes={"test": n}, **parameters["data"].get("options", {})).splits["test"]


if __name__ == "__main__":
    for path, record in recorded().items():
        print(f"{path.relative_to(ASSETS)}  {path.stat().st_size / 1e6:.2f} MB\n    {command(record)}")
