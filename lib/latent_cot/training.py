"""One training loop for every method, on accelerate: stages, micro-batches, processes, resume.

The loop knows stages, not methods. A step's data is a function of (seed, stage, step) alone, and its dropout of these
and the process, so that a killed run goes on where its last checkpoint stood and ends with the weights of one that was
never killed. Checkpoints are safetensors: weights and Adam's two moments; nothing is pickled.
"""

import contextlib
import math
import random
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import get_scheduler

from latent_backbones.gradients import one_product
from latent_backbones.weights import save_tensors, set_weights
from latent_cot.checkpoints import BEST, CHECKPOINT, Progress, load_checkpoint, restore_moments, run_signature, save_checkpoint
from latent_cot.curriculum import Stage
from latent_cot.methods import Method
from latent_cot.models import Reasoner
from latent_cot.sequences import Batch, Encoded, check_length, collate, length_grouped
from latent_cot.step_flops import flops


@dataclass(frozen=True)
class TrainOptions:
    """Defaults suit the tiny tier; Coconut and CODI name theirs in PAPERS-quoting grids."""

    batch_size: int = 128  # problems per optimiser step, over all processes
    micro_batch: int = 0  # problems per forward pass and process; 0: all at once
    weight_decay: float = 0.01
    clip: float = 1.0  # gradient norm
    betas: Seq[float] = (0.9, 0.98)
    writer_lr_factor: float = 1.0
    precision: Literal["no", "bf16"] = "no"  # autocast
    validations: int = 4  # in the last stage, evenly spaced; the best weights are kept
    checkpoint_every: int = 250  # optimiser steps
    reset_every: int = 0  # optimiser steps of a stage after which AdamW begins anew (official Coconut code: an epoch); 0: never
    seed: int = 0


