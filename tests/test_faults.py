"""A part of `make faults` (`faults.py`): kills at moments of a fixed seed, and each fault once."""

import hashlib
import random
import subprocess
import sys
import time

import pytest
from faults import Place, campaign, write_notebook

from latent_runs.grid import main

# A lesson that trains nothing: its weights are a chain of hashes, taken up from a checkpoint as a training is.
CHAIN = """
import hashlib, json, os, time
from pathlib import Path
from latent_backbones.whole import BLANK, check_whole, seal
from latent_runs.records import utc_now, write_result
folder, checkpoint = Path(run["dir"]), Path(run["dir"], "checkpoint.safetensors")
def save(path, state, step):
    tensor = {"dtype": "U8", "shape": [32], "data_offsets": [0, 32]}
    header = {"__metadata__": {"step": str(step), "sha256": BLANK}, "state": tensor}
    text = json.dumps(header, separators=(",", ":")).encode()
    part = path.with_name(path.name + ".part")
    part.write_bytes(len(text).to_bytes(8, "little") + text + state)
    seal(part)
    os.replace(part, path)
def load(path):
    check_whole(path)
    content = path.read_bytes()
    return content[-32:], int(json.loads(content[8:-32])["__metadata__"]["step"])
state, first = load(checkpoint) if checkpoint.exists() else (bytes(32), 0)
for step in range(first, steps):
    state = hashlib.sha256(state + bytes([step % 256])).digest()
    save(checkpoint, state, step + 1)
    time.sleep(0.01)
save(folder / "model.safetensors", state, steps)
write_result(folder / "result.json", parameters=dict(steps=steps, seed=seed, run=run), n_evaluated=1, metrics={},
             wall_seconds=0.0, started=utc_now(), model_fingerprint="", data_fingerprint="")
"""
RUNS = "tier: faults\nruns:\n  - {notebook: lesson, variant: a}\n"
STEPS = 100

WORKERS = """
import os, pathlib, sys, time
from latent_runs import launch
launch.train = lambda *_, **__: (pathlib.Path(sys.argv[1], str(os.getpid())).touch(), time.sleep(60))
launch.train_on(2)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_kills_at_random_moments_lose_nothing(tmp_path):
    place = Place(tmp_path)
    place.say(f"steps: int = {STEPS}\nseed: int = 0\nrun: dict = {{}}", CHAIN, RUNS)
    write_notebook(tmp_path / "notebooks" / "08_paper_tables.ipynb", 'records_dir: str = ""\nout_dir: str = ""')
    stub = "class cuda: device_count = staticmethod(int)\nget_num_threads = int"
    (tmp_path / "lib" / "torch.py").write_text(stub)  # loads in no time
    state = bytes(32)
    for step in range(STEPS):
        state = hashlib.sha256(state + bytes([step])).digest()
    expected = {"a--s0": hashlib.sha256(state).hexdigest()}
    tally = campaign(place, expected, 4, ("grid", "snakemake", "runner", "kernel"), random.Random(13), longest=0.8)
    assert tally.lost == [] and tally.kills.total() == 4 and len(tally.kills) == 4


def test_workers_end_with_the_process_that_started_them(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", WORKERS, str(tmp_path)], stderr=subprocess.DEVNULL)
    while len(workers := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while left := [pid for pid in workers if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie that nobody waits for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_folder_that_goes_away_is_one_line(tmp_path, notebook, capsys):
    """A file stands in its place when the record is written: nothing can be said in `failed.json`."""
    body = "from pathlib import Path\nfolder = Path(run['dir'])\nfolder.rename(folder.with_name('elsewhere'))\n"
    body += "folder.touch()\nfrom latent_runs.records import write_atomic\nwrite_atomic(folder / 'result.json', '')"
    toy = notebook("toy", "seed: int = 0\nrun: dict = {}", body)
    out = tmp_path / "out"
    assert main(["run", str(toy), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "toy failed: " in error and "failed.json" not in error and str(out) in error
