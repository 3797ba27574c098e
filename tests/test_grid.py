"""The grid: wrong parameters stop before a kernel starts; runs are skipped, resumed, kept apart and reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from latent_runs import folders, grid, plan
from latent_runs.places import ROOT
from latent_runs.settings import check_parameters

PARAMETERS = """
task: str = "a"
lr: float = 1e-3
seed: int = 0  # a comment
flag: bool = False
name: str | None = None
sizes: list[int] = [1, 2]
shares: dict[str, float] = {}
run: dict = {}
"""

# A notebook that trains nothing: it counts how often it started, and can fail or be killed in mid-run.
BODY = """
import os, signal, sys
from pathlib import Path
from latent_runs.records import utc_now, write_result
started, folder, init_from = utc_now(), Path(run["dir"]), run.get("init_from")
resumed = (folder / "checkpoint.safetensors").exists()
with open(folder.parents[1] / "starts.log", "a") as log:
    print(folder.name, resumed, Path(init_from, "result.json").exists() if init_from else None, file=log)
(folder / "checkpoint.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # without a tensor, and whole
trouble = folder.parents[1] / f"{task}.trouble"
if trouble.exists() and not resumed:
    (os.kill(os.getppid(), signal.SIGKILL), os._exit(1)) if trouble.read_text() == "kill" else 1 / 0
write_result(folder / "result.json", parameters=dict(task=task, seed=seed, run=run), n_evaluated=1,
             metrics={"accuracy": 1.0, "own_kernel": sys.prefix == PREFIX}, wall_seconds=0.0, started=started,
             model_fingerprint=f"{task} {lr}", data_fingerprint="", status="smoke" if "budget" in run else "complete")
"""
REPORT = """
from pathlib import Path
found = sorted(path.parent.relative_to(records_dir).as_posix() for path in Path(records_dir).rglob("result.json"))
Path(out_dir, "report.md").write_text("\\n".join(found))
"""
TORCH = "class cuda: device_count = staticmethod(int)\nget_num_threads = int"  # loads in no time
GRID = """
tier: toy
runs:
  - {notebook: toy, variant: first, parameters: {task: a, lr: 1e-3}}
  - {notebook: toy, variant: second, after: first, parameters: {task: b}}
  - {notebook: toy, variant: alone, parameters: {task: c}}
  - {notebook: toy, variant: costly, extra: true, parameters: {task: d}}
"""


@pytest.fixture
def toy(notebook):
    return notebook("toy", PARAMETERS, BODY.replace("PREFIX", repr(sys.prefix)))


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("3", 3), ("x", "x"), ("[1, 2]", [1, 2]), ("null", None)])
def test_yaml_values(text, value):
    assert plan.parse_yaml(text) == value


def test_grid_links_runs_of_the_same_seed(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(GRID)
    runs = {run.id: run for run in plan.read_grid(path, [0, 1])}
    assert list(runs)[:2] == ["toy/first--s0", "toy/second--s0"] and len(runs) == 8
    assert runs["toy/second--s1"].after == runs["toy/first--s1"]
    assert runs["toy/second--s1"].arguments == {
        "task": "b",
        "run.tier": "toy",
        "seed": 1,
        "run.init_from": str(ROOT / "papermill_runs" / "toy" / "toy" / "first--s1"),
    }
    assert runs["toy/costly--s0"].extra


def test_a_sweep_is_a_run_for_each_setting(tmp_path):
    path = tmp_path / "toy.yaml"
    sweep = "  - {notebook: toy, variant: swept, after: first, extra: true, parameters: {lr: 1, seed: 2}, settings: {%s}}\n"
    path.write_text(GRID + sweep % "low: {lr: 0.1}, same: {}")
    low, same = plan.read_grid(path)[-2:]
    assert (low.variant, low.parameters, low.extra) == ("swept-low", {"lr": 0.1, "seed": 2}, True)
    assert (same.variant, same.parameters, same.after.variant) == ("swept-same", {"lr": 1, "seed": 2}, "first")
    path.write_text(GRID + sweep % "low: {}" + sweep % "low: {}")
    with pytest.raises(ValueError, match="'swept-low' is there twice"):
        plan.read_grid(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tier: toy", "teir: toy", "unknown keys"),
        ("variant: alone", "variant: first", "twice"),
        ("after: first", "after: last", "no run 'last' above"),
        ("extra: true", "etxra: true", "unknown keys"),
    ],
)
def test_bad_grids_are_refused(tmp_path, old, new, message):
    path = tmp_path / "toy.yaml"
    path.write_text(GRID.replace(old, new))
    with pytest.raises(ValueError, match=message):
        plan.read_grid(path)


@pytest.mark.parametrize("path", sorted((ROOT / "papermill_runs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_grids_here_fit_their_notebooks(path):
    for run in plan.read_grid(path, [0]):
        check_parameters(run.notebook, run.arguments)


class Checkout:
    """A copy of the machinery with toy notebooks, driven through its command line."""

    def __init__(self, root: Path):
        self.root, self.runs = root, root / "papermill_runs"
        for package in (ROOT / "lib").glob("*/__init__.py"):  # empty but for what runs a grid
            (root / "lib" / package.parent.name).mkdir(parents=True)
        self.runs.mkdir()
        for name in ("latent_cot/__init__.py", "latent_backbones/whole.py"):
            shutil.copy(ROOT / "lib" / name, root / "lib" / name)
        shutil.copytree(ROOT / "lib" / "latent_runs", root / "lib" / "latent_runs", dirs_exist_ok=True)
        shutil.copy(ROOT / "papermill_runs" / "Snakefile", self.runs)
        self.environment = os.environ | {"PYTHONPATH": str(root / "lib")}
        (self.runs / "toy.yaml").write_text(GRID)
        (root / "lib" / "torch.py").write_text(TORCH)

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "latent_runs.grid", *arguments]
        options = {"cwd": self.root, "env": self.environment, "text": True}  # cwd: `-m` looks there first
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def call(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def starts(self) -> list[str]:
        """What ran since last asked: `<variant>--s<seed> <resumed> <warm start found>`, sorted."""
        log = self.runs / "toy" / "starts.log"
        lines = sorted(log.read_text().splitlines()) if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def report(self) -> list[str]:
        return (self.runs / "toy" / "report" / "report.md").read_text().split()


@pytest.fixture
def checkout(tmp_path, notebook, toy):
    notebook("08_paper_tables", 'records_dir: str = ""\nout_dir: str = ""', REPORT)
    return Checkout(tmp_path)


def test_dry_run_and_wrong_grid_start_nothing(checkout):
    status, output = checkout.call("toy", "--dry-run")
    assert (status, checkout.starts()) == (0, []), output
    checkout.runs.joinpath("toy.yaml").write_text(GRID.replace("task: c", "tusk: c"))
    status, output = checkout.call("toy")
    assert (status, checkout.starts()) == (1, [])
    assert "no parameter 'tusk'; did you mean 'task'?" in output and "Traceback" not in output


def test_the_slurm_profile_submits_every_run_with_its_gpu(checkout):
    checkout.runs.joinpath("toy.yaml").write_text(GRID.replace("tier: toy", "tier: toy\ngpu: 1"))
    profile = str(ROOT / "papermill_runs" / "slurm")
    status, output = checkout.call("toy", "--dry-run", "--", "--profile", profile)
    assert (status, checkout.starts()) == (0, []), output
    for variant in ("first", "second", "alone"):
        assert f"variant={variant}, seed=0" in output
    assert output.count("gpu=1") == 3 and output.count("runtime=2880") == 3


def test_what_asks_for_a_gpu_says_so_before_it_starts(checkout):
    """Where there is none; told so, it runs all the same."""
    checkout.runs.joinpath("toy.yaml").write_text(GRID.replace("tier: toy", "tier: toy\ngpu: 1"))
    status, output = checkout.call("toy", "--only", "*/alone*")
    assert (status, checkout.starts()) == (1, [])
    said = "torch sees no GPU, and 1 runs ask for one (toy: toy/alone--s0); start them where there is one"
    assert said in output and output.count("\n") == 1 and "Traceback" not in output
    status, output = checkout.call("toy", "--only", "*/alone*", "--cpu")
    assert (status, checkout.starts()) == (0, ["alone--s0 False None"]), output


def test_a_failed_run_names_what_its_error_says_first(checkout, notebook):
    notebook("toy", PARAMETERS, "raise ValueError('lr is too large\\nIt takes:\\n  lr: float')")
    out = checkout.root / "out"
    status, output = checkout.call("run", "toy", "--out", str(out))
    said = f"RuntimeError: toy failed: ValueError: lr is too large; see {out / 'failed.json'}\n"
    assert status == 1 and output.endswith(said)
    failure = json.loads((out / "failed.json").read_text())
    assert failure["what"] == "ValueError: lr is too large" and failure["error"][-1].strip() == "lr: float"
    status, output = checkout.call("toy", "--only", "*/second*", "--jobs", "1")
    path = "papermill_runs/toy/toy/first--s0/failed.json"
    assert status == 1 and "MISSING toy/second--s0: starts from toy/first--s0" in output
    assert json.loads((checkout.root / path).read_text())["what"] == "ValueError: lr is too large"


def test_grid_from_first_run_to_stale_records(checkout, notebook):
    status, output = checkout.call("toy", "--jobs", "2")
    assert status == 0, output
    assert checkout.starts() == ["alone--s0 False None", "first--s0 False None", "second--s0 False True"]
    assert checkout.report() == ["toy/alone--s0", "toy/first--s0", "toy/second--s0"]
    result = json.loads((checkout.runs / "toy/toy/first--s0/result.json").read_text())
    assert result["metrics"]["own_kernel"], "the kernel is of another environment"

    # Another seed joins the report, and so does a run that is no row of the grid; what is asked for runs alone.
    assert checkout.call("run", "toy", "--out", str(checkout.runs / "toy/toy/mine--s0"))[0] == 0 and checkout.starts()
    status, output = checkout.call("toy", "--seeds", "1", "--only", "*/alone*")
    assert (status, checkout.starts()) == (0, ["alone--s1 False None"]), output
    assert checkout.report() == ["toy/alone--s0", "toy/alone--s1", "toy/first--s0", "toy/mine--s0", "toy/second--s0"]
    shutil.rmtree(checkout.runs / "toy/toy/mine--s0")

    # New modification times, prose and outputs change nothing.
    for path in checkout.root.rglob("*.py"):
        path.touch()
    path = checkout.root / "notebooks" / "toy.ipynb"
    path.write_text(path.read_text().replace('"outputs": []', '"outputs": [ ]'))
    status, output = checkout.call("toy")
    assert (status, checkout.starts()) == (0, []), output

    # Changed parameters run those runs and what starts from them; if one fails or is killed, no old number stays, nor
    # one of another seed.
    checkout.runs.joinpath("toy.yaml").write_text(GRID.replace("1e-3", "2e-3").replace("task: c", "task: c, flag: true"))
    (checkout.runs / "toy" / "a.trouble").write_text("fail")
    (checkout.runs / "toy" / "c.trouble").write_text("kill")
    status, output = checkout.call("toy")
    assert status == 1, output
    assert checkout.starts() == ["alone--s0 False None", "first--s0 False None"]
    assert checkout.report() == []
    assert "ZeroDivisionError" in json.loads((checkout.runs / "toy/toy/first--s0/failed.json").read_text())["error"][-1]
    assert "MISSING toy/first--s0" in output and "MISSING toy/second--s0" in output

    # The next success clears the failure, and both go on where their checkpoints are; the lock is free.
    (checkout.runs / "toy" / "a.trouble").unlink()
    status, output = checkout.call("toy")
    assert status == 0, output
    assert checkout.starts() == ["alone--s0 True None", "first--s0 True None", "second--s0 False True"]
    assert not list(checkout.runs.rglob("failed.json"))
    assert [path.parent.name for path in checkout.runs.rglob("stale.json")] == ["alone--s1"]

    # Changed code makes every record out of date, those of other seeds too; an extra run runs if named.
    notebook("toy", PARAMETERS, BODY.replace("PREFIX", "''"))
    status, output = checkout.call("toy", "--seeds", "1", "--only", "*/costly*")
    assert status == 0, output
    assert checkout.starts() == ["costly--s1 False None"]
    assert checkout.report() == ["toy/costly--s1"]


def test_second_grid_at_the_same_time_is_turned_away(checkout):
    holder = "import sys, time; from pathlib import Path; from latent_runs.folders import exclusive\n"
    holder += "with exclusive(Path(sys.argv[1]), 'x'):\n    print('held', flush=True)\n    time.sleep(60)"
    command = [sys.executable, "-c", holder, str(checkout.runs / ".lock")]
    first = subprocess.Popen(command, cwd=checkout.root, env=checkout.environment, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "held\n"
    status, output = checkout.call("toy")
    assert (status, checkout.starts()) == (1, [])
    assert f"a grid is going on already (process {first.pid})" in output and "Traceback" not in output
    first.send_signal(signal.SIGKILL)
    first.wait()
    with folders.exclusive(checkout.runs / ".lock", "a grid"):
        pass


def test_only_trusted_records_of_a_commit_are_kept(checkout):
    record = {"schema_version": 1, "notebook": "toy", "variant": "alone", "seed": 0, "status": "complete", "git": None}
    path = checkout.runs / "toy/toy/alone--s0/result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    status, _ = checkout.call("record", "toy")
    assert (status, list((checkout.runs / "recorded").rglob("*.json"))) == (0, []), "no commit, no record"
    path.write_text(json.dumps(record | {"git": {"commit": "c0ffee", "dirty": False}}))
    assert checkout.call("record", "toy") == (0, "1 records copied to papermill_runs/recorded/\n")
    kept = checkout.runs / "recorded/toy/toy/alone--s0"
    path.with_name("model.safetensors").write_bytes(b"weights")
    assert [item.name for item in kept.iterdir()] == ["result.json"]
    grid_file = checkout.runs / "toy.yaml"
    grid_file.write_text(GRID.replace("variant: alone,", "variant: alone, keep_model: true,"))
    assert checkout.call("record", "toy")[0] == 0
    assert (kept / "model.safetensors").read_bytes() == b"weights"


def test_one_notebook_from_the_command_line(checkout):
    out = checkout.root / "by_hand" / "toy" / "x--s0"
    status, output = checkout.call("run", "toy", "--out", str(out), "lr=1e-3", "name=null", "run.budget=0.01")
    assert status == 0, output
    assert json.loads((out / "result.json").read_text())["status"] == "smoke"


def test_what_took_longest_is_begun_first(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "RECORDED", tmp_path)
    runs = [plan.Run("toy", "toy", name, {}, seed=0) for name in ("short", "unknown", "long", "middle")]
    for run, seconds in zip(runs, (1.0, None, 9.0, 5.0)):
        if seconds:
            (tmp_path / "toy" / run.id).mkdir(parents=True)
            (tmp_path / "toy" / run.id / "result.json").write_text(json.dumps({"wall_seconds": seconds}))
    assert [run.variant for run in grid.longest(runs, 2)] == ["long", "middle"]
    assert [run.variant for run in grid.longest(runs, 9)] == ["long", "middle", "short"]
