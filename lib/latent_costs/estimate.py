"""What the rows of a grid cost on a GPU: `python -m latent_costs.estimate [TIER] [--readme PATH]`, or `make estimate`.

From the settings alone, without weights or data: a notebook is rehearsed with a model that has only shapes, and with the
recorded token counts of real problems (`lengths.json`, which `make check-paper` measures); `flops` has the formulas.
Padding is left out: it is a few percent in length-grouped batches. The hours are training alone, without validation and
test. They stand on two assumptions, UTILISATION and LAYER_SECONDS: short reads, such as a thought, do not fill a GPU.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from latent_costs.flops import Shape, activations, blank_reasoner, copies, head_flops, layer_bytes, read_flops, reads
from latent_costs.rehearsal import Plan, rehearse
from latent_cot.models import Reasoner, ReasonerSpec
from latent_cot.sequences import Encoded
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.records import replace_block
from latent_tasks import Problem, Task
from latent_tasks.problem import grade_number

PEAKS = {"A100": {"no": 19.5e12, "bf16": 312e12}, "H100": {"no": 67e12, "bf16": 989e12}}  # dense FLOP/s, data sheets (SXM)
UTILISATION = {"no": 0.5, "bf16": 0.25}  # assumed share of the peak that long reads reach, forward and backward
LAYER_SECONDS = 1e-3  # assumed least time of one layer, forward and backward, however few tokens it reads: kernel launches
LENGTHS = Path(__file__).with_name("lengths.json")
BEGIN, END = "<!-- estimate:begin -->", "<!-- estimate:end -->"
Lengths = Sequence[tuple[int, Sequence[int], int, int]]  # tokens of question, each step, answer, and template behind it


@dataclass(frozen=True)
class Estimate:
    trained: int  # parameters
    tokens: float  # per optimiser step
    flops: float  # per optimiser step
    memory: float  # bytes
    steps: int
    hours: Mapping[str, float]  # by GPU


def estimate(plan: Plan) -> Estimate:
    """The cost of a rehearsed run."""
    shape, options = Shape(plan.reasoner), plan.options
    rows = min(options.micro_batch or options.batch_size, options.batch_size)
    bf16 = options.precision == "bf16"
    value = 2 if bf16 else 4
    per_layer = layer_bytes(plan.reasoner.spec, options.precision)
    steps = sum(stage.steps for stage in plan.method.curriculum)
    tokens = flops = heaviest = 0.0
    seconds = dict.fromkeys(PEAKS, 0.0)
    for stage in plan.method.curriculum:
        arranged = [stage.arrange(problem, plan.reasoner.markers, random.Random(i)) for i, problem in enumerate(plan.problems)]
        passes = [[(rows * new, read_flops(shape, new, seen) * rows) for new, seen in reads(one)] for one in arranged]
        heads = rows * statistics.fmean(head_flops(shape, one) for one in arranged)
        share, micros = stage.steps / steps, options.batch_size / rows
        tokens += share * micros * statistics.fmean(sum(new for new, _ in one) for one in passes)
        flops += share * micros * (heads + statistics.fmean(sum(cost for _, cost in one) for one in passes))
        held = (rows * activations(shape, one, per_layer, value) + bf16 * copies(shape, one) for one in arranged)
        heaviest = max(heaviest, *held)
        for gpu, peak in PEAKS.items():
            speed = UTILISATION[options.precision] * peak[options.precision]
            least = shape.layers * LAYER_SECONDS
            reading = statistics.fmean(sum(max(least, cost / speed) for _, cost in one) for one in passes)
            seconds[gpu] += stage.steps * micros * (reading + heads / speed)
    memory = shape.bytes + 4 * plan.others + 12 * shape.trained + heaviest  # weights; gradient and Adam's two moments
    return Estimate(shape.trained, tokens, flops, memory, steps, {gpu: s / 3600 for gpu, s in seconds.items()})


def training_runs(tier: str) -> list[Run]:
    """The runs of a grid that train a model."""
    return [run for run in read_grid(grid_path(tier)) if "task" in run.parameters]


def lengths_key(run: Run) -> str:
    """Runs of the same key read the same lines in the same tokens."""
    names = ("task", "model.lm", "data.options", "data.text", "data.answer_prompt", "data.max_tokens", "data.max_text_tokens")
    named = (run.parameters.get(name) for name in names)
    return " ".join(str(value) for value in named if value)


def sample(problems: Sequence[Encoded], n: int = 40) -> list:
    """Token counts of `n` problems that stand for all: evenly spaced from the shortest to the longest."""
    by_length = sorted(problems, key=lambda problem: problem.n_tokens)
    picked = [by_length[round(i * (len(by_length) - 1) / (n - 1))] for i in range(n)]
    return [[len(p.question), [len(step) for step in p.steps], len(p.answer), len(p.tail)] for p in picked]


def encoded_lengths(lengths: Lengths, states: torch.Tensor | None = None, token: Callable[[], int] = int) -> list[Encoded]:
    """Problems of these lengths, of tokens that mean nothing."""

    def some(n: int) -> tuple[int, ...]:
        return tuple(token() for _ in range(n))

    return [
        Encoded(str(i), some(question), tuple(map(some, steps)), some(answer), answer - 3, some(tail), states)
        for i, (question, steps, answer, tail) in enumerate(lengths)
    ]


def blank_plan(run: Run, lengths: Lengths) -> Plan:
    """The run rehearsed with a model that has only shapes and problems that have only lengths."""
    states = torch.zeros(1, run.parameters.get("options.n_thoughts", 4), 1) if "assistants" in run.parameters else None
    problems = encoded_lengths(lengths, states)
    built: list[Reasoner] = []

    def build(spec: ReasonerSpec, seed: int = 0) -> Reasoner:
        built.append(blank_reasoner(spec))
        return built[-1]

    texts = tuple(Problem("", ("",) * len(problem.steps), "") for problem in problems)
    task = Task("lengths", dict.fromkeys(("train", "valid", "test"), texts), grade_number, words=("x",))
    more = {
        "latent_runs.lesson.encode": lambda some, *_: problems[: len(some)],
        "latent_cot.methods.softcot.Assistant.encode": lambda assistant, some, *_, **__: problems[: len(some)],
        "latent_runs.records.fingerprint_state_dict": lambda *_: "",
    }
    plan = rehearse(run, lambda *_, **__: task, build, more)
    others = {id(p): p.numel() for reasoner in built if reasoner.lm is not plan.reasoner.lm for p in reasoner.parameters()}
    return replace(plan, others=sum(others.values()))


def row(run: Run, cost: Estimate) -> list[str]:
    """A run as a row of `COLUMNS`."""
    numbers = f"{cost.trained / 1e6:,.1f}", f"{cost.tokens:,.0f}", f"{cost.flops / 1e12:,.1f}", f"{cost.steps:,}"
    hours = (f"{cost.hours[gpu]:,.1f}" for gpu in PEAKS)
    return [f"{run.notebook[:2]} {run.variant}", f"{cost.memory / 2**30:,.0f}", *hours, *numbers]


COLUMNS = ["run", "GPU GiB", *(f"{gpu} h" for gpu in PEAKS), "trained, M", "tokens/step", "TFLOP/step", "steps"]


def line(cells: Sequence[str]) -> str:
    """A row of a table, in Markdown."""
    return f"| {' | '.join(cells)} |"


def readme_block(rows: Sequence[Sequence[str]], hours: Mapping[str, float]) -> str:
    table = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *rows]
    total = " or ".join(f"{sum_:,.0f} hours on one {gpu}" for gpu, sum_ in hours.items())
    note = f"{len(rows)} runs, one seed: {total}, if long reads reach {UTILISATION['bf16']:.0%} of the peak in bf16 "
    note += f"and {UTILISATION['no']:.0%} in fp32, and a layer takes at least "
    note += f"{1000 * LAYER_SECONDS:g} ms; validation and test come on top. `make estimate` writes this block."
    return "\n\n".join([BEGIN, "\n".join(map(line, table)), note, END])


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m latent_costs.estimate", description=__doc__.partition("\n")[0])
    parser.add_argument("tier", nargs="?", default="paper")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="write the table there, between its markers")
    options = parser.parse_args(argv)
    lengths, rows, hours = json.loads(LENGTHS.read_text()), [], dict.fromkeys(PEAKS, 0.0)
    print(line(COLUMNS))
    for run in training_runs(options.tier):
        cost = estimate(blank_plan(run, lengths[lengths_key(run)]["lengths"]))
        rows.append(row(run, cost))
        hours = {gpu: hours[gpu] + cost.hours[gpu] for gpu in PEAKS}
        print(line(rows[-1]), flush=True)
    if options.readme:
        replace_block(options.readme, readme_block(rows, hours))


if __name__ == "__main__":
    main(sys.argv[1:])
