"""Where things are: in a checkout beside this package, in an installed wheel inside it.

A checkout is read and written in place. A wheel carries the notebooks, the grids, the papers' numbers and the recorded
runs under `assets/`, laid out as in the checkout, and writes below the working directory.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_lib = Path(__file__).resolve().parents[1]
_checkout = _lib.parent
IN_CHECKOUT = (_checkout / "notebooks").is_dir() and (_checkout / "papermill_runs").is_dir()
ASSETS = _checkout if IN_CHECKOUT else Path(__file__).resolve().parent / "assets"
ROOT = _checkout if IN_CHECKOUT else Path.cwd()  # what runs are written below

NOTEBOOKS = ASSETS / "notebooks"
GRIDS = ASSETS / "papermill_runs"  # <tier>.yaml, papers/*.yaml
RECORDED = GRIDS / "recorded"
RUNS = ROOT / "papermill_runs"  # <tier>/<notebook>/<variant>--s<seed>/


def whole_paths(value: Any, base: Path) -> Any:
    """A parameter in which relative paths of what there is, as seen from `base`, are absolute: a kernel sees from elsewhere."""
    if isinstance(value, Mapping):
        return {name: whole_paths(item, base) for name, item in value.items()}
    if isinstance(value, str) and os.sep in value and len(value) < 4096 and "\0" not in value and (base / value).exists():
        return os.path.abspath(base / value)
    return value


EXPECTED = "LATENT_COT_CHECKOUT"  # whose code a kernel is to run


def kernel_environment(scratch: str | Path) -> dict[str, str]:
    """Variables for a process that starts kernels: they run in this environment, not in the user's own `python3`, and import
    the packages of this checkout, whatever else is installed, or say that they do not (`check_code_is_here`).

    A path that itself holds the separator of PYTHONPATH is reached by a link in `scratch`, which must outlive the kernels.
    """
    found = {"JUPYTER_PREFER_ENV_PATH": "1"}
    if IN_CHECKOUT:
        found[EXPECTED] = str(_checkout)
        lib = _lib
        if os.pathsep in str(lib):
            lib = Path(scratch, "lib")
            lib.symlink_to(_lib, target_is_directory=True)
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(lib), os.environ.get("PYTHONPATH")]))
    return found


def check_code_is_here() -> None:
    """Raise `RuntimeError` in the folder of another checkout, or in a kernel that another one started: it is not that one's
    code that would run, nor its commit that a record would name."""
    here = Path.cwd()
    around = [place for place in (here, *here.parents) if (place / "lib" / "latent_runs" / "places.py").is_file()]
    for place in [*around[:1], *map(Path, filter(None, [os.environ.get(EXPECTED)]))]:
        if place.resolve() != _checkout:
            advice = f"use `make`, or set PYTHONPATH to {place}/lib"
            raise RuntimeError(f"the code that runs is that of {_lib}, not of {place}: {advice}")
