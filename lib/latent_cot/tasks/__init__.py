"""Problems to reason about: generated miniatures, and the papers' benchmarks.

`load_task` is the one door; every task speaks `Problem(question, steps, answer)`.
"""

from collections.abc import Callable
from pathlib import Path

from latent_cot.tasks import arithmetic, deduction, graphs, prosqa
from latent_cot.tasks.benchmarks import BENCHMARKS, load_benchmark
from latent_cot.tasks.graphs import Graph, frontier, parse
from latent_cot.tasks.problem import DataError, Problem, Task

__all__ = ["DataError", "Graph", "Problem", "Task", "frontier", "load_task", "parse"]

GENERATED: dict[str, Callable[..., Task]] = {
    "arithmetic": arithmetic.arithmetic,
    "graph": graphs.graph,
    "prosqa-generated": prosqa.prosqa,
    "prontoqa-mini": deduction.prontoqa_mini,
    "prontoqa-generated": deduction.deduction,
}


def load_task(
    name: str,
    *,
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    **options,
) -> Task:
    """Generate or read a task by name.

    `sizes` gives the number of problems of each generated split, or cuts a benchmark's splits to their first n.
    `seed` counts for generated tasks, `data_dir` for benchmarks; `options` are those of the generator or reader.
    Raises ValueError for an unknown name, TypeError for an unknown option.
    """
    if name in GENERATED:
        return GENERATED[name](sizes, seed, **options)
    if name in BENCHMARKS:
        return load_benchmark(name, sizes, data_dir, **options)
    raise ValueError(f"unknown task {name!r}; known: {', '.join((*GENERATED, *BENCHMARKS))}")
