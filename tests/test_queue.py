"""The queue of `make gpu`: in order, in time, taken up again; a rehearsal's records say so; a pack arrives whole or not."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import pytest

from latent_costs.estimate import LENGTHS, blank_plan, estimate, lengths_key, training_runs
from latent_reports.tables import FROZEN_NOTEBOOK
from latent_runs import pack, queue, records
from latent_runs.notebooks import run_notebook
from latent_runs.places import ROOT
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.results import load_results

SHARE = 1 / 500  # so that a run is mostly its start
GPU = read_grid(grid_path("gpu"))
LENGTHS_THERE = json.loads(LENGTHS.read_text())


# --- the queue file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", GPU, ids=lambda run: run.id)
def test_every_slice_says_what_it_takes_and_what_for(run):
    assert run.minutes > 0 and run.gib > 0 and run.answers
    assert run.minutes + (run.after.minutes if run.after else 0) <= 8, "with its parent it is to end in eight minutes"


@pytest.mark.parametrize("run", training_runs("gpu"), ids=lambda run: run.id)
def test_what_the_queue_expects_is_what_the_estimate_says(run):
    cost = estimate(blank_plan(run, LENGTHS_THERE[lengths_key(run)]["lengths"]))
    training = 60 * cost.hours["H100"]
    trained = 10 if run.notebook == FROZEN_NOTEBOOK else 1  # lesson 05 trains the rows of its table one after another
    assert training <= run.minutes <= 2 * trained * training + 4
    assert run.gib == pytest.approx(cost.memory / 2**30, rel=0.1, abs=1)


# --- within a budget -----------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path, notebook, monkeypatch):
    """Three quick runs of a notebook that takes a second; the third starts from the second."""
    path = notebook(
        "quick",
        "seconds: float = 0.0\nseed: int = 0\nrun: dict = {}",
        "import json, time, pathlib\ntime.sleep(seconds)\n"
        "record = {'wall_seconds': 1, 'metrics': {'accuracy': .5}}\n"
        "(pathlib.Path(run['dir']) / 'result.json').write_text(json.dumps(record))",
    )
    monkeypatch.setattr(Run, "folder", property(lambda run: tmp_path / "runs" / run.tier / run.variant))
    monkeypatch.setattr(queue, "RUNS", tmp_path / "runs")
    one = Run("toy", str(path), "one", {}, 0, minutes=0.01)
    two = replace(one, variant="two")
    return [one, two, replace(one, variant="three", after=two)]


def states(outcomes) -> list[str]:
    return [outcome.state.split(":")[0].split(" ")[0] for outcome in outcomes]


def test_what_is_done_is_not_run_again(runs, tmp_path):
    first = list(queue.work(runs[:1], 600, tmp_path / "log"))
    assert states(first) == ["done"] and first[0].seconds > 0
    assert states(queue.work(runs[:1], 600, tmp_path / "log")) == ["was"]


def test_a_run_that_does_not_fit_is_not_begun_and_a_smaller_one_behind_it_is(runs, tmp_path):
    long = replace(runs[0], variant="long", minutes=100)
    assert states(queue.work([long, runs[0]], 600, tmp_path / "log")) == ["does", "done"]
    assert not long.folder.exists()


def test_a_run_waits_for_its_parent(runs, tmp_path):
    parent = replace(runs[1], minutes=100)
    assert states(queue.work([parent, replace(runs[2], after=parent)], 600, tmp_path / "log")) == ["does", "waits"]


def test_a_slow_machine_shifts_what_fits(runs, tmp_path, monkeypatch):
    """The first takes some seconds and not the expected one; so the second, expected to take 60, will not fit into 100."""
    monkeypatch.setattr(queue, "LONG_ENOUGH", 0.1)
    first, second = replace(runs[0], minutes=1 / 60), replace(runs[1], minutes=1)
    assert states(queue.work([first, second], 100, tmp_path / "log")) == ["done", "does"]


def test_a_run_over_time_is_cut_off_and_one_that_fails_is_named(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "GRACE", 20.0)
    slow = replace(runs[0], parameters={"seconds": 300.0}, minutes=0.0001)
    began = time.monotonic()
    assert states(queue.work([slow], 12, tmp_path / "log")) == ["cut"]
    assert time.monotonic() - began < 60
    broken = replace(runs[1], parameters={"seconds": "no number"})
    assert states(queue.work([broken], 60, tmp_path / "log")) == ["failed"]
    assert "must be float" in (tmp_path / "log").read_text()


# --- a rehearsal of the real one -----------------------------------------------------------------------------------


def the_queue(tmp_path, budget: float) -> subprocess.Popen:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "LATENT_COT_BUDGET": "1"}
    command = [sys.executable, "-m", "latent_runs.queue", "gpu", "--budget", str(budget), "--out", str(tmp_path / "out")]
    command += ["--share", str(SHARE)]
    return subprocess.Popen(command, cwd=tmp_path / "clone", env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A copy of the working tree, so that no run of anybody is touched."""
    left = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".snakemake", "tiny", "small", "gpu*", "recorded")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=left)
    shutil.copy(ROOT / "papermill_runs" / "gpu.yaml", tmp_path / "clone" / "papermill_runs")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "clone" / "lib"))
    return tmp_path / "clone"


