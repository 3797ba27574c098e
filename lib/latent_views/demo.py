"""The instrument as a page: notebook 06 without its code and its lesson, served by Voilà on loopback.

    python -m latent_views.demo [--port N]       serve it and open a browser, until Ctrl-C
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

from latent_runs.places import NOTEBOOKS, kernel_environment

NOTEBOOK = NOTEBOOKS / "06_decoding_thoughts.ipynb"
SHOWN = "instrument"  # the tag of the cells that make the page


@contextmanager
def served(port: int, *options: str) -> Iterator[subprocess.Popen]:
    """Voilà on 127.0.0.1, with the tagged cells of the notebook and the kernel of this environment."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if SHOWN in cell.metadata.get("tags", ())]
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(notebook, path := Path(folder, NOTEBOOK.name))
        command = [sys.executable, "-m", "voila", str(path), "--Voila.ip=127.0.0.1", f"--port={port}", *options]
        process = subprocess.Popen(command, env=os.environ | kernel_environment(folder))
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m latent_views.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8866)
    with served(parser.parse_args().port) as process:
        return process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
