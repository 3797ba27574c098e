"""A campaign of faults against a grid of real trainings: what is killed, cut short or edited loses nothing. `make faults`, or

    python tests/faults.py [KILLS] [--seed N]

A copy of the code with a small grid is run undisturbed, then with SIGKILL at random moments to any of its processes, until it
is done, again and again until KILLS are spent: 12 take minutes, 100 an hour. Then come a full disk, a folder that turns
read-only, two grids at once, damaged checkpoints, an edited record, a loss that is no number: each must be one line and exit
status 1, or that line and the right weights, with everything good as it was. Linux only. `test_faults.py` runs a part of it.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from latent_backbones.whole import BrokenFile, check_whole  # noqa: E402
from latent_runs.results import load_results  # noqa: E402

VICTIMS = "grid", "snakemake", "runner", "kernel", "worker"
PATIENCE = 5.0  # seconds in which what was started by a killed process must be gone

PARAMETERS = """
method: str = "cot"
task: str = "arithmetic"
options: dict = {}
nan_at: int = 0
steps: int = 300
lr: float = 2e-3
seed: int = 0
model: dict = {"d_model": 16, "n_heads": 2}
data: dict = {"n_train": 400, "n_valid": 8, "n_test": 8}
training: dict = {"batch_size": 16, "checkpoint_every": 20, "steps_per_stage": 60}
run: dict = {}
"""
LESSON = """
import dataclasses, itertools
from latent_runs.lesson import Lesson
lesson = Lesson("lesson", globals())
recipe, reasoner, encoded = lesson.load()
if nan_at:
    calls, supervise = itertools.count(1), recipe.supervise
    def poisoned(reasoner, batch):
        factor = float("nan") if next(calls) == nan_at else 1.0
        return {name: factor * part for name, part in supervise(reasoner, batch).items()}
    recipe = dataclasses.replace(recipe, supervise=poisoned)
lesson.train(reasoner, recipe, encoded)
metrics, _ = lesson.measure(reasoner, recipe)
lesson.record(reasoner, metrics)
"""
REPORT = """
from pathlib import Path
from latent_runs.results import load_results
Path(out_dir, "report.md").write_text("\\n".join(load_results(records_dir)["id"]))
"""
GRID = """
tier: faults
runs:
  - {notebook: lesson, variant: cot}
  - {notebook: lesson, variant: coconut, after: cot, parameters: {method: coconut, options.n_stages: 2}}
  - {notebook: lesson, variant: two, parameters: {method: codi, run.n_processes: 2}}
"""


def write_notebook(path: Path, *sources: str) -> None:
    """A notebook of these cells, the first of which has the parameters."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


