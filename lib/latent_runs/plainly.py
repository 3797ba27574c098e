"""A notebook where there is no Jupyter: its cells one after another in this process, by IPython, without a kernel.

For compute nodes with Python and torch and little else; papermill is the way wherever it is installed.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_runs.cells import PARAMETERS, tags


def run_plainly(cells: Sequence[Mapping[str, Any]], directory: Path, parameters: Mapping[str, Any], transcript: Path) -> None:
    """Execute code cells in `directory`, `parameters` behind the cell of that tag; what they print and return goes to
    `transcript` as text. Raises what a cell raises."""
    import matplotlib
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    matplotlib.use("agg")
    quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"xmode": "Plain"}})
    shell = InteractiveShell.instance(config=quiet)
    before = Path.cwd()
    os.chdir(directory)
    try:
        with transcript.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            for cell in cells:
                shell.run_cell("".join(cell["source"])).raise_error()
                if PARAMETERS in tags(cell):
                    shell.user_ns.update(parameters)
    finally:
        os.chdir(before)
        InteractiveShell.clear_instance()
