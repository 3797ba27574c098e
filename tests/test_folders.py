"""Nothing of the user's is deleted, wherever a run is told to go; where it cannot go, one line says so."""

import json
import re
import resource
import subprocess
import sys

import pytest
from test_grid import BODY, PARAMETERS

from latent_runs.grid import main
from latent_runs.notebooks import run_notebook
from latent_runs.places import ROOT


@pytest.fixture
def toy(notebook):
    return str(notebook("toy", PARAMETERS, BODY.replace("PREFIX", repr(sys.prefix))))


def tree(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "files",
    [
        ["thesis.tex"],
        ["model.safetensors", "result.json"],
        ["inputs.json"],
        ["data/inputs.json", "executed.ipynb"],
        [".hidden"],
    ],
)
def test_a_folder_that_is_not_a_runs_is_refused_untouched(files, toy, tmp_path, capsys):
    out = tmp_path / "out"
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text('{"mine": true}')
    before = tree(out)
    assert main(["run", toy, "--out", str(out)]) == 1
    assert tree(out) == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{out} is no run's folder, and not empty ({files[0].partition('/')[0]}" in error


def test_a_run_takes_away_only_what_a_run_left(toy, tmp_path):
    """Run again with another parameter: notes, and runs further down, stay."""
    out = tmp_path / "toy" / "x--s0"
    run_notebook(toy, out, {"task": "a"})
    run_notebook(toy, out / "below" / "y--s1", {"task": "b"})
    mine = {"notes.md": b"mine", "below/notes.md": b"mine", "figures/a.png": b"mine", "data/train.safetensors": b"mine"}
    for name, content in mine.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    (out / "cot").mkdir()
    for name in ("cot/checkpoint.safetensors", "failed.json", "stale.json", "best.safetensors"):
        (out / name).write_text("of the former run")
    below = tree(out / "below" / "y--s1")
    run_notebook(toy, out, {"task": "c"})
    after = tree(out)
    assert {name: after.get(name) for name in mine} == mine and tree(out / "below" / "y--s1") == below
    assert set(after) - set(mine) - {f"below/y--s1/{name}" for name in below} == {
        ".lock", "inputs.json", "executed.ipynb", "result.json", "checkpoint.safetensors", "starts.log"
    }  # fmt: skip
    assert json.loads(after["result.json"])["parameters"]["task"] == "c"
    assert (tmp_path / "starts.log").read_text().split("\n")[-2] == "x--s0 False None", "the former run's checkpoint is gone"


@pytest.mark.parametrize("out", ["{tmp_path}/file", "{tmp_path}/file/below", "/proc/below", "/dev/null"])
def test_where_no_folder_can_be_it_is_one_line(out, toy, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    out = out.format(tmp_path=tmp_path)
    assert main(["run", toy, "--out", out]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and out in error
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_a_disk_without_room_is_one_line(room, toy, tmp_path):
    """At the lock, at what the run depends on, at the notebook: `room` bytes for a file, which fails as a full disk does."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    out = str(tmp_path / "toy" / "x--s0")
    command = [sys.executable, "-m", "latent_runs.grid", "run", toy, "--out", out, f"task={'a' * 2000}"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    assert done.returncode == 1 and "File too large" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and out in done.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_a_run_where_readme_puts_it_is_ignored_by_git(tmp_path):
    (out,) = {*re.findall(r"--out (\S+)", (ROOT / "README.md").read_text())}
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / out).mkdir(parents=True)
    (tmp_path / out / "result.json").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "runs.py").touch()
    said = subprocess.check_output(["git", "-C", str(tmp_path), "status", "--porcelain"], text=True)
    assert said == "?? .gitignore\n?? lib/\n"
