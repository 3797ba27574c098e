"""Where a run stands: weights and Adam's two moments after every so many steps, in safetensors; nothing is pickled."""

import hashlib
import json
import math
import random
import warnings
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from latent_backbones.weights import save_tensors, set_weights
from latent_backbones.whole import set_aside_broken
from latent_cot.methods import Method
from latent_cot.models import Reasoner
from latent_cot.sequences import Encoded

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    stage: int = 0
    step: int = 0  # optimiser steps done in this stage
    best: float = -math.inf  # validation score of the kept weights
    history: list[dict] = field(default_factory=list)


def save_checkpoint(folder: Path, reasoner: Reasoner, optimizer, progress: Progress, signature: str) -> None:
    """What is trained, its moments and how far it has come, under its final name only when whole."""
    tensors = {}
    for name, parameter in reasoner.named_parameters():
        if parameter.requires_grad:
            tensors[f"weight/{name}"] = parameter.detach()
            tensors |= {f"{key}/{name}": moment for key, moment in optimizer.state.get(parameter, {}).items()}
    metadata = {"progress": json.dumps(asdict(progress)), "signature": signature}
    save_tensors(folder / CHECKPOINT, tensors, metadata)


def load_checkpoint(folder: Path, reasoner: Reasoner, signature: str) -> tuple[Progress, dict[str, Tensor]] | None:
    """Progress and tensors of this very run, or None where there is none (another run's checkpoint does not count).

    A broken one is none, either: it is set aside with a warning, and so is one whose best weights are broken or gone.
    """
    for name in (CHECKPOINT, BEST):
        if said := set_aside_broken(folder / name):
            warnings.warn(said)
    if not (folder / CHECKPOINT).exists():
        return None
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        metadata = file.metadata()
    if metadata["signature"] != signature:
        return None
    progress = Progress(**json.loads(metadata["progress"]))
    if progress.best > -math.inf and not (folder / BEST).exists():
        warnings.warn(f"{folder / BEST} is gone, which {CHECKPOINT} goes on from: this training starts anew")
        return None
    tensors = load_file(folder / CHECKPOINT)
    set_weights(reasoner, {n.removeprefix("weight/"): t for n, t in tensors.items() if n.startswith("weight/")})
    return progress, tensors


def restore_moments(optimizer: torch.optim.Optimizer, reasoner: Reasoner, tensors: dict[str, Tensor]) -> None:
    """Give a fresh optimiser the moments of a checkpoint."""
    for name, parameter in reasoner.named_parameters():
        if f"exp_avg/{name}" in tensors:
            optimizer.state[parameter] = {
                key: tensors[f"{key}/{name}"].to(parameter.device).reshape(() if key == "step" else parameter.shape)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def run_signature(reasoner: Reasoner, method: Method, problems: Seq[Encoded], options: Any) -> str:
    """What a checkpoint must have been made with for a run to go on from it.

    What a stage does to a problem is code; how it arranges the first problems stands for it.
    """
    stages, markers = [], reasoner.markers
    for stage in method.curriculum:
        rng = random.Random(0)
        arranged = [stage.arrange(problem, markers, rng) for problem in problems[:200]]
        stages.append((stage.name, stage.steps, stage.lr, stage.schedule, stage.warmup, arranged))
    digest = hashlib.sha256()
    for part in (stages, *problems):
        digest.update(repr(part).encode())
    for parameter in (p.detach() for p in reasoner.parameters() if p.requires_grad):  # the weights that it starts from
        digest.update(parameter.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return repr((method.name, method.options, reasoner.spec, options, digest.hexdigest()[:16]))
