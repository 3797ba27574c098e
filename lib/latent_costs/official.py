"""The paper tier beside the official configurations, key by key: `python -m latent_costs.official [--page PATH]`.

`papermill_runs/papers/official/<code>.yaml` has what the official files say, each value with file, line and the line itself at
a commit, and what stands for it in `paper.yaml`. Compared is what a row has in effect, defaults included, and what its
curriculum comes to in epochs. `--page` writes the table "official argument, ours" of CODI's README between the page's markers.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatch
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from latent_cot.curriculum import Budget
from latent_cot.methods import make
from latent_cot.writers import Projection
from latent_runs.groups import GROUPS
from latent_runs.lesson import MINIATURE
from latent_runs.places import GRIDS
from latent_runs.plan import Run, grid_path, parse_yaml, read_grid
from latent_runs.records import replace_block
from latent_runs.settings import classes_of, nested, typed_parameters

FOLDER = GRIDS / "papers" / "official"
BEGIN, END = "<!-- official:begin -->", "<!-- official:end -->"
ONCE = {  # what CODI's README called some arguments before
    "distill_loss_div_std": "mse_loss_div_std", "distill_loss_type": "mse_loss_type", "distill_loss_factor": "mse_loss_factor"
}  # fmt: skip


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Value(Part):
    """What a line of an official file says (`key`: of the configuration; "" in code), and what stands for it here."""

    key: str | None = None
    quote: str
    at: dict[str, int]  # file: line
    rows: list[str] = []  # by name, as patterns; []: those of the files
    ours: dict[str, Any] = {}  # settings that these rows have in effect
    means: str = ""  # how the two say the same
    why: str = ""  # why ours differs, or why there is no setting

    @model_validator(mode="after")
    def _said(self) -> Value:
        if not self.ours and not self.why:
            raise ValueError("without a setting of ours it needs a reason")
        return self

    @property
    def written(self) -> str:
        """The value as the line has it: behind its key, the sign of equality or "default="; "" in any other line."""
        key = r"default(?==)" if "default=" in self.quote else re.escape(self.key) if self.key else r"\w+"
        found = re.search(rf"(?:^|\W){key}[\"']?[\s:=]+(?:!!float )?[\"']?([^\s\"',)]+)", self.quote, re.IGNORECASE)
        return found[1] if found else ""


class Code(Part):
    """A file of `FOLDER`: an official code, its configurations and the rows that stand for them, its keys and its values."""

    repository: str
    commit: str
    licence: str
    files: dict[str, list[str]]
    keys: dict[str, list[str]]
    unset: dict[str, str]  # keys that nothing sets, and why there is no row
    values: list[Value]

    def rows(self, value: Value) -> list[str]:
        return value.rows or [row for file in value.at for row in self.files.get(file, ())]

    def where(self, value: Value) -> str:
        file, line = next(iter(value.at.items()))
        return f"{self.repository}@{self.commit[:7]}, {file}:{line}"


def read_codes(folder: Path = FOLDER) -> dict[str, Code]:
    """The official codes by name."""
    found = {path.stem: parse_yaml(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yaml"))}
    return {name: Code.model_validate(content) for name, content in found.items()}


def in_effect(run: Run) -> dict[str, Any]:
    """All settings of a run, defaults included, and what they come to: epochs, shares, who writes the thoughts."""
    known = {name: parameter.value for name, parameter in typed_parameters(run.notebook).items()}
    given = known | nested(run.parameters)
    found: dict[str, Any] = {"after": run.after.variant if run.after else ""}
    for name, value in given.items():
        if name not in GROUPS and name != "options":
            found[name] = value
            continue
        for one in (one for owner in classes_of(name, given.get("method", "")) for one in fields(owner)):
            found[f"{name}.{one.name}"] = one.default_factory() if callable(one.default_factory) else one.default
        found |= {f"training.{key}": default for key, default in MINIATURE.items()} if name == "training" else {}
        found |= {f"{name}.{key}": inner for key, inner in value.items()}
    for name in ("model.writer_options", "data.options"):
        found |= {f"{name}.{key}": inner for key, inner in dict(found[name]).items()}
    found["training.start_steps"] = 0 if run.after else found["training.start_steps"]
    return found | derived(found, given)


def derived(found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings come to."""
    names = [one.name for one in fields(Budget)]
    budget = Budget(**{name: found.get(name, found.get(f"training.{name}")) for name in names})
    options = {key.removeprefix("options."): value for key, value in found.items() if key.startswith("options.")}
    method = make(found["method"], options, budget)
    valid = found["data.n_valid"] if found["task"] == "commonsenseqa" else 0  # cut off from its training problems
    epoch = (found["data.n_train"] - valid) / found["training.batch_size"]
    steps = [stage.steps for stage in method.curriculum]
    writer_options = dict(found["model.writer_options"])
    return {
        "epochs": sum(steps) / epoch, "epochs a stage": budget.steps_per_stage / epoch,
        "epochs of the start": budget.start_steps / epoch, "epochs until a reset": found["training.reset_every"] / epoch,
        "share of steps in warm-up": round(method.curriculum[0].warmup / sum(steps), 2),
        "last schedule": method.curriculum[-1].schedule,
        "model.writer": given.get("model", {}).get("writer", method.writer),
        **{f"model.writer_options.{key}": writer_options.get(key, default) for key, default in projection_defaults().items()},
    }  # fmt: skip


