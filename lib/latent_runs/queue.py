"""The runs of a grid in the order of their value, within a time budget, on one machine without a network: `make gpu`, or

    python -m latent_runs.queue TIER --budget SECONDS --out DIR [--share X] [--seeds 0 1 2]

A run starts only if it should end before the budget does; one that is cut off all the same goes on from its checkpoint when
the queue is called again. What came out goes to DIR: a table, a log, and one archive of records and decoded answers.
With `--share` below one everything is that much smaller: a rehearsal, under a tier of its own, which no table takes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latent_runs.folders import exclusive
from latent_runs.keys import inputs_key
from latent_runs.leash import leash
from latent_runs.notebooks import set_aside_stale
from latent_runs.pack import write_parts
from latent_runs.places import RECORDED, ROOT, RUNS
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.records import write_atomic
from latent_runs.results import ANSWERS

GRACE = 20.0  # seconds that a run gets to stop in, and the queue to pack what came out
LONG_ENOUGH = 30.0  # expected seconds of a run that tells the machine's pace; shorter ones are all start-up
LARGEST = 16  # MiB of a file that is brought back
SMALL_WEIGHTS = 4 * 2**20  # bytes of a file of weights that is brought back, too
BROUGHT_BACK = ("inputs.json", "result.json", "failed.json", ANSWERS, "executed.ipynb", "executed.txt")


@dataclass(frozen=True)
class Outcome:
    """What became of a run in this call: "done", "was done", "does not fit", "waits for …", "cut off", "failed"."""

    run: Run
    state: str
    seconds: float = 0.0


def minutes(run: Run) -> float:
    """What a run takes on the card that its queue was estimated for: as recorded, or as the queue's file estimates."""
    record = RECORDED / run.tier / run.id / "result.json"
    return json.loads(record.read_text(encoding="utf-8"))["wall_seconds"] / 60 if record.is_file() else run.minutes


def shrunk(run: Run, share: float) -> Run:
    """The same run with `share` of its problems, batch and steps, under the tier `<tier>-rehearsal`."""

    def few(value: int, least: int) -> int:
        return max(least, round(value * share))

    sizes = {"data.n_train": 64, "data.n_valid": 4, "data.n_test": 4, "training.batch_size": 2, "data.max_new_tokens": 4}
    parameters = {key: few(value, sizes[key]) if key in sizes else value for key, value in run.parameters.items()}
    after = shrunk(run.after, share) if run.after else None
    return replace(run, tier=f"{run.tier}-rehearsal", parameters=parameters | {"run.budget": share}, after=after)


def work(runs: Sequence[Run], budget: float, log: Path) -> Iterator[Outcome]:
    """Run what is not done and fits into `budget` seconds, in order."""
    deadline, pace = time.monotonic() + budget, 1.0  # pace: how much slower than the estimates this machine is
    for run in runs:
        left, clock = deadline - time.monotonic(), time.monotonic()
        expected = 60 * minutes(run) * run.parameters.get("run.budget", 1.0) * pace
        if run.result.exists():
            yield Outcome(run, "was done")
        elif run.after and not run.after.result.exists():
            yield Outcome(run, f"waits for {run.after.variant}")
        elif expected > left or left <= 0:
            yield Outcome(run, f"does not fit: {expected:.0f} s expected, {max(left, 0):.0f} s left")
        else:
            status = _start(run, log, left)
            seconds = time.monotonic() - clock
            if run.result.exists() and expected > LONG_ENOUGH:
                pace *= seconds / expected
            state = "done" if run.result.exists() else "cut off; goes on next time" if status is None else "failed"
            yield Outcome(run, state, seconds)


def _start(run: Run, log: Path, seconds: float) -> int | None:
    """One run as a process of its own: its exit status, or None if it was stopped after `seconds`."""
    arguments = [f"{name}={json.dumps(value)}" for name, value in run.arguments.items()]
    command = [sys.executable, "-m", "latent_runs.grid", "run", run.notebook, "--out", str(run.folder), *arguments]
    ends = leash(signal.SIGTERM)  # if the queue is killed, the run stops and can be taken up at once
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, preexec_fn=ends)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:  # however we leave
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def table(outcomes: Sequence[Outcome]) -> str:
    """What ran and what it gave, in Markdown."""
    columns = "run", "accuracy %", "minutes", "expected", "peak GiB", "expected", "state", "answers"
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * 5 + " --- | --- |"]
    for outcome in outcomes:
        run, record = outcome.run, {}
        if run.result.exists():
            record = json.loads(run.result.read_text(encoding="utf-8"))
        metrics = record.get("metrics", {})
        accuracy = f"{100 * metrics['accuracy']:.1f}" if "accuracy" in metrics else "·"
        took = f"{record['wall_seconds'] / 60:.1f}" if record else "·"
        peak = f"{metrics['peak_gib']:.1f}" if metrics.get("peak_gib") else "·"
        cells = [f"{run.notebook[:2]} {run.variant}", accuracy, took, f"{minutes(run):.1f}", peak, f"{run.gib:.0f}"]
        lines.append(f"| {' | '.join([*cells, outcome.state, run.answers])} |")
    return "\n".join(lines) + "\n"


def bring_back(runs: Sequence[Run], out: Path, outcomes: Sequence[Outcome], log: Path) -> None:
    """Leave in `out` a table, the log, and the archive of all runs' records, answers and small weights."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for run in runs:
            small = (path for path in run.folder.glob("*.safetensors") if path.stat().st_size <= SMALL_WEIGHTS)
            weights = [path.name for path in small if path.name in ("model.safetensors", "projection.safetensors")]
            for name in (*BROUGHT_BACK, *weights):
                if (path := run.folder / name).is_file():
                    tar.add(path, arcname=str(path.relative_to(RUNS)))
    archive.seek(0)
    for old in out.glob("records.tar.gz*"):
        old.unlink()
    write_parts(archive, out / "records.tar.gz", LARGEST * 2**20)
    write_atomic(out / "table.md", table(outcomes))
    write_atomic(out / "log.txt", log.read_text(encoding="utf-8", errors="replace")[-LARGEST * 2**20 // 2 :])


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status: 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m latent_runs.queue", description=__doc__.partition("\n")[0])
    parser.add_argument("tier")
    parser.add_argument("--budget", type=float, required=True, metavar="SECONDS")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where what came out goes")
    parser.add_argument("--share", type=float, default=1.0, help="of everything; below 1 it is a rehearsal")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        runs = read_grid(grid_path(options.tier), options.seeds)
        if options.share != 1:
            runs = [shrunk(run, options.share) for run in runs]
        options.out.mkdir(parents=True, exist_ok=True)
        folder, outcomes = RUNS / runs[0].tier, list[Outcome]()
        log = folder / "log.txt"
        with exclusive(RUNS / ".lock", "a grid"):
            set_aside_stale(folder, {run.folder: inputs_key(run.notebook, run.arguments) for run in runs})
            folder.mkdir(parents=True, exist_ok=True)
            log.touch()
            try:
                for outcome in work(runs, options.budget - GRACE, log):
                    outcomes.append(outcome)
                    print(f"{outcome.seconds:6.0f} s  {outcome.run.id}: {outcome.state}", flush=True)
            finally:
                bring_back(runs, options.out, outcomes, log)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    done = sum(run.result.exists() for run in runs)
    print(f"{done} of {len(runs)} runs done after {time.monotonic() - started:.0f} s; see {options.out}/table.md")
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main(sys.argv[1:]))
