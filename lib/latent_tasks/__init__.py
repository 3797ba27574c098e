"""Problems to reason about, generated or published; `load_task` is the one door to both. Whatever module lies in this folder
is found: `@generated` over a function from options to a `Recipe` makes it a task."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from latent_tasks import graphs
from latent_tasks.benchmarks import BENCHMARKS, load_benchmark, plain
from latent_tasks.chains import check_chain, rewrite
from latent_tasks.graphs import Graph, frontier, parse
from latent_tasks.own import check_grading, is_own, load_own
from latent_tasks.problem import DEFAULT_SIZES, GENERATED, DataError, Problem, Task, generate
from latent_tasks.word_problems import word_problems

__all__ = [
    "GENERATED", "DataError", "Graph", "Problem", "Task", "check_task", "frontier", "load_elsewhere", "load_task", "parse",
]  # fmt: skip

FILLED = {"prosqa-filled": ("prosqa", "prosqa-generated", graphs.meaning)}  # published, generated, what makes two the same
COMPOSED = {"word-problems": word_problems}  # of several published sets
NOT_OF_A_RECIPE = ("sizes", "seed", "data_dir", "chain")

for _found in ("arithmetic", "graphs", "deduction", *(module.name for module in pkgutil.iter_modules(__path__))):
    importlib.import_module(f"{__name__}.{_found}")  # in the order of lists, behind graphs, imported above


def load_task(
    name: str, *, sizes: dict[str, int] | None = None, seed: int = 0, data_dir: str | Path | None = None,
    chain: str = "equations", **options,
) -> Task:  # fmt: skip
    """Generate or read a task by name; a path is a file or folder of one's own problems (`own`).

    `sizes` gives the number of problems of each generated split, or cuts a benchmark's splits to their first n.
    `seed` counts for generated tasks, `data_dir` for benchmarks; `chain` says how equations are written (`CHAINS`);
    `options` are those of the task's own function.
    Raises ValueError for an unknown name or split, TypeError for an unknown option.
    """
    if unknown := set(sizes or ()) - set(DEFAULT_SIZES):
        raise ValueError(f"{name}: unknown splits {sorted(unknown)}; known: {', '.join(DEFAULT_SIZES)}")
    if name in GENERATED:
        return rewrite(generate(name, GENERATED[name](**options), sizes, seed), chain)
    if name in BENCHMARKS:
        return rewrite(load_benchmark(name, sizes, data_dir, **options), chain)
    if name in COMPOSED:
        return rewrite(COMPOSED[name](name, sizes, data_dir, **options), chain)
    if name in FILLED:
        return filled(name, sizes or DEFAULT_SIZES, seed, data_dir)
    if is_own(name):
        return rewrite(load_own(name, sizes, **options), chain)
    raise _unknown(name)


def check_task(name: str, *, chain: str = "equations", **options: Any) -> None:
    """Raise ValueError for what `load_task` would refuse in a name, a chain or the task's own options, without a problem."""
    check_chain(chain)
    own = {key: value for key, value in options.items() if key not in NOT_OF_A_RECIPE}
    try:
        if name in GENERATED:
            GENERATED[name](**own)
        elif name in BENCHMARKS:
            signature(load_benchmark).bind(name, None, None, **own)
        elif name in COMPOSED:
            signature(COMPOSED[name]).bind(name, None, None, **own)
        elif name not in FILLED and is_own(name):
            signature(load_own).bind(name, None, **own)
            check_grading(own.get("grading", "number"))
        elif name not in FILLED:
            raise _unknown(name)
    except TypeError as error:
        raise ValueError(f"task {name}, options {own}: {error}") from None


def _unknown(name: str) -> ValueError:
    known = ", ".join((*GENERATED, *BENCHMARKS, *COMPOSED, *FILLED))
    own = "the path of a file or folder with your own, such as data/mine"
    return ValueError(f"unknown task {name!r}; known: {known}, or {own}")


def filled(name: str, sizes: dict[str, int], seed: int, data_dir: str | Path | None) -> Task:
    """The published splits that are at hand, the others generated, without problems that mean the same as a published one.

    `Task.report` says how many of a split are generated.
    """
    published, like, meaning = FILLED[name]
    real = load_benchmark(published, sizes, data_dir)
    known = {meaning(problem) for problems in real.splits.values() for problem in problems}
    lacking = {split: size for split, size in sizes.items() if split not in real.splits}
    made = generate(like, GENERATED[like](), lacking, seed)
    splits, report = dict(real.splits), dict(real.report)
    for split, problems in made.splits.items():
        splits[split] = tuple(problem for problem in problems if meaning(problem) not in known)
        report[split] = {"generated": len(splits[split])}
    return replace(real, name=name, splits=splits, report=report)


def load_elsewhere(home: Task, options: Mapping[str, Any], **other: Any) -> Task:
    """Problems for a model that was trained on `home` (made with `options`) which its training cannot have held: `other` are
    `load_task`'s arguments, the name home's unless given, and 250 test problems.

    Of the same generated task, what home's recipe cannot make; of another or a published one, what was not in training, but
    for case and punctuation.
    """
    asked = {"name": home.name, "sizes": {"test": 250}} | other
    name = asked["name"]
    if name == home.name and name in GENERATED:
        own = {key: value for key, value in asked.items() if key not in (*NOT_OF_A_RECIPE, "name")}
        at_home = GENERATED[name](**{key: value for key, value in options.items() if key not in NOT_OF_A_RECIPE})
        return generate(name, GENERATED[name](**own), asked["sizes"], asked.get("seed", 0), beyond=at_home)
    found, trained = load_task(**asked), {plain(problem.question) for problem in home.splits.get("train", ())}
    kept = {split: tuple(p for p in some if plain(p.question) not in trained) for split, some in found.splits.items()}
    return replace(found, splits=kept)