@cache
def projection_defaults() -> dict[str, Any]:
    """The writer's options that a row may leave out."""
    options = signature(Projection.__init__).parameters.values()
    return {option.name: option.default for option in options if option.default is not option.empty}


def same(wanted: Any, found: Any) -> bool:
    """Numbers to a percent (epochs are whole steps), lists and tuples alike."""
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return len(wanted) == len(found) and all(map(same, wanted, found))
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (wanted, found)):
        return type(wanted) is type(found) and wanted == found
    return abs(wanted - found) <= 0.01 * abs(wanted)


def says(written: str, ours: Any) -> bool:
    """Whether a value as it is written is ours."""
    try:
        return same(float(written), ours)
    except ValueError:
        return str(ours).lower() == written.lower()


def differences(code: Code, runs: Sequence[Run]) -> Iterator[str]:
    """What is not as the table says: a row that is not there, a setting that is another, a value that is not the quoted one and
    of which nothing says why; a key without a word. A line each."""
    known: dict[str, dict[str, Any]] = {}  # by row
    for value in code.values:
        rows = code.rows(value)
        here = [run for run in runs if any(fnmatch(run.variant, row) for row in rows)]
        if missing := [row for row in rows if not any(fnmatch(run.variant, row) for run in runs)] or ["any"] * (not rows):
            yield f"{code.where(value)}: no row {', '.join(missing)}"
        for run in here if value.ours else ():
            settings = known[run.variant] = known.get(run.variant) or in_effect(run)
            for name, wanted in value.ours.items():
                if name not in settings or not same(wanted, settings[name]):
                    told = f"{name} is {settings.get(name)!r}, not {wanted!r}"
                    yield f"{run.variant}: {told} ({code.where(value)}: {value.quote})"
        if value.ours and not (value.means or value.why) and not any(says(value.written, ours) for ours in value.ours.values()):
            yield f"{code.where(value)}: {value.quote} is not {value.ours}, and nothing says why"
    named = {value.key for value in code.values} | set(code.unset)
    for file, keys in code.keys.items():
        untold = (key for key in keys if key not in named)
        yield from (f"{code.repository}@{code.commit[:7]}, {file}: nothing is said of {key}" for key in untold)


def arguments(code: Code) -> str:
    """A table in Markdown: the arguments of a README, what they were once called, what the official configurations give them,
    and the setting here."""
    lines = ["| official argument | once | official value | ours | |", "| --- | --- | --- | --- | --- |"]
    for key in code.keys["README.md"]:
        found = [value for value in code.values if value.key == key]
        values = dict.fromkeys(value.written for value in found if value.written)
        ours = dict.fromkeys(name for value in found for name in value.ours)
        told = dict.fromkeys(part for value in found for part in (value.means, value.why) if part)
        once = f"`{ONCE[key]}`" if key in ONCE else ""
        cells = (f"`{key}`", once, ", ".join(values), ", ".join(f"`{name}`" for name in ours), "; ".join(told))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page_block(codes: Mapping[str, Code]) -> str:
    """What `--page` writes."""
    return "\n\n".join([BEGIN, arguments(codes["codi"]), END])


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m latent_costs.official", description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, metavar="PATH", help="write the table of CODI's arguments there")
    options = parser.parse_args(argv)
    codes, runs = read_codes(), read_grid(grid_path("paper"))
    wrong = [line for code in codes.values() for line in differences(code, runs)]
    print(*wrong, sep="\n", end="\n" * bool(wrong))
    for name, code in codes.items():
        told = sum(bool(value.why) for value in code.values)
        where = f"{code.repository}@{code.commit[:7]}"
        print(f"{name}: {len(code.values)} values of {where}, {told} with a reason to differ or to be no setting")
    if options.page:
        replace_block(options.page, page_block(codes))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
