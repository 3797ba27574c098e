"""The grid of runs (`plan`), checked first, then handed to Snakemake.

    python -m latent_runs.grid TIER [--seeds 0 1 2] [--jobs N] [--only GLOB] [--all] [--force] [--cpu] [--dry-run]
                              [-- SNAKEMAKE OPTIONS]
    python -m latent_runs.grid run NOTEBOOK --out DIR [name=value ...]
    python -m latent_runs.grid record TIER
    python -m latent_runs.grid take TIER/NOTEBOOK/VARIANT--sSEED
    python -m latent_runs.grid older [FOLDER]

Snakemake (`papermill_runs/Snakefile`) decides what runs, in which order and side by side, here or on a cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from latent_runs.folders import claimed, exclusive, prepare
from latent_runs.keys import inputs_key
from latent_runs.leash import end_with, leash
from latent_runs.notebooks import check_parameters, run_notebook, set_aside_stale
from latent_runs.places import GRIDS, IN_CHECKOUT, RECORDED, ROOT, RUNS, check_code_is_here, whole_paths
from latent_runs.plan import Run, grid_path, parse_value, read_grid
from latent_runs.results import ANSWERS, CARRIED, LATENCY, MODEL, code_of, load_results

REPORT_NOTEBOOK = "08_paper_tables"


def keys(tier: str, seeds: Sequence[int]) -> dict[Path, str]:
    """By run folder, the key of the inputs that the grid asks for now: of `seeds`, and of those that have records."""
    recorded = {int(path.parent.name.rpartition("--s")[2]) for path in (RUNS / tier).glob("*/*--s*/result.json")}
    runs = read_grid(grid_path(tier), sorted({*seeds, *recorded}))
    return {run.folder: inputs_key(run.notebook, run.arguments) for run in runs}


def record(tier: str) -> list[Path]:
    """Copy each trusted `result.json` of a commit, with the models to be kept and the times measured, from
    `papermill_runs/<tier>` to `recorded/<tier>`."""
    source, target, copied = RUNS / tier, RUNS / "recorded" / tier, []
    kept = {run.result for run in read_grid(grid_path(tier)) if run.keep_model}
    for row in load_results(source).to_dict("records"):
        if row["trusted"] and isinstance(row.get("git.commit"), str):
            copied.append(target / Path(row["path"]).relative_to(source))
            copied[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(row["path"], copied[-1])
            if Path(row["path"]) in kept:
                _ship(Path(row["path"]).parent, copied[-1].parent)
            # Answers are kept of a GPU alone, which is not had again for a measure that comes to mind later.
            for file in (CARRIED, ANSWERS) if row.get("device.gpus") else (CARRIED,):
                if (there := Path(row["path"]).with_name(file)).is_file():
                    shutil.copyfile(there, copied[-1].with_name(file))
        else:
            print(f"not recorded: {row['id']} (status {row['status']}, trusted {row['trusted']})")
    if copied and (source / LATENCY).is_file():
        shutil.copyfile(source / LATENCY, target / LATENCY)
    return copied


def _ship(folder: Path, into: Path) -> None:
    """A model beside its record; of one that adapts a pretrained LM, what that LM lacks."""
    spec = json.loads((folder / "result.json").read_text(encoding="utf-8")).get("parameters", {}).get("model", {})
    if spec.get("lora_rank") and spec.get("lm", "tiny") != "tiny":
        from latent_cot.adapters import take_apart  # here: it takes seconds

        take_apart(folder, into)
    else:
        shutil.copyfile(folder / MODEL, into / MODEL)


def take(run: str) -> None:
    """Put a model whose adapters ship with its record, "tier/notebook/variant--s0", where it would have been trained, so that
    what starts from it can. Raises FileNotFoundError where none ship, ValueError where today's code would train another model,
    or where they do not make that of the record."""
    from latent_cot.adapters import PARTS, put_together
    from latent_cot.models import save_reasoner
    from latent_runs.records import fingerprint_state_dict

    shipped, here = RECORDED / run, RUNS / run
    if not (shipped / PARTS).is_file():
        known = ", ".join(str(path.parent.relative_to(RECORDED)) for path in sorted(RECORDED.rglob(PARTS)))
        raise FileNotFoundError(f"no adapters of {run} ship with its record; there are: {known or 'none'}")
    if code_of(shipped) != "same key":
        raise ValueError(f"{run} was trained by older code, so it has to be trained again")
    reasoner, record = put_together(shipped), json.loads((shipped / "result.json").read_text(encoding="utf-8"))
    if fingerprint_state_dict(reasoner.state_dict()) != record["model_fingerprint"]:
        raise ValueError(f"{shipped / PARTS} do not make the model of its record: its source has other weights here")
    with claimed(here, record["notebook"]):
        prepare(here, {name: record[name] for name in ("key", "notebook", "parameters")})
        save_reasoner(reasoner, here)
        shutil.copyfile(shipped / "result.json", here / "result.json")


def older(folder: Path) -> None:
    """Say which records below a folder today's code would not make."""
    rows = load_results(folder)
    code = [code_of(Path(path).parent) for path in rows.path]
    print(f"{folder}: {code.count('same key')} of {len(code)} records are what today's code makes")
    for said, tier, name in zip(code, rows.tier, rows.id):
        if said != "same key":
            print(f"{said}: {tier}/{name}")