class Place:
    """A copy of the code with one small lesson and a grid of it, whose processes are known by a token in their environment."""

    def __init__(self, root: Path):
        self.root, self.runs, self.token = root, root / "papermill_runs" / "faults", uuid.uuid4().hex
        shutil.copytree(ROOT / "lib", root / "lib", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "papermill_runs").mkdir()
        shutil.copy(ROOT / "papermill_runs" / "Snakefile", root / "papermill_runs")
        self.say(PARAMETERS, LESSON, GRID)
        write_notebook(root / "notebooks" / "08_paper_tables.ipynb", 'records_dir: str = ""\nout_dir: str = ""', REPORT)
        threads = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.environment = os.environ | threads | {"PYTHONPATH": str(root / "lib"), "FAULTS": self.token}

    def say(self, parameters: str, lesson: str, grid: str) -> None:
        write_notebook(self.root / "notebooks" / "lesson.ipynb", parameters, lesson)
        (self.root / "papermill_runs" / "faults.yaml").write_text(grid)

    def start(self, *arguments: str, room: int = resource.RLIM_INFINITY) -> subprocess.Popen:
        """`python -m latent_runs.grid` with these arguments, and `room` bytes at most for a file."""
        command = [sys.executable, "-m", "latent_runs.grid", *arguments]
        files = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

        def limited() -> None:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        return subprocess.Popen(command, cwd=self.root, env=self.environment, preexec_fn=limited, **files)

    def call(self, *arguments: str, room: int = resource.RLIM_INFINITY) -> tuple[int, str]:
        process = self.start(*arguments, room=room)
        output, _ = process.communicate(timeout=600)
        return process.returncode, output

    def processes(self) -> dict[str, list[int]]:
        """By kind, the processes that belong here."""
        found: dict[str, list[int]] = {}
        kernels, parents = set(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                if f"FAULTS={self.token}".encode() in (folder / "environ").read_bytes():
                    words, pid = (folder / "cmdline").read_bytes().decode().split("\0"), int(folder.name)
                    parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                    if "ipykernel_launcher" in words:
                        kernels.add(pid)
                    elif words[1:3] == ["-m", "latent_runs.grid"]:
                        found.setdefault("runner" if words[3] == "run" else "grid", []).append(pid)
                    else:
                        found.setdefault("snakemake" if words[1:3] == ["-m", "snakemake"] else "other", []).append(pid)
        for pid in kernels:
            found.setdefault("worker" if parents[pid] in kernels else "kernel", []).append(pid)
        return found

    def orphans(self) -> dict[str, list[int]]:
        """What is left of a grid that has ended, `PATIENCE` later."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def broken(self) -> list[str]:
        """What is half-written under its final name."""
        found = []
        for path in self.runs.rglob("*"):
            try:
                if path.suffix == ".safetensors":
                    check_whole(path)
                elif path.name in ("result.json", "inputs.json", "failed.json"):
                    json.loads(path.read_text())
                elif path.suffix == ".gz":
                    gzip.decompress(path.read_bytes())
            except (BrokenFile, ValueError, OSError, EOFError) as error:
                found.append(f"{path}: {error}")
        with contextlib.suppress(ValueError):
            load_results(self.runs)
            return found
        return [*found, "records that cannot be read"]

    def weights(self) -> dict[str, str]:
        """By run, a digest of the bytes of its final weights."""
        found = {}
        for path in sorted(self.runs.rglob("model.safetensors")):
            content = path.read_bytes()
            found[path.parent.name] = hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()
        return found


@dataclass
class Tally:
    """What was done and what it did."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    lost: list[str] = field(default_factory=list)


def kill_one(place: Place, process: subprocess.Popen, victim: str, delay: float) -> bool:
    """SIGKILL to a process of a kind, `delay` seconds after there is one; whether it was."""
    appeared = None
    while process.poll() is None:
        there = place.processes().get(victim)
        appeared = appeared or (time.monotonic() if there else None)
        if there and time.monotonic() >= appeared + delay:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(there), signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def undisturbed(place: Place) -> dict[str, str]:
    """The weights of the grid's runs where nothing happens to them."""
    status, output = place.call("faults", "--jobs", "2")
    if status:
        raise RuntimeError(f"the grid fails undisturbed:\n{output}")
    return place.weights()


def campaign(
    place: Place, expected: dict[str, str], kills: int, victims: Sequence[str], rng: random.Random, longest: float = 6.0
) -> Tally:
    """Rounds of the grid, every kind of process killed in turn, until there were so many kills and the last round is done."""
    tally, order = Tally(), list[str]()
    while tally.kills.total() < kills:
        shutil.rmtree(place.runs, ignore_errors=True)
        tally.rounds += 1
        done = False
        while not done:
            process = place.start("faults", "--jobs", "2")
            while tally.kills.total() < kills:
                order = order or rng.sample(list(victims), len(victims))
                delay = rng.uniform(0, longest)
                if not kill_one(place, process, order[-1], delay):
                    break
                tally.kills[order[-1]] += 1
                print(f"kill {tally.kills.total()}: {order.pop()}, {delay:.1f} s after there was one", flush=True)
            output, _ = process.communicate(timeout=600)
            done = process.returncode == 0
            tally.lost += [f"orphan: {kind} {pids}" for kind, pids in place.orphans().items()] + place.broken()
        if place.weights() != expected:
            tally.lost.append(f"round {tally.rounds}: other weights than undisturbed: {place.weights()} {expected}")
    return tally


class Trouble:
    """What is tried once each: `tried` says what happened, `wrong` what should not have."""

    def __init__(self, place: Place, expected: str):
        self.place, self.expected = place, expected
        self.tried, self.wrong = list[str](), list[str]()

    def __call__(self, what: str, good: bool, output: str) -> None:
        said = [line for line in output.splitlines() if not line.startswith(("running ", "done "))]
        good = good and "Traceback" not in output
        self.tried.append(what)
        self.wrong += [] if good else [f"{what}: {output}"]
        print(f"{what}: {'as it should be' if good else 'WRONG'}: {(said or [output])[-1]}", flush=True)

    def refused(self, what: str, pattern: str, status: int, output: str, also: bool = True) -> None:
        """Exit status 1, and one line of this pattern."""
        said = [line for line in output.splitlines() if not line.startswith("running ")]
        self(what, also and status == 1 and len(said) == 1 and re.search(pattern, said[0]) is not None, output)

    def ends_well(self, what: str, out: Path, *arguments: str, pattern: str = "") -> None:
        """Called again, the run in `out` ends with the weights of one that nothing happened to."""
        status, output = self.place.call("run", "lesson", "--out", str(out), *arguments)
        right = self.place.weights().get(out.name) == self.expected
        self(what, status == 0 and right and re.search(pattern, output) is not None, output)

    def half_done(self, name: str) -> Path:
        """A run that was killed behind a checkpoint."""
        out = self.place.runs / "lesson" / name
        process = self.begun(out)
        kill_one(self.place, process, "kernel", 0)
        process.communicate(timeout=60)
        return out

    def begun(self, out: Path, *arguments: str) -> subprocess.Popen:
        """A run that goes on, and has a checkpoint."""
        process = self.place.start("run", "lesson", "--out", str(out), *arguments)
        while process.poll() is None and not (out / "checkpoint.safetensors").exists():
            time.sleep(0.02)
        return process


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be made; root needs more than its permissions."""
    root = os.geteuid() == 0
    subprocess.run(["chattr", "+i", folder] if root else ["chmod", "a-w", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder] if root else ["chmod", "u+w", folder], check=True)


def full_disk(trouble: Trouble) -> None:
    out, place = trouble.half_done("full--s0"), trouble.place
    before = (out / "checkpoint.safetensors").read_bytes()
    status, output = place.call("run", "lesson", "--out", str(out), room=len(before) // 2)
    kept = (out / "checkpoint.safetensors").read_bytes() == before and not list(out.glob("*.part"))
    trouble.refused("no room for a checkpoint", r"File too large|os error 27", status, output, kept)
    trouble.ends_well("with room again", out)
    disk = place.runs / "lesson" / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        print("no tmpfs can be mounted here: a full disk was tried by a limit on the size of files only")
        return
    try:
        process = trouble.begun(disk / "tmpfs--s0")
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        output, _ = process.communicate(timeout=120)
        whole = not place.broken()
        trouble.refused("a disk that fills up meanwhile", "No space left|os error 28", process.returncode, output, whole)
        (disk / "filler").unlink()
        trouble.ends_well("with space again", disk / "tmpfs--s0")
    finally:
        subprocess.run(["umount", disk], check=True)


def folder_turns_read_only(trouble: Trouble) -> None:
    out = trouble.place.runs / "lesson" / "frozen--s0"
    process = trouble.begun(out)
    with read_only(out):
        output, _ = process.communicate(timeout=120)
        whole = not trouble.place.broken()
        trouble.refused("a folder that turns read-only", "not permitted|denied|os error", process.returncode, output, whole)
        status, output = trouble.place.call("run", "lesson", "--out", str(out))
        trouble.refused("a folder that is read-only", "no run can be made in", status, output)
    trouble.ends_well("writable again", out)


def two_at_once(trouble: Trouble) -> None:
    place = trouble.place
    shutil.rmtree(place.runs / "lesson" / "cot--s0", ignore_errors=True)
    first = place.start("faults", "--jobs", "2")
    while first.poll() is None and not place.processes().get("runner"):
        time.sleep(0.05)
    trouble.refused("a second grid", "a grid is going on already", *place.call("faults"))
    out = place.runs / "lesson" / "cot--s0"
    trouble.refused("a second run in a folder", "is going on already", *place.call("run", "lesson", "--out", str(out)))
    output, _ = first.communicate(timeout=600)
    right = place.weights().get("cot--s0") == trouble.expected
    trouble("the first grid", first.returncode == 0 and right, output)


def damaged_checkpoints(trouble: Trouble) -> None:
    for how in ("cut short", "a byte flipped"):
        out = trouble.half_done(f"damaged-{how.replace(' ', '_')}--s0")
        path = out / "checkpoint.safetensors"
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(content[: len(content) // 2] if how == "cut short" else content)
        trouble.ends_well(f"a checkpoint {how}", out, pattern=r"checkpoint\.safetensors is damaged: .*starts anew")


def edited_record(trouble: Trouble) -> None:
    place = trouble.place
    path, report = place.runs / "lesson" / "cot--s0" / "result.json", place.runs / "report" / "report.md"
    place.call("faults", "--jobs", "2")
    before, record = report.read_bytes(), json.loads(path.read_text())
    record["metrics"]["accuracy"] = 0.999
    path.write_text(json.dumps(record, indent=1))
    status, output = place.call("faults", "--jobs", "2")
    said = "cot--s0/result.json was changed since its run wrote it" in output
    trouble("an edited record", status == 1 and said and report.read_bytes() == before, output)
    path.unlink()
    status, output = place.call("faults", "--jobs", "2")
    trouble("that run again", status == 0 and place.weights().get("cot--s0") == trouble.expected, output)


def divergence(trouble: Trouble) -> None:
    out = trouble.place.runs / "lesson" / "diverging--s0"
    status, output = trouble.place.call("run", "lesson", "--out", str(out), "nan_at=150")
    check_whole(out / "checkpoint.safetensors")
    named = rf"TrainingDiverged: .* at step 150 of .*last good checkpoint: {re.escape(str(out))}/\S+, step 140"
    trouble.refused("a loss that is no number", named, status, output)


TROUBLES: tuple[Callable[[Trouble], None], ...] = (
    full_disk, folder_turns_read_only, two_at_once, damaged_checkpoints, edited_record, divergence,
)  # fmt: skip


def main() -> int:
    """The command line; returns the exit status: 1 if anything was lost, or went otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the moments")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(Path(scratch))
        expected = undisturbed(place)
        tally = campaign(place, expected, options.kills, VICTIMS, random.Random(options.seed))
        trouble = Trouble(place, expected["cot--s0"])
        for once in TROUBLES:
            once(trouble)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.kills.items()))
    print(f"{tally.kills.total()} kills ({kinds}) in {tally.rounds} rounds of the grid; {len(trouble.tried)} other checks")
    print(*(f"LOST {what}" for what in tally.lost), *(f"WRONG {what}" for what in trouble.wrong), sep="\n", end="")
    minutes = (time.monotonic() - began) / 60
    print(f"lost: {len(tally.lost) or 'nothing'}; wrong: {len(trouble.wrong) or 'nothing'}; {minutes:.0f} minutes")
    return int(bool(tally.lost or trouble.wrong))


if __name__ == "__main__":
    sys.exit(main())