class TrainingDiverged(RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite; the last good checkpoint is kept, and named."""


class Supervised(nn.Module):
    """One forward pass = the loss parts of a batch, so that DDP sees every use of the weights."""

    def __init__(self, reasoner: Reasoner, method: Method):
        super().__init__()
        self.reasoner, self.supervise = reasoner, method.supervise

    def forward(self, batch) -> dict[str, Tensor]:
        return self.supervise(self.reasoner, batch)


def _stage_batches(problems: Seq[Encoded], stage: int, options: TrainOptions) -> Iterator[list[int]]:
    """Endless length-grouped batches of indices, epoch after epoch. An incomplete last batch is left out."""
    lengths = [(len(problem.question), problem.n_tokens - len(problem.question)) for problem in problems]
    size = min(options.batch_size, len(problems))
    for epoch in range(10**9):
        generator = torch.Generator().manual_seed((options.seed * 1000 + stage) * 10_000 + epoch)
        yield from (batch for batch in length_grouped(lengths, size, generator) if len(batch) == size)


def adamw(reasoner: Reasoner, stage: Stage, options: TrainOptions) -> torch.optim.AdamW:
    """Fused: one pass over weights, gradients and moments."""
    trained = [(n, p) for n, p in reasoner.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in trained if not n.startswith("writer.")], "lr": stage.lr},
        {"params": [p for n, p in trained if n.startswith("writer.")], "lr": stage.lr * options.writer_lr_factor},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=(options.betas[0], options.betas[1]), weight_decay=options.weight_decay, fused=True)


def train(
    reasoner: Reasoner,
    method: Method,
    problems: Seq[Encoded],
    options: TrainOptions = TrainOptions(),
    validate: Callable[[], float] | None = None,
    folder: Path | None = None,
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Train `reasoner` through the method's curriculum; return the history (stage, step, loss and its parts, seconds).

    In the last stage `validate` is called `options.validations` times and the best weights are the ones left in the
    reasoner. With a `folder`, checkpoints go there and an interrupted run of the same settings is taken up again.
    Raises ContextTooLong before the first step, TrainingDiverged at a loss or gradient that is not finite, and before weights
    that are not would be validated or saved.
    """
    longest, markers = reasoner.context_length, reasoner.markers  # asked once: a step is quicker than a thousand answers
    doubtful = [p for p in problems if p.n_tokens + method.n_thoughts + 2 > longest]  # 2: the markers
    for stage in method.curriculum:
        for problem in doubtful:
            check_length(stage.arrange(problem, markers, random.Random(0)), longest)
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    signature = run_signature(reasoner, method, problems, options) if folder else ""
    resumed = load_checkpoint(folder, reasoner, signature) if folder else None
    progress, tensors = resumed or (Progress(), {})
    best = None
    if folder and progress.best > -math.inf:
        best = load_file(folder / BEST)
    supervised = accelerator.prepare(Supervised(reasoner, method))
    supervised.train()
    counted = flops(reasoner)

    kept = f"step {progress.step} of {method.curriculum[progress.stage].name}" if resumed else ""  # by the folder's checkpoint
    total, silent = sum(stage.steps for stage in method.curriculum), not (progress_bar and accelerator.is_main_process)
    bar = tqdm(total=total, initial=len(progress.history), disable=silent, unit="step")
    for number in range(progress.stage, len(method.curriculum)):
        stage, last = method.curriculum[number], number == len(method.curriculum) - 1
        optimizer = accelerator.prepare(adamw(reasoner, stage, options))
        if number == progress.stage and progress.step:
            restore_moments(optimizer.optimizer, reasoner, tensors)
        scheduler = get_scheduler(stage.schedule, optimizer.optimizer, min(stage.warmup, stage.steps // 2), stage.steps)
        marks = {round(stage.steps * (i + 1) / options.validations) for i in range(options.validations)} if last else set()
        for step, rows in enumerate(_stage_batches(problems, number, options)):
            if step >= stage.steps:
                break
            if number == progress.stage and step < progress.step:
                scheduler.step()  # replay the schedule up to the checkpoint
                continue
            if options.reset_every and step % options.reset_every == 0:
                optimizer.state.clear()
            started = time.perf_counter()
            rng = random.Random(f"{options.seed}/{number}/{step}")
            dropout = random.Random(f"{options.seed}/{number}/{step}/{accelerator.process_index}")
            torch.manual_seed(dropout.getrandbits(63))
            where = f"step {step + 1} of {stage.name}"
            arranged = [stage.arrange(problems[i], markers, rng) for i in rows]
            batch = collate(arranged, markers)
            try:
                parts = optimizer_step(accelerator, supervised, optimizer, scheduler, batch, options, where)
                marked = validate is not None and step + 1 in marks
                due = folder is not None and ((step + 1) % options.checkpoint_every == 0 or step + 1 == stage.steps)
                if marked or due:
                    _check_finite(reasoner, where)
            except TrainingDiverged as error:
                last_good = f"last good checkpoint: {folder / CHECKPOINT}, {kept}" if folder and kept else "no checkpoint yet"
                raise TrainingDiverged(f"{error}; {last_good}") from None
            entry = {"stage": stage.name, "step": step + 1, "loss": sum(parts.values()), **parts}
            entry["problems_per_second"] = len(rows) / (time.perf_counter() - started)
            entry["flops"] = counted(arranged)
            progress.history.append(entry)
            bar.update()
            bar.set_postfix({k: f"{v:.3g}" for k, v in entry.items() if k not in ("stage", "step")}, refresh=False)
            bar.set_description(stage.name, refresh=False)
            progress.stage, progress.step = number, step + 1
            if marked and validate is not None:
                score = validate()
                supervised.train()
                entry["validation"] = score
                if score > progress.best:
                    trained = {n: p for n, p in reasoner.named_parameters() if p.requires_grad}
                    progress.best, best = score, {n: p.detach().clone() for n, p in trained.items()}
                    if folder and accelerator.is_main_process:
                        save_tensors(folder / BEST, best)
            if folder and due:
                kept = where
                if accelerator.is_main_process:
                    save_checkpoint(folder, reasoner, optimizer.optimizer, progress, signature)
        if not last:
            progress.stage, progress.step, tensors = number + 1, 0, {}
            optimizer.state.clear()  # accelerate keeps every optimiser it has prepared
    bar.close()
    if best is not None:
        set_weights(reasoner, best)
    return pd.DataFrame(progress.history)


def _check_finite(reasoner: Reasoner, where: str) -> None:
    """A finite loss may lead to weights that are not, and best.safetensors and the checkpoint are to stay good."""
    for name, parameter in reasoner.named_parameters():
        if parameter.requires_grad and not parameter.isfinite().all():
            raise TrainingDiverged(f"{name} is not finite after {where}")


def optimizer_step(
    accelerator: Accelerator, supervised: nn.Module, optimizer, scheduler, batch: Batch, options: TrainOptions, where: str
) -> dict[str, float]:
    """One optimiser step on one global batch: this process's share, micro-batch by micro-batch."""
    n_problems = len(batch.ids)
    first, end = (n_problems * (accelerator.process_index + i) // accelerator.num_processes for i in (0, 1))
    size = options.micro_batch or end - first
    cuts = range(first, end, size)
    totals: dict[str, float] = {}
    for cut in cuts:
        micro = batch.rows(slice(cut, min(cut + size, end))).to(accelerator.device)
        waiting = contextlib.nullcontext() if cut == cuts[-1] else accelerator.no_sync(supervised)
        # Not accelerate's own mixed precision: it is one setting per Python process, of the run that came first.
        fast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=options.precision == "bf16")
        with waiting, one_product(supervised):
            with fast:
                parts = supervised(micro)
            # The parts already add up over processes; DDP averages gradients, hence the factor.
            accelerator.backward(sum(parts.values()) * accelerator.num_processes)
        for name, part in parts.items():
            totals[name] = totals.get(name, 0.0) + part.detach()
    if accelerator.num_processes > 1:
        totals = {name: accelerator.reduce(part) for name, part in totals.items()}
    parts = {name: float(part) for name, part in totals.items()}
    norm = float(accelerator.clip_grad_norm_(supervised.parameters(), options.clip))
    if not math.isfinite(sum(parts.values()) + norm):
        what = f"loss {parts}, gradient norm {norm} at {where}"
        raise TrainingDiverged(f"{what}; batch: {', '.join(batch.ids[:8])} …")
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return parts
