"""A recorded run's model, as its lesson asked it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latent_cot.curriculum import Budget
from latent_cot.evaluation import prompt
from latent_cot.methods import Method, make
from latent_cot.models import Reasoner, load_reasoner
from latent_cot.sequences import Sequence, encode
from latent_runs.groups import Data
from latent_runs.lesson import layout_of
from latent_tasks import Task, load_task


@dataclass(frozen=True)
class Trained:
    """A model, the method that made it, and problems of its task's test split."""

    reasoner: Reasoner
    method: Method
    data: Data
    task: Task

    @property
    def prompts(self) -> list[Sequence]:
        """What the model is given to answer, a prompt for each test problem."""
        encoded = encode(self.task.splits["test"], self.reasoner.tokenizer, layout_of(self.data))
        how = self.method.n_thoughts, self.method.thinks_between_markers
        return [prompt(problem, self.reasoner.markers, *how) for problem in encoded]


def method_of(record: Mapping[str, Any]) -> Method:
    """The method that made a recorded model, with as many thoughts as it was tested with."""
    parameters = record["parameters"]
    options = parameters["options"] | ({"longest_chain": 1} if parameters["method"] == "icot" else {})
    method = make(parameters["method"], options, Budget())
    return replace(method, n_thoughts=parameters["data"].get("n_thoughts_at_test") or method.n_thoughts)


def load_trained(folder: Path, record: Mapping[str, Any], n_problems: int) -> Trained:
    """The model beside a record. Raises what `load_reasoner` and `load_task` raise."""
    data = Data(**record["parameters"]["data"])
    task = load_task(record["parameters"]["task"], sizes={"test": n_problems}, **data.options)
    return Trained(load_reasoner(folder), method_of(record), data, task)
