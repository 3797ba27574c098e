"""Every notebook runs headless in short, and a stored output that is not true is noticed."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbclient
import nbformat
import pytest

from latent_runs.notebooks import run_notebook
from latent_runs.places import RECORDED, ROOT
from latent_runs.records import read_parameters
from latent_runs.results import MODEL, load_results

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.smoke
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_in_short(path, tmp_path):
    known, out = read_parameters(path), tmp_path / path.stem / "smoke--s0"
    short = {"run": {"budget": 0.01}, "out_dir": str(out)}
    run_notebook(path, out, {name: value for name, value in short.items() if name in known}, every_cell=True)
    if "run" in known:
        (row,) = load_results(out).to_dict("records")
        assert (row["notebook"], row["variant"], row["seed"], row["status"]) == (path.stem, "smoke", 0, "smoke")
        recorded = json.loads((out / "result.json").read_text())["parameters"]
        assert set(recorded) >= set(known), "a parameter is not recorded"


ELSEWISE = {  # what a lesson's parameters say can be set, and no default does
    "a static teacher": ("04_codi_self_distillation", {"static_teacher": True, "options.teacher_weight": 0.0}),
    "the last step dropped, on graphs": ("04_codi_self_distillation", {"task": "graph", "options.keep_last_step": False}),
}


@pytest.mark.parametrize("what", ELSEWISE)
def test_a_lesson_runs_as_its_parameters_offer(what, tmp_path):
    notebook, given = ELSEWISE[what]
    run_notebook(notebook, tmp_path / "x" / "smoke--s0", given | {"run.budget": 0.01})
    (row,) = load_results(tmp_path).to_dict("records")
    assert row["status"] == "smoke"


@pytest.mark.parametrize("notebook", ["02_explicit_baselines", "03_coconut_stages", "04_codi_self_distillation"])
def test_a_lesson_runs_on_a_model_of_ones_own(notebook, llama, tmp_path):
    """Adapters on rotary positions and weights that were bf16: a token's embedding is the same state wherever it stands."""
    run_notebook(notebook, tmp_path / "x" / "smoke--s0", {"model.lm": llama, "model.lora_rank": 4, "run.budget": 0.01})
    (row,) = load_results(tmp_path).to_dict("records")
    assert row["status"] == "smoke" and row["parameters.model.lm"] == llama


@pytest.mark.parametrize("path", sorted(RECORDED.rglob(MODEL)), ids=lambda path: path.parent.name)
def test_every_shipped_model_opens_in_the_first_notebook(path):
    """The code of its cells, one after another, with `shown` as a reader would set it."""
    names = {}
    for cell in nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", ()):
                names["shown"] = path.parent.relative_to(RECORDED).as_posix()
    assert names["shares"] and set(names["shares"]) <= {"in words", "in thoughts", "removed", "swapped", "mean"}


LEARNED = {  # least accuracy of the stored run, and how far below it another problem's thoughts are, in points
    "02_explicit_baselines": (95, None),
    "03_coconut_stages": (40, 30),
    "04_codi_self_distillation": (40, 30),
    "09_own_method": (60, 30),
}


@pytest.mark.parametrize("name", LEARNED)
def test_what_is_stored_of_a_training_has_learned_and_needs_its_thoughts(name):
    """nbval cannot compare what is trained anew in short; that the stored run came out as the text says is held here."""
    least, gap = LEARNED[name]
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    (shown,) = (cell.outputs[0].data["text/html"] for cell in cells if cell.source == "plots.shares(metrics)")
    share = {what: float(number) for what, number in re.findall(r"<th[^>]*>(\w+)</th>\s*<td[^>]*>([\d.]+)%", shown)}
    assert share["accuracy"] >= least
    assert gap is None or share["accuracy"] - share["swapped"] >= gap


def check_outputs(path) -> subprocess.CompletedProcess:
    """nbval over one notebook, with this repository's settings, as `make test` does it."""
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, path.parent)
    command = [sys.executable, "-m", "pytest", str(path), "-p", "no:cacheprovider", "--nbval-lax"]
    command += ["--nbval-current-env", "--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True)


CELLS = (
    "print('3 thoughts, loss 0.25, 17 ms')", "print([*range(3)], '/tmp/a/b')",
    "import pandas as pd; pd.DataFrame({'correct': [0.5]}).style.format('{:.1%}')",  # its text says where it lies, its HTML all
    "import time; print(time.time())",
)  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("3 thoughts", "3 thoughts", "passed"),
        ("loss 0.25, 17 ms", "loss 0.25, 18.5 ms", "passed"),
        ("loss 0.25", "loss 0.26", "failed"),
        ("50.0%", "50.1%", "failed"),
        ("3 thoughts", "4 thoughts", "failed"),
        ("[0, 1, 2]", "[0, 1, 3]", "failed"),
    ],
)
def test_tampered_output_is_noticed(notebook, old, new, verdict):
    path = notebook("tampered", "seed: int = 0", *CELLS)
    document = nbformat.read(path, as_version=4)
    nbclient.execute(document, kernel_name="python3")
    assert old in json.dumps(document.cells)
    for cell in document.cells[1:4]:
        cell.metadata["tags"] = ["nbval-check-output"]
        if "text" in (output := cell.outputs[0]):
            output["text"] = output["text"].replace(old, new)
        else:
            output["data"]["text/html"] = output["data"]["text/html"].replace(old, new)
    nbformat.write(document, path)
    assert json.loads(path.read_text())["cells"][1]["outputs"], "nothing to compare"
    result = check_outputs(path)
    assert (result.returncode == 0) == (verdict == "passed"), result.stdout
    assert verdict in result.stdout
