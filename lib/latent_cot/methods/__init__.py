"""The methods, a module each, and their register: a method is three choices.

Who writes the thoughts, what language remains, what is supervised. A module says its three in a function from options and a
budget to a `Method`; `@method` over that function gives it, once and for all, its title in tables and in the instrument, the
lesson that trains it and, if wanted, its row in the miniature's grid. Whatever module lies in this folder is found.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from latent_cot.curriculum import Budget, Stage
from latent_cot.supervision import Supervise, supervise_language


@dataclass(frozen=True)
class NoOptions:
    """The options of a method that has none."""


@dataclass(frozen=True)
class Method:
    name: str
    writer: str  # who writes the thoughts: a name in `writers.WRITERS`
    curriculum: tuple[Stage, ...]  # what language remains
    supervise: Supervise = supervise_language  # what is supervised
    n_thoughts: int = 0  # at inference
    thinks_between_markers: bool = True  # at inference, <bot> and <eot> stand there even around no thoughts
    writes_chain: bool = False  # the same weights can also write their steps, where they have no thoughts
    writer_options: Mapping[str, Any] = field(default_factory=dict)
    options: object = None  # what it was made with; a run does not go on from a checkpoint of other options


@dataclass(frozen=True)
class Entry:
    """What the register knows of a method."""

    name: str
    title: str
    build: Callable[[Any, Budget], Method]
    options: type  # of the first argument of `build`
    lesson: str
    row: Mapping[str, Any] | None  # an entry of the grid `tiny`, as `latent_runs.grid` reads it; None: the file has them


METHODS: dict[str, Entry] = {}
TITLES: dict[str, str] = {}  # of every row in a table, in the order of tables


def method(
    title: str, lesson: str, row: Mapping[str, Any] | None = None, also: Mapping[str, str] | None = None
) -> Callable[[Callable], Callable]:
    """Register a function `(options: SomeDataclass, budget: Budget) -> Method` under its own name.

    `row`: parameters of its run in the miniature's main table, by their names in the lesson, and keys of a grid's entry
    (`after`: the run it starts from; `keep_model`: its model ships). `also` titles rows that are the same method with other
    settings, by the name that their variants carry.
    Raises ValueError if the name is taken.
    """

    def register(build: Callable) -> Callable:
        name = build.__name__
        if name in METHODS:
            raise ValueError(f"two methods are called {name!r}")
        options = next(iter(inspect.signature(build).parameters.values())).annotation
        METHODS[name] = Entry(name, title, build, options, lesson, row)
        TITLES.update({name: title} | dict(also or {}))
        return build

    return register


def entry(name: str) -> Entry:
    """What the register knows of a method. Raises ValueError for an unknown name."""
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def make(name: str, options: Mapping[str, Any], budget: Budget) -> Method:
    """A registered method. Raises ValueError for an unknown name, TypeError for an unknown option."""
    return entry(name).build(entry(name).options(**options), budget)


for _found in ("explicit", "coconut", "codi", "softcot", *(module.name for module in pkgutil.iter_modules(__path__))):
    importlib.import_module(f"{__name__}.{_found}")  # the papers' own first: the order of tables
