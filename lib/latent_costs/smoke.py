"""Does this device compute what a CPU computes? Every method's loss, its gradient and the loss after a step, side by side.

What a CPU computes is held to the official implementations elsewhere (tests/test_parity.py, which takes `--device`).
"""

import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latent_costs.estimate import estimate
from latent_costs.rehearsal import rehearse
from latent_cot.curriculum import Budget
from latent_cot.methods import METHODS, Method, make
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner
from latent_cot.sequences import Batch, Encoded, collate, encode
from latent_cot.training import train
from latent_runs.places import ROOT
from latent_runs.plan import Run
from latent_tasks import load_task

TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}  # relative
D_ASSISTANT, N_PROBLEMS, LR = 16, 8, 0.1
GIB = 2**30


@dataclass(frozen=True)
class Step:
    """A batch's loss, the norm of its gradient, and the loss after a step of plain gradient descent."""

    loss: float
    gradient: float
    after: float


def example(name: str) -> tuple[Method, Reasoner, Batch]:
    """A registered method, a tiny model for it with the same weights at every call, and a batch in its last stage."""
    task = load_task("arithmetic", sizes={"train": N_PROBLEMS})
    options = {"longest_chain": 15} if name == "icot" else {}
    method = make(name, options, Budget(steps=1, steps_per_stage=1, start_steps=1))
    assistant = method.writer == "assistant"
    writer_options = dict(method.writer_options) | ({"d_assistant": D_ASSISTANT} if assistant else {})
    spec = ReasonerSpec(words=task.words or (), n_layers=2, writer=method.writer, writer_options=writer_options)
    reasoner = build_reasoner(spec)
    problems = encode(task.splits["train"], reasoner.tokenizer)
    if assistant:  # as if one had read the question, in several ways: two where they are contrasted
        generator = torch.Generator().manual_seed(0)
        problems = [replace(p, states=torch.randn(2, method.n_thoughts, D_ASSISTANT, generator=generator)) for p in problems]
    arranged = [method.curriculum[-1].arrange(problem, reasoner.markers, random.Random(0)) for problem in problems]
    return method, reasoner, collate(arranged, reasoner.markers)


def step(name: str, device: str, precision: str) -> Step:
    """One step of a registered method on `device`."""
    method, reasoner, batch = example(name)
    reasoner, batch = reasoner.to(device).train(), batch.to(torch.device(device))

    def loss() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            return torch.stack([*method.supervise(reasoner, batch).values()]).sum()

    first = loss()
    first.backward()
    trained = [p for p in reasoner.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.float().norm() for p in trained if p.grad is not None]).norm()
    torch.optim.SGD(trained, lr=LR / max(1.0, norm.item())).step()
    with torch.no_grad():
        return Step(first.item(), norm.item(), loss().item())


def compare(device: str, methods: Iterable[str] = tuple(METHODS)) -> Iterator[dict]:
    """A row for each method and precision: the largest relative difference to a CPU in fp32, and whether it is allowed."""
    for name in methods:
        torch.manual_seed(0)
        reference = step(name, "cpu", "fp32")
        for precision, allowed in TOLERANCE.items():
            torch.manual_seed(0)
            found = step(name, device, precision)
            pairs = [(getattr(found, part), getattr(reference, part)) for part in ("loss", "gradient", "after")]
            worst = max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)
            yield {"method": name, "precision": precision, **vars(found), "difference": worst, "allowed": worst <= allowed}


def peak(run: Run, n_problems: int = 256) -> dict:
    """GPU memory in GiB that two optimiser steps of a run take, in the first and in the last stage, beside the estimate.

    Raises `RuntimeError` without a GPU.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("peak memory is measured on a GPU, and there is none")

    def some(name: str, *, sizes: dict[str, int], **options):
        return load_task(name, sizes={split: min(size, n_problems) for split, size in sizes.items()}, **options)

    plan = rehearse(run, some, build_reasoner)
    problems: list[Encoded] = sorted(plan.problems, key=lambda problem: problem.n_tokens)
    estimated = estimate(replace(plan, problems=problems[:: max(1, len(problems) // 40)]))
    stages = plan.method.curriculum
    short = (replace(stages[0], steps=1, warmup=0), replace(stages[-1], steps=1, warmup=0))
    batch = min(plan.options.batch_size, len(problems))
    torch.cuda.reset_peak_memory_stats()
    options = replace(plan.options, batch_size=batch, validations=0)
    train(plan.reasoner, replace(plan.method, curriculum=short), problems, options, progress_bar=False)
    measured = torch.cuda.max_memory_allocated()
    return {"run": run.variant, "measured": measured / GIB, "estimated": estimated.memory / GIB}


def parity(device: str) -> str:
    """What pytest says of the official implementations' golden cases on `device`, its closing words, and what failed."""
    tests = ROOT / "tests" / "test_parity.py"
    if not tests.is_file():
        return "no tests beside an installed package"
    command = [sys.executable, "-m", "pytest", str(tests), "-q", "-p", "no:cacheprovider", "--color=no", f"--device={device}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return "; ".join([said[-1].strip("= "), *(line for line in said if line.startswith(("FAILED", "ERROR")))])
