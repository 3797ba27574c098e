"""What a notebook may be told: the parameters cell, and the groups in it, checked before anything runs.

papermill only warns about a parameter that a notebook does not have, and exits 0; here it is an error before a kernel
starts, and in the notebook's first cell if papermill started it. papermill's own inspection drops what it cannot match
(`str | None`), so the parameters cell is read with `ast`.
"""

import ast
import difflib
import importlib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from latent_runs.groups import GROUPS, SYNONYMS, TASK
from latent_runs.places import NOTEBOOKS
from latent_runs.records import read_parameters

NAMES = {"Any": Any, "Literal": typing.Literal, "Optional": typing.Optional}
BUILTINS = {kind.__name__: kind for kind in (bool, dict, float, int, list, str, tuple)}


@dataclass(frozen=True)
class Parameter:
    """One line `name: annotation = default` of a notebook's parameters cell."""

    name: str
    annotation: str
    default: str

    def __str__(self) -> str:
        return f"{self.name}: {self.annotation} = {self.default}"

    @property
    def kind(self) -> Any:
        return eval(self.annotation, {"__builtins__": BUILTINS}, NAMES)  # our own notebook, about to be run

    @property
    def value(self) -> Any:
        """The default."""
        return eval(self.default, {})


def notebook_path(notebook: str | Path) -> Path:
    """`02_explicit_baselines` (in notebooks/) or the path of any notebook. Raises `FileNotFoundError`."""
    for path in (Path(notebook), NOTEBOOKS / f"{notebook}.ipynb", NOTEBOOKS / f"{notebook}"):
        if path.suffix == ".ipynb" and path.is_file():
            return path.resolve()
    known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    raise FileNotFoundError(f"no notebook {str(notebook)!r}; notebooks/ has: {known}")


def typed_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """The parameters of a notebook, by name."""
    found = read_parameters(notebook_path(notebook))
    return {name: Parameter(name, annotation, default) for name, (annotation, default) in found.items()}


def nested(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`{"model.n_layers": 2}` as `{"model": {"n_layers": 2}}`."""
    result: dict[str, Any] = {}
    for name, value in parameters.items():
        group, _, key = name.partition(".")
        if key:
            result.setdefault(group, {})[key] = value
        else:
            result[name] = {**result.get(name, {}), **value} if isinstance(value, Mapping) else value
    return result


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a parameter, or a field of a group, that is not there or has the wrong type."""
    known, name = typed_parameters(notebook), notebook_path(notebook).stem
    parameters = {key: parameter.value for key, parameter in known.items()} | nested(parameters)
    listing = "".join(f"\n  {parameter}" for parameter in known.values()) or " none"
    for key, value in parameters.items():
        if key not in known:
            fields_there = _fields_of_groups(known, parameters.get("method", ""))
            raise ValueError(f"{name} has no parameter {key!r}{_hint(key, known, fields_there)} It takes:{listing}")
        _check(f"{name}: {key}", value, known[key].kind, listing)
        if value and (key in GROUPS or key == "options"):
            _check_group(name, key, value, parameters.get("method", ""), known)
    _check_registered(name, known, parameters)


def given(notebook: str, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """A notebook's parameters as its own namespace has them behind the parameters cell. Raises `ValueError` as
    `check_parameters` does, also for what papermill has put there though the notebook has no such parameter."""
    known = read_parameters(notebook)
    found, put = {key: namespace[key] for key in known}, {*_injected(namespace.get("In", ()))}
    check_parameters(notebook, found | {key: namespace[key] for key in put - {*known} if key in namespace})
    return found


def _injected(cells: Iterable[str]) -> Iterator[str]:
    """The names in the cell that papermill puts behind the parameters cell, which begins as all of its cells do."""
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            yield from (node.id for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name))


def _check_registered(name: str, known: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    """Methods, writers, tasks and their options, of which no annotation says which there are."""
    if "data" not in known:  # what reads no problems
        return
    from latent_cot.methods import entry  # which asks all modules that register something
    from latent_cot.writers import WRITERS
    from latent_tasks import check_task

    writer = values.get("model", {}).get("writer", "nobody")
    if writer not in WRITERS:
        raise ValueError(f"{name}: model.writer must be one of {', '.join(WRITERS)}, not {writer!r}")
    data, task = values["data"], values.get("task", TASK)
    try:
        if "method" in known:
            entry(values["method"])
        check_task(task, **data.get("options", {}))
        for other in data.get("out_of_domain", {}).values():
            check_task(**{"name": task} | dict(other))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def classes_of(group: str, method: str) -> list[type]:
    """The dataclasses whose fields a group holds; those of `options` are the method's own."""
    if group == "options":
        from latent_cot.methods import entry

        return [entry(method).options]
    return [getattr(importlib.import_module(module), name) for module, _, name in (c.partition(":") for c in GROUPS[group])]


def _check_group(name: str, group: str, values: Mapping[str, Any], method: str, parameters: Mapping[str, Parameter]) -> None:
    classes = classes_of(group, method)
    known = {one.name: one for owner in classes for one in fields(owner)}
    kinds = {key: kind for owner in classes for key, kind in typing.get_type_hints(owner).items()}
    listing = "".join(
        f"\n  {Parameter(f'{group}.{one.name}', _named(kinds[one.name]), repr(_default(one)))}"
        for owner in classes
        for one in fields(owner)
    )
    for key, value in values.items():
        if key not in known:
            elsewhere = {parameter: [parameter] for parameter in parameters} | _fields_of_groups(parameters, method)
            raise ValueError(f"{name}: {group} has no field {key!r}{_hint(key, known, elsewhere)} It takes:{listing}")
        _check(f"{name}: {group}.{key}", value, kinds[key], listing)


def _default(one: Field) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else re.sub(r"\b(\w+\.)+", "", str(kind))


def _check(what: str, value: Any, kind: Any, listing: str) -> None:
    """An int is a float; a bool is no int; a list will do for a tuple."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        raise ValueError(f"{what} must be {_named(kind)}, not {value!r} ({type(value).__name__}). It takes:{listing}") from None


def _fields_of_groups(parameters: Mapping[str, Any], method: str) -> dict[str, list[str]]:
    """By name, the fields of a notebook's groups as one writes them: `{"n_layers": ["model.n_layers"]}`."""
    found: dict[str, list[str]] = {}
    for group in (*GROUPS, "options"):
        for owner in classes_of(group, method) if group in parameters and (group != "options" or method) else ():
            for one in fields(owner):
                found.setdefault(one.name, []).append(f"{group}.{one.name}")
    return found


def _hint(key: str, known: Mapping[str, Any], elsewhere: Mapping[str, list[str]]) -> str:
    """Of a name that is not there: the one that may have been meant, here or elsewhere, or under another name."""
    plain = key.lower().replace("-", "_")
    for name in (key, *(name for name, others in SYNONYMS.items() if plain in (name, *others.split()))):
        if name in known:
            return f"; did you mean {name!r}?"
        if name in elsewhere:
            return f"; did you mean {' or '.join(elsewhere[name])}?"
    close = difflib.get_close_matches(plain, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
