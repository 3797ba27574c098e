"""Where things are: in a checkout beside this package, in an installed wheel inside it.

A checkout is read and written in place. A wheel carries the notebooks, the grids, the papers' numbers and the recorded
runs under `assets/`, laid out as in the checkout, and writes below the working directory.
"""

from pathlib import Path

_checkout = Path(__file__).resolve().parents[2]
IN_CHECKOUT = (_checkout / "notebooks").is_dir() and (_checkout / "papermill_runs").is_dir()
ASSETS = _checkout if IN_CHECKOUT else Path(__file__).resolve().parent / "assets"
ROOT = _checkout if IN_CHECKOUT else Path.cwd()  # what runs are written below

NOTEBOOKS = ASSETS / "notebooks"
GRIDS = ASSETS / "papermill_runs"  # <tier>.yaml, papers/*.yaml
RECORDED = GRIDS / "recorded"
RUNS = ROOT / "papermill_runs"  # <tier>/<notebook>/<variant>--s<seed>/
