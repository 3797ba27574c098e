"""Which cells of a notebook a run without a reader executes: the parameters cell, and those tagged `run`, which train, measure
and record. A notebook that has no such tag is executed whole. What only a reader needs, figures, exercises, proofs by hand,
is not executed, and is no part of what a run depends on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PARAMETERS, RUN = "parameters", "run"


def tags(cell: Mapping[str, Any]) -> list[str]:
    """What a cell is tagged with."""
    return cell["metadata"].get("tags", [])


def headless(notebook: Path, every_cell: bool = False) -> dict[str, Any]:
    """A notebook, as nbformat's JSON, with no other cells than those that a headless run executes, in order; with
    `every_cell` all its code."""
    document = json.loads(notebook.read_text(encoding="utf-8"))
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    if not every_cell and any(RUN in tags(cell) for cell in code):
        code = [cell for cell in code if {PARAMETERS, RUN} & {*tags(cell)}]
    return document | {"cells": code}
