"""The same training on several processes, started from a notebook in which nothing has touched CUDA yet."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import notebook_launcher
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from latent_cot.training import train
from latent_runs.leash import end_with


def train_on(n_processes: int, *arguments: Any, folder: Path | None = None) -> pd.DataFrame:
    """`train(*arguments, folder=folder)` on `n_processes` that share every batch (0: one for each GPU there is).

    They leave the checkpoint of a finished run, from which this process takes weights and history, on the CPU: one that has
    used CUDA cannot be forked, so its next training is its own.
    """
    one: Callable[..., pd.DataFrame] = train
    AcceleratorState._reset_state(reset_partial_state=True)  # the launcher wants a process that has not trained yet
    n, on_gpus = n_processes or torch.cuda.device_count(), torch.cuda.device_count() > 0
    if n <= 1 or torch.cuda.is_initialized():
        return one(*arguments, folder=folder)

    kernel = os.getpid()

    def share() -> None:
        end_with(kernel)
        torch.set_num_threads(1)  # a forked process must not wait for threads that it did not inherit
        one(*arguments, folder=folder, progress_bar=False)

    with tempfile.TemporaryDirectory() as scratch:
        folder = folder or Path(scratch)
        with patch_environment(accelerate_use_cpu="no" if on_gpus else "yes"):
            notebook_launcher(share, (), n, rdzv_backend="c10d", rdzv_endpoint="localhost:0")  # at a free port
        with patch_environment(accelerate_use_cpu="yes"):
            return one(*arguments, folder=folder)
