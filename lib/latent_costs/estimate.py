"""What the rows of a grid cost on a GPU: `python -m latent_costs.estimate [TIER] [--readme PATH]`, or `make estimate`.

From the settings alone, without weights or data: a notebook is rehearsed with a model that has only shapes, and with the
recorded token counts of real problems (`lengths.json`, which `make check-paper` measures). Formulas, with N the weights
that multiply a token, n tokens read after s others, A the width of all heads, L the layers:

    forward  2 N n + 4 L A n (s + n)      backward: twice that, but once for frozen weights (LoRA, SoftCoT)

Padding is left out: it is a few percent in length-grouped batches. The hours are training alone, without validation and
test. They stand on two assumptions, UTILISATION and LAYER_SECONDS: short reads, such as a thought, do not fill a GPU.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.pytorch_utils import Conv1D

from latent_costs.rehearsal import Plan, rehearse
from latent_cot.models import Reasoner, ReasonerSpec, add_lora
from latent_cot.sequences import Encoded
from latent_cot.sequences import Sequence as Arranged
from latent_cot.thoughts import body, read
from latent_cot.tokens import tiny_tokenizer
from latent_runs.grid import Run, grid_path, read_grid
from latent_runs.records import replace_block
from latent_tasks import Problem, Task
from latent_tasks.problem import grade_number

SHAPES: dict[str, PreTrainedConfig] = {  # as published
    name: AutoConfig.for_model(**shape)
    for name, shape in json.loads(Path(__file__).with_name("shapes.json").read_text()).items()
}
PEAKS = {"A100": {"no": 19.5e12, "bf16": 312e12}, "H100": {"no": 67e12, "bf16": 989e12}}  # dense FLOP/s, data sheets (SXM)
UTILISATION = {"no": 0.5, "bf16": 0.25}  # assumed share of the peak that long reads reach, forward and backward
LAYER_SECONDS = 1e-3  # assumed least time of one layer, forward and backward, however few tokens it reads: kernel launches
LOGIT_BYTES = 14  # of a logit at the peak: in bf16, in fp32, its log-softmax (4, which autograd keeps) and its gradient
LENGTHS = Path(__file__).with_name("lengths.json")
BEGIN, END = "<!-- estimate:begin -->", "<!-- estimate:end -->"
Lengths = Sequence[tuple[int, Sequence[int], int, int]]  # tokens of question, each step, answer, and template behind it


@dataclass(frozen=True)
class Shape:
    """The numbers of a model that the formulas need."""

    total: int
    trained: int
    matmul: int  # weights of the body that multiply every token, without LoRA's
    lora: int
    head: int
    vocabulary: int
    writer: int
    layers: int
    attention: int  # width of all heads
    keys: int  # width of all keys
    full: bool  # all weights are trained
    frozen: bool  # none of the LM is (SoftCoT): nothing flows back into the question


@dataclass(frozen=True)
class Estimate:
    trained: int  # parameters
    tokens: float  # per optimiser step
    flops: float  # per optimiser step
    memory: float  # bytes
    steps: int
    hours: Mapping[str, float]  # by GPU


def blank_reasoner(spec: ReasonerSpec) -> Reasoner:
    """A reasoner of a published shape, without values. Raises `KeyError` for a model that is not in `SHAPES`."""
    config = copy.deepcopy(SHAPES[spec.lm])
    config.vocab_size += 3  # <pad>, <bot>, <eot>
    with torch.device("meta"):
        lm = AutoModelForCausalLM.from_config(config)
        return Reasoner(add_lora(lm, spec) if spec.lora_rank else lm, tiny_tokenizer(("x",)), spec)


def cut(lm: str, n_layers: int) -> PreTrainedConfig:
    """A published shape with its first layers only."""
    config = copy.deepcopy(SHAPES[lm])
    config.num_hidden_layers = n_layers
    if getattr(config, "layer_types", None):  # Qwen: one for each layer
        config.layer_types = config.layer_types[:n_layers]
    return config


def shape_of(reasoner: Reasoner) -> Shape:
    def matrices(module: nn.Module, lora: bool) -> int:
        found = ((name, m.weight) for name, m in module.named_modules() if isinstance(m, nn.Linear | Conv1D))
        return sum(weight.numel() for name, weight in found if ("lora_" in name) == lora)

    config, head = body(reasoner.lm).config, cast(nn.Linear, reasoner.head)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    parameters = list(reasoner.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Shape(
        total=sum(p.numel() for p in parameters),
        trained=trained,
        matmul=matrices(body(reasoner.lm), lora=False),
        lora=matrices(body(reasoner.lm), lora=True),
        head=head.weight.numel(),
        vocabulary=len(head.weight),
        writer=matrices(reasoner.writer, lora=False),
        layers=config.num_hidden_layers,
        attention=width * config.num_attention_heads,
        keys=width * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
        full=head.weight.requires_grad,
        frozen=not any(p.requires_grad for p in reasoner.lm.parameters()),
    )


def read_flops(shape: Shape, new: float, seen: float) -> float:
    """Forward and backward of `new` tokens after `seen` others, through the body."""
    forward = 2 * (shape.matmul + shape.lora) * new + 4 * shape.layers * shape.attention * new * (seen + new)
    if shape.frozen and not seen:
        return forward
    return 3 * forward - (0 if shape.full else 2 * shape.matmul * new)


def reads(sequence: Arranged) -> list[tuple[int, int]]:
    """The passes through the model that one problem takes, in order: tokens read, tokens seen before."""
    q, t = len(sequence.question), sequence.n_thoughts
    thoughts = [(1, q + i) for i in range(t)] if sequence.states is None else [(t, q)]  # an assistant's are one block
    found = [(q, 0), *thoughts, (len(sequence.language) - 1, q + t)]
    return found + [(len(sequence.teacher) - 1, q - 1)] * bool(sequence.teacher)  # the teacher does not see <bot>


def n_supervised(sequence: Arranged) -> int:
    return len(sequence.language) - sequence.n_unsupervised + len(sequence.teacher)


def head_flops(shape: Shape, sequence: Arranged) -> float:
    """The LM head where something is supervised, and the projection of the thoughts."""
    return (6 if shape.full else 4) * shape.head * n_supervised(sequence) + 6 * shape.writer * sequence.n_thoughts


@functools.cache
def layer_bytes(spec: ReasonerSpec, precision: str) -> float:
    """What autograd keeps for a token in one layer, counted in a layer of the real width."""
    config = cut(spec.lm, 1)
    config.vocab_size = 8
    lm = AutoModelForCausalLM.from_config(config)
    lm = add_lora(lm, spec) if spec.lora_rank else lm.requires_grad_(spec.writer != "assistant")
    held = {p.untyped_storage().data_ptr() for p in lm.parameters()}
    counts = []
    for n in (8, 16):
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        embeds = torch.zeros(1, n, config.hidden_size, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                read(lm.train(), embeds, torch.ones(1, n, dtype=torch.bool))
        counts.append(sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in held))
    return (counts[1] - counts[0]) / 8


def activations(shape: Shape, sequence: Arranged, per_layer: float, value: int) -> float:
    """Bytes that autograd keeps for one problem: layers, keys and values read again and again, logits."""
    tokens = sum(new for new, seen in reads(sequence) if seen or not shape.frozen)
    again = sum(2 * shape.keys * seen * value for _, seen in reads(sequence))
    return shape.layers * (tokens * per_layer + again) + LOGIT_BYTES * shape.vocabulary * n_supervised(sequence)


def copies(shape: Shape, sequence: Arranged) -> int:
    """Bytes of the bf16 copies that autocast makes of the weights: once of trained ones, in every pass of frozen ones."""
    if shape.full:
        return 2 * (shape.matmul + shape.writer + shape.head)
    return 2 * (shape.matmul * (len(reads(sequence)) - shape.frozen) + shape.head * (1 + bool(sequence.teacher)))


def estimate(plan: Plan) -> Estimate:
    """The cost of a rehearsed run."""
    shape, options = shape_of(plan.reasoner), plan.options
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
    memory = 4 * (shape.total + plan.others) + 12 * shape.trained + heaviest  # fp32 weights; gradient and Adam's two moments
    return Estimate(shape.trained, tokens, flops, memory, steps, {gpu: s / 3600 for gpu, s in seconds.items()})


def lengths_key(run: Run) -> str:
    """Runs of the same key read the same lines in the same tokens."""
    named = (run.parameters.get(name) for name in ("task", "model.lm", "data.answer_prompt", "data.max_tokens"))
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
    task = Task("lengths", dict.fromkeys(("train", "valid", "test"), texts), grade_number)
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
WIDTHS = [32, 9, *(9 for _ in PEAKS), 12, 13, 12, 9]


def line(cells: Sequence[str]) -> str:
    """A row as text of fixed width."""
    return "".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(cells, WIDTHS, strict=True)))


def readme_block(rows: Sequence[Sequence[str]], hours: Mapping[str, float]) -> str:
    table = [COLUMNS, ["---", *["---:"] * (len(COLUMNS) - 1)], *rows]
    total = " or ".join(f"{sum_:,.0f} hours on one {gpu}" for gpu, sum_ in hours.items())
    note = f"{len(rows)} runs, one seed: {total}, if long reads reach {UTILISATION['bf16']:.0%} of the peak in bf16 "
    note += f"and {UTILISATION['no']:.0%} in fp32, and a layer takes at least "
    note += f"{1000 * LAYER_SECONDS:g} ms; validation and test come on top. `make estimate` writes this block."
    return "\n\n".join([BEGIN, "\n".join(f"| {' | '.join(cells)} |" for cells in table), note, END])


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m latent_costs.estimate", description=__doc__.partition("\n")[0])
    parser.add_argument("tier", nargs="?", default="paper")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="write the table there, between its markers")
    options = parser.parse_args(argv)
    lengths, rows, hours = json.loads(LENGTHS.read_text()), [], dict.fromkeys(PEAKS, 0.0)
    print(line(COLUMNS))
    for run in read_grid(grid_path(options.tier)):
        cost = estimate(blank_plan(run, lengths[lengths_key(run)]["lengths"]))
        rows.append(row(run, cost))
        hours = {gpu: hours[gpu] + cost.hours[gpu] for gpu in PEAKS}
        print(line(rows[-1]), flush=True)
    if options.readme:
        replace_block(options.readme, readme_block(rows, hours))


if __name__ == "__main__":
    main(sys.argv[1:])
