"""A wheel is enough: it holds the packages and what they read of the repository, and runs where there is no clone."""

import os
import subprocess
import sys
import zipfile

import pytest
from hatchling.builders.wheel import WheelBuilder

from latent_runs.places import ROOT

ASSETS = "latent_runs/assets"
MODELS = "papermill_runs/recorded/*/*/*/model.safetensors"
READ = ("notebooks/*.ipynb", "papermill_runs/*.yaml", "papermill_runs/papers/*.yaml", "papermill_runs/Snakefile", MODELS)
READ += ("papermill_runs/recorded/*/*/*/result.json",)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A folder with all that the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder / "dist"), versions=["standard"])
    assert os.path.getsize(path) < 6 * 2**20
    zipfile.ZipFile(path).extractall(folder / "site")
    return folder / "site"


def names(folder, pattern):
    return {path.relative_to(folder).as_posix() for path in folder.glob(pattern)}


def test_it_holds_the_packages_and_what_they_read(unpacked):
    packages = {path.parent.name for path in (ROOT / "lib").glob("*/__init__.py")}
    assert {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"} == packages
    for pattern in READ:
        assert names(unpacked / ASSETS, pattern) == names(ROOT, pattern), pattern
    assert {path.relative_to(ROOT / "lib").as_posix() for path in (ROOT / "lib").rglob("*.py")} <= names(unpacked, "**/*.py")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latent_runs.grid", "tiny", "--dry-run"], "variant=arithmetic-cot, seed=0"),
        (["latent_views.ready"], "04_codi_self_distillation/arithmetic-codi--s0/model.safetensors"),
    ],
)
def test_it_runs_where_there_is_no_clone(unpacked, arguments, said, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and said in done.stdout, done.stdout


def test_a_lesson_runs_there_and_writes_nothing_beside_itself(unpacked, notebook, tmp_path):
    path = notebook("where", "", "from latent_runs import places\nprint(places.ROOT, places.NOTEBOOKS)")
    path.rename(unpacked / ASSETS / "notebooks" / path.name)
    before = names(unpacked / ASSETS, "**/*")
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-m", "latent_runs.grid", "run", "where", "--out", "out"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert f"{tmp_path} {unpacked / ASSETS / 'notebooks'}" in (tmp_path / "out" / "executed.ipynb").read_text()
    assert names(unpacked / ASSETS, "**/*") == before
