"""What must hold for the repository as a whole: pins agree, notebooks are in order, nothing large or unsafe is in."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from strip_bars import bars, strip

import latent_cot
from latent_runs.places import ROOT
from latent_runs.settings import check_parameters, typed_parameters

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MODULES = sorted((ROOT / "lib").rglob("*.py"))
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz"}


def tracked() -> list[Path]:
    """Files under version control; of an unpacked archive, none."""
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "-z"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout here")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {canonicalize_name(found.name): found for found in map(Requirement, named)}


def code_cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def test_lock_fits_pyproject():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact public versions only"
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    for name, requirement in requirements().items():
        assert name in pins, f"{name} is not in requirements.lock"
        assert requirement.specifier.contains(pins[name]), f"{requirement} but {pins[name]} is locked"


def test_conda_environment_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    assert {canonicalize_name(found.name): found for found in map(Requirement, pip)} == requirements()
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python{python}" in environment


def test_one_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == latent_cot.__version__
    assert f"\n## [{latent_cot.__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_makefile_and_readme_name_the_same_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b(?=[`\s\n]|$)", (ROOT / "README.md").read_text()))
    assert {"tables", "test"} <= named
    assert {name for name in named if name not in targets} == set()


def test_nothing_large_is_tracked():
    assert {str(path): path.stat().st_size for path in tracked() if path.stat().st_size > 10 * 2**20} == {}


def test_no_pickles_are_tracked():
    assert [path for path in tracked() if path.suffix in PICKLES] == []


ROOMS = {  # what a package under lib/ may import of the others: the direction that nothing may turn round
    "latent_tasks": set(),
    "latent_backbones": {"latent_tasks"},
    "latent_cot": {"latent_backbones", "latent_tasks"},
    "latent_probes": {"latent_backbones", "latent_cot", "latent_tasks"},
    "latent_runs": {"latent_backbones", "latent_cot", "latent_probes", "latent_tasks"},
    "latent_reports": {"latent_backbones", "latent_cot", "latent_probes", "latent_runs", "latent_tasks"},
    "latent_costs": {"latent_backbones", "latent_cot", "latent_probes", "latent_runs", "latent_tasks"},
    "latent_views": {"latent_backbones", "latent_cot", "latent_probes", "latent_runs", "latent_tasks"},
}


def test_every_package_is_a_room():
    assert {path.parent.name for path in (ROOT / "lib").glob("*/__init__.py")} == set(ROOMS)


def test_readme_maps_every_module():
    listed = (ROOT / "README.md").read_text().split("```\nnotebooks/")[1].partition("```")[0]
    names = {path.stem for path in MODULES if path.stem != "__init__"} | set(ROOMS)
    assert {name for name in names if not re.search(rf"\b{name}\b", listed)} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "lib")))
def test_imports_go_one_way(path):
    room = path.relative_to(ROOT / "lib").parts[0]
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    known = {name.partition(".")[0] for name in names} & set(ROOMS)
    assert known - {room} <= ROOMS[room], f"{room} may not know {known - {room} - ROOMS[room]}"


def test_papermill_runs_holds_no_code():
    assert [path for path in tracked() if ROOT / "papermill_runs" in path.parents and path.suffix == ".py"] == []


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_notebook_has_typed_parameters(path):
    assert [cell for cell in code_cells(path) if "parameters" in tags(cell)], "no cell tagged `parameters`"
    check_parameters(path, {name: parameter.value for name, parameter in typed_parameters(path).items()})


@each_notebook
def test_notebook_keeps_outputs_that_can_be_checked(path):
    cells = code_cells(path)
    assert all(cell["execution_count"] for cell in cells if cell["source"]), "a cell was not run"
    checked = [cell for cell in cells if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 2, "nbval has too little to compare"
    assert all(cell["outputs"] for cell in checked), "a checked cell without stored output passes vacuously"


@each_notebook
def test_notebook_stores_no_progress_bar(path):
    assert not [cell["id"] for cell in code_cells(path) if bars(cell)], "`make strip` takes them out"


def test_progress_bars_are_told_from_other_outputs(tmp_path):
    def shown(text: str) -> dict:
        return {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}, "text/plain": [text]}}

    kept = shown("VBox(children=(HTML(value='0%|'),))")
    cells = [{"cell_type": "code", "source": "", "outputs": [shown("  0%|   | 0/900 [00:00<?, ?step/s]"), kept]}]
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells}))
    strip(tmp_path / "x.ipynb")
    assert json.loads((tmp_path / "x.ipynb").read_text())["cells"][0]["outputs"] == [kept]


@each_notebook
def test_notebook_stores_no_error(path):
    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    assert [output["ename"] for output in outputs if output["output_type"] == "error"] == []
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []


@each_notebook
def test_notebook_has_no_run_metadata(path):
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    kept = {"tags", "jupyter", "editable", "slideshow"}
    extra = {key for cell in notebook["cells"] for key in cell["metadata"] if key not in kept}
    assert not extra, f"run metadata {sorted(extra)}: strip it with `make strip`"


def test_every_answer_to_users_ends_in_something_to_run_or_open():
    _, *answers = re.split(r"^### ", (ROOT / "notebooks" / "questions.md").read_text(), flags=re.MULTILINE)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert len(answers) >= 20
    for answer in answers:
        *_, last = answer.strip().splitlines()
        places = re.findall(r"`([^`]+)`", last)
        assert last.startswith("→ ") and places, answer
        for place in places:
            path, _, test = place.partition("::")
            known = path.removeprefix("make ") in targets if path.startswith("make ") else (ROOT / path).exists()
            assert known and (not test or f"def {test}(" in (ROOT / path).read_text()), place


def test_the_glossary_names_what_there_is():
    places = re.findall(r"\[`([^`]+)`\]", (ROOT / "notebooks" / "glossary.md").read_text())
    assert len(places) >= 10
    for place in places:
        parts = place.split(".")
        module = next(
            (
                ROOT / "lib" / Path(*parts[:n]).with_suffix(".py")
                for n in (2, 3)
                if (ROOT / "lib" / Path(*parts[:n]).with_suffix(".py")).is_file()
            ),
            ROOT / place,
        )
        names = parts[2:] if place.startswith("latent_") else []
        assert module.is_file() and all(re.search(rf"\b{name}\b", module.read_text()) for name in names), place


def test_nothing_is_installed_into_an_environment_that_is_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "clone").mkdir()
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / "clone")
    (tmp_path / "clone" / ".venv").symlink_to(tmp_path / "elsewhere")
    made = subprocess.run(["make", "setup"], cwd=tmp_path / "clone", capture_output=True, text=True)
    assert made.returncode and ".venv is a link to another place" in made.stderr
    assert [*(tmp_path / "elsewhere").iterdir()] == []
