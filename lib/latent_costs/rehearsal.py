"""A run up to the moment at which it would train: the notebook's own cells, in this process, with some names stood in for.

So a grid's row can be checked and its cost estimated from what the notebook really builds.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from latent_cot.methods import Method
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded
from latent_cot.training import TrainOptions
from latent_runs.grid import Run
from latent_runs.settings import nested, notebook_path


@dataclass(frozen=True)
class Plan:
    """What a notebook hands to its training cell."""

    reasoner: Reasoner
    method: Method
    problems: Sequence[Encoded]
    options: TrainOptions
    others: int = 0  # parameters of further models that stay in memory


class _Reached(Exception):
    """The training cell was reached."""


def rehearse(run: Run, stand_ins: Mapping[str, Callable]) -> Plan:
    """Execute the notebook of `run` up to its training cell, without the cells tagged `needs-weights`.

    `stand_ins` take the place of the functions of these names wherever methods and lessons use them. Raises what the cells
    raise, `LookupError` if there is no training cell.
    """

    def train_on(n_processes: int, *arguments: Any, **options: Any) -> None:
        raise _Reached(*arguments[:4])

    namespace: dict[str, Any] = {}
    path = notebook_path(run.notebook)
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    importlib.import_module("latent_runs.lesson")  # loaded, so that its names can be stood in for
    modules = [module for name, module in sys.modules.items() if name.startswith(("latent_cot.", "latent_runs."))]
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, LATENT_COT_BUDGET="1"))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for name, stand_in in {**stand_ins, "train_on": train_on}.items():
            for module in (module for module in modules if hasattr(module, name)):
                stack.enter_context(patch.object(module, name, stand_in))
        for cell in cells:
            tags = cell["metadata"].get("tags", ())
            if "needs-weights" not in tags:
                try:
                    exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
                except _Reached as reached:
                    return Plan(*reached.args)
            if "parameters" in tags:
                given = nested(run.arguments)
                # One test problem: where training problems follow the test problems, some are left.
                namespace.update(given | {"data": given.get("data", {}) | {"n_test": 1}})
    raise LookupError(f"{path.name} has no training cell")