def snakemake(targets: Sequence[str], tier: str, seeds: Sequence[int], jobs: int, lock: IO[str], *options: str) -> int:
    """Bring targets up to date and return Snakemake's exit status.

    Should we be killed, it ends; where that cannot be had, it holds our lock.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(GRIDS / "Snakefile"), "--directory", str(ROOT)]
    command += ["--nolock", "--rerun-incomplete", "--keep-going"]
    command += ["--quiet", "progress", "host", "reason", *(() if "--dry-run" in options else ("rules",))]
    command += ["--rerun-triggers", "mtime", "params", "input", *options]
    if "--profile" not in options:  # on this machine; a run that wants a GPU takes all there are, so one at a time
        command += ["--cores", str(jobs), "--resources", "gpu=1"]
    command += ["--config", f"tier={tier}", f"seeds={' '.join(map(str, seeds))}", "--", *targets]
    # Relative to where Snakemake and its jobs run: a path may hold the separator of PYTHONPATH.
    environment = os.environ | ({"PYTHONPATH": "lib"} if IN_CHECKOUT else {})
    process = subprocess.Popen(command, env=environment, pass_fds=[lock.fileno()], preexec_fn=leash())
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def longest(runs: Sequence[Run], n: int) -> list[Run]:
    """The n runs to do whose records took most time; one that is begun last is waited for while all but its core rest."""
    records = ((run, RECORDED / run.tier / run.id / "result.json") for run in runs if not run.result.exists())
    took = [(json.loads(path.read_text(encoding="utf-8"))["wall_seconds"], run) for run, path in records if path.is_file()]
    return [run for _, run in sorted(took, key=lambda one: -one[0])[:n]]


def _why(run: Run) -> str:
    """Why a run has no result."""
    if not (path := run.folder / "failed.json").is_file():
        return "not run, or killed" if run.after is None or run.after.result.exists() else f"starts from {run.after.id}"
    return f"{json.loads(path.read_text(encoding='utf-8')).get('what', 'failed')}; see {path.relative_to(ROOT)}"


def _check_machine(runs: Sequence[Run]) -> None:
    """Raise `RuntimeError` if runs want a GPU and this machine has none."""
    if wanting := [run for run in runs if run.gpu and not run.result.exists()]:
        import torch  # here: it takes seconds

        if not torch.cuda.device_count():
            named = f"{wanting[0].tier}: {wanting[0].id}" + " …" * (len(wanting) > 1)
            advice = "start them where there is one, on a cluster with `-- --profile`, or here with --cpu (CPU=1)"
            raise RuntimeError(f"torch sees no GPU, and {len(wanting)} runs ask for one ({named}); {advice}")


def run_grid(options: argparse.Namespace) -> int:
    """Check every run of the grid, run what is not done, rebuild the report; 0 if nothing is missing."""
    runs = read_grid(grid_path(options.tier), options.seeds)
    for run in runs:
        check_parameters(run.notebook, run.arguments)
    named = [run for run in runs if fnmatch(run.id, options.only or "*")]
    wanted = [run for run in named if options.all or options.only or not run.extra]
    if not wanted:
        raise ValueError(f"no run of {options.tier} matches {options.only!r}")
    arguments = options.tier, options.seeds, options.jobs
    targets = [str(run.result.relative_to(ROOT)) for run in wanted]
    with exclusive(RUNS / ".lock", "a grid") as lock:
        if options.dry_run:
            return snakemake(targets, *arguments, lock, "--dry-run", *options.snakemake)
        if not options.cpu and "--profile" not in options.snakemake:
            _check_machine(wanted)
        forced = {run.folder: "run again" for run in wanted if options.force}
        set_aside_stale(RUNS / options.tier, keys(options.tier, options.seeds) | forced)
        done = [run for run in wanted if run.result.exists()]
        print(f"{options.tier}: {len(wanted)} runs, {len(wanted) - len(done)} to do, {options.jobs} cores", flush=True)
        first = [str(run.result.relative_to(ROOT)) for run in longest(wanted, options.jobs)]
        failed = snakemake(targets, *arguments, lock, *(("--prioritize", *first) if first else ()), *options.snakemake)
        set_aside_stale(RUNS / options.tier, keys(options.tier, options.seeds))
        failed |= snakemake([f"papermill_runs/{options.tier}/report/executed.ipynb"], *arguments, lock)
    missing = [run for run in wanted if not run.result.exists()]
    complete = f"{len(wanted) - len(missing)} of {len(wanted)} runs complete"
    print(f"{complete}; report in papermill_runs/{options.tier}/report/")
    print("".join(f"MISSING {run.id}: {_why(run)}\n" for run in missing), end="")
    return int(bool(failed or missing))


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m latent_runs.grid", description=__doc__.partition("\n")[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_code_is_here()
        if argv[:1] == ["run"]:
            parser.add_argument("notebook")
            parser.add_argument("--out", required=True, type=Path)
            parser.add_argument("--parent", type=int, metavar="PID", help="end with this process, which starts the run")
            parser.add_argument("--checked", action="store_true", help="the grid has checked the parameters already")
            parser.add_argument("parameters", nargs="*", metavar="name=value", help="values as YAML; model.n_layers=2 …")
            options = parser.parse_intermixed_args(argv[1:])
            if options.parent:
                end_with(options.parent)
            pairs = [text.partition("=") for text in options.parameters]
            begin = time.monotonic()
            print(f"running {options.out}", flush=True)
            given = {name: whole_paths(parse_value(value), Path.cwd()) for name, _, value in pairs}
            run_notebook(options.notebook, options.out, given, options.checked)
            print(f"done    {options.out} ({time.monotonic() - begin:.0f} s)", flush=True)
            return 0
        if argv[:1] == ["record"]:
            parser.add_argument("tier")
            print(f"{len(record(parser.parse_args(argv[1:]).tier))} records copied to papermill_runs/recorded/")
            return 0
        if argv[:1] == ["take"]:
            parser.add_argument("run", help="tier/notebook/variant--s0, whose adapters ship with its record")
            take(run := parser.parse_args(argv[1:]).run)
            print(f"papermill_runs/{run}")
            return 0
        if argv[:1] == ["older"]:
            parser.add_argument("folder", nargs="?", type=Path, default=RECORDED)
            older(parser.parse_args(argv[1:]).folder)
            return 0
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        parser.add_argument("tier", help="tiny, small or paper: a grid in papermill_runs/")
        parser.add_argument("--seeds", nargs="+", type=int, default=[0])
        parser.add_argument("--jobs", type=int, default=cores, help="cores to use")
        parser.add_argument("--only", metavar="GLOB", help="runs by name, such as '03_*/graph-*'")
        parser.add_argument("--all", action="store_true", help="with the runs marked extra")
        parser.add_argument("--force", action="store_true", help="run again what is done")
        parser.add_argument("--cpu", action="store_true", help="run here what asks for a GPU, though there is none")
        parser.add_argument("--dry-run", action="store_true")
        split = argv.index("--") if "--" in argv else len(argv)
        options = parser.parse_args(argv[:split])
        options.snakemake = argv[split + 1 :]
        return run_grid(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