def test_the_queue_in_rehearsal_killed_and_taken_up(clone, tmp_path, data_dir):
    runs = clone / "papermill_runs" / "gpu-rehearsal"
    process = the_queue(tmp_path, 300)
    deadline = time.monotonic() + 200
    while not (begun := [*runs.glob("*/speed--s0/inputs.json")]) and time.monotonic() < deadline:
        assert process.poll() is None, "the queue ended by itself"
        time.sleep(0.2)
    assert begun, "the second run was never begun"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {path.parent.name: path.stat().st_mtime_ns for path in runs.glob("*/*/result.json")}
    assert set(done) == {"smoke--s0"}
    for budget in (60, 120, 240):  # a machine that is busy otherwise may need more than one call
        output, _ = the_queue(tmp_path, budget).communicate(timeout=2 * budget)
        assert "smoke--s0: was done" in output and "cut off" in output and "does not fit" in output
        if len([*runs.glob("*/*/result.json")]) > len(done):
            break
    for path in runs.glob("*/*/result.json"):
        assert done.get(path.parent.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns, "a finished run was run again"
    records_there = load_results(runs)
    assert len(records_there) > len(done), "nothing more was done"
    assert set(records_there.status) == {"smoke"} and not records_there.trusted.any()
    assert set(records_there.tier) == {"gpu-rehearsal"}
    out = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert len(out) <= 8 and max(out.values()) <= 16 * 2**20
    with tarfile.open(tmp_path / "out" / "records.tar.gz") as tar:
        names = tar.getnames()
    assert sum(name.endswith("result.json") for name in names) == len(records_there)
    assert "| 10 smoke |" in (tmp_path / "out" / "table.md").read_text()


# --- without Jupyter -----------------------------------------------------------------------------------------------


def test_a_notebook_runs_the_same_without_papermill(notebook, tmp_path, monkeypatch):
    path = notebook(
        "plain",
        "base: int = 1\nrun: dict = {}",
        "import json, pathlib\nprint('base', base)\nbase + 1",
        "(pathlib.Path(run['dir']) / 'result.json').write_text(json.dumps(base))",
    )
    run_notebook(path, tmp_path / "with", {"base": 3})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    executed = run_notebook(path, tmp_path / "without", {"base": 3})
    assert (tmp_path / "with" / "result.json").read_text() == (tmp_path / "without" / "result.json").read_text() == "3"
    assert "base 3" in executed.read_text() and "4" in executed.read_text()


def test_what_a_cell_raises_without_papermill_is_the_run_s_failure(notebook, tmp_path, monkeypatch):
    path = notebook("plain", "base: int = 1", "1 / 0")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="division by zero"):
        run_notebook(path, tmp_path / "out", {})
    assert "division by zero" in (tmp_path / "out" / "failed.json").read_text()


# --- packs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A pack of some data in parts of 1 KiB."""
    data = tmp_path / "data"
    files = {"gsm8k_aug/test.txt": "a||b #### 1\n" * 300, "prosqa/prosqa_valid.json": "[]", "svamp/SVAMP.json": "[]"}
    files |= {"other/file": "no"}
    for name, text in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text)
    monkeypatch.setattr(records, "git_state", lambda: {"commit": "abc", "dirty": False})
    pack.make(tmp_path / "pack", "gpu", data, 1 / 1024, "3.12", (), wheels=False)
    return tmp_path / "pack"


def test_a_pack_travels_in_parts_and_holds_what_the_queue_reads(packed, tmp_path):
    parts = sorted(packed.glob("pack.tar.*"))
    assert len(parts) > 3 and all(part.stat().st_size <= 1024 for part in parts)
    assert pack.main(["join", str(packed), str(tmp_path / "there")]) == 0
    there = {str(path.relative_to(tmp_path / "there")) for path in (tmp_path / "there").rglob("*") if path.is_file()}
    published = {"data/gsm8k_aug/test.txt", "data/prosqa/prosqa_valid.json", "data/svamp/SVAMP.json"}  # one of word-problems'
    assert there == {"source.json"} | published
    assert (tmp_path / "there/data/gsm8k_aug/test.txt").read_bytes() == (tmp_path / "data/gsm8k_aug/test.txt").read_bytes()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda part: part.unlink(), "lacks pack.tar.001"),
        (lambda part: part.write_bytes(part.read_bytes()[:-1]), "pack.tar.001 arrived broken"),
        (lambda part: part.write_bytes(b"x" + part.read_bytes()[1:]), "pack.tar.001 arrived broken"),
        (lambda part: (part.parent / "SHA256SUMS").unlink(), "has no SHA256SUMS"),
    ],
)
def test_a_pack_that_did_not_arrive_whole_is_refused(packed, tmp_path, capsys, harm, said):
    harm(packed / "pack.tar.001")
    assert pack.main(["join", str(packed), str(tmp_path / "there")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "there").exists()


def test_code_that_is_not_committed_is_not_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "git_state", lambda: {"commit": "abc", "dirty": True})
    assert pack.main(["make", str(tmp_path / "pack"), "--no-wheels", "--data", str(tmp_path)]) == 1
    assert "commit lib/ and notebooks/ first" in capsys.readouterr().err


def test_a_record_made_from_a_pack_names_its_commit(tmp_path, monkeypatch):
    source = tmp_path / "source.json"
    source.write_text(json.dumps({"commit": "abc", "digest": records.source_digest()}))
    assert records.packed_state() is None
    monkeypatch.setenv(records.SOURCE, str(source))
    assert records.packed_state() == {"commit": "abc", "dirty": False}
    source.write_text(json.dumps({"commit": "abc", "digest": "other code"}))
    assert records.packed_state() == {"commit": "abc", "dirty": True}


@pytest.mark.parametrize(("size", "names"), [(10, ["f"]), (4, ["f.000", "f.001", "f.002"]), (5, ["f.000", "f.001"])])
def test_files_are_cut_to_size(tmp_path, size, names):
    written = pack.write_parts(io.BytesIO(b"0123456789"), tmp_path / "f", size)
    assert [path.name for path in written] == names == sorted(path.name for path in tmp_path.iterdir())
    assert b"".join(path.read_bytes() for path in written) == b"0123456789"
