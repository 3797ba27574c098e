# The grid of papermill runs as a workflow. `make tables` calls it through `python -m latent_runs.grid`,
# which checks every parameter first and keeps a second call out; for a cluster, pass an executor after `--`.
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(workflow.basedir) / "lib")]
from latent_runs import grid, notebooks  # noqa: E402

TIER = str(config.get("tier", "tiny"))
SEEDS = [int(seed) for seed in str(config.get("seeds", 0)).split()]
GRID = {run.id: run for run in grid.read_grid(grid.grid_path(TIER), SEEDS)}
FOLDER = f"papermill_runs/{TIER}"


def local(path):
    return Path(path).relative_to(grid.ROOT).as_posix()


def run_of(wildcards):
    return GRID[f"{wildcards.notebook}/{wildcards.variant}--s{wildcards.seed}"]


def found(*names):
    return sorted(local(path) for name in names for path in (grid.RUNS / TIER).glob(f"*/*/{name}"))


rule all:
    input: [local(run.result) for run in GRID.values() if not run.extra]


# Only the seeds asked for can be run: the records of others are plain files, and the report takes them in as they are.
# Only result.json is declared: the rest of the folder, checkpoints above all, must outlive a killed run.
# The notebook is no input but a digest of its code: saving it with new outputs runs nothing again.
rule run:
    output: f"{FOLDER}/{{notebook}}/{{variant}}--s{{seed}}/result.json"
    wildcard_constraints: seed="|".join(map(str, SEEDS)),
    input: lambda wildcards: [local(run_of(wildcards).after.result)] if run_of(wildcards).after else []
    params:
        code=lambda wildcards: notebooks.code_digest(wildcards.notebook),
        out=lambda wildcards: local(run_of(wildcards).folder),
        arguments=lambda wildcards: [f"{name}={json.dumps(value)}" for name, value in run_of(wildcards).arguments.items()],
    threads: lambda wildcards: run_of(wildcards).threads
    resources: gpu=lambda wildcards: run_of(wildcards).gpu
    shell:
        "OMP_NUM_THREADS={threads} {sys.executable} -m latent_runs.grid run {wildcards.notebook} --out {params.out:q} {params.arguments:q}"


rule report:
    output: f"{FOLDER}/report/executed.ipynb"
    input: found("result.json"), found("failed.json")
    params:
        code=lambda wildcards: notebooks.code_digest(grid.REPORT_NOTEBOOK, *grid.REPORT_CODE),
        arguments=[f"records_dir={grid.RUNS / TIER}", f"out_dir={grid.RUNS / TIER / 'report'}"],
    shell:
        "{sys.executable} -m latent_runs.grid run {grid.REPORT_NOTEBOOK} --out {FOLDER}/report {params.arguments:q}"
