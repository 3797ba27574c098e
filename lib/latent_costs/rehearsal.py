"""A run up to the moment at which it would train: the notebook's own cells, in this process, with some functions stood in for.

So a grid's row can be checked and its cost estimated from what the notebook really builds.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from latent_cot.methods import Method
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded
from latent_cot.training import TrainOptions
from latent_runs.cells import PARAMETERS, headless, tags
from latent_runs.lesson import Lesson
from latent_runs.plan import Run
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


def rehearse(run: Run, load_task: Callable, build_reasoner: Callable, more: Mapping[str, object] | None = None) -> Plan:
    """Execute what a run of the notebook executes (`latent_runs.cells`) up to the training of its own method, without the
    cells tagged `needs-weights`.

    `load_task`, `build_reasoner` and what `more` names in full stand in for the real ones. Raises what the cells raise,
    `LookupError` if there is no such training.
    """

    def train(lesson: Lesson, reasoner: Reasoner, method: Method, encoded: Sequence[Encoded], *_: Any, **__: Any) -> None:
        if method.name == lesson.parameters["method"]:
            raise _Reached(Plan(reasoner, method, encoded, lesson.training))

    stand_ins = {
        "latent_runs.lesson.load_task": load_task,
        "latent_runs.lesson.build_reasoner": build_reasoner,
        "latent_cot.models.build_reasoner": build_reasoner,
        "latent_runs.lesson.warm_start": lambda *_: None,
        "latent_runs.lesson.Lesson.train": train,
        "latent_cot.models.Reasoner.to": lambda reasoner, *_: reasoner,
        **(more or {}),
    }
    # One problem for the test: where training problems follow those, some are left.
    namespace: dict[str, Any] = {}
    path, parameters = notebook_path(run.notebook), nested(run.arguments | {"data.n_test": 1})
    with contextlib.ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(patch(name, stand_in))
        stack.enter_context(patch.dict(os.environ, LATENT_COT_BUDGET="1"))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for cell in headless(path)["cells"]:
            if "needs-weights" not in tags(cell):
                try:
                    exec(compile("".join(cell["source"]), path.name, "exec"), namespace)
                except _Reached as reached:
                    return reached.args[0]
            if PARAMETERS in tags(cell):
                namespace.update(parameters)
    raise LookupError(f"{path.name} has no training cell")
